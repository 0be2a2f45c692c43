from __future__ import annotations

import dataclasses
import math
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_recurring.errors import ConfigurationError
from flask_recurring.retry import LONGEST_DELAY, MOST_ATTEMPTS, RetryPolicy


class Fixed(random.Random):
    """Gives always the same random number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


LOWEST = Fixed(0.0)
HIGHEST = Fixed(math.nextafter(1.0, 0.0))

# What a decorator takes


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (None, RetryPolicy()),
        (True, RetryPolicy()),
        (False, RetryPolicy(attempts=0)),
        (0, RetryPolicy(attempts=0)),
        (1, RetryPolicy(attempts=1)),
        (MOST_ATTEMPTS, RetryPolicy(attempts=MOST_ATTEMPTS)),
        ([1, 10.5], RetryPolicy(attempts=2, delays=(1.0, 10.5))),
        ((timedelta(minutes=1), 0), RetryPolicy(attempts=2, delays=(60.0, 0.0))),
        (RetryPolicy(attempts=7, delays=(3,)), RetryPolicy(attempts=7, delays=(3.0,))),
    ],
)
def test_what_retry_means(value: Any, policy: RetryPolicy) -> None:
    assert RetryPolicy.of(value) == policy


def test_the_default() -> None:
    assert RetryPolicy().attempts == 10
    assert RetryPolicy().delays is None


def test_a_policy_stays_itself() -> None:
    policy = RetryPolicy(attempts=3)
    assert RetryPolicy.of(policy) is policy
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.attempts = 4  # type: ignore[misc]
    assert hash(policy) == hash(RetryPolicy(attempts=3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, r"^retry: attempts can't be -1; it must be a whole number from 0 to 10,000$"),
        (MOST_ATTEMPTS + 1, r"^retry: attempts can't be 10001"),
        (1.5, r"^retry can't be 1.5; it must be a number of retries, True, False, a sequence"),
        ("3", r"^retry can't be '3'"),
        (b"3", r"^retry can't be b'3'"),
        ({1, 2}, r"^retry can't be \{1, 2\}"),
        ([], r"^retry: delays can't be \(\); it must be one or more waits"),
        (
            [-1],
            r"^retry: a wait can't be -1; .* number of seconds, from 0 seconds to 1 year",
        ),
        ([1, math.nan], r"^retry: a wait can't be nan"),
        ([math.inf], r"^retry: a wait can't be inf"),
        ([True], r"^retry: a wait can't be True"),
        (["1"], r"^retry: a wait can't be '1'"),
        ([10**400], r"^retry: a wait can't be 1000"),
        ([timedelta(seconds=-1)], r"^retry: a wait can't be datetime.timedelta"),
        ([LONGEST_DELAY + 1], r"^retry: a wait can't be 31536001.0"),
    ],
)
def test_what_retry_must_not_be(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RetryPolicy.of(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": True}, r"attempts can't be True"),
        ({"attempts": None}, r"attempts can't be None"),
        ({"attempts": 2.0}, r"attempts can't be 2.0"),
        ({"delays": ()}, r"delays can't be \(\)"),
        ({"delays": 5}, r"delays can't be 5"),
        ({"delays": "55"}, r"delays can't be '55'"),
    ],
)
def test_a_policy_checks_its_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^retry: {message}"):
        RetryPolicy(**options)


# Waits


@given(st.integers(1, 70), st.randoms(use_true_random=False))
def test_the_wait_lies_within_its_bounds(n: int, rng: random.Random) -> None:
    wait = RetryPolicy().delay(n, rng)
    assert type(wait) is float
    assert wait == round(wait)
    assert (n - 1) ** 4 + 15 <= wait <= (n - 1) ** 4 + 15 + 30 * n


@pytest.mark.parametrize(
    ("n", "lowest", "highest"),
    [(1, 15, 45), (2, 16, 76), (3, 31, 121), (5, 271, 421), (10, 6576, 6876)],
)
def test_the_bounds_are_reached(n: int, lowest: float, highest: float) -> None:
    assert RetryPolicy().delay(n, LOWEST) == lowest
    assert RetryPolicy().delay(n, HIGHEST) == highest


def test_waits_spread_evenly() -> None:
    rng = random.Random(1)
    waits = [RetryPolicy().delay(2, rng) for _ in range(20_000)]
    assert set(waits) == set(range(16, 77))
    assert sum(waits) / len(waits) == pytest.approx(46, abs=0.5)
    # Each of the six tenths of the span has about its share.
    shares = [sum(16 + 10 * k <= wait < 26 + 10 * k for wait in waits) for k in range(6)]
    assert min(shares) > 0.9 * 20_000 / 6
    assert max(shares) < 1.1 * 20_000 / 6


def test_the_same_seed_gives_the_same_waits() -> None:
    one, two = ([RetryPolicy().delay(n, random.Random(5)) for n in range(1, 11)] for _ in range(2))
    assert one == two


def test_waits_never_outlast_a_year() -> None:
    assert RetryPolicy(attempts=MOST_ATTEMPTS).delay(MOST_ATTEMPTS, LOWEST) == LONGEST_DELAY


def test_given_waits_are_kept_and_the_last_repeats() -> None:
    policy = RetryPolicy(attempts=5, delays=(0, 10, 60.5))
    assert [policy.delay(n, HIGHEST) for n in range(1, 6)] == [0.0, 10.0, 60.5, 60.5, 60.5]


@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(delays=(1,))])
@pytest.mark.parametrize("n", [0, -1])
def test_retries_are_counted_from_one(policy: RetryPolicy, n: int) -> None:
    with pytest.raises(ValueError, match=f"counted from 1, not {n}"):
        policy.delay(n, LOWEST)


# Storing


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (RetryPolicy(), '{"attempts":10,"delays":null}'),
        (RetryPolicy(attempts=0), '{"attempts":0,"delays":null}'),
        (RetryPolicy.of([1, 0.5]), '{"attempts":2,"delays":[1.0,0.5]}'),
    ],
)
def test_a_policy_comes_back(policy: RetryPolicy, text: str) -> None:
    assert policy.to_json() == text
    assert RetryPolicy.from_json(text) == policy


@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", '{"attempts":-1}', '{"attempts":"3"}', '{"delays":[]}', '{"delays":[-1]}', "{"],
)
def test_what_is_no_stored_policy(text: str) -> None:
    with pytest.raises(ConfigurationError):
        RetryPolicy.from_json(text)
