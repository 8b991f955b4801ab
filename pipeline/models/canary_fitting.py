"""The fitting canary: whatever is fitted before a model must not know the rows it is tested on.

Belongs here: disturbing test rows and watching what changes elsewhere. That finds a scaler, an imputer, an encoding
or a selection that was fitted on all rows, whatever it is made of. Stays out: the transformations themselves.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import polars as pl

from pipeline.models.canary_report import CanaryResult, counted
from pipeline.models.splits import Mask, Rows, Split
from pipeline.models.training_set import FURTHER, LABEL_SIDE, TrainingSet
from pipeline.tables import OUTCOMES

type Prepare = Callable[[pl.DataFrame, Rows], pl.DataFrame]
"""Fits on the training rows (numbers) of a set's frame and gives every row of the frame as a model would get it."""

N_ROUNDS: Final = 3
"""How often each kind of disturbance is tried, each time by other numbers."""
_FAR: Final = 1e6
"""How far a disturbed value may move, in its column's own unit or in multiples of itself."""
_FAULTS: Final = (
    "values of training rows that change with test rows",
    "values that change with labels of test rows",
    "values of test rows that change with other test rows",
)


def check_fitting(training_set: TrainingSet, split: Split, prepares: Mapping[str, Prepare]) -> list[CanaryResult]:
    """What is prepared for one row must not depend on the rows that are tested; one result a preparation.

    Some rows that are not trained on are disturbed: all features and labels of them (no training row may change), the
    labels of them alone (no row at all may change), and the features of half of them (no other row may change), each
    `N_ROUNDS` times: a selection may choose the same by chance. Changes are told to the last bit, so there is no false
    alarm. All preparations see the same disturbed frames, one at a time: making these costs as much as preparing.
    """
    frame = training_set.frame
    is_test = np.ones(frame.height, np.bool_)
    is_test[split.train] = False
    before = {name: prepare(frame, split.train) for name, prepare in prepares.items()}
    faults = {name: dict.fromkeys(_FAULTS, 0) for name in prepares}
    for fault, disturbed, watched in _disturbances(training_set, is_test):
        for name, prepare in prepares.items():
            faults[name][fault] += _n_changed(before[name], prepare(disturbed, split.train), watched)
    n_rows = int(is_test.sum())
    return [counted(f"fitting_{name}", n_rows, "test rows disturbed", found) for name, found in faults.items()]


def _disturbances(training_set: TrainingSet, is_test: Mask) -> Iterator[tuple[str, pl.DataFrame, Mask]]:
    """The fault that a change would be, a disturbed frame, and the rows that may not change with it."""
    frame, names = training_set.frame, list(training_set.feature_names)
    rng = np.random.default_rng(training_set.spec.seed)
    of_training, of_labels, of_others = _FAULTS
    for _ in range(N_ROUNDS):
        is_half = is_test & (rng.random(frame.height) < 0.5)
        relabelled = disturb_labels(frame, is_test, rng)
        yield of_training, disturb_features(relabelled, names, is_test, rng), ~is_test
        yield of_labels, relabelled, np.ones_like(is_test)
        yield of_others, disturb_features(frame, names, is_half, rng), ~is_half


def _n_changed(before: pl.DataFrame, after: pl.DataFrame, watched: Mask) -> int:
    """How many values of the watched rows differ."""
    both = pl.concat([before, after.rename(lambda name: f"{name}__after")], how="horizontal").filter(pl.Series(watched))
    return sum(both.select(pl.col(c).ne_missing(pl.col(f"{c}__after")).sum() for c in before.columns).row(0))


def disturb_features(frame: pl.DataFrame, names: list[str], rows: Mask, rng: np.random.Generator) -> pl.DataFrame:
    """The frame with other features in some rows: numbers far off, flags turned round, some nulls filled or made."""
    is_hit = pl.lit(pl.Series(rows))
    columns = []
    for name in names:
        column = pl.col(name)
        if frame.schema[name] == pl.Boolean:
            moved: pl.Expr = ~column.fill_null(value=False)
        else:
            shift = pl.lit(pl.Series(rng.uniform(1, _FAR, frame.height)))
            moved = (column.fill_null(0).cast(pl.Float64) * shift + shift).cast(frame.schema[name])
        is_null = pl.lit(pl.Series(rng.random(frame.height) < 0.1))
        columns.append(pl.when(is_hit & is_null).then(None).when(is_hit).then(moved).otherwise(column).alias(name))
    return frame.with_columns(columns)


def disturb_labels(frame: pl.DataFrame, rows: Mask, rng: np.random.Generator) -> pl.DataFrame:
    """The frame with other values in some rows in every column of `LABEL_SIDE`, so that none of them is a way in."""
    is_hit = pl.lit(pl.Series(rows))
    drawn = {"weight": pl.lit(pl.Series(rng.uniform(0, 1, frame.height))), **_drawn_label(frame.height, rng)}
    for columns in FURTHER.values():
        drawn |= {columns[name]: value for name, value in _drawn_label(frame.height, rng).items()}
    return frame.with_columns(pl.when(is_hit).then(drawn[name]).otherwise(name).alias(name) for name in LABEL_SIDE)


def _drawn_label(n: int, rng: np.random.Generator) -> dict[str, pl.Expr]:
    """A label that means nothing, column by column."""
    return {
        "outcome": pl.lit(pl.Series([OUTCOMES[k] for k in rng.integers(0, len(OUTCOMES), n)])),
        "return_end_pct": pl.lit(pl.Series(rng.uniform(-100, _FAR, n))),
        "return_executable_pct": pl.lit(pl.Series(rng.uniform(-100, _FAR, n))),
        "label_known_at": pl.col("event_time") + _hours(n, rng),
        "label_end": pl.col("event_time") + _hours(n, rng),
    }


def _hours(n: int, rng: np.random.Generator) -> pl.Expr:
    """So long after a decision: within a horizon as often as long after it, down to the microsecond."""
    hours = np.where(rng.random(n) < 0.5, rng.uniform(0, 24, n), rng.uniform(24, 1_000, n))
    return pl.lit(pl.Series((hours * 3_600e6).astype(np.int64)).cast(pl.Duration("us")))
