"""An application's code with mistakes. Each line that ends in a comment must be complained about.

The comments name the kinds of complaint; one that is not needed is itself complained about.
"""

from __future__ import annotations

from datetime import timedelta

from flask_recurring import JobContext, JobState, Scheduler, Task

scheduler = Scheduler()


@scheduler.task()
def plain(number: int, name: str = "") -> float:
    return number / len(name)


@scheduler.recurring("nightly", "0 3 * * *", args=[1])
def with_context(context: JobContext, number: int, *, urgent: bool = False) -> str:
    context.write_line(number, colour="red")  # type: ignore[call-arg]
    context.progress_bar(3)  # type: ignore[arg-type]
    return context.attempt  # type: ignore[return-value]


def calls(context: JobContext) -> None:
    plain("one")  # type: ignore[arg-type]
    with_context(context, 1)  # type: ignore[call-arg, arg-type]

    plain.enqueue()  # type: ignore[call-arg]
    plain.enqueue("one")  # type: ignore[arg-type]
    plain.enqueue(1, 2)  # type: ignore[arg-type]
    plain.enqueue(1, nmae="a")  # type: ignore[call-arg]
    plain.enqueue(1, "a", 3)  # type: ignore[call-arg]

    with_context.enqueue(context, 1)  # type: ignore[call-arg, arg-type]
    with_context.enqueue(context=context, number=1)  # type: ignore[call-arg]
    with_context.enqueue(1, True)  # type: ignore[call-arg]
    with_context.enqueue(urgent=True)  # type: ignore[call-arg]
    with_context.enqueue("one", urgent=True)  # type: ignore[arg-type]

    plain.schedule(60, 1)  # type: ignore[arg-type]
    plain.schedule(timedelta(1))  # type: ignore[call-arg]
    with_context.schedule(timedelta(1), context, 1)  # type: ignore[call-arg, arg-type]

    plain.call("one")  # type: ignore[arg-type]
    plain.options(queue=3)  # type: ignore[arg-type]
    plain.options(quue="mail")  # type: ignore[arg-type]
    scheduler.task(quue="mail")  # type: ignore[arg-type]
    scheduler.recurring("id", "@daily", misfire="newest")  # type: ignore[call-overload]
    scheduler.add_or_update("id", plain, "@daily", overlap="wait")  # type: ignore[call-overload]
    scheduler.override("id", overlap="wait")  # type: ignore[arg-type]
    plain.options(queue="mail").enqueue("one")  # type: ignore[arg-type]
    with_context.options(priority=1).enqueue()  # type: ignore[call-arg]
    with_context.options(priority=1).schedule(timedelta(1), "one")  # type: ignore[arg-type]

    scheduler.enqueue(plain, "one")  # type: ignore[arg-type]
    scheduler.enqueue(with_context)  # type: ignore[call-arg]
    scheduler.enqueue_many([plain.enqueue(1)])  # type: ignore[list-item]
    scheduler.purge(3)  # type: ignore[arg-type]
    scheduler.purge(timedelta(1), states=[JobState.NOPE])  # type: ignore[attr-defined]
    scheduler.add_or_update("id", plain)  # type: ignore[call-overload]
    scheduler.trigger(5)  # type: ignore[arg-type]


def another(task: Task[[str], None]) -> None:
    another(with_context)  # type: ignore[arg-type]
