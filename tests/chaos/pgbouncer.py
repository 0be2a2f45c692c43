"""PgBouncer before a PostgreSQL server, in transaction mode."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from sqlalchemy import make_url

from tests.processes import Process, free_port
from tests.requirement import missing

SETTINGS = """
[databases]
* = host={host} port={port} user={user}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 8
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
server_login_retry = 1
"""


class PgBouncer(Process):
    """A pooler in transaction mode: each transaction may go to another backend.

    :param url: a database on the server behind it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            missing("there is no pgbouncer on this machine")
        target = make_url(url)
        self.port = free_port()
        self._target = target
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            SETTINGS.format(
                host=target.host,
                port=target.port or 5432,
                user=target.username,
                listen_port=self.port,
            )
        )
        super().__init__([program, *unprivileged(settings), settings], log=folder / "pgbouncer.log")

    @property
    def url(self) -> str:
        """The database's URL through the pooler."""
        url = self._target.set(host="127.0.0.1", port=self.port)
        return url.render_as_string(hide_password=False)


def unprivileged(settings: Path) -> list[str]:
    """Options with which it runs although this process is root's, which it refuses to be."""
    if os.geteuid() != 0:
        return []
    name = next((name for name in ("postgres", "nobody") if exists(name)), "nobody")
    for folder in settings.parents:
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    settings.chmod(0o644)
    return ["-u", name]


def exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
