"""Parts of a computation on a real cluster: a scheduler and two workers, each a process of its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dask_cluster import BUILD, Cluster, cluster, failing, killing, marked, scaled, wait_for

from pipeline.errors import ClusterError, InputError, UsageError
from pipeline.workers import HERE
from resources import cluster as doors
from resources.cluster import DaskWorkers, workers_of

pytestmark = pytest.mark.slow
pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    patience = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with cluster(tmp_path_factory.mktemp("cluster"), 2, patience) as started:
        yield started


@pytest.fixture
def two(made: Cluster) -> Cluster:
    """Two workers, whatever the test before did to them."""
    made.has_workers(2)
    return made


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POOLCAST_BUILD", BUILD)
    doors.build.cache_clear()
    yield
    doors.build.cache_clear()


def held(workers: DaskWorkers, folder: Path, n_parts: int) -> tuple[threading.Thread, list[object]]:
    """Parts given away that wait until `folder/hold` is gone, and what came of them."""
    (folder / "hold").touch()
    came: list[object] = []

    def work() -> None:
        try:
            came.extend(workers.each(marked, str(folder), range(n_parts)))
        except ClusterError as error:
            came.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: len(list(folder.glob("*.began.*"))) >= 2)
    return thread, came


def test_without_an_address_this_process_works() -> None:
    assert workers_of(None) is HERE
    assert HERE.each(marked, "/nowhere", []) == []


def test_answers_come_in_the_order_of_the_parts_from_both_workers(two: Cluster, tmp_path: Path) -> None:
    workers = DaskWorkers(two.address)
    assert workers.count == 2
    found = workers.each(marked, str(tmp_path), range(20))
    assert [answer for answer, _ in found] == [part * part for part in range(20)]
    assert {pid for _, pid in found} == {worker.pid for worker in two.workers}
    assert workers.each(marked, str(tmp_path), []) == []


def test_what_is_shared_travels_once(two: Cluster) -> None:
    workers = DaskWorkers(two.address)
    shared = np.arange(100_000.0)
    for _ in range(3):
        assert workers.each(scaled, shared, [1, 2]) == HERE.each(scaled, shared, [1, 2])
    held_by = workers.cluster.who_has()
    assert len([key for key, who in held_by.items() if "ndarray" in str(key)]) == 1


def test_what_a_part_raises_is_raised_as_it_is(two: Cluster) -> None:
    with pytest.raises(InputError, match=r"part 1 is not what it claims to be"):
        DaskWorkers(two.address).each(failing, None, [1])


def test_a_worker_that_runs_other_code_computes_nothing(two: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POOLCAST_BUILD")
    with pytest.raises(
        UsageError, match=r"build 'under test' and is asked by build '[0-9a-f]{16}': give every machine"
    ):
        DaskWorkers(two.address).each(scaled, np.ones(1), [1])


def test_a_killed_workers_parts_are_done_by_the_other(two: Cluster, tmp_path: Path) -> None:
    thread, came = held(DaskWorkers(two.address), tmp_path, 6)
    two.kill(0)
    two.workers[0].wait()
    (tmp_path / "hold").unlink()
    thread.join(60)
    assert [answer for answer, _ in came] == [0, 1, 4, 9, 16, 25]  # type: ignore[misc]
    assert {pid for _, pid in came} == {two.workers[1].pid}  # type: ignore[misc]


def test_a_hung_worker_is_given_up_and_its_parts_are_done_by_the_other(two: Cluster, tmp_path: Path) -> None:
    thread, came = held(DaskWorkers(two.address), tmp_path, 4)
    two.hang(0)
    (tmp_path / "hold").unlink()
    thread.join(90)
    two.kill(0)
    two.workers[0].wait()
    assert [answer for answer, _ in came] == [0, 1, 4, 9]  # type: ignore[misc]


def test_where_nothing_comes_in_for_too_long_the_cluster_is_said_to_hang(two: Cluster, tmp_path: Path) -> None:
    thread, came = held(DaskWorkers(two.address, silence_seconds=1.0), tmp_path, 2)
    thread.join(30)
    assert "gave no answer for 1 s" in str(came[0])
    (tmp_path / "hold").unlink()


def test_a_part_that_kills_its_workers_is_not_tried_for_ever(two: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"lost 2 workers to one part"):
        DaskWorkers(two.address).each(killing, None, [1])
    for worker in two.workers:
        worker.wait(30)
    with pytest.raises(ClusterError, match="has no workers"):
        _ = DaskWorkers(two.address).count


def test_a_scheduler_that_dies_is_told_in_our_words(
    two: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "CONNECT_SECONDS", 1)
    thread, came = held(DaskWorkers(two.address), tmp_path, 2)
    two.scheduler.kill()
    thread.join(90)
    assert isinstance(came[0], ClusterError)
    assert f"no Dask scheduler answers at {two.address!r}" in str(came[0])
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at"):
        _ = DaskWorkers(two.address).count


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"POOLCAST_DASK is 'nonsense://x'"):
        _ = DaskWorkers("nonsense://x").count
