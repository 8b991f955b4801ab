"""From two models' predictions of the same rows to paired losses.

Belongs here: reading evaluation frames (pool, time, horizon, label, one `p_CLASS` column a class) and making sure that
both sides answered the same questions. Stays out: judging the losses (`gate`).
"""

from typing import Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.promotion.gate import Comparison, compare_offline
from pipeline.promotion.spec import PromotionSpec

CLIP: Final = 1e-15
"""Probabilities are clipped to [CLIP, 1 - CLIP] before the logarithm: a model that calls the outcome impossible loses
34.5 nats on that row, not infinitely many, and no row's loss is exactly 0. Nothing is renormalised after it."""
SUM_TOLERANCE: Final = 1e-6

_ROW: Final = ("pool", "time", "horizon")


def paired_losses(evaluation: pl.DataFrame, opponent: pl.DataFrame) -> pl.DataFrame:
    """Log losses and hits of two models, row by row.

    Args:
        evaluation: the challenger's predictions: pool, time, horizon, label, `p_CLASS` for every class.
        opponent: the same rows, in any order, as the opponent predicted them.

    Returns:
        pool, time, horizon, loss_challenger, loss_opponent (nats), correct_challenger, correct_opponent; one row a
        prediction, in order of pool, time, horizon. Correct: the most probable class is the label; of equally
        probable classes the first in the challenger's column order counts.

    Raises:
        InputError: a column is missing, a row is twice in a side, the sides differ in rows, labels or classes, or a
            probability is missing, not finite, outside [0, 1], or a row's do not sum to one.
    """
    classes = _classes(evaluation, "challenger")
    if set(classes) != set(_classes(opponent, "opponent")):
        raise InputError(f"paired two models' losses: classes {classes!r} against {_classes(opponent, 'opponent')!r}")
    left, right = (_scored(side, classes, name) for side, name in ((evaluation, "challenger"), (opponent, "opponent")))
    if not left.select(*_ROW, "label").equals(right.select(*_ROW, "label")):
        raise InputError(
            f"paired two models' losses: the sides must hold the same rows with the same labels, found"
            f" {left.height} against {right.height} rows, first difference {_first_difference(left, right)!r}"
        )
    return left.select(
        *_ROW,
        pl.col("loss").alias("loss_challenger"),
        right["loss"].alias("loss_opponent"),
        pl.col("correct").alias("correct_challenger"),
        right["correct"].alias("correct_opponent"),
    )


def compare_evaluations(evaluation: pl.DataFrame, opponent: pl.DataFrame, spec: PromotionSpec) -> Comparison:
    """`paired_losses`, judged by `gate.compare_offline`; raises what they raise."""
    paired = paired_losses(evaluation, opponent)
    return compare_offline(
        paired["pool"].to_numpy(),
        paired["loss_challenger"].to_numpy(),
        paired["loss_opponent"].to_numpy(),
        paired["correct_challenger"].to_numpy(),
        paired["correct_opponent"].to_numpy(),
        spec=spec,
    )


def _classes(side: pl.DataFrame, name: str) -> list[str]:
    missing = [column for column in (*_ROW, "label") if column not in side.columns]
    classes = [column.removeprefix("p_") for column in side.columns if column.startswith("p_")]
    if missing or len(classes) < 2:
        raise InputError(
            f"read the {name}'s evaluation: it lacks {missing!r} and has classes {classes!r}; it needs pool, time,"
            " horizon, label and a p_CLASS column for each of at least two classes"
        )
    return classes


def _scored(side: pl.DataFrame, classes: list[str], name: str) -> pl.DataFrame:
    """One side in row order, with `loss` and `correct`."""
    side = side.sort(*_ROW)
    if side.select(_ROW).is_duplicated().any():
        raise InputError(f"read the {name}'s evaluation: it holds the same pool, time and horizon twice")
    if (
        side.height == 0
        or side.select(*_ROW, "label").null_count().sum_horizontal().item()
        or not set(side["label"].unique()) <= set(classes)
    ):
        raise InputError(
            f"read the {name}'s evaluation: {side.height} rows, labels {side['label'].unique().to_list()!r};"
            f" it needs rows, no nulls in pool, time, horizon, label, and labels among {classes!r}"
        )
    p = side.select(pl.col(f"p_{c}").cast(pl.Float64).fill_null(float("nan")) for c in classes).to_numpy()
    if not (np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        raise InputError(f"read the {name}'s evaluation: probabilities must be finite and in [0, 1]")
    if (np.abs(p.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        raise InputError(f"read the {name}'s evaluation: a row's probabilities sum to {p.sum(axis=1).min()!r}, not 1")
    label = side["label"].replace_strict(classes, list(range(len(classes))), return_dtype=pl.Int64).to_numpy()
    told = np.clip(p[np.arange(len(p)), label], CLIP, 1 - CLIP)
    return side.select(*_ROW, "label").with_columns(
        pl.Series("loss", -np.log(told)), pl.Series("correct", p.argmax(axis=1) == label)
    )


def _first_difference(left: pl.DataFrame, right: pl.DataFrame) -> tuple[object, ...] | str:
    """A row that one side has and the other has not, or that they label differently."""
    columns = [*_ROW, "label"]
    if [left.schema[c] for c in columns] != [right.schema[c] for c in columns]:
        return f"dtypes {[left.schema[c] for c in columns]} against {[right.schema[c] for c in columns]}"
    lone = pl.concat([left.join(right, on=columns, how="anti"), right.join(left, on=columns, how="anti")])
    return lone.select(columns).row(0)
