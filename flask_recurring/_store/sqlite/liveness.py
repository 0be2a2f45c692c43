"""A server's sign of life: a lock on a small file beside the database.

The operating system lets go of the lock when the process ends, however it ends, and not before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import sqlalchemy as sa

from .connection import raw

try:
    import fcntl
except ImportError:  # Windows: there, a server is dead once it was silent for long enough
    fcntl = None  # type: ignore[assignment]


class LockFile:
    """The lock of this process."""

    def __init__(self) -> None:
        self._held: tuple[Path, int] | None = None

    def hold(self, path: Path) -> str | None:
        """Lock this file, and no other any more. None where the system has no such locks."""
        if fcntl is None:
            return None
        if self._held is None or self._held[0] != path:
            self.release()
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held = (path, descriptor)
        return str(path)

    def release(self, unlink: bool = True) -> None:
        """Let go of the file, and remove it unless it is the parent's."""
        if self._held is not None:
            path, descriptor = self._held
            self._held = None
            if unlink:
                path.unlink(missing_ok=True)
            os.close(descriptor)


def unlocked(path: Path) -> bool:
    """True if no process holds the lock on the file; removes a file that nobody holds."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # not ours to open: that proves nothing
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


class Liveness:
    """Proves that this process lives, and looks after others. See ``Driver``."""

    _prefix: str

    def __init__(self) -> None:
        self._lock_file = LockFile()

    def presence(
        self, connection: sa.Connection, server_id: int, beside: Iterable[str] = ()
    ) -> str | None:
        file = raw(connection).execute("PRAGMA database_list").fetchone()[2]
        # With the prefix of the tables: there may be several sets of them in one file.
        return self._lock_file.hold(Path(f"{file}-{self._prefix}server-{server_id}"))

    def gone(self, connection: sa.Connection, presence: Sequence[str]) -> set[str]:
        return {given for given in presence if unlocked(Path(given))}

    def end_liveness(self) -> None:
        self._lock_file.release()
