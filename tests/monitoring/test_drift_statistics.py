"""The formulas of drift against other hands: scipy, worked examples, and counting every way of dealing."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from pipeline.monitoring.drift import permutation
from pipeline.monitoring.drift.bins import numeric_bins, numeric_codes, shares_by_pool, text_bins, text_codes
from pipeline.monitoring.drift.divergence import benjamini_hochberg, js_divergence, psi
from pipeline.monitoring.drift.permutation import Dealt, dealings, permutation_test
from pipeline.monitoring.drift.ranks import normal_scores
from pipeline.monitoring.drift.samples import units_of

SHARES = st.lists(st.integers(0, 50), min_size=2, max_size=13).filter(any).map(lambda n: np.array(n) / sum(n))


@given(st.data())
def test_the_divergence_is_scipys_and_lies_between_nothing_and_one_bit(data):
    p = data.draw(SHARES)
    q = data.draw(st.permutations(list(p)).map(np.array) | st.just(np.roll(p, 1)))
    told = js_divergence(p, q)
    assert told == pytest.approx(np.nan_to_num(jensenshannon(p, q, base=2)) ** 2, abs=1e-12)
    assert told == js_divergence(q, p)
    assert 0 <= told <= 1
    assert js_divergence(p, p) == pytest.approx(0, abs=1e-15)


def test_the_psi_of_a_worked_example():
    before, after = np.array([0.3, 0.4, 0.3]), np.array([0.2, 0.4, 0.4])
    by_hand = (0.2 - 0.3) * np.log(0.2 / 0.3) + (0.4 - 0.3) * np.log(0.4 / 0.3)
    assert psi(before, after) == pytest.approx(by_hand, abs=1e-15)
    assert psi(before, after) == pytest.approx(0.0693147, abs=1e-7)  # 0.1 ln 2


def test_the_psi_stays_finite_where_a_bin_is_new_and_ignores_bins_that_nobody_fills():
    assert psi(np.array([1.0, 0.0, 0.0]), np.array([0.9, 0.1, 0.0])) == pytest.approx(
        -0.1 * np.log(0.9) + (0.1 - 1e-4) * np.log(0.1 / 1e-4)
    )


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=150))
def test_q_values_are_scipys(p_values):
    expected = stats.false_discovery_control(p_values, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(np.array(p_values)), expected, rtol=0, atol=1e-12)


def test_bins_hold_a_tenth_of_the_reference_each_pool_weighing_one():
    values = np.concatenate([np.arange(1.0, 101.0), np.full(900, 1_000.0)])  # one talkative pool
    weights = np.concatenate([np.ones(100), np.full(900, 1 / 900)])
    bins = numeric_bins(values, weights, 10)
    shares = np.bincount(numeric_codes(values, bins), weights, minlength=bins.n) / 101
    filled = shares[shares > 0]
    assert len(filled) == 10
    np.testing.assert_allclose(filled, 0.1, atol=0.01)


def test_zero_what_is_missing_and_a_frequent_value_have_bins_of_their_own():
    values = np.array([np.nan] * 10 + [0.0] * 10 + [-0.0] * 5 + [7.0] * 40 + list(np.linspace(-5, 5, 40)))
    bins = numeric_bins(values, np.ones(len(values)), 10)
    codes = numeric_codes(values, bins)
    for own in (np.isnan(values), values == 0, values == 7):
        (code,) = set(codes[own])
        assert (codes == code).sum() == own.sum()
    assert codes[0] == bins.n - 1


@pytest.mark.parametrize("sign", [1, -1])
def test_zero_lies_beside_the_others_where_it_belongs(sign):
    values = sign * np.array([0.0] * 30 + list(range(1, 71)))
    codes = numeric_codes(values, numeric_bins(values, np.ones(100), 10))
    assert (np.diff(codes[np.argsort(values, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("constant", [3.0, 0.0, -2.5, np.inf])
def test_a_constant_column_leaves_its_bin_in_either_direction(constant):
    bins = numeric_bins(np.full(50, constant), np.ones(50), 10)
    (home,) = set(numeric_codes(np.full(3, constant), bins))
    for other in (-np.inf, -1.0, 1.0, 1e9, np.nan):
        assert numeric_codes(np.array([other]), bins)[0] != home


def test_frequent_texts_are_told_apart_all_others_share_a_bin():
    texts = pl.Series(["b", "a", "a", "<script>", "x" * 10_000, None])
    bins = text_bins(texts, np.array([3.0, 1, 1, 0.5, 0.4, 9]), 2)
    assert text_codes(texts, bins).tolist() == [1, 0, 0, 2, 2, 3]
    assert text_codes(pl.Series(["new", "a"]), bins).tolist() == [2, 0]


def test_rows_of_a_pool_together_weigh_one():
    shares = shares_by_pool(np.array([0, 0, 1, 2]), np.array([0, 0, 0, 1]), np.array([1 / 3] * 3 + [1.0]), 2, 3)
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [0, 0, 1]])


def test_scores_are_normal_quantiles_of_ranks_and_ties_share_one():
    values, pools = np.array([5.0, 1, 1, np.inf, np.nan]), np.array([0, 1, 2, 3, 4])
    told = normal_scores(values, pools, np.ones(5), 5)
    np.testing.assert_allclose(told, stats.norm.ppf([0.625, 0.25, 0.25, 0.875, 0.5]))


def tiny(seed, n_reference=5, n_current=3):
    """Eight pools, one column of four bins, so that each way of dealing can be counted."""
    rng = np.random.default_rng(seed)
    shares = rng.multinomial(6, [0.4, 0.3, 0.2, 0.1], n_reference + n_current)[:, None, :] / 6
    return Dealt(shares, rng.normal(0, 1, (n_reference + n_current, 1)), n_reference)


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_is_that_of_all_ways_of_dealing_as_scipy_counts_them(seed, monkeypatch):
    dealt = tiny(seed)
    every = np.zeros((56, 8), dtype=np.uint8)
    for row, chosen in enumerate(combinations(range(8), 3)):
        every[row, list(chosen)] = 1
    seen = every[-1]
    assert seen.tolist() == [0] * 5 + [1] * 3
    others = every[:-1]
    monkeypatch.setattr(permutation, "dealings", lambda *_: others)
    ours = permutation_test(dealt, 55, 0).p_values[0]

    def largest_of(current, reference, axis):
        """Places of pools on both sides; the statistic on the scale of all 56 ways."""
        shape = np.delete(np.shape(current), axis)
        current = np.moveaxis(np.asarray(current, dtype=int), axis, -1).reshape(-1, 3)
        chosen = np.zeros((len(current), 8))
        np.put_along_axis(chosen, current, 1, axis=1)
        by_way = {tuple(way): value for way, value in zip(every[np.r_[55, :55]], scale, strict=True)}
        return np.array([by_way[tuple(way.astype(int))] for way in chosen]).reshape(shape)

    both = permutation._of_sums(
        every[np.r_[55, :55]] @ _flat(dealt), _flat(dealt).sum(axis=0), 3, 5, dealt.shares.shape[1:]
    )
    scale = permutation._standardised(both).max(axis=-1)[:, 0].round(9)
    theirs = stats.permutation_test(
        (np.arange(5, 8), np.arange(5)), largest_of, n_resamples=np.inf, alternative="greater", vectorized=True
    )
    assert ours == pytest.approx(theirs.pvalue)


def _flat(dealt):
    return np.concatenate([dealt.shares[:, 0], dealt.ranks - dealt.ranks.mean(axis=0)], axis=1)


def test_a_mean_of_ranks_alone_gives_the_p_value_of_scipys_test_of_means():
    rng = np.random.default_rng(0)
    ranks = np.r_[rng.normal(0, 1, 7), rng.normal(1.2, 1, 5)]
    dealt = Dealt(np.ones((12, 1, 1)), ranks[:, None], 7)
    theirs = stats.permutation_test(
        (ranks[7:], ranks[:7]), lambda a, b: abs(np.mean(a) - np.mean(b)), n_resamples=np.inf, alternative="greater"
    )
    ours = permutation_test(dealt, 19_999, 1).p_values[0]
    assert ours == pytest.approx(theirs.pvalue, abs=4 * np.sqrt(theirs.pvalue / 20_000) + 1e-4)


def test_what_never_differs_has_a_p_value_of_one():
    dealt = Dealt(np.tile([0.5, 0.5, 0.0], (30, 2, 1)), np.zeros((30, 2)), 20)
    assert permutation_test(dealt, 199, 0).p_values.tolist() == [1.0, 1.0]


def test_each_dealing_chooses_as_many_pools_as_are_current_and_all_equally_often():
    chosen = dealings(7, 3, 20_000, np.random.default_rng(0))
    assert set(chosen.sum(axis=1)) == {3}
    np.testing.assert_allclose(chosen.mean(axis=0), 0.3, atol=0.015)


@given(st.integers(1, 3_000), st.integers(1, 3_000))
def test_units_are_of_one_size_and_of_one_side(n_before, n_after):
    units = units_of(n_before, n_after, 500, np.random.default_rng(0))
    for places, n in ((units.before, units.n_before), (units.after, units.n_after)):
        counts = np.bincount(places[places >= 0], minlength=n)
        assert n <= 500
        assert set(counts) == {units.size}
    assert min(units.n_before, units.n_after) >= min(n_before, n_after, 50)
