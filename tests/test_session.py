"""Enqueuing within the transaction of a SQLAlchemy session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from flask_recurring import ConfigurationError, JobState, Scheduler
from flask_recurring._store import StoreUnavailable
from flask_recurring._store.spool import CHUNK
from flask_recurring.task import Call
from tests.applications import Applications, job_of, store_of, wait_for_all, wait_for_job
from tests.postgres import Server
from tests.requirement import missing


def add(left: int, right: int = 1) -> int:
    return left + right


class Shop:
    """An application with a Flask-SQLAlchemy database that also holds its jobs."""

    def __init__(self, apps: Applications, url: str, **settings: Any) -> None:
        self.db = SQLAlchemy()
        self.scheduler = Scheduler()
        self.task = self.scheduler.task("add")(add)
        self.app = apps.make(
            self.scheduler,
            db=self.db,
            config={"SQLALCHEMY_DATABASE_URI": url},
            **settings,
        )
        with self.app.app_context():
            self.db.session.execute(sa.text("CREATE TABLE orders (id integer primary key)"))
            self.db.session.commit()

    @property
    def on_sqlite(self) -> bool:
        return store_of(self.app).database.driver.name == "sqlite"

    def order(self, number: int) -> None:
        self.db.session.execute(sa.text("INSERT INTO orders VALUES (:id)"), {"id": number})

    def count(self) -> int:
        """Orders and jobs, as a transaction of its own sees them."""
        with self.app.app_context():
            orders = self.db.session.scalar(sa.text("SELECT count(*) FROM orders"))
            return int(orders or 0) + len(store_of(self.app).jobs.page(None).items)


def test_job_in_a_session_exists_if_it_commits(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    apps.start(shop.app)

    with shop.app.app_context():
        shop.order(1)
        job = shop.task.options(session=shop.db.session).enqueue(1)
        assert job.state is JobState.ENQUEUED
        assert shop.count() == 0
        shop.db.session.commit()

    assert wait_for_job(shop.app, job).result == 2
    assert shop.count() == 2


def test_job_in_a_session_is_gone_if_it_rolls_back(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    store_of(shop.app)

    with shop.app.app_context():
        shop.order(1)
        shop.task.options(session=shop.db.session).enqueue(1)
        shop.task.options(session=shop.db.session()).schedule(timedelta(hours=1), 1)
        shop.scheduler.enqueue_many([shop.task.call(1)], session=shop.db.session)
        shop.db.session.rollback()

    assert shop.count() == 0


def test_job_in_a_session_may_be_the_first_of_all(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)

    with shop.app.app_context():
        shop.task.options(session=shop.db.session).enqueue(1)
        shop.db.session.commit()

    assert shop.count() == 1


def test_sqlite_makes_no_tables_while_a_session_holds_it(
    apps: Applications, sqlite_url: str
) -> None:
    shop = Shop(apps, sqlite_url)

    with shop.app.app_context():
        shop.order(1)
        with pytest.raises(StoreUnavailable, match=r"not there yet.*flask recurring init-db"):
            shop.task.options(session=shop.db.session).enqueue(1)
        shop.db.session.rollback()

    assert shop.count() == 0


def test_job_in_a_session_ends_with_its_savepoint(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    apps.start(shop.app)

    with shop.app.app_context():
        kept = shop.task.options(session=shop.db.session).enqueue(1)
        savepoint = shop.db.session.begin_nested()
        shop.task.options(session=shop.db.session).enqueue(2)
        savepoint.rollback()
        with shop.db.session.begin_nested():
            nested = shop.task.options(session=shop.db.session).enqueue(3)
        shop.db.session.commit()

    assert [job.result for job in wait_for_all(shop.app, [kept, nested])] == [2, 4]
    assert shop.count() == 2


def test_many_jobs_in_a_session(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    apps.start(shop.app)

    with shop.app.app_context():
        calls = (shop.task.call(number) for number in range(20))
        ids = shop.scheduler.enqueue_many(calls, session=shop.db.session)
        shop.db.session.commit()

    assert [job.result for job in wait_for_all(shop.app, ids)] == list(range(1, 21))


def test_session_that_enqueues_on_and_on_is_listened_to_once(
    apps: Applications, sqlite_url: str
) -> None:
    shop = Shop(apps, sqlite_url)

    with shop.app.app_context():
        session = shop.db.session()
        for number in range(3):
            for _ in range(3):
                shop.task.options(session=session).enqueue(number)
            session.commit()
            assert len(list(session.dispatch.after_commit)) == 1

    assert shop.count() == 9


def test_key_in_a_session_gives_the_job_that_has_it(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    first = shop.task.options(key="order 5").enqueue(1)

    with shop.app.app_context():
        again = shop.task.options(key="order 5", session=shop.db.session).enqueue(2)
        shop.db.session.commit()

    assert again.id == first.id
    assert not again.new
    assert shop.count() == 1

    shop.scheduler.delete(first.id)
    with shop.app.app_context():
        once = shop.task.options(key="order 5", key_kept=True, session=shop.db.session).enqueue(3)
        after = shop.task.options(key="order 5", session=shop.db.session).enqueue(4)
        shop.db.session.commit()

    assert once.id == first.id
    assert (after.new, after.args) == (True, (4,))
    assert shop.count() == 2


def test_session_of_another_database_is_refused(apps: Applications, tmp_path: Path) -> None:
    jobs = f"sqlite:///{tmp_path}/jobs.sqlite3"
    shop = Shop(apps, f"sqlite:///{tmp_path}/shop.sqlite3", database_url=jobs)

    with (
        shop.app.app_context(),
        pytest.raises(ConfigurationError, match=r"(?s)another database.*shop.*jobs.*hold both"),
    ):
        shop.task.options(session=shop.db.session).enqueue(1)


def test_session_of_a_bind_holds_its_jobs(apps: Applications, tmp_path: Path) -> None:
    db, scheduler = SQLAlchemy(), Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(
        scheduler,
        db=db,
        config={
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/shop.sqlite3",
            "SQLALCHEMY_BINDS": {"jobs": f"sqlite:///{tmp_path}/jobs.sqlite3"},
        },
        bind_key="jobs",
    )

    with app.app_context():
        kept = task.options(session=db.session).enqueue(1)
        db.session.commit()
        task.options(session=db.session).enqueue(2)
        db.session.rollback()

    assert [job.id for job in store_of(app).jobs.page(None).items] == [kept.id]


def test_session_is_for_enqueue_many_as_a_whole(apps: Applications, sqlite_url: str) -> None:
    shop = Shop(apps, sqlite_url)

    with shop.app.app_context(), pytest.raises(ConfigurationError, match="to enqueue_many"):
        shop.task.options(session=shop.db.session).call(1)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_does_for_an_applications_own_tests(
    apps: Applications, url: str
) -> None:
    shop = Shop(apps, url)

    with shop.app.app_context():
        first = shop.task.enqueue(1)
        second = shop.task.options(session=shop.db.session).enqueue(2)
        shop.db.session.commit()
        shop.task.options(session=shop.db.session).enqueue(3)
        shop.db.session.rollback()
        shop.scheduler.enqueue_many(shop.task.call(number) for number in range(2))
        jobs = store_of(shop.app).jobs.page(None).items

    assert [job.args for job in jobs] == [(1,), (0,), (2,), (1,)]
    assert first.id < second.id


# -- savepoints


@pytest.fixture
def shop(apps: Applications, database_url: str) -> Shop:
    """A shop whose tables are there."""
    shop = Shop(apps, database_url)
    store_of(shop.app)
    return shop


def other_session(url: str, **options: Any) -> Session:
    """A session over an engine that the scheduler has never seen."""
    return Session(sa.create_engine(url, poolclass=sa.NullPool, **options))


def enqueue(shop: Shop, queue: str) -> None:
    shop.task.options(session=shop.db.session, queue=queue).enqueue(1)


def test_each_savepoint_has_notifications_of_its_own(shop: Shop) -> None:
    told: list[str] = []
    store_of(shop.app).subscribe(lambda hint: told.append(hint.queue))

    with shop.app.app_context():
        session = shop.db.session()
        enqueue(shop, "before")
        with session.begin_nested():
            enqueue(shop, "released")
            inner = session.begin_nested()
            enqueue(shop, "inner")
            inner.rollback()
        outer = session.begin_nested()
        with session.begin_nested():
            enqueue(shop, "released-in-vain")
        enqueue(shop, "outer")
        outer.rollback()
        enqueue(shop, "after")
        assert told == []
        session.commit()
        assert sorted(told) == ["after", "before", "released"]

        enqueue(shop, "next")
        session.begin_nested()
        enqueue(shop, "open")
        session.rollback()
        session.commit()
        enqueue(shop, "closed")
        session.begin_nested()
        enqueue(shop, "closed-within")
        session.close()
        enqueue(shop, "last")
        with pytest.raises(sa.exc.OperationalError if shop.on_sqlite else sa.exc.ProgrammingError):
            session.execute(sa.text("SELECT nothing FROM nowhere"))
        session.rollback()
        assert len(told) == 3
        session.begin_nested()
        enqueue(shop, "committed-while-open")
        session.commit()
        assert told[3:] == ["committed-while-open"]


def test_a_flush_is_no_level_of_its_own(shop: Shop) -> None:
    told: list[str] = []
    store_of(shop.app).subscribe(lambda hint: told.append(hint.queue))

    class Order(shop.db.Model):  # type: ignore[name-defined, misc]
        __tablename__ = "orders"
        id = sa.Column(sa.Integer, primary_key=True)

    with shop.app.app_context():
        session = shop.db.session()
        sa.event.listen(session, "after_flush", lambda *_: enqueue(shop, "flush"))
        session.add(Order(id=1))
        session.flush()
        with session.begin_nested():
            session.add(Order(id=2))
        assert told == []
        session.commit()

    assert told == ["flush"]
    assert shop.count() == 4


def test_two_applications_in_one_session_each_hear_of_their_own(
    apps: Applications, database_url: str
) -> None:
    shop = Shop(apps, database_url)
    other = Scheduler()
    task = other.task("add")(add)
    app = apps.make(other, database_url, name="other", schema="other")
    told: list[tuple[str, str]] = []
    store_of(shop.app).subscribe(lambda hint: told.append(("shop", hint.queue)))
    store_of(app).subscribe(lambda hint: told.append(("other", hint.queue)))

    with other_session(database_url) as session:
        with shop.app.app_context():
            shop.task.options(session=session, queue="mine").enqueue(1)
        with app.app_context():
            task.options(session=session, queue="theirs").enqueue(1)
        session.commit()

    assert sorted(told) == [("other", "theirs"), ("shop", "mine")]


def test_a_savepoint_that_comes_first_is_undone_with_the_transaction(shop: Shop) -> None:
    with shop.app.app_context():
        with shop.db.session.begin_nested():
            enqueue(shop, "mail")
        shop.db.session.rollback()
        assert shop.count() == 0

        with shop.db.session.begin_nested():
            shop.order(1)
            enqueue(shop, "mail")
        shop.db.session.commit()
        assert shop.count() == 2

        # The application's own rows as well, with no job near them.
        with shop.db.session.begin_nested():
            shop.order(2)
        shop.db.session.rollback()
        assert shop.count() == 2


def test_sqlite_session_of_another_engine_is_undone_too(
    apps: Applications, sqlite_url: str
) -> None:
    shop = Shop(apps, sqlite_url)
    store_of(shop.app)

    with other_session(sqlite_url) as session:
        with session.begin_nested():
            session.execute(sa.text("SELECT 1"))
            for _ in range(2):
                with pytest.raises(ConfigurationError, match=r"savepoint.*isolation_level.*SQLite"):
                    shop.task.options(session=session).enqueue(1)
                session.begin_nested()
        session.rollback()
        # From now on a savepoint of this engine begins a transaction.
        with session.begin_nested():
            session.execute(sa.text("SELECT 1"))
            shop.task.options(session=session).enqueue(2)
            with session.begin_nested():
                shop.task.options(session=session).enqueue(3)
        session.rollback()
        assert shop.count() == 0
        shop.task.options(session=session).enqueue(4)
        with session.begin_nested():
            shop.task.options(session=session).enqueue(5)
        session.commit()
    assert shop.count() == 2

    with other_session(sqlite_url) as session:
        # A savepoint is set by its first statement.
        with session.begin_nested():
            shop.task.options(session=session).enqueue(6)
        session.rollback()

    assert shop.count() == 2


def test_sqlite_session_that_begins_its_transactions_itself(
    apps: Applications, sqlite_url: str
) -> None:
    shop = Shop(apps, sqlite_url)
    store_of(shop.app)

    with other_session(sqlite_url, connect_args={"isolation_level": None}) as session:
        engine = session.get_bind()
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        with session.begin_nested():
            shop.task.options(session=session).enqueue(1)
        session.rollback()
        assert shop.count() == 0
        with session.begin_nested():
            shop.task.options(session=session).enqueue(2)
        session.commit()

    assert shop.count() == 1


# -- in bulk


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that are sent over the engine's connections."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def test_many_jobs_are_few_statements(shop: Shop) -> None:
    with shop.app.app_context(), statements(shop.db.engine) as sent:
        ids = shop.scheduler.enqueue_many(
            (shop.task.options(queue=f"q{n % 2}").call(n) for n in range(2_000)),
            session=shop.db.session,
        )
        assert ids == sorted(set(ids))
        assert len(ids) == 2_000
        assert sum("INSERT" in statement for statement in sent) <= 20
        assert shop.scheduler.get_job(ids[0]) is None
        shop.db.session.commit()

    for number in (0, 1, 1_999):
        job = job_of(shop.app, ids[number])
        assert (job.args, job.queue) == ((number,), f"q{number % 2}")
        assert job.state is JobState.ENQUEUED


def test_keys_of_many_jobs_in_a_session(shop: Shop) -> None:
    there = shop.task.options(key="there").enqueue(0)
    bound = shop.task.options
    with shop.app.app_context():
        ids = shop.scheduler.enqueue_many(
            [
                shop.task.call(1),
                bound(key="there").call(2),
                bound(key="new").call(3),
                shop.task.call(4),
                bound(key="new").call(5),
            ],
            session=shop.db.session,
        )
        shop.db.session.commit()

    assert ids[1] == there.id
    assert ids[4] == ids[2]
    assert [job_of(shop.app, id).args for id in ids] == [(1,), (0,), (3,), (4,), (3,)]


@pytest.mark.parametrize("within", [False, True], ids=["by itself", "in a session"])
def test_calls_that_enqueue_and_ask_the_database_themselves(shop: Shop, within: bool) -> None:
    """More of them than are written at once, so that some are read after others were written, if
    they were not all read before."""

    def calls() -> Iterator[Call]:
        for number in range(CHUNK + 2):
            if number in (0, 1, CHUNK, CHUNK + 1):
                shop.order(number)
                shop.db.session.commit()
                shop.task.enqueue(-number)
            yield shop.task.call(number)

    with shop.app.app_context():
        ids = shop.scheduler.enqueue_many(calls(), shop.db.session if within else None)
        shop.db.session.commit()
        assert job_of(shop.app, ids[-1]).args == (CHUNK + 1,)
        assert shop.db.session.scalar(sa.text("SELECT count(*) FROM orders")) == 4


def test_calls_that_fail_leave_the_session_as_it_was(shop: Shop) -> None:
    def calls() -> Iterator[Call]:
        for number in range(CHUNK + 2):
            yield shop.task.call(number)
        raise LookupError("the file ends here")

    with shop.app.app_context():
        shop.order(1)
        with pytest.raises(LookupError):
            shop.scheduler.enqueue_many(calls(), session=shop.db.session)
        shop.db.session.commit()

    assert shop.count() == 1


def test_session_over_another_driver(apps: Applications, postgres_url: str) -> None:
    pytest.importorskip("psycopg2")
    shop = Shop(apps, postgres_url.replace("+psycopg:", "+psycopg2:"))

    with shop.app.app_context():
        assert shop.db.engine.dialect.driver == "psycopg2"
        one = shop.task.options(key="k", session=shop.db.session).enqueue(1)
        many = shop.scheduler.enqueue_many(
            [shop.task.call(2), shop.task.options(key="k").call(3)], session=shop.db.session
        )
        assert shop.count() == 0
        shop.db.session.commit()

    assert many[1] == one.id
    assert [job_of(shop.app, id).args for id in (one.id, many[0])] == [(1,), (2,)]


# -- two phases


@pytest.fixture
def two_phase_url(postgres: Server, postgres_url: str) -> str:
    if postgres.execute("SHOW max_prepared_transactions") == [("0",)]:
        missing("this PostgreSQL prepares no transactions")
    return postgres_url


def test_session_that_commits_in_two_phases(apps: Applications, two_phase_url: str) -> None:
    shop = Shop(apps, two_phase_url)
    apps.start(shop.app)
    told: list[str] = []
    store_of(shop.app).subscribe(lambda hint: told.append(hint.queue))

    with shop.app.app_context():
        session = shop.db.session(twophase=True)
        one = shop.task.options(session=session).enqueue(1)
        many = shop.scheduler.enqueue_many([shop.task.call(2)], session=session)
        session.prepare()
        assert told == []
        session.commit()

        assert told == ["default"]
        assert [job.result for job in wait_for_all(shop.app, [one, *many])] == [2, 3]

        shop.task.options(session=session).enqueue(3)
        session.prepare()
        session.rollback()

    assert shop.count() == 2


def test_session_within_a_connections_two_phases(apps: Applications, two_phase_url: str) -> None:
    shop = Shop(apps, two_phase_url)

    with shop.app.app_context(), shop.db.engine.connect() as connection:
        transaction = connection.begin_twophase()
        with Session(connection) as session:
            shop.task.options(session=session).enqueue(1)
            session.commit()
        transaction.prepare()
        transaction.commit()

    assert shop.count() == 1


# -- what is no session


def test_what_is_no_session_is_refused(shop: Shop) -> None:
    with shop.app.app_context(), shop.db.engine.connect() as connection:
        for wrong in (connection, shop.db, "session", lambda: connection):
            with pytest.raises(ConfigurationError, match=r"takes a SQLAlchemy Session.*not "):
                shop.task.options(session=wrong).enqueue(1)  # type: ignore[arg-type]

    assert shop.count() == 0
