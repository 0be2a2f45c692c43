"""When a recurring job is due: a cron expression in a zone or a fixed interval, within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

from ..cron import CronExpression
from ..errors import ConfigurationError
from .interval import PREFIX, Interval

_MICROSECOND = timedelta(microseconds=1)

_FIRST_YEAR, _LAST_YEAR = 2, 9998
"""Of bounds, so that they can be shown on the clocks of every zone."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. All due times that it gives are aware, in UTC.

    :param cron: five fields, six with the seconds first, a macro, or an interval: ``@every 90s``.
    :param timezone: the zone that a cron expression is meant in: its IANA name, or a ``ZoneInfo``,
        of which the name is kept.
    :param start: nothing is due before; aware.
    :param end: nothing is due after; aware.
    :raises ConfigurationError: one of them is wrong; the message names it.
    """

    cron: str
    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _rule: CronExpression | Interval = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        interval = isinstance(self.cron, str) and self.cron.lstrip().lower().startswith(PREFIX)
        put(self, "_rule", Interval.read(self.cron) if interval else _expression(self.cron))
        put(self, "timezone", zone_name(self.timezone))
        put(self, "zone", _zone(self.timezone))
        for name in ("start", "end"):
            if (bound := getattr(self, name)) is not None:
                put(self, name, checked_bound(name, bound))
        if interval:
            put(self, "cron", str(self._rule))

    @classmethod
    def of(
        cls,
        cron: str | None,
        every: timedelta | None = None,
        *,
        timezone: str | ZoneInfo = "UTC",
        start: datetime | None = None,
        end: datetime | None = None,
        allow_never: bool = False,
    ) -> Self:
        """A schedule as a user gives it. Refuses one that is never due.

        :param every: an interval, in place of ``cron``.
        :param allow_never: take a schedule that is never due.
        """
        if (cron is None) == (every is None):
            raise ConfigurationError(
                "give a cron expression or every=, one of the two: got "
                + ("neither" if cron is None else f"cron {cron!r} and every {every!r}")
            )
        text = str(Interval(every)) if every is not None else cron
        schedule = cls(text, zone_name(timezone), start, end)  # type: ignore[arg-type]
        start, end = schedule.start, schedule.end
        if start is not None and end is not None and end < start:
            raise ConfigurationError(
                f"end must not be before start: {end.isoformat()} is before {start.isoformat()}"
            )
        if not (allow_never or schedule.fires()):
            if start is not None and end is not None and schedule._fires_at_all():
                raise ConfigurationError(
                    f"cron {schedule.cron!r} never fires between start {start.isoformat()} and "
                    f"end {end.isoformat()}"
                )
            raise ConfigurationError(f"cron {cron!r} never fires: there is no such date")
        return schedule

    @property
    def every(self) -> timedelta | None:
        """The interval, None for a cron expression."""
        return self._rule.length if isinstance(self._rule, Interval) else None

    def fires(self) -> bool:
        """True if it is ever due, in the past or in the future."""
        if not self._fires_at_all():
            return False
        if self.start is None or self.end is None:
            return True
        return self.next(self.start - _MICROSECOND) is not None

    def _fires_at_all(self) -> bool:
        return isinstance(self._rule, Interval) or self._rule.fires()

    def next(self, after: datetime) -> datetime | None:
        """The first due time strictly later than ``after`` (aware); None if there is none."""
        if self.start is not None and after < self.start:
            after = self.start - _MICROSECOND
        rule = self._rule
        if isinstance(rule, Interval):
            due = rule.next(after)
        else:
            due = rule.next(after, self.zone)
        if due is None:
            return None
        due = due.astimezone(UTC)
        return None if self.end is not None and due > self.end else due

    def following(self, after: datetime, count: int) -> list[datetime]:
        """The next ``count`` due times after ``after``; fewer if there are no more."""
        found: list[datetime] = []
        due = self.next(after)
        while due is not None and len(found) < count:
            found.append(due)
            due = self.next(due)
        return found

    def newest(self, first: datetime, until: datetime, most: int) -> list[datetime]:
        """The last ``most`` due times from ``first``, which counts as one, to ``until``, in order.

        There may be very many between them, for instance after an outage. So the search begins
        shortly before ``until`` and goes back in steps that double. If the last step brings in far
        too many, its beginning is found by bisection.
        """
        step = timedelta(seconds=1)
        few = until
        while (start := until - step) > first:
            found = self._from(start, until, 2 * most)
            if found is None:
                return self._bisect(start, few, until, most)[-most:]
            if len(found) >= most:
                return found[-most:]
            few = start
            step *= 2
        found = self._from(first, until, 2 * most)
        if found is None:
            return self._bisect(first, few, until, most)[-most:]
        return [first, *found][-most:]

    def _bisect(self, many: datetime, few: datetime, until: datetime, most: int) -> list[datetime]:
        """At least ``most`` due times up to ``until``, and not far more. From ``many`` on there are
        far more, from ``few`` on too few."""
        while True:
            middle = many + (few - many) / 2
            found = self._from(middle, until, 2 * most)
            if found is None:
                many = middle
            elif len(found) < most:
                few = middle
            else:
                return found

    def _from(self, start: datetime, until: datetime, limit: int) -> list[datetime] | None:
        """The due times after ``start`` up to ``until``; None if they are more than ``limit``."""
        found: list[datetime] = []
        due = self.next(start)
        while due is not None and due <= until:
            if len(found) == limit:
                return None
            found.append(due)
            due = self.next(due)
        return found

    def count(self, first: datetime, before: datetime, limit: int) -> int:
        """How many due times there are from ``first``, which counts as one, to before ``before``.

        At most ``limit``, because those of a cron expression are counted one by one.
        """
        if first >= before:
            return 0
        if isinstance(self._rule, Interval):
            return min(limit, self._rule.count(first, before))
        counted = 1
        due = self.next(first)
        while counted < limit and due is not None and due < before:
            counted += 1
            due = self.next(due)
        return counted

    def describe(self) -> str:
        """The expression or interval in English words, without zone and bounds. Never raises."""
        return self._rule.describe()


@lru_cache(maxsize=4096)
def read_schedule(
    cron: str, timezone: str, start: datetime | None, end: datetime | None
) -> Schedule:
    """The schedule that a row keeps. Those in use are cached, because reading one takes longer than
    computing its next due time."""
    return Schedule(cron, timezone, start, end)


@lru_cache(maxsize=4096)
def _read(cron: str) -> CronExpression:
    return CronExpression(cron)


def _expression(cron: str) -> CronExpression:
    # Anything but text may not be hashable; the expression refuses it with a message.
    return _read(cron) if isinstance(cron, str) else CronExpression(cron)


def zone_name(zone: str | ZoneInfo) -> str:
    """The name of a zone, which is what the database keeps."""
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return zone.key
    if isinstance(zone, str):
        return zone
    raise ConfigurationError(
        "timezone is the name of a zone such as 'Europe/Berlin', or ZoneInfo('Europe/Berlin'), "
        f"not {zone!r}"
    )


def checked_zone(zone: str | ZoneInfo) -> str:
    """The name of a zone that this machine knows."""
    return _zone(zone_name(zone)).key


def checked_bound(name: str, value: datetime) -> datetime:
    """A bound of a schedule, in UTC."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ConfigurationError(
            f"{name} must be an aware datetime such as datetime(2030, 1, 1, tzinfo=UTC), "
            f"not {value!r}"
        )
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ConfigurationError(
            f"{name} must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}, not in {value.year}"
        )
    return value.astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except Exception:
        raise ConfigurationError(
            f"timezone {name[:60]!r} is not known; use an IANA name such as 'Europe/Berlin' or "
            "'UTC'"
        ) from None
