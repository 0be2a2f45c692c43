"""What the completer writes at once, and what becomes of it when the database refuses a part.

A value that is refused once is refused always: text that the database's encoding can't hold, or
what a constraint of an operator's forbids. A batch is then halved until what is refused stands
alone. That is given up, with the reason in its place; everything beside it is written as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from .._log.logger import logger
from .._store import ConsoleRow, Tally, describe
from .._store.completion import Failure, Success
from .._store.console import LARGEST
from .._store.records import Accepted

T = TypeVar("T")

NOT_KEPT = "(not kept: "


class Batch(NamedTuple):
    """Ends of runs, console rows and counts, to be written all or nothing."""

    successes: Sequence[Success]
    failures: Sequence[Failure]
    entries: Sequence[ConsoleRow]
    tallies: Sequence[Tally]

    def parts(self) -> list[Batch]:
        """The same as several batches, in their order; one if it can't be parted."""
        # Lines before the ends: whoever sees the end of a run sees all that it wrote.
        entries = [NOTHING._replace(entries=some) for some in _halves(self.entries)]
        successes = [NOTHING._replace(successes=some) for some in _halves(self.successes)]
        failures = [NOTHING._replace(failures=some) for some in _halves(self.failures)]
        tallies = [NOTHING._replace(tallies=some) for some in _halves(self.tallies)]
        return entries + successes + failures + tallies


NOTHING = Batch((), (), (), ())


def write_apart(
    batch: Batch, refusal: Exception, write: Callable[[Batch], Accepted | Exception]
) -> Accepted:
    """Write a batch of which something was refused.

    :param write: writes a batch, or returns the error by which a value in it is refused.
    """
    parts = batch.parts()
    if len(parts) == 1:
        instead = _given_up(batch, refusal)
        # What can't be written in any form counts as written, so that it is not tried for ever.
        parts = [] if instead is None else [instead]
    successes, failures = 0, set[int]()
    if not parts:
        return Accepted(len(batch.successes), {run.id for run in batch.failures})
    for part in parts:
        answer = write(part)
        if isinstance(answer, Exception):
            answer = write_apart(part, answer, write)
        successes += answer.successes
        failures |= answer.failures
    return Accepted(successes, failures)


def _given_up(batch: Batch, refusal: Exception) -> Batch | None:
    """The one thing in the batch with the reason in its place; None if there is no more to give."""
    reason = describe(refusal).encode("ascii", "backslashreplace").decode()
    for run in batch.successes:
        logger.error("Job %d (%s): the result is not kept: %s", run.id, run.task, reason)
        if run.result is None:
            return None
        # Numbered after everything that the run can have written.
        line = f"The result was not kept: {reason}"
        note = ConsoleRow(run.id, run.claim, LARGEST, run.finished, line, "yellow", "WARNING", None)
        return Batch([run._replace(result=None)], (), [note], ())
    for failed in batch.failures:
        logger.error("Job %d (%s): the error is not kept: %s", failed.id, failed.task, reason)
        if failed.message.startswith(NOT_KEPT):
            return None
        kind = failed.error_type if failed.error_type.isascii() else "Error"
        message = f"{NOT_KEPT}{reason})"
        return NOTHING._replace(
            failures=[failed._replace(error_type=kind, message=message, traceback=None)]
        )
    for entry in batch.entries:
        logger.error("Job %d: lines of its console are not kept: %s", entry.job_id, reason)
        if entry.text.startswith(NOT_KEPT):
            return None
        text = f"{NOT_KEPT}{reason})"
        return NOTHING._replace(entries=[entry._replace(text=text, more=None, level=None)])
    for tally in batch.tallies:
        logger.error("The counts of %s in this second are not kept: %s", tally.task, reason)
    return None


def _halves(some: Sequence[T]) -> list[Sequence[T]]:
    middle = len(some) // 2
    return [half for half in (some[:middle], some[middle:]) if half]
