"""Hosts that stand still, compute without end, or have the wrong time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.chaos.application import TICKING
from tests.chaos.clock import wrong_clock
from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import Load, last_for, recovery
from tests.chaos.size import sized
from tests.chaos.verdict import check_jobs, check_ticks
from tests.requirement import missing
from tests.store.samples import ticks_of
from tests.waiting import wait_for

Measured = Callable[[str, float], None]


def test_host_stands_still_for_longer_than_the_others_wait(
    chaos: MakeFleet, some_url: str, measured: Measured
) -> None:
    timeout = sized(3.0, 60.0)
    fleet, client = chaos(some_url, heartbeat_interval=0.5, server_timeout=timeout)
    (still,) = fleet.start(1, ticks=2)
    # Some run, and some wait behind them: those must not be begun when the host comes back.
    quick = client.work(sized(3000, 20_000), 0.001)
    wait_for(lambda: len(fleet.runs()) > 200, message="the quick jobs running")
    long = client.work(2, 3.0, priority=-1) + client.work(2, 3.0, "listen", priority=-1)
    wait_for(
        lambda: {run.job for run in fleet.runs()} >= set(long), message="the long jobs running"
    )
    still.send(signal.SIGSTOP)
    since = time.monotonic()
    fleet.start(1, ticks=2)
    ids = quick + long
    client.wait_until_finished(ids, timeout + 30)
    again = min(run.begun for run in fleet.runs() if run.job in long and run.pid != still.pid)
    measured("run elsewhere after", again - since)
    assert again - since > timeout - 1, "the host was given the time that it has"

    still.send(signal.SIGCONT)
    back = time.monotonic()
    still.wait_for_line("it registers again")
    still.wait_for_line("had been given to another server")
    measured("recovery", recovery(fleet, client, back))

    def interrupted(run: object) -> bool:
        # Begun before it stood still, ended after or just before.
        return run in on_the_way

    on_the_way = [
        run
        for run in fleet.runs()
        if run.pid == still.pid
        and run.begun <= since
        and (run.ended is None or run.ended > since - 1.0)
    ]
    assert {run.job for run in on_the_way} >= set(long)
    check_jobs(fleet, client, ids, interrupted)
    check_ticks(fleet, client, seconds=2, excused=interrupted)
    for job_id in long:
        job = client.store.jobs.get(job_id)
        assert job is not None
        assert (job.state, job.server, job.claim) == ("Succeeded", fleet.hosts[1].name, 2)


def test_job_that_lets_no_other_thread_run_is_not_taken_for_dead(
    chaos: MakeFleet, some_url: str
) -> None:
    seconds = sized(4.0, 45.0)
    # Many beats are missed, in the full form at the interval that everybody has.
    fleet, client = chaos(some_url, heartbeat_interval=sized(0.5, 2.0))
    (holder, *_) = fleet.start(2, ticks=2)
    # Others run and end while nothing can be written about them.
    others = client.work(16, 0.3)
    held = client.work(1, seconds, task="hold")
    wait_for(lambda: {run.job for run in fleet.runs()} >= set(held), message="the job running")
    with Load(client, seconds=0.01) as load:
        last_for(
            seconds - 1.0,
            unless=lambda: [host.output() for host in fleet.hosts if "died" in host.output()],
        )
        ids = load.stop()
    client.wait_until_finished(held + others + ids, 30)
    check_jobs(fleet, client, held + others + ids)
    check_ticks(fleet, client, seconds=2)
    for host in fleet.hosts:
        assert "died" not in host.output()
        assert "taken for dead" not in host.output()
    assert holder.exit_code is None


def test_hosts_clocks_are_an_hour_off(chaos: MakeFleet, postgres_url: str) -> None:
    fleet, client = chaos(postgres_url, heartbeat_interval=0.5, server_timeout=10)
    clocks = [
        wrong_clock(offset) or missing("there is no libfaketime on this machine")
        for offset in ("-1h", "+1h")
    ]
    slow, fast = (fleet.begin(ticks=2, env=clock) for clock in clocks)
    fleet.begin(ticks=2)
    for host in fleet.hosts:
        host.wait_until_ready()
    begun = client.store.now()
    with Load(client, seconds=0.01) as load:
        last_for(
            sized(4.0, 60.0),
            unless=lambda: [host.output() for host in fleet.hosts if "died" in host.output()],
        )
        ids = load.stop()
    client.wait_until_finished(ids, 20)
    check_jobs(fleet, client, ids)
    assert check_ticks(fleet, client, seconds=2) >= 2
    assert {run.pid for run in fleet.runs()} >= {slow.pid, fast.pid}
    over = client.store.now()
    for job_id in ids:
        job = client.store.jobs.get(job_id)
        assert job is not None
        assert job.started_at is not None
        assert job.finished_at is not None
        assert begun <= job.created_at <= job.started_at <= job.finished_at <= over
    for tick in ticks_of(client.store, TICKING):
        assert tick.due is not None
        assert 0 <= (tick.created_at - tick.due).total_seconds() < 1.5
    assert {server.silent for server in client.store.servers.live()} == {False}
