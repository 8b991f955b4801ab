"""The split canary: training rows and test rows have nothing in common, neither time nor pool nor token.

Belongs here: what must hold between the two sides of any split, told from the rows alone and not from how the split
was made. Stays out: making splits (`splits`).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.models.canary_report import CanaryResult, counted
from pipeline.models.splits import Split, folds_before, last_block
from pipeline.models.training_set import TrainingSet

_GROUPS: Final = {"pool": ("network", "pool"), "base token": ("network", "base_token")}


def training_splits(training_set: TrainingSet) -> list[Split]:
    """The splits that training and its evaluation use: the last block, and the folds before it.

    Raises:
        InputError: too few pools for a split.
    """
    spec, frame = training_set.spec, training_set.frame
    embargo = timedelta(hours=spec.embargo_hours)
    block = last_block(frame, share=spec.last_block_share, embargo=embargo)
    return [block, *folds_before(frame, block, n_folds=spec.n_folds, embargo=embargo)]


def check_splits(training_set: TrainingSet, splits: Sequence[Split]) -> CanaryResult:
    """No training row may share a pool or a base token with a test row, or meet the test block in time.

    The block begins with the birth of its first pool and ends with its last label. A training row's label is over
    before that, or its decision is made more than the embargo after it (Lopez de Prado 2018, ch. 7.4).
    """
    embargo = timedelta(hours=training_set.spec.embargo_hours)
    faults = dict.fromkeys(
        (
            *(f"training rows whose {group} is tested" for group in _GROUPS),
            "training rows that meet the test block in time",
            "splits without rows on both sides",
        ),
        0,
    )
    for split in splits:
        train, test = training_set.frame[split.train], training_set.frame[split.test]
        faults["splits without rows on both sides"] += not (train.height and test.height)
        for group, columns in _GROUPS.items():
            shared = train.join(test.drop_nulls(columns), on=list(columns), how="semi").height
            faults[f"training rows whose {group} is tested"] += shared
        start, end = test["created_at"].min(), test["label_end"].max()
        is_apart = (pl.col("label_end") < start) | (pl.col("event_time") > pl.lit(end) + embargo)
        faults["training rows that meet the test block in time"] += train.filter(~is_apart).height
    n_rows = int(np.sum([len(split.train) for split in splits]))
    return counted("splits", n_rows, f"training rows of {len(splits)} splits", faults)
