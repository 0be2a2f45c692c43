"""Real processes for tests: started, watched through their output, stopped by real signals."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.waiting import wait_for

_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment, and never the same twice.

    It lies below those that the system hands out itself, for a connection or for port 0: one of
    them could be taken between this answer and the moment when somebody listens.
    """
    for port in random.SystemRandom().sample(range(10_000, 30_000), 1_000):
        if port in _given:
            continue
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise AssertionError("no free port between 10000 and 30000")


def port_answers(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


class Process:
    """A program that runs from the moment this is made, its output in a file.

    It leads a process group of its own, so that the keyboard's Ctrl-C does not reach it and
    `close` finds its children too. As a context manager it is closed at the end.

    :param command: the program and its arguments, for example
        ``[sys.executable, "-m", "flask", "--app", "probe", "run", "--port", str(port)]``.
    :param log: file that takes standard output and standard error.
    :param env: variables set on top of this process's own environment; None takes one away.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        changes = {"PYTHONUNBUFFERED": "1", **(env or {})}
        merged = {**os.environ, **changes}
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in merged.items() if value is not None},
                cwd=cwd,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """All that it has printed until now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for_port(self, port: int, timeout: float = 20.0) -> None:
        """Wait until it (or anybody) accepts connections on this port of 127.0.0.1."""

        def answers() -> bool:
            self._check_alive(f"before port {port} answered")
            return port_answers(port)

        wait_for(answers, timeout, lambda: self._report(f"port {port} answering"))

    def wait_for_line(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait until a line of its output matches the regular expression, and return the match."""
        wanted = re.compile(pattern, re.MULTILINE)

        def found() -> re.Match[str] | None:
            # Asked before reading: what it printed last must still count when it has ended.
            ended = self.exit_code is not None
            match = wanted.search(self.output())
            if match is None and ended:
                self._check_alive(f"before it printed {pattern!r}")
            return match

        match = wait_for(found, timeout, lambda: self._report(f"output {pattern!r}"))
        assert match is not None
        return match

    def wait(self, timeout: float = 20.0) -> int:
        """Wait until it ends by itself, and return its exit code."""
        wait_for(
            lambda: self.exit_code is not None, timeout, lambda: self._report("the process ending")
        )
        code = self.exit_code
        assert code is not None
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; its children get none."""
        self._popen.send_signal(number)

    def stop(self, timeout: float = 20.0) -> int:
        """Send SIGTERM, wait until it has ended in order, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL); its children are left alone."""
        self._popen.kill()
        self._popen.wait()

    def close(self) -> None:
        """End it and every child still in its process group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def _check_alive(self, when: str) -> None:
        code = self.exit_code
        if code is not None:
            raise AssertionError(self._report(f"ended with exit code {code} {when}"))

    def _report(self, what: str) -> str:
        return f"{what}; command {self.command}; its output:\n{self.output()[-8000:]}\n"


class Spawn(Protocol):
    """Starts a process that ends with the test, as the fixture ``spawn`` does."""

    def __call__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Process: ...
