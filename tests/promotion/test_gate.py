from datetime import UTC, datetime
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.errors import InputError, UsageError
from pipeline.promotion.gate import beats_all, compare_offline, comparison_row, mcnemar_exact
from pipeline.promotion.spec import PromotionSpec
from pipeline.tables import COMPARISONS

SMALL = PromotionSpec(min_pools=2, n_resamples=500)
AT = datetime(2020, 11, 1, tzinfo=UTC)


def some_losses(seed: int, n_pools: int, better: float = 0.0):
    """Two models on the same pools: shared difficulty, own noise; `better` is the challenger's true relative gain."""
    rng = np.random.default_rng(seed)
    hard = rng.gamma(2.0, 0.5, n_pools)
    noise = rng.gamma(4.0, 0.25, (2, n_pools))
    return hard * noise[0] * (1 - better), hard * noise[1]


def compare(challenger, opponent, spec=SMALL, *, pools=None, right=None, opponent_right=None):
    n = len(challenger)
    return compare_offline(
        np.arange(n) if pools is None else pools,
        challenger,
        opponent,
        np.ones(n, bool) if right is None else right,
        np.ones(n, bool) if opponent_right is None else opponent_right,
        spec=spec,
    )


def test_the_pool_is_the_unit_not_the_row():
    pools = np.array(["a"] * 9 + ["b"])
    done = compare(np.array([1.0] * 9 + [3.0]), np.array([4.0] * 10), pools=pools)
    assert (done.n_pools, done.n_rows) == (2, 10)
    assert done.loss_challenger == 2.0
    assert done.gain == 0.5


def test_a_hand_worked_comparison_of_three_pools():
    pools = np.array(["a", "a", "b", "b", "c", "c"])
    challenger = np.array([0.2, 0.4, 0.5, 0.5, 0.9, 0.7])  # pools: 0.3, 0.5, 0.8 -> 1.6 / 3
    opponent = np.array([0.4, 0.8, 0.5, 0.7, 0.8, 1.0])  # pools: 0.6, 0.6, 0.9 -> 2.1 / 3
    right = np.array([True, True, True, False, False, True])  # a: yes, b: tie, c: tie
    opponent_right = np.array([False, False, True, True, False, False])  # a: no, b: yes, c: no
    done = compare(challenger, opponent, pools=pools, right=right, opponent_right=opponent_right)
    assert done.gain == pytest.approx(1 - 1.6 / 2.1)
    assert (done.n_challenger_only, done.n_opponent_only) == (1, 1)
    assert done.mcnemar_p == 1.0


def test_half_of_a_pools_rows_right_counts_as_wrong_for_both_sides():
    pools, half, whole = np.array(["a", "a"] * 1 + ["b", "b"]), np.array([1, 0, 1, 0], bool), np.ones(4, bool)
    loss = np.ones(4)
    assert compare(loss, loss, pools=pools, right=half, opponent_right=whole).n_opponent_only == 2
    assert compare(loss, loss, pools=pools, right=whole, opponent_right=half).n_challenger_only == 2


