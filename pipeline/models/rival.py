"""What a model in charge says of a challenger's own last block.

Belongs here: which of those rows neither had seen, and the champion's answers to them. Stays out: the comparison.
"""

from datetime import datetime
from typing import Any

import polars as pl

from pipeline.errors import InputError
from pipeline.models.learner import Predictor
from pipeline.models.training_set import TrainingSet
from pipeline.tables import OUTCOMES

_DECISION = ("network", "pool", "event_time")


def answered(frozen: TrainingSet, evaluation: pl.DataFrame, model: Predictor, learned_until: datetime) -> pl.DataFrame:
    """The model's answers to the rows of an evaluation whose pools were born after it had learned.

    A pool that is older may be one it learned from, at an earlier age.

    Args:
        frozen: the challenger's training set, which holds the features of the evaluation's rows.
        evaluation: `network`, `pool`, `time`, `horizon`, `label` of the rows, at the set's own horizon.
        model: the model in charge.
        learned_until: the last moment at which anything it learned from was known.

    Returns:
        `network`, `pool`, `time`, `horizon`, `label` and `p_CLASS` for every class, in the order of the evaluation.

    Raises:
        InputError: the set lacks a feature of the model, or a row of the evaluation.
    """
    asked = evaluation.select("network", "pool", pl.col("time").alias("event_time"), "horizon", "label")
    rows = asked.join(frozen.frame, on=list(_DECISION), how="left", maintain_order="left")
    lost = rows["created_at"].null_count()
    if lost:
        raise InputError(f"asked the champion: {lost} of {rows.height} rows of the evaluation are not in the set")
    new = rows.filter(pl.col("created_at") > learned_until)
    p: Any = model.predict_proba(new)
    head = new.select("network", "pool", pl.col("event_time").alias("time"), "horizon", "label")
    return head.with_columns(pl.Series(f"p_{name}", p[:, k], dtype=pl.Float64) for k, name in enumerate(OUTCOMES))
