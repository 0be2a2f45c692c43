"""The table of what may happen to a job: what each entry says fits together."""

from __future__ import annotations

import pytest

from flask_recurring._store.schema import Tables
from flask_recurring._store.states import LISTED
from flask_recurring._store.transitions import ENDS, OVER, RUNNING, Event, by_event, choose
from flask_recurring.job import JobState


@pytest.mark.parametrize("event", Event, ids=lambda event: event.key)
def test_an_event_leads_to_what_the_database_holds(event: Event) -> None:
    assert JobState.SCHEDULED not in (event.target, *event.sources)
    assert event.columns["state"] == f"'{event.target.value}'"


@pytest.mark.parametrize("event", [one for one in Event if one.sources], ids=lambda one: one.key)
def test_a_job_has_an_end_when_it_is_over(event: Event) -> None:
    if event.target in OVER:
        assert event.columns["finished_at"] != "NULL"
    elif set(event.sources) & set(OVER):
        assert event.columns["finished_at"] == "NULL"


@pytest.mark.parametrize("event", Event, ids=lambda event: event.key)
def test_a_job_that_no_longer_runs_has_no_server(event: Event) -> None:
    if event.sources == RUNNING and event.target is not JobState.PROCESSING:
        assert event.columns["server_id"] == "NULL"


def test_events_have_keys_of_their_own() -> None:
    assert len({event.key for event in Event}) == len(Event)


def test_every_state_is_reached_and_listed() -> None:
    reached = {event.target for event in Event} | {JobState.SCHEDULED}
    assert reached == set(JobState) == LISTED.keys()


def test_a_run_that_was_asked_to_stop_leads_to_deleted() -> None:
    columns = Event.RETRIED.unless_stopped
    assert columns["state"] == "CASE WHEN cancel_requested THEN 'Deleted' ELSE 'Enqueued' END"
    assert columns["error"] == Event.RETRIED.columns["error"]


def test_a_column_that_one_side_sets_stays_otherwise() -> None:
    assert choose("x", {"a": "1", "b": "2"}, {"a": "1"}) == {
        "a": "1",
        "b": "CASE WHEN x THEN 2 ELSE b END",
    }


def test_what_most_ends_of_runs_set_is_said_once() -> None:
    columns = by_event("e", ENDS)
    assert columns["server_id"] == "NULL"
    assert columns["attempt"] == "CASE e WHEN 'released' THEN attempt - 1 ELSE attempt END"


def test_partial_indexes_keep_their_conditions() -> None:
    conditions = {
        str(index.name): str(index.dialect_options["postgresql"]["where"])
        for index in Tables("postgresql", "recurring").job.indexes
    }
    assert conditions["job_fetch"] == "state = 'Enqueued'"
    assert conditions["job_awaiting"] == "state = 'Awaiting'"
