"""Cron expressions, as Hangfire's users know them.

The model
---------

An expression has five fields (minutes, hours, days of month, months, days of week), six with the
seconds first, or is a macro such as ``@hourly``. A moment matches when *all* fields match: day of
month *and* day of week, where crond means "or".

::

    text ──► field, days      each field's text becomes a set of numbers or a rule (LW, FRI#2)
             schedule         all fields together; the next match on a clock without time zone
             occurrence       that match as a moment in a zone whose clock may be set
             expression       the public face: CronExpression
             words            the schedule in English

The search is our own. The croniter package, the obvious choice, reads another language (a seventh
field, ``R``; no ``LW``, ``L-3`` or ``5L``), goes by other rules where a clock is set, and takes
five times as long or more. It stands as an independent witness in the tests, for the fields that
both understand.
"""

from __future__ import annotations

from .expression import CronExpression

__all__ = ["CronExpression"]
