"""The rows of a training: walk-forward folds, then the last block, each with targets of its own.

Belongs here: which rows count in a split, and what they are ranked among. Stays out: purging (`splits`).

A row of a block is ranked among the block's own pools of the hour, and counts only in an hour with enough of them. A
rank among all pools of the hour would carry the level of the block: new pools may do better or worse than old ones as
a whole, and a constant, which ranks nothing, would gain from that.
"""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.returns.spec import LAST_BLOCK, ReturnsSpec
from pipeline.models.returns.targets import Floats, normal_scores
from pipeline.models.splits import Rows, Split, folds_before, last_block


def return_splits(frame: pl.DataFrame, spec: ReturnsSpec) -> list[Split]:
    """Walk-forward folds inside what trains for the last block, then the last block; at least one fold.

    Both sides hold only rows of hours in which the side has `min_hour_pools` pools: learning, figures and the gate see
    the same rows. A fold that would train on fewer than `min_fold_pools` or `min_fold_rows` is left out: what a fit on
    a few dozen rows says, says nothing of the fit on all.

    Args:
        frame: one horizon's scored rows; row numbers are its.

    Raises:
        InputError: too few pools, too short a time, or a row decided before its pool was born.
    """
    embargo = timedelta(hours=spec.embargo_hours)
    last = last_block(frame, share=spec.last_block_share, embargo=embargo)
    folds = folds_before(frame, last, n_folds=spec.n_folds, embargo=embargo)
    counted = [_counted(frame, split, spec) for split in (*folds, last)]
    usable = [fold for fold in counted[:-1] if _is_enough(frame, fold, spec)]
    if not usable:
        raise InputError(
            f"none of {len(folds)} inner folds trains on {spec.min_fold_pools!r} pools and {spec.min_fold_rows!r} rows"
            " and tests on any: collect for longer"
        )
    if not len(counted[-1].test):
        raise InputError(f"{LAST_BLOCK}: no hour of it has {spec.min_hour_pools!r} of its pools: collect more pools")
    return [*usable, counted[-1]]


def block_targets(frame: pl.DataFrame, split: Split) -> Floats:
    """(n,) targets of a frame's rows: those of each side ranked within the side's own hours; NaN in neither.

    Args:
        frame: scored rows with `event_time` and `forward_return`.
    """
    y = np.full(frame.height, np.nan)
    for rows in (split.train, split.test):
        y[rows] = normal_scores(frame[rows].select("event_time", "forward_return"))
    return y


def _counted(frame: pl.DataFrame, split: Split, spec: ReturnsSpec) -> Split:
    """The split's rows that count."""
    early = int((frame["event_time"].gather(split.test) < split.start).sum())
    if early:
        raise InputError(
            f"{split.name}: {early} rows of pools born from {split.start:%Y-%m-%d %H:%M} on are decided before:"
            " correct created_at"
        )
    train, test = (_in_full_hours(frame, rows, spec) for rows in (split.train, split.test))
    return replace(split, train=train, test=test)


def _in_full_hours(frame: pl.DataFrame, rows: Rows, spec: ReturnsSpec) -> Rows:
    full = frame[rows].select(pl.len().over("event_time") >= spec.min_hour_pools).to_series().to_numpy()
    return np.asarray(rows[full])


def _is_enough(frame: pl.DataFrame, fold: Split, spec: ReturnsSpec) -> bool:
    n_pools = frame[fold.train].select("network", "pool").n_unique()
    return n_pools >= spec.min_fold_pools and len(fold.train) >= spec.min_fold_rows and len(fold.test) > 0
