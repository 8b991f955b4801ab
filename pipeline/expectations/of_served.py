"""What a row must mean in the tables of what was made, said and decided.

Belongs here: rules of one table each. Stays out: rules that follow from a spec for every table (`meaning`).
"""

from dataclasses import replace
from typing import Final

import polars as pl

from pipeline.expectations.bands import OutcomeBands
from pipeline.expectations.of_derived import known_after_its_end, outcome_rules
from pipeline.expectations.rule import Rule, in_order, on_grid, only, ordered, together

_GENESIS: Final = "0" * 64
_LEAST_P: Final = 34.5
"""A log loss is told up to here, in nats; what was held for impossible would cost infinitely much."""


def _no_gap() -> Rule:
    sequence = pl.col("sequence")
    return Rule(
        "sequence counts from 1 without a gap",
        ("sequence",),
        (sequence == 1) | (sequence - 1).is_in(sequence.implode()),
        kind="frame",
    )


def _chained() -> Rule:
    before = pl.col("row_hash").shift(1).over(pl.lit(1), order_by="sequence").fill_null(_GENESIS)
    return Rule(
        "previous_hash is the row_hash of the row before",
        ("sequence", "previous_hash", "row_hash"),
        pl.col("previous_hash") == before,
        kind="frame",
    )


def _loss() -> Rule:
    told = -pl.col("p_outcome").clip(1e-300).log()
    return Rule(
        "log_loss is -ln p_outcome",
        ("log_loss", "p_outcome"),
        (pl.col("log_loss") - told).abs().le(1e-6) | (pl.col("log_loss") >= _LEAST_P),
    )


def _few_pools() -> Rule:
    return ordered("n_pools", "n_rows")


def _of_its_time(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """What a judged prediction says of its outcome is history: thresholds that changed since make a warning."""
    return tuple(replace(rule, severity="warning") if "outcome" in rule.columns else rule for rule in rules)


def served(bands: OutcomeBands) -> dict[str, tuple[Rule, ...]]:
    """The rules of each table, by its name."""
    return {
        "bin_exports": (ordered("first_time", "last_time"), ordered("range_start", "range_end")),
        "training_sets": (ordered("first_time", "last_time"), ordered("last_time", "known_at"), _few_pools()),
        "return_datasets": (ordered("first_time", "last_time"), ordered("last_time", "known_at"), _few_pools()),
        "figures": (ordered("low", "high"), _few_pools()),
        "return_figures": (ordered("low", "high"), _few_pools()),
        "comparisons": (ordered("gain_low_pct", "gain_high_pct"),),
        "deployments": (_no_gap(), _chained(), in_order("known_at", ("sequence",), ("model_name",), "warning")),
        "predictions": (
            Rule(
                "is_signal is set only where signal_score is",
                ("is_signal", "signal_score"),
                pl.col("is_signal").is_null() | pl.col("signal_score").is_not_null(),
            ),
        ),
        "performance_reports": (
            ordered("day_start", "known_at"),
            on_grid("day_start", "1d", "the start of a day"),
            _few_pools(),
        ),
        "partitions": (on_grid("hour", "1h", "the start of an hour"),),
        "outcomes": (
            only("outcome", "labelled"),
            only("censor_reason", "censored"),
            together("label_known_at", "outcome"),
            together("log_loss", "outcome"),
            together("p_outcome", "outcome"),
            together("is_correct", "outcome"),
            together("path_known_at", "return_end_pct"),
            ordered("event_time", "predicted_at"),
            ordered("predicted_at", "known_at"),
            ordered("label_known_at", "known_at"),
            Rule(
                "evidence was said before its outcome was known",
                ("predicted_at", "label_known_at", "is_evidence"),
                ~pl.col("is_evidence") | (pl.col("predicted_at") < pl.col("label_known_at")),
            ),
            known_after_its_end(),
            _loss(),
            *_of_its_time(outcome_rules(bands)),
        ),
    }
