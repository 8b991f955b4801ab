"""The label canaries: none is used before it is known, and no decision is lost on the way to one.

Belongs here: what must hold of labels and their absence in a training set. Stays out: the outcome rule.
"""

from collections import Counter
from datetime import timedelta

import polars as pl

from pipeline.models.as_of import unlike
from pipeline.models.canary_report import CanaryResult, counted
from pipeline.models.training_set import TrainingSet


def check_labels(training_set: TrainingSet, labels: pl.LazyFrame | None = None) -> CanaryResult:
    """Every label of the set is known by the set's moment, says what LABELS says, and says when it is over.

    Nothing but a rug can be known before its horizon is over, and `label_end` is what the purge goes by.

    Args:
        labels: LABELS rows of the set's source; not given, what the labels say is not compared.
    """
    counts: dict[str, int] = {}
    n_rows = 0
    for hours in training_set.horizons_hours:
        own = training_set.head(hours)
        n_rows += own.frame.height
        for fault, n in _faults(own, labels).items():
            counts[fault] = counts.get(fault, 0) + n
    return counted("labels", n_rows, "labels", counts)


def _faults(training_set: TrainingSet, labels: pl.LazyFrame | None) -> dict[str, int]:
    """How many labels of one horizon have each fault."""
    frame, known_by = training_set.frame, training_set.known_by
    horizon_end = pl.col("event_time") + timedelta(hours=training_set.spec.horizon_hours)
    known_at = pl.col("label_known_at")
    faults = {
        "known after the set's moment": known_at > known_by,
        "whose horizon is not over": horizon_end > known_by,
        "known before they could be": (known_at <= pl.col("event_time"))
        | ((known_at < horizon_end) & (pl.col("outcome") != "RUG")),
        "that end later than they say": pl.col("label_end") < pl.max_horizontal(known_at, horizon_end),
    }
    counts = {fault: frame.filter(found).height for fault, found in faults.items()}
    if labels is not None:
        counts["that LABELS does not hold"] = unlike(frame, labels, training_set.spec.horizon_hours, known_by).height
    return counts


def check_reconciled(training_set: TrainingSet) -> CanaryResult:
    """Labelled, censored and pending decisions are all decisions, and the labelled ones are the set.

    Survivors alone would flatter a model: a pool that vanished has no label after 24 h.
    """
    decisions = training_set.decisions
    fates = Counter(decisions["fate"].to_list())
    key = ["network", "pool", "event_time"]
    labelled = decisions.filter(pl.col("fate") == "labelled")
    known = sum(fates[fate] for fate in ("labelled", "censored", "pending"))
    result = counted(
        "reconciled",
        decisions.height,
        "decisions",
        {
            "without any label, though their horizon is over": fates["absent"],
            "that ended in nothing known": decisions.height - known - fates["absent"],
            "there more than once": decisions.height - decisions.select(key).n_unique(),
            "labelled, but not in the set": labelled.join(training_set.frame, on=key, how="anti").height,
            "in the set, but not labelled": training_set.frame.join(labelled, on=key, how="anti").height,
        },
    )
    shares = ", ".join(f"{fates[fate]} {fate}" for fate in ("labelled", "censored", "pending"))
    return CanaryResult(result.name, result.is_passed, f"{result.words} ({shares})", result.numbers | dict(fates))
