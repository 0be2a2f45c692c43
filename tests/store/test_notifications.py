"""Hints: said in one process, heard in the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from flask_recurring._store import Notification, Store, Topic
from flask_recurring._store.postgresql.throttle import Throttle
from tests.store.conftest import OpenStore
from tests.store.samples import (
    definition,
    new_job,
    postgresql_only,
    sqlite_only,
    waiting_backends,
)
from tests.waiting import wait_for

ANY = Notification(Topic.ANY)

PATIENT = 10.0
"""Seconds to wait for what must come."""


class Ear:
    """Another process that listens."""

    def __init__(self, store: Store) -> None:
        self.driver = store.database.driver
        self.connection = store.database.open("listen")
        self.driver.listen(self.connection)

    def receive(self, timeout: float = PATIENT) -> set[Notification]:
        return set(self.driver.receive(self.connection, timeout))


@pytest.fixture
def ear(open_store: OpenStore, store: Store) -> Iterator[Ear]:
    ear = Ear(open_store())
    yield ear
    ear.connection.close()


# -- as text


@given(
    st.builds(
        Notification,
        st.sampled_from(Topic),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=64),
        st.integers(-32768, 32767),
    )
)
def test_a_hint_comes_back_from_its_text(notification: Notification) -> None:
    assert Notification.decode(notification.encode()) == notification


@pytest.mark.parametrize(
    "text", ["", " ", "job", "job 1", "job x mail", "mail 1 job", "JOB 1 mail", "\0", "job  mail"]
)
def test_what_cannot_be_read_may_mean_anything(text: str) -> None:
    assert Notification.decode(text) == ANY


# -- between processes


def test_silence(ear: Ear) -> None:
    moment = time.monotonic()
    assert ear.receive(0.1) == set()
    assert 0.09 <= time.monotonic() - moment < 5
    assert ear.receive(0) == set()


def test_a_job_is_heard_of(store: Store, ear: Ear) -> None:
    store.jobs.insert(new_job(queue="mail", priority=-3))
    wanted = {"postgresql": Notification(Topic.JOB, "mail", -3), "sqlite": ANY}
    assert ear.receive() == {wanted[store.database.driver.name]}
    assert ear.receive(0) == set()


def test_every_way_to_give_work_is_heard_of(store: Store, ear: Ear) -> None:
    store.recurring.save([definition()])
    assert ear.receive()
    job_id = store.recurring.trigger("nightly").id
    assert ear.receive()
    store.jobs.insert_many([new_job(queue="many"), new_job(key="k", queue="many")])
    assert ear.receive()
    store.jobs.delete(job_id)
    store.jobs.requeue(job_id)
    assert ear.receive()
    store.queues.pause("default")
    assert ear.receive()
    for change in (store.recurring.pause, store.recurring.resume, store.recurring.remove):
        change("nightly")
        assert ear.receive(), change


def test_what_was_rolled_back_is_not_heard_of(store: Store, engine: sa.Engine, ear: Ear) -> None:
    with engine.connect() as connection:
        store.jobs.write(connection, new_job())
        assert ear.receive(0) == set()
        connection.rollback()
    with pytest.raises(ZeroDivisionError):
        store.jobs.insert_many(new_job(delay=1 / (3 - number)) for number in range(5))
    assert ear.receive(0.1) == set()
    with engine.connect() as connection:
        store.jobs.write(connection, new_job())
        store.jobs.write(connection, new_job())
        assert ear.receive(0) == set()
        connection.commit()
    assert len(ear.receive()) == 1


def test_two_who_listen_in_one_process(store: Store, ear: Ear, open_store: OpenStore) -> None:
    one = open_store()
    first, second = Ear(one), Ear(one)
    for _ in range(2):
        store.jobs.insert(new_job(queue=f"q{_}"))
        assert first.receive()
        assert second.receive()
        assert first.receive(0) == set()
        assert second.receive(0) == set()
    first.connection.close()
    second.connection.close()


@sqlite_only
def test_what_this_connection_wrote_is_no_news_to_it(store: Store, ear: Ear) -> None:
    ear.driver.insert(ear.connection, new_job(), None)
    assert ear.receive(0.05) == set()


@postgresql_only
def test_hints_of_many_lanes_are_told_apart(store: Store, ear: Ear) -> None:
    wanted = {Notification(Topic.JOB, f"q{number}", number) for number in range(50)}
    store.jobs.insert_many(
        new_job(queue=notification.queue, priority=notification.priority) for notification in wanted
    )
    heard: set[Notification] = set()
    while heard != wanted:
        found = ear.receive()
        assert found
        heard |= found


@postgresql_only
def test_a_job_that_many_insert_at_once_is_hinted_at_once(store: Store, ear: Ear) -> None:
    for _ in range(200):
        store.jobs.insert(new_job())
    assert ear.receive() == {Notification(Topic.JOB, "default")}


@postgresql_only
def test_a_key_that_was_taken_keeps_no_hint_from_the_next_job(store: Store, ear: Ear) -> None:
    store.jobs.insert(new_job(key="k", delay=60))
    for _ in range(20):
        store.jobs.insert(new_job(key="k"))
        store.jobs.insert(new_job())
        assert ear.receive(PATIENT) == {Notification(Topic.JOB, "default")}
        # The next may be left out, so soon after this one, and is awaited.
        time.monotonic()
        wait_out(0.004)


def wait_out(seconds: float) -> None:
    """Let the time pass in which hints are left out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@postgresql_only
