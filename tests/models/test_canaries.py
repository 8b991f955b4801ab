from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from model_rows import BIRTH, SPEC, frozen, tables, training_set

from pipeline.calendars import HOUR
from pipeline.models import canaries
from pipeline.models.canaries import (
    check_future_columns,
    check_future_cut,
    check_permuted_labels,
    permute_by_pool,
    run_canaries,
)
from pipeline.models.splits import Split


def test_a_sound_training_set_passes_although_its_features_tell_a_lot():
    report = run_canaries(training_set(300))
    assert report.is_passed, report.words
    assert report.is_passed


def test_a_split_at_random_rows_makes_the_permutation_canary_sing(monkeypatch: pytest.MonkeyPatch):
    def at_random(frame: pl.DataFrame, *, n_folds: int, embargo: object) -> list[Split]:
        order = np.random.default_rng(0).permutation(frame.height)
        return [Split(f"fold_{k}", np.sort(order[k::2]), np.sort(order[1 - k :: 2]), BIRTH, BIRTH) for k in range(2)]

    monkeypatch.setattr(canaries, "walk_forward", at_random)
    made = tables(100)
    # The pool can be told from this feature: with rows of it on both sides, a model learns its outcome by heart.
    known = made["features"].with_columns(signal=pl.col("pool").str.slice(2).cast(pl.Float64))
    spec = replace(SPEC, canaries=replace(SPEC.canaries, n_rounds=30, max_depth=6))
    result = check_permuted_labels(frozen(made | {"features": known}, spec=spec))
    assert not result.is_passed
    assert result.numbers["auc"] > 0.55


def test_too_few_pools_do_not_pass_by_luck():
    spec = replace(SPEC, canaries=replace(SPEC.canaries, max_permutations=5, auc_low=0.4999, auc_high=0.5001))
    result = check_permuted_labels(training_set(130, spec=spec))
    assert not result.is_passed
    assert "too few pools" in result.words


def test_a_permutation_moves_a_pools_outcomes_together_and_keeps_their_counts():
    made = training_set(80)
    moved = permute_by_pool(made.frame, made.y, np.random.default_rng(1))
    assert np.bincount(moved, minlength=7).tolist() == np.bincount(made.y, minlength=7).tolist()
    assert made.frame.with_columns(moved=pl.Series(moved)).group_by("pool").agg(pl.col("moved").n_unique())[
        "moved"
    ].unique().to_list() == [1]
    assert (moved != made.y).any()


def test_a_permutation_fills_ages_a_pool_does_not_have():
    made = training_set(40)
    keep = np.random.default_rng(2).random(made.n_rows) < 0.5
    frame, y = made.frame.filter(keep), made.y[keep]
    moved = permute_by_pool(frame, y, np.random.default_rng(1))
    assert moved.min() >= 0


def test_a_planted_column_from_the_future_is_caught_and_named():
    made = tables(300)
    future = made["labels"].select("pool", "event_time", "return_end_pct")
    leaky = made["features"].join(future, on=["pool", "event_time"]).with_columns(noise=pl.col("return_end_pct"))
    leaks, sees = check_future_columns(frozen(made | {"features": leaky}))
    assert not leaks.is_passed
    assert "'noise'" in leaks.words
    assert sees.is_passed
    report = run_canaries(frozen(made | {"features": leaky}))
    assert not report.is_passed
    assert "FAILED future_columns" in report.words


def features_of(prices: pl.DataFrame, *, is_peeking: bool) -> pl.DataFrame:
    shift = -1 if is_peeking else 1
    return prices.with_columns(change=pl.col("price") - pl.col("price").shift(shift))


@pytest.mark.parametrize("is_peeking", [False, True])
def test_cutting_the_future_tells_a_feature_that_peeks(is_peeking: bool):
    moment = BIRTH + 5 * HOUR
    times = [BIRTH + i * HOUR for i in range(10)]
    prices = pl.DataFrame({"pool": ["p"] * 10, "event_time": times, "price": [float(i * i) for i in range(10)]})
    past = prices.filter(pl.col("event_time") <= moment)
    full, cut = (features_of(f, is_peeking=is_peeking) for f in (prices, past))
    result = check_future_cut(full, cut, moment)
    assert result.is_passed is not is_peeking
    assert ("'change'" in result.words) is is_peeking


def test_cutting_the_future_tells_rows_and_columns_that_come_and_go():
    times = [BIRTH + i * HOUR for i in range(3)]
    full = pl.DataFrame({"pool": ["p"] * 3, "event_time": times, "a": [1.0, None, 3.0]})
    assert check_future_cut(full, full, times[2]).is_passed
    assert "one side only" in check_future_cut(full, full.head(1), times[2]).words
    assert not check_future_cut(full, full.with_columns(b=1), times[2]).is_passed
    assert not check_future_cut(full, full.fill_null(0.0), times[2]).is_passed
    assert not check_future_cut(full, full, BIRTH - HOUR).is_passed
