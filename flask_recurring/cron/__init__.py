"""Cron expressions, as Hangfire's users know them.

The model
---------

An expression has five fields (minutes, hours, days of month, months, days of week), six with the
seconds first, or is a macro such as ``@hourly``. A moment matches when *all* fields match: day of
month *and* day of week, where crond means "or".

::

    text ──► field, days      each field's text becomes a set of numbers or a rule (LW, FRI#2)
             matcher          all fields together; the next match on a clock without time zone
             occurrence       that match as a moment in a zone whose clock may be set
             expression       the public face: CronExpression
             words            the matcher in English

croniter expands plain fields (``*/5``, ``10-30/5``), after they were checked and written in the
form that leaves no room for readings. The rest is decided here: croniter has no ``LW``, ``L-3`` or
``5L``, joins day of month and day of week with "or", goes by other rules where a clock is set, and
its search takes five times as long or more. In the tests it is an independent witness, for the
expressions that both understand alike.
"""

from __future__ import annotations

from .expression import CronExpression

__all__ = ["CronExpression"]
