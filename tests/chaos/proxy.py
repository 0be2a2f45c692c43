"""A TCP proxy before PostgreSQL that breaks connections as networks do.

It can let a connection stand without a byte coming through (*swallow*). And it can let a statement
come to its end, its commit included, and cut the connection before the reply arrives (a *trap*).

Give clients a URL without encryption (`Proxy.url`), so that the proxy can read the replies.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

CHUNK = 65536

COMPLETE, READY, COPY = b"CZG"
"""Messages of PostgreSQL: a statement is complete (with its tag); all of a request is done; it is
the client's turn to send rows."""


class Trap:
    """What happens in place of the next reply to a statement whose tag matches.

    :param within: only where a transaction is open after the statement.
    :param silent: the connection goes silent then; else it is cut.
    """

    def __init__(self, tag: str, *, within: bool = False, silent: bool = False) -> None:
        self.sprung = threading.Event()
        """Set once it has happened."""
        self.silent = silent
        self._within = within
        self._tag = re.compile(tag.encode())
        self._lock = threading.Lock()

    def wants(self, tags: list[bytes], status: bytes) -> bool:
        """Whether this reply is the one. Only one ever is.

        :param status: of the transaction, as PostgreSQL tells it after each request.
        """
        if self._within and status != b"T":
            return False
        if not any(self._tag.fullmatch(tag) for tag in tags):
            return False
        with self._lock:
            if self.sprung.is_set():
                return False
            self.sprung.set()
            return True


class Connection:
    """One client's connection, through the proxy to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client_port: int = server.getsockname()[1]
        """The port that the server sees it come from: ``client_port`` in pg_stat_activity."""
        self.swallowing = False
        self.trap: Trap | None = None
        self._client = client
        self._server = server
        self._buffer = bytearray()
        """What the server sent of a message that isn't complete yet."""
        self._held = bytearray()
        """The part of a reply that waits for its end."""
        self._tags: list[bytes] = []
        self._begun = False
        """Whether the client has been let in."""
        self.threads = [
            threading.Thread(target=self._pump, args=(source, goal, look), daemon=True)
            for source, goal, look in (
                (client, server, bytes),
                (server, client, self._look),
            )
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Cut it, on both sides at once."""
        for peer in (self._client, self._server):
            with contextlib.suppress(OSError):
                # So that the peer hears of it by a reset, not by an orderly end.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close it, and wait for its threads."""
        self.close()
        for thread in self.threads:
            thread.join(10)
        self._client.close()
        self._server.close()

    def _pump(
        self, source: socket.socket, goal: socket.socket, look: Callable[[bytes], bytes]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if not self.swallowing and (passed := look(data)):
                    goal.sendall(passed)
        if self.swallowing:
            # Whoever vanished without a word says no last word either.
            return
        for peer in (goal, source):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _look(self, data: bytes) -> bytes:
        """What of the server's data is to be passed on now."""
        trap = self.trap
        held = trap is not None and self._begun and not trap.sprung.is_set()
        passed = bytearray()
        self._buffer += data
        while len(self._buffer) >= 5:
            (length,) = struct.unpack_from("!i", self._buffer, 1)
            if len(self._buffer) < length + 1:
                break
            message = bytes(self._buffer[: length + 1])
            del self._buffer[: length + 1]
            self._held += message
            if message[0] == COMPLETE:
                self._tags.append(message[5:-1])
            if message[0] in (READY, COPY) or not held:
                if trap is not None and message[0] == READY and trap.wants(self._tags, message[5:]):
                    self.swallowing = True
                    if not trap.silent:
                        self.close()
                    return b""
                passed += self._held
                self._held.clear()
            if message[0] == READY:
                self._begun = True
                self._tags.clear()
        return bytes(passed)


class Proxy:
    """Listens on a port of its own and passes on what comes, until told otherwise."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        assert self._target.host is not None
        self._address = (self._target.host, self._target.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[Connection] = []
        self._swallow_new = False
        self._trap: Trap | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._connections:
            connection.release()

    @property
    def url(self) -> str:
        """The database's URL through the proxy."""
        url = self._target.set(host="127.0.0.1", port=self.port)
        plain = url.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        return plain.render_as_string(hide_password=False)

    def by_port(self) -> dict[int, Connection]:
        """The connections by the port that the server sees them come from."""
        return {connection.client_port: connection for connection in self._connections}

    def swallow(self, swallowing: bool = True) -> None:
        """Let nothing through any more, on any connection, old or new; or end that for new ones.

        What was swallowed is gone, so the old ones stay as they are.
        """
        self._swallow_new = swallowing
        if swallowing:
            for connection in self._connections:
                connection.swallowing = True

    def set_trap(self, trap: Trap) -> Trap:
        """Set a trap on all connections, old and new."""
        self._trap = trap
        for connection in self._connections:
            connection.trap = trap
        return trap

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._address, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for peer in (client, server):
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client, server)
            connection.swallowing = self._swallow_new
            connection.trap = self._trap
            self._connections.append(connection)