def test_the_interval_agrees_with_scipys_bootstrap():
    challenger, opponent = some_losses(3, 300, better=0.1)
    done = compare(challenger, opponent, PromotionSpec(n_resamples=20_000))
    oracle = stats.bootstrap(
        (challenger, opponent),
        lambda c, o, axis: 1 - c.mean(axis=axis) / o.mean(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert done.gain_low == pytest.approx(oracle.low, abs=0.004)
    assert done.gain_high == pytest.approx(oracle.high, abs=0.004)


def test_the_interval_agrees_with_the_delta_method():
    challenger, opponent = some_losses(4, 2_000, better=0.1)
    done = compare(challenger, opponent, PromotionSpec(n_resamples=5_000))
    ratio = challenger.mean() / opponent.mean()
    error = np.std(challenger - ratio * opponent, ddof=1) / opponent.mean() / np.sqrt(2_000)
    assert done.gain_low == pytest.approx(done.gain - 1.96 * error, abs=0.005)
    assert done.gain_high == pytest.approx(done.gain + 1.96 * error, abs=0.005)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None)
def test_mcnemar_agrees_with_the_sum_in_whole_numbers(one, other):
    n, k = one + other, min(one, other)
    by_hand = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
    assert mcnemar_exact(one, other) == pytest.approx(by_hand, rel=1e-10)


@pytest.mark.parametrize(("one", "other"), [(2_000, 2_100), (10, 4_000), (3_000, 3_000), (0, 900)])
def test_mcnemar_agrees_with_scipys_binomial_test_on_thousands_of_pools(one, other):
    oracle = stats.binomtest(one, one + other, 0.5).pvalue
    assert mcnemar_exact(one, other) == pytest.approx(oracle, rel=1e-8, abs=1e-300)


@given(st.integers(0, 2**31), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_changes_nothing_to_the_last_bit(seed, shuffler):
    challenger, opponent = some_losses(seed, 40)
    pools, right = np.random.default_rng(seed).integers(0, 9, 40), challenger < opponent
    order = list(range(40))
    shuffler.shuffle(order)
    told = compare(challenger, opponent, pools=pools, right=right)
    assert compare(challenger[order], opponent[order], pools=pools[order], right=right[order]) == told


def test_two_equally_good_models_pass_in_a_tiny_share_of_a_thousand_runs():
    spec = PromotionSpec(n_resamples=400)
    passed = [compare(*some_losses(seed, 200), spec).is_passed for seed in range(1_000)]
    assert np.mean(passed) <= 0.04


def test_a_challenger_that_is_truly_better_passes_mostly():
    spec = PromotionSpec(n_resamples=400)
    passed = [compare(*some_losses(seed, 200, better=0.2), spec).is_passed for seed in range(300)]
    assert np.mean(passed) >= 0.9


def test_a_sure_gain_of_less_than_five_per_cent_does_not_pass():
    opponent = some_losses(0, 500)[1]
    done = compare(0.96 * opponent, opponent)
    assert done.gain_low > 0
    assert not done.is_passed
    assert "must exceed 5 %" in done.reason


def test_a_large_gain_that_may_be_luck_does_not_pass():
    challenger, opponent = np.array([0.1, 3.0, 0.2, 2.8, 0.1, 1.0]), np.array([2.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    done = compare(challenger, opponent)
    assert done.gain > 0.05
    assert not done.is_passed
    assert "lower end" in done.reason


def test_a_handful_of_pools_proves_nothing_however_large_the_gain():
    done = compare(np.full(29, 0.1), np.ones(29), PromotionSpec())
    assert done.gain == pytest.approx(0.9)
    assert not done.is_passed
    assert compare(np.full(30, 0.1), np.ones(30), PromotionSpec()).is_passed


def test_the_first_champion_must_beat_every_baseline():
    good, bad = compare(np.full(40, 0.5), np.ones(40)), compare(np.ones(40), np.ones(40))
    assert beats_all({"baseline:prior": good, "baseline:rule": good}).is_promoted
    verdict = beats_all({"baseline:prior": good, "baseline:rule": bad})
    assert not verdict.is_promoted
    assert verdict.unbeaten == ("baseline:rule",)
    assert "baseline:rule" in verdict.reason


def test_opponents_with_the_same_losses_on_every_row_count_as_one_in_the_words():
    twin, other = compare(np.full(40, 0.5), np.ones(40)), compare(np.full(40, 0.5), np.full(40, 2.0))
    named = {"baseline:no_forecast": twin, "baseline:reversal": other, "baseline:momentum": twin}
    verdict = beats_all(named)
    assert verdict.is_promoted
    assert verdict.reason == (
        "beats all 3 opponents: baseline:no_forecast, baseline:reversal, baseline:momentum"
        " (different ones: 2, as baseline:momentum has the losses of baseline:no_forecast)"
    )
    assert "(different ones: 1, as baseline:b has the losses of baseline:a)" in (
        beats_all({"baseline:a": twin, "baseline:b": twin}).reason
    )
    assert "different ones" not in beats_all({"baseline:a": twin, "baseline:b": other}).reason


def test_without_a_baseline_there_is_no_first_champion():
    with pytest.raises(UsageError, match="without one opponent"):
        beats_all({})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_losses_that_are_no_losses_are_refused(bad):
    losses = np.ones(3_000)
    losses[[5, 7]] = bad
    with pytest.raises(InputError, match="finite") as told:
        compare(losses, np.ones(3_000))
    assert "2 of the 3,000 losses of the challenger" in str(told.value)
    assert len(str(told.value)) < 150


@pytest.mark.parametrize(
    ("challenger", "opponent", "words"),
    [
        (np.ones(40), np.full(40, 1.7e308), "opponent's losses are so large"),
        (np.full(40, 1.7e308), np.full(40, 1.7e308), "challenger's losses are so large"),
        (np.full(40, 1e300), np.full(40, 1e-300), "too far apart"),
    ],
)
def test_losses_whose_mean_or_ratio_no_float_holds_are_refused(challenger, opponent, words):
    with pytest.raises(InputError, match=words):
        compare(challenger, opponent)
    assert np.isfinite(compare(np.full(40, 1e300), np.full(40, 2e300)).gain_low)


def test_an_opponent_without_any_loss_is_refused():
    with pytest.raises(InputError, match="no meaning"):
        compare(np.ones(2), np.array([0.0, 1.0]))


def test_columns_of_other_lengths_and_no_rows_are_refused():
    with pytest.raises(InputError, match="one value"):
        compare(np.ones(3), np.ones(2))
    with pytest.raises(InputError, match="there is no row"):
        compare(np.ones(0), np.ones(0))


def test_a_comparison_becomes_one_row_of_its_table_with_a_stable_id():
    told = {"model_name": "pool-outcome", "challenger_version": 3, "known_at": AT}
    done = compare(*some_losses(1, 50))
    row = comparison_row(done, opponent="version:2", **told)
    assert row.schema == COMPARISONS.schema
    assert row["gain_pct"][0] == pytest.approx(100 * done.gain)
    assert comparison_row(compare(*some_losses(1, 50)), opponent="version:2", **told).equals(row)


def test_another_opponent_rule_or_loss_gives_another_id():
    told = {"model_name": "pool-outcome", "challenger_version": 3, "known_at": AT}
    sides = some_losses(1, 50)
    rows = [
        comparison_row(compare(*sides), opponent="version:2", **told),
        comparison_row(compare(*sides), opponent="version:1", **told),
        comparison_row(compare(*sides, PromotionSpec(min_pools=3, n_resamples=500)), opponent="version:2", **told),
        comparison_row(compare(*some_losses(2, 50)), opponent="version:2", **told),
    ]
    assert len({row["comparison_id"][0] for row in rows}) == 4


@pytest.mark.parametrize("wrong", [{"min_gain": 1.0}, {"confidence": 1.0}, {"n_resamples": 5}, {"min_pools": 1}])
def test_a_rule_that_judges_nothing_is_refused(wrong):
    with pytest.raises(UsageError, match="no verdict"):
        PromotionSpec(**wrong)
