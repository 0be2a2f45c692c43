"""What can be done to jobs, recurring jobs and queues, by somebody.

The scheduler's calls, the command line and the pages all come here. The store does what they ask
for and writes it to the audit in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from .._checks import validate_queue
from .._recurring.definition import Definition
from .._recurring.options import checked, kept_names
from .._store import Recurring
from .._store.jobs import Jobs
from ..errors import ConfigurationError
from ..job import FINISHED, Job, JobState
from .binding import Binding


class Commands:
    """The commands of one actor in one application.

    :param actor: who acts, for the audit.
    """

    def __init__(self, binding: Binding, actor: str) -> None:
        self._binding = binding
        self._actor = actor

    # -- jobs

    def requeue(self, ids: Iterable[int]) -> list[int]:
        """Let finished or scheduled jobs run now; returns the ids of those that will."""
        return self._jobs.requeue_all(ids, self._actor)

    def delete(self, ids: Iterable[int]) -> list[int]:
        """Mark jobs Deleted, or ask them to stop; returns the ids of those that weren't yet."""
        return self._jobs.delete_all(ids, self._actor)

    def purge(self, older_than: timedelta, states: JobState | Iterable[JobState] = FINISHED) -> int:
        """Delete jobs that finished longer ago, with their attempts and consoles; returns how many.

        Raises ``ConfigurationError`` for an age that is negative or a state that isn't final.
        """
        if not isinstance(older_than, timedelta) or older_than < timedelta(0):
            raise ConfigurationError(
                f"older_than must be a timedelta that is not negative, not {older_than!r}"
            )
        wanted = [states] if isinstance(states, str) else list(states)
        try:
            chosen = [JobState(state) for state in wanted]
        except ValueError as error:
            raise ConfigurationError(f"states: {error}") from None
        unfinished = [state.value for state in chosen if not state.finished]
        if unfinished:
            raise ConfigurationError(
                f"only finished jobs can be purged, not those that are {', '.join(unfinished)}"
            )
        return self._jobs.purge(older_than, chosen, self._actor)

    # -- recurring jobs

    def save(self, definition: Definition) -> None:
        """Create a recurring job, or change the one with its id."""
        self._recurring.save([definition], self._actor)

    def remove(self, id: str) -> None:
        """Delete a recurring job; its jobs stay."""
        self._recurring.remove(id, self._actor)

    def trigger(self, id: str) -> Job:
        """Run a recurring job now, beside its schedule, and return the new job."""
        return self._recurring.trigger(id, self._actor)

    def pause(self, id: str) -> None:
        """Let a recurring job have no due times until it is resumed."""
        self._recurring.pause(id, self._actor)

    def resume(self, id: str) -> None:
        """Let a paused recurring job go on from where it was paused."""
        self._recurring.resume(id, self._actor)

    def override(self, id: str, options: Mapping[str, Any]) -> None:
        """Let these options count, whatever the code declares."""
        self.write_over(id, checked(options))

    def write_over(self, id: str, values: dict[str, Any], dropped: Collection[str] = ()) -> None:
        """The same with values that were checked already: see ``options.checked``.

        :param dropped: names of options of which the code's value is to count again.
        """
        self._recurring.override(id, values, dropped, actor=self._actor)

    def reset(self, id: str, options: Iterable[str] | None = None) -> None:
        """Let the code's values of these options, or of all, count again."""
        names = None if options is None else kept_names(options)
        self._recurring.reset(id, names, actor=self._actor)

    # -- queues

    def pause_queue(self, name: str) -> None:
        """Let servers take nothing more from a queue."""
        self._binding.ready_store().queues.pause(validate_queue(name), self._actor)

    def resume_queue(self, name: str) -> None:
        """Let servers take from the queue again."""
        self._binding.ready_store().queues.resume(validate_queue(name), self._actor)

    @property
    def _jobs(self) -> Jobs:
        return self._binding.ready_store().jobs

    @property
    def _recurring(self) -> Recurring:
        return self._binding.recurring()
