"""What an operator is about to set: the fields of the form with their current and typed values.

The form sends each field along with the value that it had when the form was made: ``was.cron``
beside ``cron``. Only fields that differ are written, so that changes of somebody else stay.
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
    """The value that counts; in a draft what was typed."""
    was: str
    """The value that counted when the form was made."""
    declared: str | None = None
    """The value that the code gives, if it is overridden."""
    error: str | None = None

    @property
    def changed(self) -> bool:
        return self.text.strip() != self.was

    def shown(self, text: str) -> str:
        """A value of the field in words."""
        if not text:
            return self.input.none or "none"
        if self.input.kind is Kind.INSTANT:
            return text.replace("T", " ")
        return dict(self.input.choices).get(text, text)


def fields_of(job: RecurringJob) -> dict[str, Field]:
    """The current values of a recurring job."""
    zone = zone_of(job)
    fields = {}
    for name, input in INPUTS.items():
        text = input.text(input.value(job.declared, job.overrides), zone)
        declared = input.text(input.value(job.declared), zone) if name in job.overrides else None
        fields[name] = Field(input, text, text, declared)
    return fields


@dataclass(slots=True)
class Draft:
    """A form as it was filled in."""

    job: RecurringJob
    fields: dict[str, Field]
    schedule: Schedule | None
    """The schedule that the form describes; None if something in it is wrong."""
    values: dict[str, Any] = field(default_factory=dict)
    """What to override, as JSON values."""
    dropped: set[str] = field(default_factory=set)
    """Names of overridden options for which the code's value was typed: they are reset."""

    @classmethod
    def of(cls, job: RecurringJob, form: Mapping[str, str]) -> Self:
        """Read a form. A field that it leaves out keeps its current value.

        :param form: ``reset`` in it names a field whose value becomes the code's, or is ``all``.
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
        """Messages about what is wrong, by the names of the options."""
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
        """Put the message of an error at a field."""
        one = self.fields[name]
        self.fields[name] = Field(one.input, one.text, one.was, one.declared, str(error))

    def _zone(self, standing: str) -> ZoneInfo:
        """The zone in which the bounds are typed."""
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
        """Check that all values together make a schedule that is ever due."""
        overrides = {k: v for k, v in self.job.overrides.items() if k not in self.dropped}
        try:
            joined = Definition.of(self.job.id, self.job.declared, overrides, self.values)
            self.schedule = joined.check_schedule()
        except ConfigurationError as error:
            blamed = next((name for name in ("end", "timezone") if str(error).startswith(name)), "")
            self.refuse(error, blamed or "cron")
