"""The sequential gate: worked by hand, against another's e-process, and its properties."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, UsageError
from pipeline.promotion.betting import log_wealth
from pipeline.promotion.sequential import (
    LOSSES,
    harm_verdict,
    sequential_verdict,
    sequential_verdicts,
)
from pipeline.promotion.spec import BETTER, HARM, BettingSpec

OPEN = datetime(2024, 1, 1, tzinfo=UTC)
HALF = BettingSpec(pools=(8,), shares=(1.0,), prior_square=1.0)
"""One purse. With alpha 1/e and differences of one it always bets sqrt(2 / 8), the half of what it has."""
ONE_IN_E = float(np.exp(-1))


def pairs_of(differences, *, pools=None, hours=None):
    """One row a pool, an hour apart, with the differences asked for."""
    n = len(differences)
    told = np.asarray(differences, dtype=float)
    hours = range(n) if hours is None else hours
    return pl.DataFrame(
        {
            "pool": [f"p{i:05}" for i in range(n)] if pools is None else pools,
            "matured_at": [OPEN + timedelta(hours=int(h)) for h in hours],
            "loss_champion": 2.0 + told,
            "loss_challenger": np.full(n, 2.0),
        },
        schema_overrides={"matured_at": pl.Datetime("us", "UTC")},
    )


def some_pairs(seed, n=200, gain=0.0):
    rng = np.random.default_rng(seed)
    return pairs_of(np.clip(rng.normal(gain, 0.5, n), -1, 1))


def test_a_challenger_is_promoted_at_the_first_pool_that_makes_enough():
    done = sequential_verdict(pairs_of([1, 1, 1, -1, -1, -1]), alpha=ONE_IN_E, spec=HALF)
    assert done.decision == "promote"
    assert done.path["wealth"].to_list() == pytest.approx([1.5, 1.5**2, 1.5**3])
    assert done.path["wealth_worse"].to_list() == pytest.approx([0.5, 0.25, 0.125])
    assert (done.n_pools, done.stopped_at) == (3, OPEN + timedelta(hours=2))
    assert done.bound == pytest.approx(np.e)


def test_a_challenger_that_is_worse_is_rejected_by_the_mirrored_bets():
    done = sequential_verdict(pairs_of([-1, -1, -1, 1]), alpha=ONE_IN_E, spec=HALF)
    assert (done.decision, done.n_pools) == ("reject", 3)
    assert done.wealth_worse == pytest.approx(1.5**3)
    assert "worse" in done.reason


def test_it_continues_while_nothing_is_proved():
    done = sequential_verdict(pairs_of([1, -1, 1]), alpha=ONE_IN_E, spec=HALF)
    assert (done.decision, done.n_pools, done.stopped_at) == ("continue", 3, None)
    assert done.wealth == pytest.approx(1.5 * 0.5 * 1.5)


def test_a_spent_budget_rejects_at_its_last_pool_and_a_proof_at_that_pool_still_promotes():
    done = sequential_verdict(pairs_of([1, -1, 1, 1, 1]), alpha=ONE_IN_E, spec=HALF, max_pools=3)
    assert (done.decision, done.n_pools, done.stopped_at) == ("reject", 3, OPEN + timedelta(hours=2))
    assert "budget" in done.reason
    assert sequential_verdict(pairs_of([1, 1, 1]), alpha=ONE_IN_E, spec=HALF, max_pools=3).decision == "promote"
    assert sequential_verdict(pairs_of([1, -1]), alpha=ONE_IN_E, spec=HALF, max_pools=3).decision == "continue"
    assert sequential_verdict(pairs_of([1, -1]), alpha=ONE_IN_E, spec=HALF, max_pools=10**30).decision == "continue"


def test_a_bet_is_sized_by_the_noise_of_the_pools_before_it():
    spec = BettingSpec(pools=(8,), shares=(1.0,), prior_square=1.0, prior_pools=1.0)
    done = sequential_verdict(pairs_of([0.5, 0.5]), alpha=ONE_IN_E, spec=spec)
    second = 0.5 / np.sqrt((1.0 + 0.25) / 2)
    assert done.path["wealth"].to_list() == pytest.approx([1.25, 1.25 * (1 + second * 0.5)])


def test_late_money_is_handed_out_by_the_count_of_pools():
    spec = replace(HALF, late_share=0.5, late_pools=1)
    done = harm_verdict(pairs_of([1, -1]), alpha=ONE_IN_E, spec=spec)
    first = (0.5 + 0.25) * 1.5 + 0.25  # of the half aside, 1/2 goes out before pool 1 and 1/6 before pool 2
    second = ((0.5 + 0.25) * 1.5 + 0.5 / 6) * 0.5 + 0.5 / 3
    assert done.path["wealth"].to_list() == pytest.approx([first, second])


def test_the_margin_is_taken_off_every_difference_after_clipping():
    done = sequential_verdict(pairs_of([5, 0.2]), alpha=0.05, margin=0.1)
    assert done.path["difference"].to_list() == pytest.approx([0.9, 0.1])


def test_with_a_margin_a_challenger_as_good_as_the_champion_is_not_worth_the_move():
    assert sequential_verdict(pairs_of(np.zeros(2_000)), alpha=0.05, margin=0.05).decision == "reject"
    assert sequential_verdict(pairs_of(np.zeros(2_000)), alpha=0.05).decision == "continue"


@pytest.mark.parametrize("reach", [1.0, 1.9])
def test_the_largest_loss_after_a_quiet_time_leaves_a_tenth_of_every_purse(reach):
    quiet = np.zeros((300, 1))
    quiet[-1] = -reach
    path = log_wealth(quiet, alpha=0.01, reach=reach, spec=BettingSpec(pools=(10,), shares=(1.0,)))
    assert path[-2:, 0] == pytest.approx([0.0, np.log(0.1)])


def test_thousands_of_losses_leave_a_number():
    path = log_wealth(np.full((5_000, 1), -1.0), alpha=0.01, reach=1.0, spec=HARM)
    assert np.isfinite(path).all()
    assert (np.diff(path[:, 0]) < 0).all()


def test_rows_of_a_pool_are_averaged_and_it_enters_when_its_last_row_matured():
    pairs = pairs_of([1.0, 0.0, -0.5, 0.5], pools=["a", "b", "a", "b"], hours=[0, 1, 9, 2])
    path = sequential_verdict(pairs, alpha=0.05).path
    assert path["pool"].to_list() == ["b", "a"]
    assert path["difference"].to_list() == pytest.approx([0.25, 0.25])
    assert path["matured_at"].to_list() == [OPEN + timedelta(hours=2), OPEN + timedelta(hours=9)]


def test_the_mean_is_clipped_and_not_the_rows():
    assert sequential_verdict(pairs_of([3.0, -3.0], pools=["a", "a"]), alpha=0.05).path["difference"][0] == 0.0


def test_pools_of_one_moment_enter_in_an_order_that_does_not_look_at_losses():
    at_once = pairs_of([0.5, -0.5, 0.1], pools=["c", "a", "b"], hours=[0, 0, 0])
    assert sequential_verdict(at_once, alpha=0.05).path["pool"].to_list() == ["a", "b", "c"]
    swapped = at_once.with_columns(pl.col("loss_champion").reverse())
    assert sequential_verdict(swapped, alpha=0.05).path["pool"].to_list() == ["a", "b", "c"]


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_changes_nothing_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    pairs = pairs_of(rng.normal(0.1, 0.6, 300), pools=rng.integers(0, 80, 300), hours=rng.integers(0, 20, 300))
    whole = sequential_verdict(pairs, alpha=0.05)
    shuffled = sequential_verdict(pairs.sample(fraction=1, shuffle=True, seed=seed), alpha=0.05)
    assert shuffled.path.equals(whole.path)
    assert replace(shuffled, path=whole.path) == whole


def test_a_path_that_stops_is_judged_though_a_wealth_missed_the_bound_by_the_last_bit():
    def done(least):
        told = pl.Series([*[1.0] * 23, least, *[1.0] * 36])
        return sequential_verdict(pairs_of(told).with_columns(loss_champion=told, loss_challenger=0.0), alpha=0.05)

    low, high = 0.0, 1.0
    assert done(low).n_pools > 24 >= done(high).n_pools
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if done(middle).n_pools <= 24 else (middle, high)
    for least in high + np.spacing(high) * np.arange(-9, 10):
        verdict = done(least)
        assert verdict.decision == "promote", least
        assert verdict.wealth >= verdict.bound > verdict.path["wealth"][-2]


def test_what_came_before_a_decision_is_all_that_counts():
    pairs = some_pairs(3, 900, gain=0.15)
    done = sequential_verdict(pairs, alpha=0.05)
    assert done.decision == "promote"
    cut = sequential_verdict(pairs.head(done.n_pools), alpha=0.05)
    assert cut.path.equals(done.path)
    assert cut.decision == "promote"
    assert sequential_verdict(pairs.head(done.n_pools - 1), alpha=0.05).decision == "continue"


def test_many_experiments_are_judged_as_one_at_a_time():
    sizes = [1, 2, 127, 128, 129, 300, 700, 900]
    frames = [
        some_pairs(n, n, gain=0.1 if n < 900 else -0.1).with_columns(experiment=pl.lit(f"e{n:03}")) for n in sizes
    ]
    together = pl.concat(frames).sample(fraction=1, shuffle=True, seed=1)
    found = list(sequential_verdicts(together, "experiment", alpha=0.05, margin=0.01, max_pools=600))
    assert [name for name, _ in found] == [f"e{n:03}" for n in sizes]
    for (_, verdict), frame in zip(found, frames, strict=True):
        alone = sequential_verdict(frame, alpha=0.05, margin=0.01, max_pools=600)
        assert verdict.path.equals(alone.path)
        assert replace(verdict, path=alone.path) == alone
    assert {verdict.decision for _, verdict in found} == {"promote", "continue", "reject"}


def test_a_long_path_equals_the_plain_product_of_its_bets():
    difference = np.clip(np.random.default_rng(5).normal(0.0, 0.5, 3_000), -1, 1)
    done = harm_verdict(pairs_of(difference), alpha=1e-12, spec=BETTER)
    wealth = 0.0
    for pools, held in zip(BETTER.pools, BETTER.shares, strict=True):
        purse, squares = held, BETTER.prior_pools * BETTER.prior_square
        for t, d in enumerate(difference):
            level = np.sqrt(2 * np.log(1e12) / pools)
            purse *= 1 + min(level / np.sqrt(squares / (BETTER.prior_pools + t)), BETTER.max_bet) * d
            squares += d * d
        wealth += purse
    assert done.wealth == pytest.approx(wealth, rel=1e-9)


def test_a_champion_that_was_better_yesterday_is_still_watched_today():
    difference = np.concatenate([np.full(400, -0.2), np.full(400, 0.3)])
    assert sequential_verdict(pairs_of(difference), alpha=0.01).decision == "reject"
    done = harm_verdict(pairs_of(difference))
    assert done.decision == "promote"
    assert 400 < done.n_pools < 520
    assert (done.path["wealth_worse"] == 1).all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.drop("loss_champion"), "no columns"),
        (lambda p: p.drop("matured_at"), "no columns"),
        (lambda p: p.clear(), "no row"),
        (lambda p: p.with_columns(pl.col("matured_at").dt.replace_time_zone(None)), "time zone"),
        (lambda p: p.with_columns(matured_at=pl.lit(7)), "time zone"),
        (lambda p: p.with_columns(pl.col("loss_champion").cast(pl.String)), "not numbers"),
        (lambda p: p.with_columns(loss_champion=pl.lit(float("nan"))), "NaN or infinite"),
        (lambda p: p.with_columns(loss_challenger=pl.lit(float("inf"))), "NaN or infinite"),
        (lambda p: p.with_columns(loss_challenger=pl.lit(None, pl.Float64)), "missing values"),
        (lambda p: p.with_columns(pool=pl.lit(None, pl.String)), "missing values"),
        (lambda p: pairs_of([0, 0], pools=["a", "a"]).with_columns(pl.col(*LOSSES) * 8e307), "no float holds"),
    ],
)
def test_pairs_that_are_no_pairs_are_refused(spoil, words):
    with pytest.raises(InputError, match=words):
        sequential_verdict(spoil(pairs_of([1, 0])), alpha=0.05)


def test_moments_of_another_zone_are_the_same_moments():
    pairs = pairs_of([1, 0.5, 0])
    there = pairs.with_columns(pl.col("matured_at").dt.convert_time_zone("Asia/Tokyo"))
    assert sequential_verdict(there, alpha=0.05).path.equals(sequential_verdict(pairs, alpha=0.05).path)


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0}, {"alpha": 1}, {"margin": 1}, {"max_pools": 0}, {"alpha": float("nan")}, {"alpha": 1e-310}]
)
def test_a_rule_that_judges_nothing_is_refused(wrong):
    with pytest.raises(UsageError, match="cannot judge"):
        sequential_verdict(pairs_of([1]), **{"alpha": 0.05, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"shares": (0.5, 0.4)}, {"pools": (3,)}, {"late_share": 1.0}, {"max_bet": 1.0}, {"prior_square": 0.0}]
)
def test_bets_that_could_ruin_or_are_not_paid_for_are_refused(wrong):
    with pytest.raises(UsageError, match="cannot bet"):
        replace(HARM, **wrong)
