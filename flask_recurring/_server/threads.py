"""The threads of a server: none of them ends by an error, and one that died is replaced.

A loop that raises is entered again, and that is reported. A thread can die all the same, by an
exception that reaches it just while it deals with another one; a server that went on without it
would claim jobs that nobody runs, or write down no ends. So the supervisor looks after them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .._log.logger import logger

PAUSE = 0.1
"""Seconds before a loop that raised is entered again."""


def guarded(name: str, loop: Callable[[], None]) -> None:
    """Call the loop until it returns, whatever it raises."""
    while True:
        try:
            loop()
            return
        except BaseException as error:
            kind = type(error).__name__
            logger.error("The %s broke off by %s. It goes on.", name, kind, exc_info=error)
            time.sleep(PAUSE)


class _Post:
    """A loop that is to go on until it returns, and the thread that has it now."""

    def __init__(self, name: str, loop: Callable[[], None]) -> None:
        self.name = name
        self.over = False
        self._loop = loop
        self.man()

    def man(self) -> None:
        """Give it a new thread."""
        self.thread = threading.Thread(target=self._run, name=f"recurring-{self.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        guarded(self.name, self._loop)
        self.over = True


class Threads:
    """Starts threads, and keeps them going."""

    def __init__(self) -> None:
        self._posts: dict[str, _Post] = {}

    def start(self, name: str, loop: Callable[[], None]) -> None:
        """Let a thread of this name call the loop, which goes on until it is told to end."""
        if name not in self._posts:
            self._posts[name] = _Post(name, loop)

    def replace_dead(self) -> None:
        """Put new threads in the place of those that died before their loop came to its end."""
        for post in self._posts.values():
            if not post.over and not post.thread.is_alive():
                logger.error("The thread of the %s died. There is a new one.", post.name)
                post.man()

    def join(self, name: str, timeout: float) -> bool:
        """Wait for the end of a thread; True if it has ended."""
        post = self._posts.get(name)
        if post is None:
            return True
        post.thread.join(timeout)
        return not post.thread.is_alive()
