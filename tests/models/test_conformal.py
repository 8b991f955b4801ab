import numpy as np
import pytest

from pipeline.models.conformal import certify, later_pools


def market(n_pools: int, rng: np.random.Generator, *, skill: float = 1.0):
    """Pools of one to five decisions, scores and whether they paid alike within a pool."""
    rows = rng.integers(1, 6, n_pools)
    pool = np.repeat(np.arange(n_pools), rows)
    pays = rng.random(n_pools) < 0.2
    level = rng.normal(size=n_pools) + skill * pays
    score = np.repeat(level, rows) + 0.3 * rng.normal(size=len(pool))
    return score, np.repeat(pays, rows), pool


def rate(threshold: float, score, paid, pool) -> float:
    negative = ~paid
    said = (score[negative] > threshold).astype(float)
    _, at = np.unique(pool[negative], return_inverse=True)
    return float((np.bincount(at, said) / np.bincount(at)).mean())


@pytest.mark.parametrize("n_pools", [60, 150, 500])
@pytest.mark.parametrize("skill", [0.0, 2.0])
def test_the_false_positive_rate_of_new_pools_is_at_most_what_was_promised(n_pools, skill):
    rng = np.random.default_rng(n_pools)
    found = []
    for _ in range(250):
        certificate = certify(*market(n_pools, rng, skill=skill), 0.03)
        assert certificate.threshold is not None
        found.append(rate(certificate.threshold, *market(400, rng, skill=skill)))
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) <= 0.03 + 3 * error
    # And it does not buy this by being mute: it lies less than two pools' worth below.
    assert np.mean(found) >= 0.03 - 2.5 / n_pools - 3 * error


def test_the_rule_that_rows_are_units_would_break_the_promise():
    """What the pool as unit is for: rows of long-lived pools would drown those of the others."""
    rng = np.random.default_rng(0)
    by_rows = []
    for _ in range(300):
        rows = np.where(np.arange(100) < 10, 60, 1)
        pool = np.repeat(np.arange(100), rows)
        score = np.repeat(rng.normal(size=100), rows)
        score[: 10 * 60] -= 5
        none = np.zeros(len(pool), bool)
        alone = certify(score, none, np.arange(len(pool)), 0.03).threshold
        by_rows.append(rate(alone, score, none, pool))
        own = certify(score, none, pool, 0.03)
        assert own.rate <= 0.03
    assert np.mean(by_rows) > 0.1


def test_where_no_threshold_can_be_certified_it_abstains_and_says_so():
    rng = np.random.default_rng(1)
    score, paid, pool = market(300, rng)
    few = np.isin(pool, np.unique(pool[~paid])[:32])
    found = certify(score[few], paid[few], pool[few], 0.03)
    assert found.threshold is None
    assert found.n_pools == 32
    assert "abstains: 32 pools" in found.words
    one_more = np.isin(pool, np.unique(pool[~paid])[:33])
    assert certify(score[one_more], paid[one_more], pool[one_more], 0.03).threshold is not None
    assert certify(score[:0], paid[:0], pool[:0], 0.03).threshold is None


def test_the_threshold_is_the_lowest_that_is_allowed():
    score = np.arange(100) / 100
    found = certify(score, np.zeros(100, bool), np.arange(100), 0.03)
    # (n * rate + 1) / (n + 1) <= 0.03 with n = 100 allows two pools: those of 0.98 and 0.99.
    assert found.threshold == pytest.approx(0.97)
    assert found.rate == pytest.approx(0.02)
    assert found.coverage == pytest.approx(0.02)
    assert found.recall is None


def test_coverage_and_recall_are_those_of_the_rule():
    score, paid, pool = market(500, np.random.default_rng(3), skill=2.0)
    found = certify(score, paid, pool, 0.03)
    said = score > found.threshold
    assert found.coverage == pytest.approx(said.mean())
    assert found.recall == pytest.approx(said[paid].mean())
    assert found.rate == pytest.approx(rate(found.threshold, score, paid, pool))


def test_later_pools_are_judged_by_a_threshold_of_the_earlier_ones_alone():
    score, paid, pool = market(400, np.random.default_rng(4))
    found = later_pools(score, paid, pool, pool, 0.03, seed=1)
    early = pool < 200
    threshold = certify(score[early], paid[early], pool[early], 0.03).threshold
    assert found.rate == pytest.approx(rate(threshold, score[~early], paid[~early], pool[~early]))
    assert found.low <= found.rate <= found.high
    assert later_pools(score[:20], paid[:20], pool[:20], pool[:20], 0.03, seed=1) is None
