"""A SQLite file with four processes under load."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import Load, last_for
from tests.chaos.size import sized
from tests.chaos.verdict import check_jobs, check_ticks, died_in_the_middle


def test_four_processes_share_a_file_and_one_is_killed(
    chaos: MakeFleet, sqlite_url: str, measured: Callable[[str, float], None]
) -> None:
    fleet, client = chaos(sqlite_url)
    fleet.start(4, ticks=2)
    ids = client.work(sized(2000, 40_000))
    with Load(client, seconds=0.02) as load:
        load.wait_for_more(50)
        victim = random.choice(fleet.hosts)
        victim.kill()
        ids += client.work(sized(1000, 20_000), 0.001)
        last_for(sized(1.0, 20.0))
        load.wait_for_more(50)
        ids += load.stop()
    client.wait_until_finished(ids, sized(30, 300))
    assert victim.died_at is not None

    died = died_in_the_middle(fleet)
    cut = {run.job for run in fleet.runs() if died(run)}
    again = [run.begun for run in fleet.runs() if run.job in cut and run.pid != victim.pid]
    if again:
        measured("run again after", max(again) - victim.died_at)
        assert max(again) - victim.died_at < 10
    check_jobs(fleet, client, ids, died)
    check_ticks(fleet, client, seconds=2, excused=died)
    assert load.refusals == 0, "nobody was kept from enqueuing"
