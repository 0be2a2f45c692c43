"""The smallest recurring job."""

from __future__ import annotations

from flask_recurring import JobContext

from ..scheduler import scheduler


@scheduler.recurring("my-job", "*/5 * * * * *")
def my_job(context: JobContext) -> None:
    """Say something, twice."""
    context.write_line("Job started")
    # Like time.sleep, but it raises at once when the job is deleted or the server stops.
    context.wait(2)
    context.write_line("Job finished")
