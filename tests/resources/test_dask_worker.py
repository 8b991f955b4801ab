"""`poolcast worker`: what it refuses, and what it starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dask_cluster import BUILD, PATH, Cluster, surroundings, wait_for

from pipeline.errors import UsageError
from resources.dask_worker import command, worker
from resources.settings import Settings


def settings(folder: Path, dask: str | None, postgres_url: str | None = None) -> Settings:
    return Settings(folder, postgres_url=postgres_url, dask=dask)


def test_without_a_scheduler_there_is_nothing_to_work_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set POOLCAST_DASK"):
        worker(settings(tmp_path, None), 1, None)


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "tls://dask-scheduler:8786", "tcp://0.0.0.0:8786"])
def test_a_worker_listens_to_others_only_where_it_is_told_to_and_has_a_database_they_share(
    address: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"give --host.*can run code here"):
        worker(settings(tmp_path, address), 1, None)
    with pytest.raises(UsageError, match="POOLCAST_POSTGRES_URL"):
        worker(settings(tmp_path, address), 1, "10.0.0.6")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"])
def test_a_worker_is_one_thread_on_loopback(address: str, tmp_path: Path) -> None:
    said = command(settings(tmp_path, address), 3, "127.0.0.1")
    assert said[said.index("--nworkers") + 1] == "3"
    assert said[said.index("--nthreads") + 1] == "1"
    assert said[said.index("--host") + 1] == "127.0.0.1"


@pytest.mark.slow
def test_the_command_joins_a_scheduler_knows_lake_database_and_registry_and_goes_when_asked(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from distributed import Client

    made = Cluster(server_folder)
    environment = {
        **os.environ, "POOLCAST_DASK": made.address, "POOLCAST_BUILD": BUILD, "PYTHONPATH": PATH,
        "POOLCAST_DATA_DIR": str(server_folder / "data"),
    }  # fmt: skip
    with (server_folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "worker"], env=environment, stdout=log, stderr=log
        )
    try:
        with Client(made.address, timeout=60) as client:
            client.wait_for_workers(1, timeout=120)
            ((address, found),) = client.run(surroundings).items()
            assert address.startswith("tcp://127.0.0.1:")
            assert found["POLARS_MAX_THREADS"] == found["OMP_NUM_THREADS"] == "1"
            assert found["POOLCAST_DATA_DIR"] == str(server_folder / "data")
            assert found["POOLCAST_DAGSTER_URL"].startswith("postgresql://")
            assert Path(found["DAGSTER_HOME"], "dagster.yaml").exists()
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            wait_for(lambda: not client.scheduler_info()["workers"], 30)
    finally:
        process.kill()
        process.wait()
        made.stop()
