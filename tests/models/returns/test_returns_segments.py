"""The rows of a training, and what they are ranked among."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from returns_market import made_rows

from pipeline.errors import InputError
from pipeline.models.returns.segments import block_targets, return_splits
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import scored
from pipeline.models.splits import last_block

SPEC = ReturnsSpec(horizons_hours=(1,), min_hour_pools=5, n_folds=2)


def young_pools_do_better(by: float = 0.05) -> pl.DataFrame:
    """Rows in which what was born in the last fifth of the births rises more, whatever the features say."""
    rows = made_rows(n_pools=120, n_hours=200, seed=5)
    edge = rows["created_at"].unique().quantile(0.7, "lower")
    return rows.with_columns(pl.col("return_1h") + pl.when(pl.col("created_at") >= edge).then(by).otherwise(0.0))


def gain_of_the_best_constant(frame: pl.DataFrame, y: np.ndarray) -> float:
    """The reduction of the squared error, each pool one unit."""
    by_pool = (
        frame.with_columns(pl.Series("y", y)).group_by("pool").agg(pl.col("y").mean(), e=(pl.col("y") ** 2).mean())
    )
    return float(by_pool["y"].mean() ** 2 / by_pool["e"].mean())


def test_no_constant_gains_on_any_block_though_its_pools_do_better_than_all() -> None:
    frame = scored(young_pools_do_better(), 1, SPEC)
    last = return_splits(frame, SPEC)[-1]
    among_all = frame["target"].to_numpy()[last.test]
    assert gain_of_the_best_constant(frame[last.test], among_all) > 0.1
    for split in return_splits(frame, SPEC):
        y = block_targets(frame, split)
        for rows in (split.train, split.test):
            own = frame[rows].with_columns(pl.Series("y", y[rows]))
            assert own.group_by("event_time").agg(pl.col("y").mean())["y"].abs().max() < 1e-9
            assert gain_of_the_best_constant(own, y[rows]) < 0.005  # not 0: pools have unlike numbers of rows


def test_only_hours_with_enough_pools_of_the_side_count() -> None:
    frame = scored(made_rows(n_pools=90), 1, SPEC)
    raw = last_block(frame, share=SPEC.last_block_share, embargo=timedelta(hours=SPEC.embargo_hours))
    assert frame[raw.test].group_by("event_time").len()["len"].min() < SPEC.min_hour_pools
    for split in return_splits(frame, SPEC):
        for rows in (split.train, split.test):
            assert frame[rows].group_by("event_time").len()["len"].min() >= SPEC.min_hour_pools


def test_a_fold_with_little_to_train_on_is_left_out_and_none_is_refused() -> None:
    frame = scored(made_rows(n_pools=90), 1, SPEC)
    all_of_them = replace(SPEC, min_fold_pools=1, min_fold_rows=1)
    assert [s.name for s in return_splits(frame, all_of_them)] == ["fold_1", "fold_2", "last_block"]
    sizes = [len(s.train) for s in return_splits(frame, all_of_them)]
    assert sizes[0] < SPEC.min_fold_rows < sizes[1]
    assert [s.name for s in return_splits(frame, SPEC)] == ["fold_2", "last_block"]
    with pytest.raises(InputError, match="none of 2 inner folds"):
        return_splits(frame, replace(SPEC, min_fold_pools=999))
    with pytest.raises(InputError, match="none of 2 inner folds"):
        return_splits(frame, replace(SPEC, min_fold_rows=9_999))


def test_rows_decided_before_their_pool_was_born_are_refused() -> None:
    rows = made_rows(n_pools=90)
    first = rows.filter(pl.col("created_at") == pl.col("created_at").min())["pool"][0]
    late = pl.when(pl.col("pool") == first).then(rows["created_at"].max()).otherwise("created_at").alias("created_at")
    with pytest.raises(InputError, match="decided before"):
        return_splits(scored(rows.with_columns(late), 1, SPEC), SPEC)
