"""The dashboard's files: where templates and assets lie, and how long a browser may keep them.

In a checkout both folders stand beside the package, in a wheel inside it. An asset's address
changes with its content, so a browser may keep what it once fetched for ever: our own files carry
a hash of their content, the vendored ones their version in the name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
VENDOR = "vendor"
FOREVER = "public, max-age=31536000, immutable"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


def folder(name: str, holds: str) -> Path:
    """The folder ``name`` that has ``holds`` in it: the package's own, else the checkout's.

    Raises ``FileNotFoundError`` if the installation lacks it.
    """
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / name / holds).exists():
            return parent / name
    raise FileNotFoundError(
        f"the dashboard's {name}/{holds} is neither in {PACKAGE} nor beside it; "
        "install flask-recurring again"
    )


@cache
def templates() -> Path:
    """The folder that holds ``recurring/``, with one template for each page."""
    return folder("templates", "recurring")


@cache
def static() -> Path:
    """The folder of stylesheet, scripts, images and ``vendor/``."""
    return folder("static", "recurring.css")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that the dashboard serves."""

    name: str
    path: Path

    @property
    def version(self) -> str:
        """What stands for the content in the address."""
        if self.name.startswith(f"{VENDOR}/"):
            return VENDOR
        status = self.path.stat()
        return _digest(self.path, status.st_mtime_ns, status.st_size)

    @property
    def place(self) -> str:
        """The name below ``version`` in the address."""
        return self.name.removeprefix(f"{VENDOR}/")

    @property
    def mimetype(self) -> str:
        return TYPES[self.path.suffix]


@cache
def all_assets() -> dict[str, Asset]:
    """Every file that may be served, by name; nothing else can be asked for."""
    root = static()
    found = (path for path in root.rglob("*") if path.suffix in TYPES)
    names = {path.relative_to(root).as_posix(): path for path in found}
    return {name: Asset(name, path) for name, path in names.items()}


def find(version: str, place: str) -> Asset | None:
    """The asset at an address, whatever version the address names; None if there is none."""
    return all_assets().get(f"{VENDOR}/{place}" if version == VENDOR else place)


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
