"""Hosts whose clock is wrong."""

from __future__ import annotations

from pathlib import Path

LIBRARY = "libfaketime.so.1"


def wrong_clock(offset: str) -> dict[str, str | None] | None:
    """The environment of a process whose host's clock is off by so much, such as ``-1h``.

    None where there is no libfaketime. The monotonic clock stays right.
    """
    places = [*Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"), Path(f"/usr/lib/faketime/{LIBRARY}")]
    library = next((place for place in places if place.is_file()), None)
    if library is None:
        return None
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
