"""Features and a training made by a cluster are those of one machine, bit for bit, with a worker killed meanwhile."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from dask_cluster import BUILD, Cluster, cluster, wait_for

from pipeline.errors import UsageError
from pipeline.features.compute import compute_family
from pipeline.features.in_parts import compute_family_in_parts
from pipeline.features.spec import FeaturesSpec
from pipeline.models.evaluation import train_and_evaluate
from pipeline.models.fits import HERE_ALONE, Bench, Fit, Makers, Setting
from pipeline.models.learners import boosted_xgboost
from pipeline.models.metrics import row_log_loss
from pipeline.tables import OUTCOMES
from resources import cluster as doors
from resources.cluster import DaskWorkers
from tests.features import battery_market
from tests.models.model_rows import SPEC, frozen, tables, with_further

pytestmark = pytest.mark.slow
pytest.importorskip("distributed")
LEARNERS = ("logistic", "xgboost")
TRAINING = replace(SPEC, n_resamples=0, competition=replace(SPEC.competition, n_trials=2, learners=LEARNERS))


class Harmed(DaskWorkers):
    """A cluster that loses a worker while it works on the parts of the n-th question."""

    def __init__(self, two: Cluster, question: int) -> None:
        super().__init__(two.address)
        self.two, self.question, self.asked = two, question, 0

    def each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        self.asked += 1
        if self.asked == self.question:
            threading.Thread(target=self._kill).start()
        return super().each(work, shared, parts)

    def _kill(self) -> None:
        pids = self.cluster.run(os.getpid)
        name = next(address for address, pid in pids.items() if pid == self.two.workers[0].pid)
        wait_for(lambda: bool(self.cluster.processing().get(name)), 30)
        self.two.kill(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch, cluster(tmp_path_factory.mktemp("cluster"), 2) as started:
        patch.setenv("POOLCAST_BUILD", BUILD)
        doors.build.cache_clear()
        yield started
    doors.build.cache_clear()


@pytest.fixture
def two(made: Cluster) -> Cluster:
    made.has_workers(2)
    return made


@pytest.mark.parametrize("family", ["technical", "correlation", "smart_money", "flow"])
def test_a_familys_rows_are_those_of_one_machine(two: Cluster, family: str) -> None:
    market, span, spec = battery_market.market(3), battery_market.SPAN, FeaturesSpec()
    here = compute_family(family, market.sources(), span, spec)
    there = compute_family_in_parts(family, market.sources(), span, spec, DaskWorkers(two.address), rows_a_part=20)
    assert there.equals(here)
    assert there.hash_rows().equals(here.hash_rows())


def test_a_training_gives_the_bytes_of_one_machine_though_a_worker_is_killed(two: Cluster) -> None:
    training_set = frozen(with_further(tables(80)))
    here = train_and_evaluate(training_set, TRAINING)
    workers = Harmed(two, question=2)
    there = train_and_evaluate(training_set, TRAINING, workers=workers)
    two.workers[0].wait(30)
    assert workers.asked > 2
    assert there.model_sha256 == here.model_sha256
    for name in ("trials", "standings", "metrics", "evaluation", "importance", "learning_curve"):
        assert getattr(there, name).equals(getattr(here, name)), name


def rows(n: int) -> Bench:
    """Outcomes that three of eight numbers tell, with gaps."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, len(OUTCOMES), n)
    x = rng.normal(size=(n, 8))
    x[:, :3] += 0.6 * y[:, None]
    x[rng.random(x.shape) < 0.1] = np.nan
    return Bench(x.astype(np.float32), y.astype(np.int64), rng.uniform(0.5, 1, n), np.arange(n), 1)


SETTING = Setting({**boosted_xgboost.DEFAULTS, "n_rounds": 30}, 8, 0.0)


def test_one_fit_spread_over_the_workers_is_the_same_each_time_and_as_good_as_one_workers(two: Cluster) -> None:
    bench, train, test = rows(6_000), np.arange(4_000), np.arange(4_000, 6_000)
    fit = Fit("xgboost", SETTING, train)
    spread = Makers(DaskWorkers(two.address), spread_from_rows=1)
    first, again = (spread.members(bench, [fit])[0] for _ in range(2))
    assert first.state() == again.state()
    (alone,) = HERE_ALONE.members(bench, [fit])
    asked, came = bench.x[test], bench.y[test]
    losses = {name: row_log_loss(came, m.predict(asked)) for name, m in {"1": alone, "2": first}.items()}
    gap = float((losses["2"] - losses["1"]).mean())
    assert abs(gap) < 0.01, f"nats a row, of {losses['1'].mean():.3f}"


def test_a_fit_of_fewer_rows_than_are_spread_is_one_workers_bit_for_bit(two: Cluster) -> None:
    bench, fit = rows(500), Fit("xgboost", SETTING, np.arange(500))
    (there,) = Makers(DaskWorkers(two.address), spread_from_rows=501).members(bench, [fit])
    assert there.state() == HERE_ALONE.members(bench, [fit])[0].state()


def test_a_spread_fit_without_a_cluster_is_refused() -> None:
    with pytest.raises(UsageError, match="set POOLCAST_DASK"):
        Makers(spread_from_rows=1).members(rows(100), [Fit("xgboost", SETTING, np.arange(100))])
