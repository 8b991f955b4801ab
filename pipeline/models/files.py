"""Evaluation of predictions that lie in a Parquet file, whoever made them.

Belongs here: reading and checking the file. Stays out: the figures (`metrics`, `intervals`).
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.intervals import with_intervals
from pipeline.models.records import nested
from pipeline.models.spec import MODEL, TrainingSpec
from pipeline.tables import OUTCOMES

TOLERANCE = 1e-6


def evaluate_file(path: Path, spec: TrainingSpec | None = None) -> dict[str, Any]:
    """Every figure with its interval, a bootstrap over pools: `{metric/outcome: {value, low, high}}`.

    Args:
        path: Parquet with `pool`, `label` (one of `OUTCOMES`) and one `p_CLASS` column for each of them.
        spec: resamples, confidence, bins and seed; the usual ones if none is given.

    Raises:
        InputError: the file is missing, is no Parquet, lacks a column, or holds labels or probabilities that are none.
    """
    spec = spec or TrainingSpec()
    frame = _read(path)
    classes = [f"p_{outcome}" for outcome in OUTCOMES]
    missing = [name for name in ("pool", "label", *classes) if name not in frame.columns]
    if missing:
        raise InputError(f"{str(path)!r} lacks the columns {missing!r}; it has {frame.columns!r}")
    unknown = sorted(map(str, set(frame["label"].to_list()) - set(OUTCOMES)))
    if unknown or frame.is_empty():
        raise InputError(f"{str(path)!r} holds {frame.height} rows and the labels {unknown!r}: labels are {OUTCOMES!r}")
    p = frame.select(pl.col(classes).cast(pl.Float64)).to_numpy()
    if not np.isfinite(p).all() or (p < 0).any() or np.abs(p.sum(axis=1) - 1).max() > TOLERANCE:
        raise InputError(f"{str(path)!r}: the p_CLASS columns of a row must be probabilities that sum to one")
    y = frame["label"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy().astype(np.int64)
    figures = with_intervals(
        y,
        p,
        frame["pool"].rank("dense").to_numpy().astype(np.int64),
        n_resamples=spec.n_resamples,
        confidence=spec.confidence,
        n_bins=spec.n_calibration_bins,
        seed=spec.seed,
        predictor=MODEL,
        block="file",
        decision_age_hours=None,
    )
    return nested(figures.filter(pl.col("value").is_not_null()))[MODEL]


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {str(path)!r}: name one, or run `poolcast demo` first") from error
    except (pl.exceptions.ComputeError, OSError) as error:
        raise InputError(f"{str(path)!r} cannot be read as Parquet: {error}") from error
