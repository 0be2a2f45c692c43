"""What an action did, told once at the page's edge.

A plain form is answered by a redirect, and the notice travels in its address as a code. Only
words of our own come of that code, so nobody can make a page say something with a link.
"""

from __future__ import annotations

from dataclasses import dataclass

RECURRING = {
    "triggered": "Triggered.",
    "paused": "Paused.",
    "resumed": "Resumed.",
    "removed": "Removed.",
    "saved": "Saved. It stays through deployments until it is reset.",
    "reset": "Reset: what the code declares counts again.",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence, and the job that it speaks of."""

    text: str
    job_id: int | None = None
    good: bool = True


def of_recurring(told: str, job_id: int | None) -> Notice | None:
    """The notice of an action on a recurring job; None for a code that isn't ours."""
    text = RECURRING.get(told)
    return None if text is None else Notice(text, job_id)


def of_jobs(told: str) -> Notice | None:
    """The notice of an action on jobs, from ``verb-done-named``; None for any other code."""
    verb, _, figures = told.partition("-")
    done, _, named = figures.partition("-")
    if verb not in ("requeue", "delete") or not _is_count(done) or not _is_count(named):
        return None
    if int(named) == 0:
        return Notice("No job was selected.", good=False)
    if int(done) == 0:
        return Notice("Nothing changed: gone, or in that state already.", good=False)
    jobs = "1 job" if int(done) == 1 else f"{int(done):,} jobs"
    return Notice(f"{jobs} put back in the queue." if verb == "requeue" else f"{jobs} deleted.")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 7
