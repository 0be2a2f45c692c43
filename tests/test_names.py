from __future__ import annotations

from typing import Any

import pytest

from flask_recurring._checks import LONGEST_ID, validate_id, validate_queue
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
