"""What a high signal is called worth is no accident of how it was set."""

import numpy as np
import pytest

from pipeline.models import signal_worth
from pipeline.models.conformal import certify
from pipeline.models.signal_worth import worth
from pipeline.models.spec import LOT_ALPHA
from tests.models.test_conformal import market

BOUND = 0.03


def everything(paid: np.ndarray) -> np.ndarray:
    return np.ones(len(paid), bool)


@pytest.fixture
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_worth, "_N_PERMUTATIONS", 199)


def test_the_shares_are_those_of_the_calls_and_of_all_decisions():
    score, paid, pool = market(500, np.random.default_rng(3), skill=2.0)
    found = worth(score, paid, everything(paid), pool, BOUND, seed=1)
    said = score > certify(score, paid, pool, BOUND).threshold
    assert found.paid.value == pytest.approx(paid[said].mean())
    assert (found.paid.n_rows, found.paid.n_pools) == (said.sum(), len(np.unique(pool[said])))
    assert found.paid.low < found.paid.value < found.paid.high
    assert found.n_pools_paid == len(np.unique(pool[said & paid]))
    assert (found.base_rate.value, found.base_rate.n_rows, found.base_rate.n_pools) == (paid.mean(), len(paid), 500)
    assert found.unknown == 0
    assert found.p_value <= LOT_ALPHA


@pytest.mark.usefixtures("few_permutations")
@pytest.mark.parametrize(("n_pools", "share"), [(150, 0.2), (400, 0.03)])
def test_a_score_that_knows_nothing_is_seldom_called_better_than_a_lot(n_pools: int, share: float):
    """Also where few pools pay, and with a pool's five decisions alike: were rows the units, lots would look good."""
    rng, better = np.random.default_rng(n_pools), 0
    for seed in range(100):
        score, _, pool = market(n_pools, rng, skill=0.0)
        paid = (rng.random(n_pools) < share)[pool]
        found = worth(score, paid, everything(paid), pool, BOUND, seed=seed)
        better += found is not None and found.p_value <= LOT_ALPHA
    assert better <= 8


@pytest.mark.usefixtures("few_permutations")
def test_a_score_that_knows_who_is_known_is_not_called_better_for_that():
    """Nobody knows what became of 7 positions in 10, and these count as not paid: the score likes the others."""
    rng, better = np.random.default_rng(8), 0
    for seed in range(60):
        score, pays, pool = market(300, rng, skill=0.0)
        known = (rng.random(300) < 0.3)[pool]
        found = worth(score + known, pays & known, known, pool, BOUND, seed=seed)
        better += found is not None and found.p_value <= LOT_ALPHA
    assert better <= 6


@pytest.mark.usefixtures("few_permutations")
def test_no_interval_is_told_where_few_pools_paid_and_nothing_where_nothing_is_known():
    score, paid, pool = market(300, np.random.default_rng(2), skill=0.0)
    none = np.zeros(len(paid), bool)
    found = worth(score, none, ~none, pool, BOUND, seed=1)
    assert (found.paid.value, found.paid.low, found.paid.high, found.n_pools_paid) == (0.0, None, None, 0)
    assert found.p_value == 1.0
    assert worth(score, none, none, pool, BOUND, seed=1) is None
    few = pool < 20
    assert worth(score[few], paid[few], ~none[few], pool[few], BOUND, seed=1) is None, "nothing is certified"


@pytest.mark.usefixtures("few_permutations")
def test_the_share_of_signals_of_whose_position_nobody_knows_is_told():
    score, paid, pool = market(300, np.random.default_rng(4), skill=2.0)
    known = pool % 2 == 0
    found = worth(score, paid & known, known, pool, BOUND, seed=1)
    said = score > certify(score, paid & known, pool, BOUND).threshold
    assert 0 < found.unknown == pytest.approx(1 - known[said].mean())
    assert found.base_rate.value == pytest.approx(paid[known].mean())


def test_the_same_seed_tells_the_same():
    score, paid, pool = market(200, np.random.default_rng(5), skill=0.5)
    first, again = (worth(score, paid, everything(paid), pool, BOUND, seed=9) for _ in range(2))
    assert first == again