def test_a_hint_that_comes_during_another_statement_is_not_lost(store: Store, ear: Ear) -> None:
    for number in range(10):
        store.jobs.insert(new_job(queue=f"q{number}"))
        ear.driver.ping(ear.connection)
        assert ear.receive() == {Notification(Topic.JOB, f"q{number}")}


@postgresql_only
def test_strange_payloads_are_heard_as_anything(store: Store, ear: Ear) -> None:
    with store.database.connect() as connection:
        connection.execute(
            sa.select(sa.func.pg_notify("flask_recurring_flask_recurring", "garbage"))
        )
        connection.execute(sa.select(sa.func.pg_notify("flask_recurring_other", "job 1 mail")))
    assert ear.receive() == {ANY}
    assert ear.receive(0.05) == set()


# -- left out


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One notification of a lane is enough for a minute."""
    monkeypatch.setattr("flask_recurring._store.postgresql.throttle.INTERVAL", 60.0)


@postgresql_only
def test_a_notification_that_was_never_sent_keeps_no_other_back(
    store: Store, ear: Ear, patient: None
) -> None:
    with pytest.raises(sa.exc.DataError):
        store.jobs.insert(new_job(arguments="\0"))
    store.jobs.insert(new_job())
    assert ear.receive() == {Notification(Topic.JOB, "default")}
    store.jobs.insert(new_job())
    assert ear.receive(0.05) == set()


@postgresql_only
def test_a_transaction_notifies_whatever_was_said_before(
    store: Store, ear: Ear, engine: sa.Engine, patient: None
) -> None:
    """When it commits, nobody may look any more for the sake of that."""
    store.recurring.save([definition()])
    store.jobs.insert(new_job())
    while Notification(Topic.JOB, "default") not in ear.receive():
        pass
    store.recurring.trigger("nightly")
    assert ear.receive() == {Notification(Topic.JOB, "default")}
    store.jobs.insert_many([new_job()])
    assert ear.receive() == {Notification(Topic.JOB, "default")}
    with engine.begin() as connection:
        store.jobs.write(connection, new_job())
    assert ear.receive() == {Notification(Topic.JOB, "default")}


@postgresql_only
def test_a_job_that_took_too_long_is_told_of_afterwards(
    store: Store, ear: Ear, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_recurring._store.postgresql.throttle.INTERVAL", 60.0)
    store.jobs.insert(new_job())
    assert ear.receive() == {Notification(Topic.JOB, "default")}
    with engine.begin() as connection:
        table = store.database.tables.name("job")
        connection.exec_driver_sql(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        late = Thread(target=store.jobs.insert, args=(new_job(),))
        late.start()
        wait_for(lambda: waiting_backends(store) == 1)
        monkeypatch.setattr("flask_recurring._store.postgresql.throttle.INTERVAL", 0.0)
    late.join()
    assert ear.receive() == {Notification(Topic.JOB, "default")}


def test_what_a_notification_stands_for() -> None:
    throttle = Throttle()
    assert not throttle.spares("a", 100.0)
    throttle.sent("a", 100.0, 100.0005)
    assert throttle.spares("a", 100.001)
    assert not throttle.spares("b", 100.001)
    assert throttle.covers("a", 100.0029)
    assert not throttle.covers("a", 100.0031)
    # As slow as the one before, the next would be committed too late.
    throttle.sent("a", 200.0, 200.002)
    assert not throttle.spares("a", 200.002)
    for number in range(2_000):
        throttle.sent(f"lane {number}", 300.0, 300.0001)
    assert throttle.spares("lane 1999", 300.0002)
