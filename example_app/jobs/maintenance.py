"""The job that keeps the database small: deletes old jobs and what they wrote.

The settings ``RECURRING_RETENTION_…`` do the same by themselves, by age alone. A job of your own
can decide by more, and deletes at a time of your choosing.
"""

from __future__ import annotations

from datetime import timedelta

from flask_recurring import JobContext, JobState

from ..scheduler import scheduler


@scheduler.recurring("maintenance", "*/10 * * * *", kwargs={"keep": timedelta(hours=6)})
def delete_old_jobs(context: JobContext, keep: timedelta) -> int:
    """Delete jobs that finished longer ago, with their consoles; failed ones ten times later."""
    done = scheduler.purge(keep, [JobState.SUCCEEDED, JobState.DELETED])
    failed = scheduler.purge(10 * keep, JobState.FAILED)
    context.write_line(f"Deleted {done} jobs that were done for {keep}")
    context.write_line(f"Deleted {failed} jobs that failed {10 * keep} ago")
    return done + failed
