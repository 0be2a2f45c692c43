"""What happens when a test needs something that this machine does not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the running test for ``reason``, or fail it where ``RECURRING_TEST_REQUIRE=1`` says that
    everything must be there."""
    if os.environ.get("RECURRING_TEST_REQUIRE") == "1":
        pytest.fail(f"{reason} (and RECURRING_TEST_REQUIRE=1 forbids to skip)", pytrace=False)
    pytest.skip(reason)
