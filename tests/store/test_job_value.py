"""A job's arguments are read when somebody asks for them, and no one sees a difference."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime

import pytest

from flask_recurring._store.job_value import new
from flask_recurring._store.records import NewJob
from flask_recurring.errors import ArgumentError
from flask_recurring.job import Job

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def made(arguments: str = '[[1],{"b":[2]}]') -> Job:
    return new(NewJob("work", arguments), 7, START, START)


def plain() -> Job:
    """The same job, made with its arguments."""
    return Job(**{field.name: getattr(made(), field.name) for field in fields(Job)})


def test_arguments_are_read_when_they_are_asked_for() -> None:
    job = made()
    assert job.args == (1,)
    assert job.kwargs == {"b": [2]}
    assert job.kwargs is job.kwargs


def test_arguments_that_nobody_asks_for_are_not_read() -> None:
    job = made("no arguments")
    assert job.task == "work"
    with pytest.raises(ArgumentError, match="not of the form"):
        _ = job.args


def test_it_is_a_value_like_any_other() -> None:
    assert made() == made() == plain()
    assert made() != made("[[2],{}]")
    assert repr(made()) == repr(plain())
    assert asdict(made()) == asdict(plain())
    assert list(asdict(made())) == [field.name for field in fields(Job)]


def test_it_can_be_copied_changed_and_sent() -> None:
    assert replace(made(), queue="other").kwargs == {"b": [2]}
    assert copy.copy(made()) == copy.deepcopy(made()) == made()
    assert pickle.loads(pickle.dumps(made())) == made()


def test_it_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="'Job' object has no attribute 'other'"):
        made().other  # type: ignore[attr-defined]  # noqa: B018
