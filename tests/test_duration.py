"""Lengths of time in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_recurring._checks import in_words


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (0, "0 seconds"),
        (0.1, "0.1 seconds"),
        (1, "1 second"),
        (90, "90 seconds"),
        (60, "1 minute"),
        (timedelta(hours=36), "36 hours"),
        (86_400.0, "1 day"),
        (timedelta(days=30), "30 days"),
        (timedelta(days=365), "1 year"),
        (timedelta(days=366), "366 days"),
        (315_360_000.0, "10 years"),
        (timedelta(days=3_653), "10 years"),
        (timedelta(days=36_500), "100 years"),
        (timedelta(days=1_000), "1,000 days"),
        (1_234_567, "1,234,567 seconds"),
    ],
)
def test_in_words(length: timedelta | float, words: str) -> None:
    assert in_words(length) == words
