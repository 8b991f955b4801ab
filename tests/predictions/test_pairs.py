"""Pairs for the gate: the same rows for both sides, pools in an order that their fate does not choose."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, UsageError
from pipeline.predictions.outcomes import settle
from pipeline.predictions.pairs import PAIRS, coverage, losses_of, pairs, pairs_of, prior_losses
from pipeline.predictions.scoring import score
from pipeline.tables import OUTCOMES
from tests.predictions.prediction_rows import (
    AT,
    HOUR,
    NOTHING_SAID,
    SPEC,
    a_label,
    a_role,
    a_row,
    some_features,
    some_labels,
    sure_of,
)
from tests.predictions.test_prediction_outcomes import HELD

LAST_AGE = 17.0


def world(pools: dict[str, list[tuple[float, str | None]]], now: datetime, labels_known=None):
    """Predictions and outcomes of pools born at AT, each a list of (age in hours, outcome)."""
    rows = [a_row(pool, AT + age * HOUR, age_hours=age) for pool, decided in pools.items() for age, _ in decided]
    due = some_features(*rows).with_columns(said_at="known_at", is_hindsight=pl.lit(value=False))
    served = a_role("champion", 3, sure_of("STABLE", 0.4)), a_role("shadow", 4, sure_of("RUG", 0.4))
    predictions = score(due, served, NOTHING_SAID, SPEC).predictions
    known = labels_known or {}
    labels = [
        a_label(pool, AT + age * HOUR, outcome=outcome, **known.get((pool, age), {}))
        for pool, decided in pools.items()
        for age, outcome in decided
        if outcome != "pending"
    ]
    return predictions, settle(predictions, some_labels(*labels), HELD, now, SPEC)


def paired(predictions, outcomes, now, **other):
    told = {"model_name": "pool-outcome", "last_age_hours": LAST_AGE, "patience": 24 * HOUR, "now": now}
    return pairs(predictions, outcomes, 3, 4, 24, **{**told, **other})


WINDOW_OVER = AT + (LAST_AGE + 24) * HOUR


def test_both_sides_losses_stand_side_by_side_one_row_a_snapshot():
    told = paired(*world({"a": [(1.0, "STABLE"), (2.0, "RUG")]}, WINDOW_OVER), WINDOW_OVER)
    assert told.schema == PAIRS
    assert told["pool"].to_list() == ["eth:a", "eth:a"]
    assert told["matured_at"].to_list() == [WINDOW_OVER] * 2
    assert told["loss_champion"].to_list() == pytest.approx([-np.log(0.4), -np.log(0.1)])
    assert told["loss_challenger"].to_list() == pytest.approx([-np.log(0.1), -np.log(0.4)])


def test_a_pool_enters_when_its_whole_window_is_over_however_early_its_rug_was_known():
    early = {("rug", 1.0): {"label_known_at": AT + 1.5 * HOUR}}
    predictions, outcomes = world({"rug": [(1.0, "RUG")], "calm": [(1.0, "STABLE")]}, WINDOW_OVER, early)
    before = WINDOW_OVER - timedelta(seconds=1)
    assert paired(predictions, outcomes, before).is_empty()
    told = paired(predictions, outcomes, WINDOW_OVER)
    assert told.select("pool", "matured_at").rows() == [("eth:calm", WINDOW_OVER), ("eth:rug", WINDOW_OVER)]


def test_a_label_that_is_known_late_changes_nothing_about_when_its_pool_enters():
    late = {("a", 1.0): {"label_known_at": WINDOW_OVER + 2 * HOUR}}
    predictions, outcomes = world({"a": [(1.0, "RUG"), (2.0, "RUG")]}, WINDOW_OVER + 3 * HOUR, late)
    told = paired(predictions, outcomes, WINDOW_OVER + 3 * HOUR)
    assert told["matured_at"].to_list() == [WINDOW_OVER] * 2
    patient = paired(predictions, outcomes, WINDOW_OVER + 3 * HOUR, patience=26 * HOUR)
    assert patient["matured_at"].to_list() == [WINDOW_OVER + 2 * HOUR] * 2
    assert paired(predictions, outcomes, WINDOW_OVER + HOUR, patience=26 * HOUR).is_empty()


def test_a_pool_that_is_pending_beyond_its_window_holds_back_those_after_it_until_it_is_given_up():
    """What was looked at once must never come to stand in another order."""
    pools = {"waits": [(1.0, "pending")], "after": [(1.0, "RUG")]}
    predictions, outcomes = world(pools, WINDOW_OVER)
    is_waiting = pl.col("pool") == "waits"
    earlier = predictions.with_columns(age_hours=pl.when(is_waiting).then(1.5).otherwise("age_hours"))
    assert paired(earlier, outcomes, WINDOW_OVER).is_empty()
    assert paired(earlier, outcomes, WINDOW_OVER + 6 * 24 * HOUR).is_empty()
    given_up = WINDOW_OVER + 7 * 24 * HOUR
    assert paired(earlier, outcomes, given_up)["pool"].to_list() == ["eth:after"]
    known = {("waits", 1.0): {"label_known_at": given_up + HOUR}}
    _, late = world({"waits": [(1.0, "RUG")], "after": [(1.0, "RUG")]}, given_up + 2 * HOUR, known)
    assert paired(earlier, late, given_up + 2 * HOUR)["pool"].to_list() == ["eth:after"]


def test_what_the_challenger_leaves_out_is_said_for_it_by_the_prior():
    predictions, outcomes = world({"a": [(1.0, "RUG"), (2.0, "RUG")], "b": [(1.0, "STABLE")]}, WINDOW_OVER)
    is_silent = (pl.col("model_version") == 4) & ((pl.col("age_hours") == 2.0) | (pl.col("pool") == "b"))
    some = predictions.filter(~is_silent)
    prior = dict.fromkeys(OUTCOMES, 0.1) | {"RUG": 0.4}
    silent = prior_losses(some, outcomes, prior, model_name="pool-outcome", version=3, horizon_hours=24)
    told = paired(some, outcomes, WINDOW_OVER, silent=silent)
    assert told["pool"].to_list() == ["eth:a", "eth:a", "eth:b"]
    assert told["loss_challenger"].to_list() == pytest.approx([-np.log(0.4), -np.log(0.4), -np.log(0.1)])
    assert paired(some, outcomes, WINDOW_OVER).height == 1


def test_a_pool_with_a_pending_prediction_waits_and_a_censored_row_is_left_out_for_both():
    pools = {"waits": [(1.0, "RUG"), (2.0, "pending")], "partly": [(1.0, "RUG"), (2.0, None)], "never": [(1.0, None)]}
    told = paired(*world(pools, WINDOW_OVER), WINDOW_OVER, held=timedelta(0))
    assert told["pool"].to_list() == ["eth:partly"]
    assert paired(*world(pools, WINDOW_OVER), WINDOW_OVER).is_empty()


def test_both_sides_are_judged_by_one_truth():
    predictions, outcomes = world({"a": [(1.0, "RUG"), (2.0, "RUG")]}, WINDOW_OVER)
    is_other = (pl.col("model_version") == 4) & (pl.col("event_time") == AT + HOUR)
    torn = outcomes.with_columns(outcome=pl.when(is_other).then(pl.lit("MOON")).otherwise("outcome"))
    assert paired(predictions, torn, WINDOW_OVER).height == 1


def test_rows_that_only_one_side_scored_do_not_count():
    predictions, outcomes = world({"a": [(1.0, "RUG"), (2.0, "RUG")]}, WINDOW_OVER)
    is_lost = (pl.col("model_version") == 4) & (pl.col("age_hours") == 1.0)
    assert paired(predictions.filter(~is_lost), outcomes, WINDOW_OVER).height == 1
    told = {"model_name": "pool-outcome", "since": AT}
    assert coverage(predictions.filter(~is_lost), 3, 4, 24, **told) == 0.5
    assert coverage(predictions, 3, 4, 24, **told) == 1.0
    assert coverage(predictions.filter(~is_lost), 3, 4, 24, **{**told, "since": AT + 1.5 * HOUR}) == 1.0
    assert coverage(predictions, 3, 4, 24, **{**told, "since": AT + 99 * HOUR}) is None
    with_hindsight = predictions.filter(~is_lost).with_columns(
        known_at=pl.when(pl.col("age_hours") == 1.0).then(pl.lit(WINDOW_OVER)).otherwise("known_at")
    )
    assert coverage(with_hindsight, 3, 4, 24, **{**told, "since": AT + 1.5 * HOUR}) == 1.0


def test_only_evidence_counts_and_it_must_be_evidence_for_both():
    predictions, outcomes = world({"a": [(1.0, "RUG"), (2.0, "RUG")]}, WINDOW_OVER)
    for version in (3, 4):
        is_it = (pl.col("model_version") == version) & (pl.col("event_time") == AT + HOUR)
        doubtful = outcomes.with_columns(is_evidence=pl.col("is_evidence") & ~is_it)
        assert paired(predictions, doubtful, WINDOW_OVER).height == 1


FATE = st.sampled_from(["RUG", "STABLE", "MOON", None, "pending"])
POOLS = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.sampled_from([1.0, 2.0, 9.5, 17.0]), FATE, min_size=1), min_size=1
)


@given(POOLS, st.integers(0, 60), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_swapping_the_sides_swaps_the_losses_and_changes_no_row_nor_order(pools, hours, random):
    now = AT + hours * HOUR
    predictions, outcomes = world({pool: list(ages.items()) for pool, ages in pools.items()}, now)
    told = paired(predictions, outcomes, now)
    shuffled = predictions[random.sample(range(predictions.height), predictions.height)]
    swapped = pairs(
        shuffled,
        outcomes[::-1],
        4,
        3,
        24,
        model_name="pool-outcome",
        last_age_hours=LAST_AGE,
        patience=24 * HOUR,
        now=now,
    ).rename({"loss_champion": "loss_challenger", "loss_challenger": "loss_champion"})
    assert swapped.select(told.columns).equals(told)
    whole = {pool for pool, ages in pools.items() if "pending" not in ages.values()}
    labelled = sum(f in OUTCOMES for pool in whole for f in pools[pool].values())
    # All windows end at one moment, so one pool that is pending holds back all.
    is_over = now >= WINDOW_OVER and len(whole) == len(pools)
    assert told.height == (labelled if is_over else 0)


@given(POOLS)
@settings(max_examples=15)
def test_what_became_of_a_pool_changes_nothing_about_when_it_enters(pools):
    """With labels that are known by the end of the window, only censored and pending rows make a difference."""
    now = WINDOW_OVER + HOUR
    told = {pool: [(age, "STABLE") for age in ages] for pool, ages in pools.items()}
    calm = paired(*world(told, now), now)
    rugs = {pool: [(age, "RUG") for age in ages] for pool, ages in pools.items()}
    early = {
        (p, age): {"label_known_at": AT + age * HOUR + timedelta(minutes=5)}
        for p, ages in pools.items()
        for age in ages
    }
    assert paired(*world(rugs, now, early), now).select("pool", "matured_at").equals(calm.select("pool", "matured_at"))


def test_a_baseline_is_paired_like_a_version():
    predictions, outcomes = world({"a": [(1.0, "STABLE"), (2.0, None), (3.0, "RUG")]}, WINDOW_OVER)
    prior = dict.fromkeys(OUTCOMES, 0.1) | {"RUG": 0.4}
    told = {"model_name": "pool-outcome", "version": 3, "horizon_hours": 24}
    own, base = losses_of(predictions, outcomes, **told), prior_losses(predictions, outcomes, prior, **told)
    both = pairs_of(own, base, last_age_hours=LAST_AGE, patience=24 * HOUR, now=WINDOW_OVER)
    assert both["loss_challenger"].to_list() == pytest.approx([-np.log(0.1), -np.log(0.4)])
    with pytest.raises(UsageError, match="a prior over"):
        prior_losses(predictions, outcomes, {"RUG": 1.0}, **told)


def test_what_cannot_be_paired_is_refused():
    predictions, outcomes = world({"a": [(1.0, "STABLE")]}, WINDOW_OVER)
    with pytest.raises(UsageError, match="with itself"):
        pairs(predictions, outcomes, 3, 3, 24, model_name="m", last_age_hours=1, patience=HOUR, now=AT)
    told = {"last_age_hours": LAST_AGE, "patience": 24 * HOUR, "now": WINDOW_OVER}
    own = losses_of(predictions, outcomes, model_name="pool-outcome", version=3, horizon_hours=24)
    with pytest.raises(InputError, match="twice"):
        pairs_of(pl.concat([own, own]), own, **told)
    other = pl.concat([own, own.with_columns(source=pl.lit("recording:b"))])
    with pytest.raises(InputError, match="several sources"):
        pairs_of(other, other, **told)
    assert paired(predictions.clear(), outcomes.clear(), WINDOW_OVER).schema == PAIRS


def test_coverage_is_a_mean_over_pools_so_that_rich_ones_count_no_more():
    predictions, _ = world({"rich": [(1.0, None), (2.0, None), (3.0, None)], "poor": [(1.0, None)]}, WINDOW_OVER)
    said = predictions.filter((pl.col("model_version") == 3) | (pl.col("pool") == "rich"))
    told = {"model_name": "pool-outcome", "since": AT}
    assert coverage(said, 3, 4, 24, **told) == 0.5
    assert coverage(predictions, 3, 4, 24, **told) == 1.0
