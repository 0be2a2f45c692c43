"""A task: called as the plain function, and run as a job."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import make_url

from flask_recurring import (
    ArgumentError,
    ConfigurationError,
    JobContext,
    JobState,
    RetryPolicy,
    Scheduler,
    Task,
    current_job,
)
from tests.applications import Applications, job_of, lines_of, wait_for_job
from tests.postgres import Server
from tests.waiting import wait_for


class Colour(Enum):
    RED = "red"


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


# -- the plain function


def test_task_is_still_the_function() -> None:
    task = Scheduler().task()(double)

    assert task(4) == 8
    assert task(number=4) == 8
    assert task.function is double
    for name in ("__name__", "__doc__", "__module__"):
        assert getattr(task, name) == getattr(double, name)
    assert repr(task) == f"<Task {__name__}.double>"


def test_plain_call_checks_nothing_that_the_function_does_not() -> None:
    task: Any = Scheduler().task()(double)

    assert task("ab") == "abab"
    with pytest.raises(TypeError, match="number"):
        task()


def test_plain_call_gets_a_context_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    @Scheduler().task("talk")
    def talk(context: JobContext, name: str) -> int:
        context.write_line("Hello", name, color="green")
        context.progress_bar("pages", 5).set(50)
        assert not context.cancelled
        context.raise_if_cancelled()
        return sum(context.track([1, 2], name="sums"))

    assert talk("you") == 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["Hello you", "pages: 5.0 %", "pages: 50.0 %"]
    assert printed[-1] == "sums: 100.0 %"


def test_plain_call_may_bring_its_own_context(capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = Scheduler()
    seen: list[JobContext] = []

    @scheduler.task("look")
    def look(context: JobContext, number: int = 0) -> None:
        seen.append(context)

    look(1)
    mine = seen.pop()
    call: Any = look
    call(mine, 2)
    call(number=3, context=mine)

    assert seen == [mine, mine]


def test_plain_call_within_a_run_gets_the_runs_context(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def inner(context: JobContext) -> None:
        context.write_line("inner", context.task)

    @scheduler.task()
    def outer(context: JobContext) -> None:
        context.write_line("outer")
        inner()

    app = apps.make(scheduler, sqlite_url)
    apps.start(app)
    job = wait_for_job(app, outer.enqueue())

    assert lines_of(app, job) == ["outer", f"inner {outer.name}"]


def test_method_of_a_class_stays_what_it_is() -> None:
    scheduler = Scheduler()

    class Mail:
        @scheduler.task("send")
        def send(number: int) -> int:
            return number

    assert Mail.send(3) == 3
    assert Mail().send(3) == 3
    assert isinstance(Mail.send, Task)


# -- names


def test_default_name_is_module_and_function() -> None:
    def inner() -> None: ...

    scheduler = Scheduler()

    assert scheduler.task()(double).name == f"{__name__}.double"
    assert scheduler.task()(inner).name.endswith(
        ".test_default_name_is_module_and_function.<locals>.inner"
    )


@pytest.mark.parametrize(
    "function", [functools.partial(double, 3), lambda: 1], ids=["partial", "lambda"]
)
def test_what_has_no_name_needs_one(function: Callable[[], int]) -> None:
    scheduler = Scheduler()

    with pytest.raises(ConfigurationError, match="has no name of its own: give the task a name"):
        scheduler.task()(function)

    assert scheduler.task("named")(function)() in (1, 6)


def test_attributes_of_the_function_replace_none_of_the_tasks() -> None:
    def work() -> None: ...

    work.name = "theirs"  # type: ignore[attr-defined]
    work.signature = None  # type: ignore[attr-defined]
    work.colour = "red"  # type: ignore[attr-defined]

    task: Any = Scheduler().task("ours")(work)

    assert task.name == "ours"
    assert task.signature.pack([], {}) == "[[],{}]"
    assert task.colour == "red"


@pytest.mark.parametrize("thing", [5, "text", int, None])
def test_only_functions_become_tasks(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="a task is made from a function, not from"):
        Scheduler().task("name")(thing)


def test_generators_are_refused() -> None:
    def count() -> Any:
        yield 1

    async def stream() -> Any:
        yield 1

    for generator in (count, stream):
        with pytest.raises(ConfigurationError, match="none of its code would run"):
            Scheduler().task()(generator)


# -- arguments


def test_arguments_come_back_as_annotated(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    got: list[tuple[Any, ...]] = []

    @scheduler.task()
    def work(
        at: datetime,
        day: date,
        wait: timedelta,
        id: UUID,
        sum: Decimal,
        colour: Colour,
        data: bytes,
    ) -> None:
        got.append((at, day, wait, id, sum, colour, data))

    given = (
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        date(2026, 1, 2),
        timedelta(days=1, microseconds=1),
        UUID(int=5),
        Decimal("1.10"),
        Colour.RED,
        b"\0\xff",
    )
    app = apps.make(scheduler, database_url)
    apps.start(app)
    wait_for_job(app, work.enqueue(*given))

    assert got == [given]


def test_context_is_filled_in_and_never_stored(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def last(number: int, context: JobContext) -> str:
        return f"{number} in {context.job_id}"

    @scheduler.task()
    def keyword(number: int, *, context: JobContext) -> str:
        return f"{number} in {context.job_id}"

    app = apps.make(scheduler, database_url)
    apps.start(app)
    enqueue: list[Any] = [last.enqueue, keyword.enqueue]

    for call in enqueue:
        job = call(5)
        assert (job.args, job.kwargs) == ((5,), {})
        assert wait_for_job(app, job).result == f"5 in {job.id}"
        job = call(number=6)
        assert (job.args, job.kwargs) == ((), {"number": 6})
        assert wait_for_job(app, job).result == f"6 in {job.id}"


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "misses a value for parameter 'number'"),
        (("two",), {}, "parameter 'number'"),
        ((1, 2), {}, r"takes 1 positional argument \(number\), but 2 were given"),
        ((1,), {"number": 2}, "several values for parameter 'number'"),
        ((1,), {"nmuber": 2}, "no parameter 'nmuber'"),
        ((1,), {"context": 2}, "parameter 'context', which is filled in"),
        ((object(),), {}, "parameter 'number'"),
        ((True,), {}, "parameter 'number'"),
    ],
)
@pytest.mark.parametrize("verb", ["enqueue", "schedule", "call"])
def test_wrong_call_is_refused_where_it_is_made(
    apps: Applications, sqlite_url: str, verb: str, args: Any, kwargs: Any, message: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext, number: int) -> None: ...

    app = apps.make(scheduler, sqlite_url)
    before = (timedelta(hours=1),) if verb == "schedule" else ()

    with pytest.raises(ArgumentError, match=message):
        getattr(work, verb)(*before, *args, **kwargs)

    with app.app_context():
        assert scheduler.get_job(1) is None


class Mailer:
    """Has methods, which are no tasks."""

    def send(self, to: str) -> None: ...

    @classmethod
    def make(cls) -> str:
        return cls.__name__

    @staticmethod
    def help() -> None: ...


class NotTravelling:
    """Something that JSON has no form for."""


def test_method_is_refused() -> None:
    scheduler = Scheduler()
    right = "make it a function of the module, or a @staticmethod"
    with pytest.raises(ConfigurationError, match=rf"^Mailer.send\(\) is a method, .*self.*{right}"):
        scheduler.task()(Mailer.send)
    with pytest.raises(ConfigurationError, match=rf"^Mailer.send\(\) .* object can't tr.*{right}"):
        scheduler.task()(Mailer().send)
    assert scheduler.task()(Mailer.help).name == "tests.test_task.Mailer.help"
    assert scheduler.task()(Mailer.make)() == "Mailer"

    class Within:
        @scheduler.task()
        @staticmethod
        def static() -> int:
            return 1

        with pytest.raises(ConfigurationError, match=r"Within.method\(\) is a method"):

            @scheduler.task()
            def method(self) -> None: ...

    assert Within.static() == 1

    @scheduler.task()
    def plain(self: int) -> int:
        return self

    assert plain(2) == 2


def test_context_without_annotation_is_refused() -> None:
    scheduler = Scheduler()
    with pytest.raises(ConfigurationError, match=r"'context' has no annotation.*'context: JobC"):

        @scheduler.task()
        def bare(context, name: str) -> None: ...  # type: ignore[no-untyped-def]

    @scheduler.task()
    def own(context: str) -> str:
        return context

    @scheduler.task()
    def both(job: JobContext, context) -> None: ...  # type: ignore[no-untyped-def]

    assert own.signature.pack(["x"], {}) == '[["x"],{}]'
    assert both.signature.pack([1], {}) == "[[1],{}]"


def test_parameter_that_can_not_travel_is_refused_at_the_decorator() -> None:
    scheduler = Scheduler()
    for kind in (NotTravelling, list[NotTravelling], "NotTravelling | None"):

        def takes(value: Any) -> None: ...

        takes.__annotations__["value"] = kind
        with pytest.raises(ConfigurationError, match=r"'value' is annotated .*NotTr.*can't travel"):
            scheduler.task()(takes)

    @scheduler.task()
    def may(value: NotTravelling | None = None) -> None: ...

    with pytest.raises(ArgumentError, match=r"'value' is annotated .* can't travel"):
        may.signature.pack([None], {})

    @scheduler.task()
    def later(value: DefinedBelow) -> None: ...

    assert later.signature.pack([DefinedBelow.A], {}) == '[["a"],{}]'


class DefinedBelow(Enum):
    A = "a"


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (datetime(2026, 1, 1), "takes an aware datetime"),
        (30, r"takes .* an aware datetime, not 30. Seconds\? Write timedelta\(seconds=30\)"),
        (1.5, r"Write timedelta\(seconds=1.5\)"),
        ("tomorrow", "takes a timedelta or an aware datetime, not 'tomorrow'$"),
        (timedelta.max, "takes a timedelta of up to 100 years, not"),
    ],
)
def test_wrong_time_is_refused(
    apps: Applications, sqlite_url: str, when: Any, message: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task()(double)
    apps.make(scheduler, sqlite_url)

    with pytest.raises(ConfigurationError, match=message):
        task.schedule(when, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue": "A"}, "queue 'A'"),
        ({"priority": 1.5}, "priority is a whole number"),
        ({"key": "x" * 1000}, "key .* has 1000 characters"),
        ({"key": "a\nb"}, "holds a control character"),
        ({"retry": [1, -1]}, "retry: a wait can't be -1"),
        ({"timeout": -1}, "timeout must be longer than nothing"),
    ],
)
def test_wrong_option_of_a_call_is_refused(options: Any, message: str) -> None:
    task = Scheduler().task()(double)

    with pytest.raises(ConfigurationError, match=message):
        task.options(**options)


def test_options_are_the_tasks_own_unless_given() -> None:
    task = Scheduler().task(queue="mail", priority=2, retry=3, timeout=timedelta(minutes=1))(double)

    assert (task.defaults.queue, task.defaults.priority) == ("mail", 2)
    assert task.defaults.retry == RetryPolicy(attempts=3)
    assert task.defaults.timeout == 60
    assert task.call(1).new.options is None
    assert task.options(retry=1).call(1).new.options is not None


# -- runs


def test_async_task_runs_to_its_end(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    async def work(context: JobContext, number: int) -> int:
        await asyncio.sleep(0)
        context.write_line("awaited", current_job.job_id)
        inner = asyncio.create_task(later(number))
        return await inner + await asyncio.to_thread(double, number)

    async def later(number: int) -> int:
        current_job.write_line("in a task of the loop")
        return number

    app = apps.make(scheduler, database_url)
    apps.start(app)
    done = wait_for_job(app, work.enqueue(5))

    assert done.result == 15
    assert lines_of(app, done) == [f"awaited {done.id}", "in a task of the loop"]


def test_async_task_behind_a_plain_decorator_runs_too(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    def plain(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @scheduler.task()
    @plain
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    app = apps.make(scheduler, sqlite_url)
    apps.start(app)

    assert wait_for_job(app, work.enqueue(5)).result == 5


def test_async_task_called_plainly_is_a_coroutine() -> None:
    @Scheduler().task()
    async def work(number: int) -> int:
        return number

    assert asyncio.run(work(5)) == 5


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_current_job_is_found_anywhere_inside_a_run(
    apps: Applications, database_url: str, kind: str
) -> None:
    scheduler = Scheduler()

    def deep(level: int) -> None:
        if level:
            deep(level - 1)
        else:
            current_job.write_line("deep in", current_job.task, "attempt", current_job.attempt)

    @scheduler.task("sync")
    def plain() -> None:
        deep(20)

    @scheduler.task("async")
    async def coroutine() -> None:
        deep(20)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, scheduler.enqueue(kind))

    assert lines_of(app, job) == [f"deep in {kind} attempt 1"]


def test_current_job_outside_of_a_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="There is no current job"):
        _ = current_job.job_id


def test_context_knows_its_run(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("nightly", "0 0 1 1 *", queue="night", name="report")
    def report(context: JobContext) -> list[Any]:
        return [
            *(context.job_id, context.task, context.attempt, context.queue),
            *(context.recurring_id, context.due, context.cancelled, context.cancel_reason),
        ]

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, scheduler.trigger("nightly"))

    assert job.result == [job.id, "report", 1, "night", "nightly", None, False, None]


def test_context_of_a_tick_knows_when_it_was_due_in_utc(
    apps: Applications, database_url: str, request: pytest.FixtureRequest
) -> None:
    if database_url.startswith("postgresql"):
        name = make_url(database_url).database
        postgres: Server = request.getfixturevalue("postgres")
        postgres.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    scheduler = Scheduler()
    dues: list[datetime | None] = []

    @scheduler.recurring("tick", "* * * * * *")
    def tick(context: JobContext) -> None:
        dues.append(context.due)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    due = wait_for(lambda: dues[0] if dues else None)

    assert due is not None
    assert due.tzinfo is UTC
    assert due.microsecond == 0
    assert job_of(app, 1).due == due


def test_runs_leave_nothing_in_context_variables(apps: Applications, sqlite_url: str) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="untouched")
    scheduler = Scheduler()

    @scheduler.task()
    def work() -> str:
        before = variable.get()
        variable.set("touched")
        return before

    app = apps.make(scheduler, sqlite_url, workers=1)
    apps.start(app)

    assert [wait_for_job(app, work.enqueue()).result for _ in range(3)] == ["untouched"] * 3


def test_what_a_run_logs_is_in_its_console(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work() -> None:
        logging.getLogger("shop.mail").warning("late by %d s", 5)
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logging.getLogger("shop").exception("odd")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    logging.getLogger("shop").warning("not from a run")
    job = wait_for_job(app, work.enqueue())

    first, second = lines_of(app, job)
    assert first == "late by 5 s"
    assert second.startswith("odd\nTraceback")
    assert second.endswith("ZeroDivisionError: division by zero")


def test_retry_of_a_call_counts_before_the_tasks(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=0)
    def fail() -> None:
        raise ValueError("no")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, fail.options(retry=[0, 0]).enqueue())

    assert (job.state, job.attempt) == (JobState.FAILED, 3)
