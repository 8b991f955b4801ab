"""From two models' predictions of the same rows to paired losses.

Belongs here: reading evaluation frames (pool, time, horizon, what came true, what was said) and making sure that both
sides answered the same questions; one function a loss. Stays out: judging the losses (`gate`).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.promotion.gate import Comparison, compare_offline
from pipeline.promotion.spec import Loss, PromotionSpec

CLIP: Final = 1e-15
"""Probabilities are clipped to [CLIP, 1 - CLIP] before the logarithm: a model that calls the outcome impossible loses
34.5 nats on that row, not infinitely many, and no row's loss is exactly 0. Nothing is renormalised after it. A squared
error is at least CLIP, for the same reason: that of an opponent is what the gain is divided by."""
SUM_TOLERANCE: Final = 1e-6

_ROW: Final = ("pool", "time", "horizon")


def paired_losses(evaluation: pl.DataFrame, opponent: pl.DataFrame) -> pl.DataFrame:
    """Log losses and hits of two classifiers, row by row.

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
    left, right = (
        _classified(side, classes, name) for side, name in ((evaluation, "challenger"), (opponent, "opponent"))
    )
    return _paired(left, right, "label")


def paired_forecast_losses(evaluation: pl.DataFrame, opponent: pl.DataFrame) -> pl.DataFrame:
    """Squared errors and agreement of signs of two forecasters, row by row.

    The squared error is proper for the mean: whoever shrinks a forecast that is worth nothing to 0 loses least.

    Args:
        evaluation: the challenger's forecasts: pool, time, horizon, target, forecast.
        opponent: the same rows, in any order, as the opponent forecast them.

    Returns:
        the columns of `paired_losses`, in its order; losses in squares of the target's unit. Correct: the forecast
        has the target's sign; a forecast of 0 names no direction and is never correct.

    Raises:
        InputError: a column is missing, a row is twice in a side, the sides differ in rows or targets, or a target or
            forecast is missing, not finite, or too large to be squared.
    """
    left, right = (_forecast(side, name) for side, name in ((evaluation, "challenger"), (opponent, "opponent")))
    return _paired(left, right, "target")


PAIRED: Final[Mapping[Loss, Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]]] = MappingProxyType(
    {"log_loss": paired_losses, "squared_error": paired_forecast_losses}
)
"""How two sides are paired, for every loss a rule may name."""


def compare_evaluations(evaluation: pl.DataFrame, opponent: pl.DataFrame, spec: PromotionSpec) -> Comparison:
    """Two sides paired by the loss of the rule, judged by `gate.compare_offline`; raises what they raise."""
    paired = PAIRED[spec.loss](evaluation, opponent)
    return compare_offline(
        paired["pool"].to_numpy(),
        paired["loss_challenger"].to_numpy(),
        paired["loss_opponent"].to_numpy(),
        paired["correct_challenger"].to_numpy(),
        paired["correct_opponent"].to_numpy(),
        spec=spec,
    )


def _paired(left: pl.DataFrame, right: pl.DataFrame, truth: str) -> pl.DataFrame:
    """Two scored sides beside each other, once it is sure that they speak of the same rows."""
    if not left.select(*_ROW, truth).equals(right.select(*_ROW, truth)):
        raise InputError(
            f"paired two models' losses: the sides must hold the same rows with the same {truth}s, found"
            f" {left.height} against {right.height} rows, first difference {_first_difference(left, right, truth)!r}"
        )
    return left.select(
        *_ROW,
        pl.col("loss").alias("loss_challenger"),
        right["loss"].alias("loss_opponent"),
        pl.col("correct").alias("correct_challenger"),
        right["correct"].alias("correct_opponent"),
    )


def _ordered(side: pl.DataFrame, name: str) -> pl.DataFrame:
    """One side in row order, each row once, each with its key."""
    ordered = side.sort(*_ROW)
    if ordered.select(_ROW).is_duplicated().any():
        raise InputError(f"read the {name}'s evaluation: it holds the same pool, time and horizon twice")
    if ordered.height == 0 or ordered.select(_ROW).null_count().sum_horizontal().item():
        raise InputError(
            f"read the {name}'s evaluation: {ordered.height} rows; it needs rows, and no nulls in pool, time, horizon"
        )
    return ordered


def _classes(side: pl.DataFrame, name: str) -> list[str]:
    missing = [column for column in (*_ROW, "label") if column not in side.columns]
    classes = [column.removeprefix("p_") for column in side.columns if column.startswith("p_")]
    if missing or len(classes) < 2:
        raise InputError(
            f"read the {name}'s evaluation: it lacks {missing!r} and has classes {classes!r}; it needs pool, time,"
            " horizon, label and a p_CLASS column for each of at least two classes"
        )
    return classes


def _classified(side: pl.DataFrame, classes: list[str], name: str) -> pl.DataFrame:
    """One classifier's side in row order, with `label`, `loss` and `correct`."""
    side = _ordered(side, name)
    if side["label"].null_count() or not set(side["label"].unique()) <= set(classes):
        raise InputError(
            f"read the {name}'s evaluation: labels {side['label'].unique().to_list()!r}; it needs no nulls, and labels"
            f" among {classes!r}"
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


def _forecast(side: pl.DataFrame, name: str) -> pl.DataFrame:
    """One forecaster's side in row order, with `target`, `loss` and `correct`."""
    told = (*_ROW, "target", "forecast")
    missing = [column for column in told if column not in side.columns]
    if missing or not all(side.schema[column].is_numeric() for column in ("target", "forecast")):
        raise InputError(
            f"read the {name}'s evaluation: it lacks {missing!r} and has {dict(side.schema)!r}; it needs {told!r}, the"
            " last two being numbers"
        )
    side = _ordered(side, name)
    said = side.select(pl.col("target", "forecast").cast(pl.Float64).fill_null(float("nan")))
    target, forecast = (said[column].to_numpy() for column in said.columns)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = np.maximum((target - forecast) ** 2, CLIP)
    if not np.isfinite(loss).all():
        raise InputError(
            f"read the {name}'s evaluation: {int((~np.isfinite(loss)).sum())} of {len(loss)} rows have a target or a"
            " forecast that is missing, not finite, or too large to be squared"
        )
    is_correct = (np.sign(forecast) == np.sign(target)) & (forecast != 0)
    return side.select(*_ROW, "target").with_columns(pl.Series("loss", loss), pl.Series("correct", is_correct))


def _first_difference(left: pl.DataFrame, right: pl.DataFrame, truth: str) -> tuple[object, ...] | str:
    """A row that one side has and the other has not, or of which they say that something else came true."""
    columns = [*_ROW, truth]
    if [left.schema[c] for c in columns] != [right.schema[c] for c in columns]:
        return f"dtypes {[left.schema[c] for c in columns]} against {[right.schema[c] for c in columns]}"
    lone = pl.concat([left.join(right, on=columns, how="anti"), right.join(left, on=columns, how="anti")])
    return lone.select(columns).row(0)
