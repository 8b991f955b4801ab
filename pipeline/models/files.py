"""Evaluation of predictions that lie in a Parquet file, whoever made them, of any set of classes.

Belongs here: reading and checking the file. Stays out: the figures (`metrics`, `intervals`, `slices`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.intervals import FigureRules, with_intervals
from pipeline.models.metrics import MACRO, OVERALL, Floats
from pipeline.models.records import nested
from pipeline.models.slices import RULES, Tiers, nested_slices, slices, with_age, with_tier
from pipeline.models.spec import MODEL
from pipeline.tables import OUTCOMES

TOLERANCE: Final = 1e-6
"""How far the probabilities of a row may sum from one; ten times that where they are stored in single precision."""
PREFIX: Final = "p_"
AGES: Final = ("age_hours", "decision_age_hours")
_SHOWN: Final = 5


@dataclass(frozen=True)
class Predictions:
    """Checked predictions: `label` in words and one `p_CLASS` column of doubles a class, beside the file's others."""

    frame: pl.DataFrame = field(repr=False)
    classes: tuple[str, ...]


def evaluate_file(
    path: Path, rules: FigureRules = RULES, *, by: Sequence[str] = (), tiers: Tiers = ()
) -> dict[str, Any]:
    """Every figure with its interval, a bootstrap over pools: `{metric/class: {value, low, high}}`.

    With `by` there is one key more, `by`: see `slices.nested_slices`.

    Args:
        path: Parquet with `pool`, `label` and one `p_CLASS` column a class; `network`, where there is one, is part of
            the pool's name.
        rules: resamples, confidence, bins and seed.
        by: columns to cut the rows by; also `tier`, from `reserve_usd`, and `age`, from `age_hours`.
        tiers: where the liquidity tiers begin.

    Raises:
        InputError: the file is missing, is no Parquet, lacks a column, or holds labels or probabilities that are none.
    """
    told = read_predictions(path)
    frame = told.frame
    key = [name for name in ("network", "pool") if name in frame.columns]
    figures = with_intervals(
        frame["label"].cast(pl.Enum(told.classes)).to_physical().to_numpy().astype(np.int64),
        frame.select(PREFIX + name for name in told.classes).to_numpy(),
        frame.select(pl.struct(key).rank("dense")).to_series().to_numpy().astype(np.int64),
        **asdict(rules),
        classes=told.classes,
        predictor=MODEL,
        block="file",
        decision_age_hours=None,
    )
    found = nested(figures.filter(pl.col("value").is_not_null()))[MODEL]
    if by:
        found["by"] = nested_slices(slices(_cut(frame, by, tiers), by, rules, told.classes))
    return found


def read_predictions(path: Path) -> Predictions:
    """Read a file of predictions and check all that a figure depends on.

    Raises:
        InputError: see `evaluate_file`.
    """
    frame = read_parquet(path)
    where = f"{str(path)!r}"
    classes = _classes(frame.columns, where)
    missing = [name for name in ("pool", "label") if name not in frame.columns]
    if missing:
        raise InputError(f"{where} lacks the columns {missing!r}; it has {frame.columns!r}")
    if frame.is_empty():
        raise InputError(f"{where} holds no rows: there is nothing to evaluate")
    nulls = [name for name in ("pool", "label") if frame[name].null_count()]
    if nulls:
        raise InputError(f"{where} holds rows without {' or '.join(nulls)}: leave out what has no label")
    label = _in_words(frame["label"], classes)
    unknown = sorted(set(label.unique().to_list()) - set(classes))
    if unknown:
        raise InputError(
            f"{where} holds labels that no p_CLASS column is named for, {unknown[:_SHOWN]!r}: its classes are "
            f"{classes!r}"
        )
    return Predictions(frame.with_columns(label, *_probabilities(frame, classes, where)), classes)


