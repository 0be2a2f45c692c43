"""The life of a definition: deployments, operators, versions side by side, code that goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from flask_recurring._recurring.definition import Definition, fingerprint
from flask_recurring._recurring.policy import Misfire, Overlap
from flask_recurring._recurring.recurring_job import RecurringJob
from flask_recurring._store import Notification, Store, Topic
from flask_recurring._store.recurring.definitions import CHUNK, REMEMBERED
from flask_recurring.cron import CronExpression
from flask_recurring.errors import ConfigurationError
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import MOMENT, change, definition, postgresql_only, row_count
from tests.store.worker import Worker, new_server

DAILY = "30 4 * * *"
HOURLY = "0 * * * *"


def get(store: Store, id: str = "nightly") -> RecurringJob:
    found = store.recurring.get(id)
    assert found is not None
    return found


def make_due(store: Store, at: datetime = MOMENT) -> None:
    change(store, store.database.tables.recurring_job, next_at=at)


class Host:
    """A server that declares something, without threads."""

    def __init__(self, store: Store, *definitions: Definition, application: str = "app") -> None:
        self.store = store
        self.definitions = definitions
        self.application = application
        self.id = 0

    def start(self) -> frozenset[str]:
        """Sign on and declare; returns what was refused."""
        with self.store.database.connect() as connection:
            manifest = self.store.manifests.write(connection, self.definitions)
            new = replace(new_server(self.application), manifest=manifest)
            self.id = self.store.servers.register(connection, new)
        return self.declare()

    def declare(self) -> frozenset[str]:
        return self.store.recurring.declare(self.definitions, self.application).refused

    def stop(self) -> None:
        with self.store.database.connect() as connection:
            self.store.servers.deregister(connection, self.id)


# -- JSON


FULL = definition(
    cron="@every 90s",
    timezone="Europe/Berlin",
    arguments='[[1],{"to":"ü"}]',
    retry=3,
    timeout=5,
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2027, 1, 1, tzinfo=UTC),
    misfire="strict",
    misfire_limit=5,
    misfire_grace=2.5,
    overlap="queue",
    jitter=timedelta(seconds=9),
    keep=3,
)


@pytest.mark.parametrize("given", [definition(), FULL], ids=["plain", "full"])
def test_a_definition_comes_back_from_its_fields(given: Definition) -> None:
    assert Definition.of(given.id, given.fields()) == given
    assert given.declared() == Definition.of(given.id, given.fields()).declared()


def test_defaults_stand_in_no_text_so_a_new_option_changes_none() -> None:
    assert definition().declared() == (
        '{"task":"work","arguments":"[[],{}]","queue":"default","priority":0,'
        '"cron":"* * * * *","timezone":"UTC"}'
    )
    assert fingerprint(definition().declared()) != fingerprint(FULL.declared())


def test_what_a_newer_version_wrote_is_read_as_far_as_it_is_known(store: Store) -> None:
    fields = definition().fields() | {"misfire": "oracle", "overlap": "merge", "colour": "red"}
    found = Definition.of("nightly", fields)
    assert found == definition()
    store.recurring.save([definition()])
    change(store, store.database.tables.recurring_job, misfire="oracle", overlap="merge")
    assert (get(store).misfire, get(store).overlap) == (Misfire.LATEST, Overlap.ALLOW)


def test_all_reads_back(store: Store) -> None:
    store.recurring.save([FULL])
    found = get(store)
    assert found.cron == "@every 90s"
    assert found.schedule.every == timedelta(seconds=90)
    assert (found.start, found.end) == (
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert (found.misfire, found.misfire_limit) == (Misfire.ALL, 5)
    assert found.misfire_grace == timedelta(seconds=2.5)
    assert (found.overlap, found.keep) == (Overlap.QUEUE, 3)
    assert found.jitter == timedelta(seconds=9)
    assert found.declared == FULL.fields()
    assert (found.overrides, found.application, found.orphaned_at) == ({}, None, None)
    assert store.recurring.save([FULL]) == 0


# -- saving


@pytest.mark.parametrize(
    "changed",
    [
        definition(cron=DAILY, start=datetime(2020, 1, 1, tzinfo=UTC)),
        definition(cron=DAILY, end=datetime(2120, 1, 1, tzinfo=UTC)),
        definition(cron="@every 3600s"),
        definition(cron=DAILY, timezone="Asia/Tokyo"),
    ],
)
def test_another_schedule_sets_the_next_tick_from_now_on(store: Store, changed: Definition) -> None:
    store.recurring.save([definition(cron=DAILY)])
    make_due(store)
    assert store.recurring.save([changed]) == 1
    found = get(store)
    assert found.next_at == changed.schedule().next(found.updated_at)


@pytest.mark.parametrize("policy", [{"misfire": "all"}, {"jitter": 5.0}, {"keep": 1}], ids=repr)
def test_another_policy_keeps_the_tick_that_is_due(store: Store, policy: dict[str, Any]) -> None:
    store.recurring.save([definition()])
    make_due(store)
    assert store.recurring.save([definition(**policy)]) == 1
    assert get(store).next_at == MOMENT


def test_one_that_starts_later_and_one_that_is_over(store: Store) -> None:
    start = store.now() + timedelta(days=400)
    store.recurring.save([definition("later", start=start), definition("over", end=MOMENT)])
    later = get(store, "later").next_at
    assert later is not None
    assert start <= later < start + timedelta(minutes=1)
    assert get(store, "over").next_at is None


def test_ids_are_text_and_nothing_else(store: Store) -> None:
    odd = ["a'b", "''", "\\'", "%s", "%(x)s", "100%%", ":x", "$1", "?", "{}", "__[POSTCOMPILE_ids]"]
    news = [definition(id) for id in [*odd, "'); DROP TABLE recurring_job; --"]]
    assert store.recurring.declare(news).written == len(news)
    assert store.recurring.declare(news).written == 0
    assert {job.id for job in store.recurring.all()} == {new.id for new in news}


@postgresql_only
def test_what_was_planned_for_an_empty_table_is_not_kept(store: Store) -> None:
    store.recurring.declare([definition(f"job-{number}") for number in range(10 * CHUNK)])
    with store.database.connect() as connection:
        prepared = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements")
        assert not [text for text in prepared.scalars() if "recurring_job.id IN" in text]


def test_very_many_in_one_go(store: Store, open_store: OpenStore) -> None:
    """The bound is wide, for a machine that is busy; ``docs/benchmarks.md`` has the figures."""
    many = [
        definition(f"job-{number:05}", cron=f"{number % 60} * * * *") for number in range(5_000)
    ]
    stores = [open_store() for _ in range(3)]
    began = time.perf_counter()
    written = race(3, lambda number: stores[number].recurring.declare(many, "app").written)
    assert sum(written) == len(many)
    assert store.recurring.declare(many, "app").written == 0
    changed = [definition(one.id, cron=one.options["cron"], queue="mail") for one in many]
    assert store.recurring.declare(changed, "app").written == len(many)
    assert time.perf_counter() - began < 20
    assert row_count(store, store.database.tables.recurring_job) == len(many)
    assert {one.queue for one in store.recurring.all()} == {"mail"}


def test_the_same_by_code_of_two_applications_is_not_written_over_and_over(store: Store) -> None:
    assert store.recurring.declare([definition()], "web").written == 1
    before = get(store)
    assert store.recurring.declare([definition()], "worker").written == 0
    assert store.recurring.declare([definition()]).written == 0
    assert get(store) == before
    assert before.application == "web"


# -- time zones that change


def test_next_ticks_are_set_right_when_the_rules_of_a_zone_have_changed(store: Store) -> None:
    berlin = definition(cron=DAILY, timezone="Europe/Berlin")
    store.recurring.declare([berlin], "app")
    right = get(store).next_at
    assert right is not None
    # As older rules would have given it, by an hour off.
    make_due(store, right + timedelta(hours=1))
    assert store.recurring.declare([berlin], "app").written == 1
    assert get(store).next_at == right
    assert store.recurring.declare([berlin], "app").written == 0


def test_those_of_no_code_are_rechecked_in_slices(store: Store, connection: sa.Connection) -> None:
    ids = [f"job-{number}" for number in range(5)]
    store.recurring.save([definition(id, cron=DAILY, timezone="Asia/Tokyo") for id in ids])
    store.recurring.save([definition("other", cron=DAILY, timezone="Asia/Tokyo", task="play")])
    right = get(store, "job-0").next_at
    assert right is not None
    make_due(store, right + timedelta(minutes=30))
    after: str | None = ""
    steps = 0
    while after is not None:
        after = store.recurring.recheck(connection, ["work"], after, 2)
        steps += 1
    assert steps == 3
    assert {get(store, id).next_at for id in ids} == {right}
    assert get(store, "other").next_at == right + timedelta(minutes=30)
    make_due(store)
    assert store.recurring.recheck(connection, ["work"], "", 100) is None
    assert get(store, "job-0").next_at == MOMENT, "what is due is left to the tick"


# -- operators


def test_what_an_operator_changed_stays_through_deployments_until_it_is_reset(
    store: Store,
) -> None:
    store.recurring.declare([definition(cron=DAILY, queue="mail")], "app")
    store.recurring.override("nightly", {"cron": HOURLY, "jitter": 9.0}, actor="Ann")
    overridden = get(store)
    assert (overridden.cron, overridden.queue) == (HOURLY, "mail")
    assert overridden.jitter == timedelta(seconds=9)
    assert overridden.overrides == {"cron": HOURLY, "jitter": 9.0}
    assert overridden.declared["cron"] == DAILY
    zone = ZoneInfo("UTC")
    assert overridden.next_at == CronExpression(HOURLY).next(overridden.updated_at, zone)

    # A deployment that changes nothing, and one that changes these and other fields.
    make_due(store)
    assert store.recurring.declare([definition(cron=DAILY, queue="mail")], "app").written == 0
    assert store.recurring.declare([definition(cron="0 5 * * *", queue="slow")], "app").written
    deployed = get(store)
    assert (deployed.cron, deployed.queue) == (HOURLY, "slow")
    assert deployed.declared["cron"] == "0 5 * * *"
    assert deployed.next_at == MOMENT, "the schedule that counts is the same"

    store.recurring.reset("nightly", ["cron"], actor="Ann")
    reset = get(store)
    assert (reset.cron, reset.overrides) == ("0 5 * * *", {"jitter": 9.0})
    assert reset.next_at == CronExpression("0 5 * * *").next(reset.updated_at, zone)
    store.recurring.reset("nightly", actor="Ann")
    assert (get(store).overrides, get(store).jitter) == ({}, timedelta(0))


def test_options_of_the_runs_are_overridden_one_by_one(store: Store, worker: Worker) -> None:
    store.recurring.declare([definition(retry=3, timeout=5)], "app")
    store.recurring.override("nightly", {"timeout": 7.0}, actor="Ann")
    store.recurring.trigger("nightly")
    retry = '"retry":"{\\"attempts\\":3,\\"delays\\":null}"'
    assert worker.claim_one().options == f'{{{retry},"timeout":7.0}}'
    store.recurring.override("nightly", {"timeout": None, "retry": None}, actor="Ann")
    store.recurring.trigger("nightly")
    assert worker.claim_one().options is None
    store.recurring.reset("nightly", ["retry", "timeout"], actor="Ann")
    store.recurring.trigger("nightly")
    assert worker.claim_one().options == f'{{{retry},"timeout":5.0}}'


def test_each_change_is_in_the_audit(store: Store) -> None:
    store.recurring.declare([definition(cron=DAILY)], "app")
    store.recurring.override("nightly", {"cron": HOURLY, "paused": True}, actor="Ann")
    store.recurring.override("nightly", {"cron": HOURLY}, actor="Bob")
    store.recurring.reset("nightly", actor="Cid")
    store.recurring.reset("nightly", actor="Dan")
    cid, ann = store.audit.newest()
    assert (ann.actor, ann.action, ann.target) == ("Ann", "recurring.override", "nightly")
    assert ann.detail == f"cron: None → {HOURLY!r}, paused: False → True"
    assert (cid.actor, cid.action) == ("Cid", "recurring.reset")
    assert cid.detail == f"cron: {HOURLY!r} → None, paused: True → False"


def test_what_makes_no_schedule_is_refused_and_nothing_is_written(store: Store) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    store.recurring.declare([definition(start=start)], "app")
    before = get(store)
    for fields, message in [
        ({"end": "2029-01-01T00:00:00+00:00"}, "end must not be before start"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"timezone": "Mars"}, "timezone 'Mars' is not known"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            store.recurring.override("nightly", fields, actor="Ann")
    assert get(store) == before
    assert store.audit.newest() == []


def test_pausing_is_an_override_too(store: Store) -> None:
    store.recurring.declare([definition(cron=DAILY)], "app")
    make_due(store)
    store.recurring.pause("nightly")
    assert get(store).overrides == {"paused": True}
    store.recurring.override("nightly", {"queue": "mail"}, actor="Ann")
    assert (get(store).paused, get(store).next_at) == (True, None)
    store.recurring.reset("nightly", ["queue"], actor="Ann")
    assert get(store).paused
    store.recurring.reset("nightly", ["paused"], actor="Ann")
    assert (get(store).paused, get(store).next_at, get(store).overrides) == (False, MOMENT, {})


def test_a_paused_one_that_gets_another_schedule_goes_on_with_that(store: Store) -> None:
    store.recurring.declare([definition(cron=DAILY)], "app")
    make_due(store)
    store.recurring.override("nightly", {"paused": True}, actor="Ann")
    store.recurring.override("nightly", {"cron": HOURLY}, actor="Ann")
    changed = get(store)
    assert changed.next_at is None
    store.recurring.resume("nightly")
    assert get(store).next_at == CronExpression(HOURLY).next(changed.updated_at, ZoneInfo("UTC"))


# -- versions of the code, side by side

OLD, NEW = definition(cron=DAILY), definition(cron=HOURLY)


def test_two_versions_side_by_side_do_not_flap(store: Store) -> None:
    old, new = Host(store, OLD), Host(store, NEW)
    assert old.start() == frozenset()
    assert new.start() == frozenset()
    assert get(store).cron == HOURLY
    # The old host comes back in the middle of the deployment, and another old one with it.
    old.stop()
    assert old.start() == {"nightly"}
    assert Host(store, OLD, application="worker").start() == {"nightly"}
    assert store.recurring.declare([OLD]).refused == {"nightly"}, "a command from an old host"
    assert get(store).cron == HOURLY
    new.stop()
    assert new.start() == frozenset()
    assert get(store).cron == HOURLY


def test_a_deployment_that_is_taken_back(store: Store) -> None:
    old, new = Host(store, OLD), Host(store, NEW)
    old.start()
    new.start()
    old.stop()
    assert old.start() == {"nightly"}
    new.stop()
    assert old.declare() == frozenset()
    assert get(store).cron == DAILY
    # Then the new one is the version of before, until no live server declares the old one.
    assert new.start() == {"nightly"}
    old.stop()
    assert new.declare() == frozenset()
    assert get(store).cron == HOURLY


def test_a_third_version_takes_over_from_both(store: Store) -> None:
    hosts = [Host(store, OLD), Host(store, NEW), Host(store, definition(cron="5 * * * *"))]
    assert [host.start() for host in hosts] == [frozenset()] * 3
    assert get(store).cron == "5 * * * *"
    assert hosts[0].declare() == hosts[1].declare() == {"nightly"}


def test_only_so_many_versions_are_remembered(store: Store) -> None:
    for minute in range(REMEMBERED + 5):
        store.recurring.declare([definition(cron=f"{minute} * * * *")], "app")
    row = store.database.tables.recurring_job.c
    with store.database.connect() as connection:
        text = connection.execute(sa.select(row.superseded)).scalar_one()
    assert text.count(",") == REMEMBERED - 1
    Host(store, definition(cron=f"{REMEMBERED + 4} * * * *")).start()
    assert Host(store, definition(cron="0 * * * *")).start() == frozenset()


def test_another_task_is_no_version_of_the_same_code(store: Store) -> None:
    shop = Host(store, definition(task="shop.nightly", cron=DAILY), application="shop")
    blog = Host(store, definition(task="blog.nightly", cron=HOURLY), application="blog")
    for host in (shop, blog, shop, blog):
        assert host.start() == frozenset()
        assert (get(store).task, get(store).application) == (
            host.definitions[0].task,
            host.application,
        )


def test_a_version_side_by_side_refuses_only_what_it_changes(store: Store) -> None:
    others: Sequence[Definition] = [definition("same"), definition("moved", cron=DAILY)]
    old = Host(store, OLD, *others)
    new = Host(store, NEW, *others, definition("added"))
    old.start()
    new.start()
    assert old.declare() == {"nightly"}
    assert [one.id for one in store.recurring.all()] == ["added", "moved", "nightly", "same"]


# -- code that goes


def undeclared(
    store: Store, tasks: Sequence[str] = ("work",), application: str = "app"
) -> set[str]:
    with store.database.connect() as connection:
        declared = store.manifests.living(connection)
        return set(store.recurring.undeclared(connection, tasks, application, declared))


def orphan(store: Store, *ids: str) -> set[str]:
    connection = store.database.open("control")
    try:
        return set(store.recurring.orphan(connection, ids))
    finally:
        connection.close()


def test_what_no_live_server_declares_is_marked_and_taken_back(store: Store) -> None:
    host = Host(store, definition())
    host.start()
    make_due(store)
    assert undeclared(store) == set()
    assert orphan(store, "nightly") == set(), "a server declares it"
    host.stop()
    assert undeclared(store) == {"nightly"}
    assert orphan(store, "nightly") == {"nightly"}
    orphaned = get(store)
    assert orphaned.orphaned_at is not None
    assert orphaned.next_at is None
    assert undeclared(store) == set()
    assert orphan(store, "nightly") == set()
    # A process without a server says nothing about servers.
    assert store.recurring.declare([definition()]).written == 0
    assert get(store) == orphaned
    host.start()
    found = get(store)
    assert (found.orphaned_at, found.next_at) == (None, MOMENT)


def test_an_orphan_that_comes_back_with_another_schedule(store: Store) -> None:
    host = Host(store, OLD)
    host.start()
    host.stop()
    make_due(store)
    orphan(store, "nightly")
    Host(store, NEW).start()
    found = get(store)
    assert found.next_at == CronExpression(HOURLY).next(found.updated_at, ZoneInfo("UTC"))


def test_an_orphan_that_is_paused_stays_paused(store: Store) -> None:
    host = Host(store, definition())
    host.start()
    host.stop()
    make_due(store)
    orphan(store, "nightly")
    store.recurring.pause("nightly")
    host.start()
    assert (get(store).paused, get(store).next_at) == (True, None)
    store.recurring.resume("nightly")
    assert get(store).next_at == MOMENT

    store.recurring.pause("nightly")
    host.stop()
    orphan(store, "nightly")
    store.recurring.resume("nightly")
    assert (get(store).paused, get(store).next_at) == (False, None), "it is an orphan still"
    host.start()
    assert get(store).next_at == MOMENT


def test_what_was_made_at_run_time_is_nobodys_orphan(store: Store) -> None:
    store.recurring.save([definition("run time")])
    store.recurring.declare([definition("client")])
    assert undeclared(store) == set()
    assert orphan(store, "run time", "client") == set()
    Host(store, definition("run time")).start()
    assert undeclared(store) == set()
    with store.database.connect() as connection:
        assert store.recurring.undeclared(connection, ["work"], "app", {}) == ["run time"]
    assert store.recurring.save([definition("run time")]) == 1
    with store.database.connect() as connection:
        assert store.recurring.undeclared(connection, ["work"], "app", {}) == []


def test_orphans_are_those_of_the_own_application_or_of_known_tasks(store: Store) -> None:
    shop = Host(store, definition("a", task="shop.a"), application="shop")
    blog = Host(store, definition("b", task="blog.b"), application="blog")
    for host in (shop, blog):
        host.start()
        host.stop()
    assert undeclared(store, ["shop.c"], "shop") == {"a"}, "its function is gone, too"
    assert undeclared(store, ["blog.b"], "other") == {"b"}
    assert undeclared(store, ["x"], "other") == set()


def test_a_server_that_declares_something_else_from_now_on(store: Store) -> None:
    host = Host(store, definition("a"))
    host.start()
    host.definitions = (definition("b"),)
    with store.database.connect() as connection:
        manifest = store.manifests.write(connection, host.definitions)
        store.servers.declare(connection, host.id, manifest)
    host.declare()
    assert undeclared(store) == {"a"}


def test_lists_that_no_server_uses_are_forgotten(store: Store) -> None:
    host, other = Host(store, definition("a")), Host(store, definition("b"))
    host.start()
    other.start()
    manifest = store.database.tables.manifest
    change(store, manifest, used_at=store.now() - timedelta(days=8))
    database = store.database
    with database.begin() as connection:
        assert not store.manifests.expiry().delete_some(connection)
    assert row_count(store, manifest) == 2
    other.stop()
    with database.begin() as connection:
        assert not store.manifests.expiry().delete_some(connection)
        assert set(store.manifests.living(connection)) == {"a"}
    assert row_count(store, manifest) == 1


def test_changes_are_told(store: Store) -> None:
    notified: list[Notification] = []
    store.subscribe(notified.append)
    host = Host(store, OLD)
    host.start()
    store.recurring.override("nightly", {"cron": HOURLY}, actor="Ann")
    store.recurring.reset("nightly", actor="Ann")
    host.stop()
    orphan(store, "nightly")
    assert notified == [Notification(Topic.SCHEDULE)] * 4
