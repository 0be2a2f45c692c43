"""The checks of what users give: names, ids and lengths of time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_recurring._checks import LONGEST_ID, in_words, validate_id, validate_queue
from flask_recurring.errors import ConfigurationError


@pytest.mark.parametrize("name", ["default", "a", "mail-2", "_x", "0", "x" * 64])
def test_names_of_queues(name: str) -> None:
    assert validate_queue(name) == name


@pytest.mark.parametrize(
    "name", ["", "*", "Mail", "a b", "a.b", "a\n", "ä", "x" * 65, None, 5, b"default", ["default"]]
)
def test_what_is_no_queues_name(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^queue .* is not a queue's name: use 1 to 64"):
        validate_queue(name)


@pytest.mark.parametrize(
    "value",
    ["my-job", "a", "reports/monthly", "Grüße an alle", "日次", "x" * LONGEST_ID, "a\u200db"],
)
def test_ids(value: str) -> None:
    assert validate_id(value) == value


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("", "is empty"),
        ("x" * (LONGEST_ID + 1), "has 201 characters"),
        (" a", "begins or ends with white space"),
        ("a\n", "begins or ends with white space"),
        ("\u00a0a", "begins or ends with white space"),
        ("a\0b", "holds a control character"),
        ("a\nb", "holds a control character"),
        ("a\x7fb", "holds a control character"),
        ("a\u2028b", "holds a control character"),
        ("a\udc80b", "holds a control character"),
        (None, "is no text"),
        (5, "is no text"),
        (b"a", "is no text"),
    ],
)
def test_what_is_no_id(value: Any, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^task name .*{wrong}: use 1 to 200 printable"):
        validate_id(value, "task name")


def test_a_message_stays_short() -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate_id("x" * 100_000)
    assert len(str(caught.value)) < 250


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