def _classes(columns: Sequence[str], where: str) -> tuple[str, ...]:
    """The classes that have a column, in the file's order; ours in the order of `OUTCOMES`."""
    found = tuple(name.removeprefix(PREFIX) for name in columns if name.startswith(PREFIX) and name != PREFIX)
    if len(found) < 2:
        raise InputError(f"{where} has {len(found)} p_CLASS columns, expected one a class, at least two: {columns!r}")
    if set(found) & {MACRO, OVERALL}:
        raise InputError(
            f"{where} names a class {MACRO!r} or {OVERALL!r}, the names of what is over all classes: rename it"
        )
    return OUTCOMES if set(found) == set(OUTCOMES) else found


def _in_words(label: pl.Series, classes: Sequence[str]) -> pl.Series:
    """Labels as the classes are written: 1, 1.0 and True are all told as `1` where a class is called that."""
    if label.dtype.is_float() and bool((label.is_finite() & (label == label.round())).all()):
        label = label.cast(pl.Int64)
    if label.dtype == pl.Boolean and "true" not in classes:
        yes, no = ("True", "False") if "True" in classes else ("1", "0")
        return (
            label.to_frame().select(pl.when("label").then(pl.lit(yes)).otherwise(pl.lit(no)).alias("label")).to_series()
        )
    if label.dtype.is_nested() or label.dtype in (pl.Binary, pl.Object):
        raise InputError(f"labels are of type {label.dtype}, expected text or numbers that name a class")
    return label.cast(pl.String)


def _probabilities(frame: pl.DataFrame, classes: Sequence[str], where: str) -> list[pl.Series]:
    names = [PREFIX + name for name in classes]
    told = [name for name in names if not frame[name].dtype.is_numeric()]
    if told:
        raise InputError(f"{where}: the columns {told!r} hold no numbers: write probabilities as floats")
    found = [frame[name].cast(pl.Float64) for name in names]
    gaps = [s.name for s in found if s.null_count()]
    if gaps:
        raise InputError(f"{where}: the columns {gaps!r} hold nulls: a prediction gives each class a probability")
    p: Floats = np.column_stack([s.to_numpy() for s in found])
    allowed = TOLERANCE * (10 if any(frame[name].dtype == pl.Float32 for name in names) else 1)
    wrong = ~(np.isfinite(p).all(axis=1) & (p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) <= allowed))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"{where}: the p_CLASS columns of a row must be probabilities that sum to one; {int(wrong.sum()):,} rows "
            f"are none, the first is row {first} with {p[first].tolist()!r}"
        )
    return found


def _cut(frame: pl.DataFrame, by: Sequence[str], tiers: Tiers) -> pl.DataFrame:
    """The frame with the bands that are asked for and that it has no column of."""
    for name, needed in {"tier": ("reserve_usd",), "age": AGES}.items():
        if name in by and not {name, *needed} & set(frame.columns):
            raise InputError(
                f"cannot cut figures by {name!r}: that needs a column {' or '.join(map(repr, needed))}, or one called "
                f"{name!r}; write it beside the predictions, or leave --by {name} away; the columns are "
                f"{frame.columns!r}"
            )
    if "tier" in by and "tier" not in frame.columns and "reserve_usd" in frame.columns and tiers:
        frame = with_tier(frame, tiers)
    age = next((name for name in AGES if name in frame.columns), None)
    if "age" in by and "age" not in frame.columns and age is not None:
        frame = with_age(frame, age)
    return frame


def read_parquet(path: Path) -> pl.DataFrame:
    """A file as a frame.

    Raises:
        InputError: there is no such file, or it is no Parquet.
    """
    if not path.exists():
        raise InputError(f"there is no file {str(path)!r}: name one, or run `poolcast demo` first")
    if not path.is_file():  # a folder would be read as a whole, and a pipe that nobody writes to waited for
        raise InputError(f"{str(path)!r} is no file: give one Parquet file of predictions")
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{str(path)!r} cannot be read as Parquet: {error}") from error
