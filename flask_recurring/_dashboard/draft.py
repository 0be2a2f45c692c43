"""What an operator is about to set: the fields of the form, as they stand and as they were typed.

A form says of each field what it was when it was made (``was.cron`` beside ``cron``), so that only
what was changed in it is written: what somebody else has set meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from zoneinfo import ZoneInfo

from .._recurring.definition import Definition
from .._recurring.options import Kind, checked
from .._recurring.recurring_job import RecurringJob
from .._recurring.schedule import Schedule
from ..errors import ConfigurationError
from .due_times import zone_of
from .form_input import GROUPS, INPUTS, Input


@dataclass(frozen=True, slots=True)
class Field:
    """An option of one recurring job."""

    input: Input
    text: str
    """What counts; in a draft what was typed."""
    was: str
    """What counted when the form was made."""
    declared: str | None = None
    """What the code gives, where an operator's value stands over it."""
    error: str | None = None

    @property
    def changed(self) -> bool:
        return self.text.strip() != self.was

    def shown(self, text: str) -> str:
        """A value of it for a reader."""
        if not text:
            return self.input.none or "none"
        if self.input.kind is Kind.INSTANT:
            return text.replace("T", " ")
        return dict(self.input.choices).get(text, text)


def fields_of(job: RecurringJob) -> dict[str, Field]:
    """The options as they stand."""
    zone = zone_of(job)
    fields = {}
    for name, input in INPUTS.items():
        text = input.text(input.value(job.declared, job.overrides), zone)
        declared = input.text(input.value(job.declared), zone) if name in job.overrides else None
        fields[name] = Field(input, text, text, declared)
    return fields


@dataclass(slots=True)
class Draft:
    """A form that was filled in, or is about to be."""

    job: RecurringJob
    fields: dict[str, Field]
    schedule: Schedule | None
    """What the schedule would be; None if it can't be one."""
    values: dict[str, Any] = field(default_factory=dict)
    """What to override, as JSON values."""
    dropped: set[str] = field(default_factory=set)
    """What to leave to the code again, since what was typed is what the code gives."""

    @classmethod
    def of(cls, job: RecurringJob, form: Mapping[str, str]) -> Self:
        """Read what a form says. Where it says nothing, everything is as it stands.

        ``reset`` in it names a field in which the code's value is to stand again, or all of them.
        """
        standing = fields_of(job)
        typed = {}
        for name, one in standing.items():
            was = f"was.{name}"
            # A box that is not selected is not in the form.
            absent = "" if one.input.kind is Kind.FLAG and was in form else one.text
            text = form.get(name, absent)
            if one.declared is not None and form.get("reset") in (name, "all"):
                text = one.declared
            typed[name] = Field(one.input, text, form.get(was, one.text), one.declared)
        draft = cls(job, typed, None)
        zone = draft._zone(standing["timezone"].text)
        for name, one in typed.items():
            if one.changed:
                draft._read(name, one, zone)
        if not draft.errors:
            draft._join()
        return draft

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by the names of the options."""
        return {name: one.error for name, one in self.fields.items() if one.error}

    @property
    def changed(self) -> bool:
        return bool(self.values or self.dropped)

    @property
    def groups(self) -> list[tuple[str, list[Field]]]:
        """The fields under their headings."""
        return [
            (heading, [self.fields[input.name] for input in inputs]) for heading, inputs in GROUPS
        ]

    def refuse(self, error: ConfigurationError, name: str) -> None:
        """Say at a field what is wrong."""
        one = self.fields[name]
        self.fields[name] = Field(one.input, one.text, one.was, one.declared, str(error))

    def _zone(self, standing: str) -> ZoneInfo:
        """The zone on whose clocks bounds are written."""
        for name in (self.fields["timezone"].text.strip(), standing):
            try:
                return Schedule("* * * * *", name).zone
            except ConfigurationError:
                continue
        return ZoneInfo("UTC")

    def _read(self, name: str, one: Field, zone: ZoneInfo) -> None:
        try:
            values = checked({name: one.input.read(one.text, zone)})
        except ConfigurationError as error:
            self.refuse(error, name)
            return
        if name in self.job.overrides and values[name] == one.input.value(self.job.declared):
            self.dropped.add(name)
        else:
            self.values |= values

    def _join(self) -> None:
        """All together must make a schedule that is due at some time."""
        overrides = {k: v for k, v in self.job.overrides.items() if k not in self.dropped}
        try:
            joined = Definition.of(self.job.id, self.job.declared, overrides, self.values)
            self.schedule = joined.check_schedule()
        except ConfigurationError as error:
            blamed = next((name for name in ("end", "timezone") if str(error).startswith(name)), "")
            self.refuse(error, blamed or "cron")
