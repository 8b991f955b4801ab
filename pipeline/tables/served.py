"""What models in service say, what became of it, and how good that was: predictions and what stands beside them."""

from typing import Final

import polars as pl

from pipeline.tables.columns import (
    EVENT_TIME,
    KNOWN_AT,
    NETWORK,
    OUTCOMES,
    POOL,
    POOL_TIME_KEY,
    SOURCE,
    Column,
    Table,
    count_column,
    flag_column,
    real_column,
    text_column,
    time_column,
)
from pipeline.tables.learned import CENSOR_REASONS

ROLES: Final = ("champion", "shadow", "former")
"""Who predicts: who is in charge, the challenger on trial, and the champion before, kept as a reference."""
UNSCORED_REASONS: Final = (
    "learned_past_it", "horizon_passed", "age_unknown", "age_outside_trained_range", "incomplete", "model_failed",
)  # fmt: skip
"""Why a due snapshot was not scored; the first that holds, in this order, is the one that is told."""
TIERS: Final = ("above 100k", "10k to 100k", "1k to 10k", "below 1k", "unknown")
"""Liquidity in USD, at the edges of the sampler's tiers."""
TIER_EDGES: Final = ((100_000.0, True), (10_000.0, False), (1_000.0, False))
"""Lower edges of `tables.TIERS` in USD, richest first; True: the edge itself belongs to the tier below."""

_HORIZON: Final = Column("horizon_hours", pl.Int32(), "how far ahead the prediction looks", "h", minimum=1)
_NAME: Final = text_column("model_name", "the registered model")
_VERSION: Final = count_column("model_version", "its version in the registry", low=1)
_ROLE: Final = text_column("role", "what the version was when it said so", values=ROLES)
_KEY: Final = (*POOL_TIME_KEY, "horizon_hours", "model_name", "model_version")

PREDICTIONS = Table(
    "predictions",
    "predictions",
    "model version, pool, time, horizon: what the model said",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        _HORIZON, _NAME, _VERSION,
        text_column("model_sha256", "SHA-256 of the model file"),
        _ROLE,
        text_column("feature_set", "hash of the features the model was fed"),
        real_column("age_hours", "the pool's age", "h", 0, nullable=False),
        real_column("reserve_usd", "value of the pool's reserves", "USD", 0),
        real_column("completeness", "share of the features the model needs that were not null", "1", 0, 1,
                    nullable=False),
        real_column("latency_ms", "time the model took for its rows, over their number; null: not measured", "ms", 0),
        text_column("inputs", "the model's features as it was fed them, a JSON object, null where one was missing;"
                    " null: let go for their age", nullable=True),
        *(real_column(f"p_{outcome}", f"probability of {outcome}", "1", 0, 1, nullable=False) for outcome in OUTCOMES),
        real_column("signal_score", "the score that the high signal is made from, of that horizon too", "1"),
        flag_column("is_signal", "the high signal, of the horizon it is judged by; null: it abstains, or has none"),
    ),
    key=_KEY,
)  # fmt: skip

UNSCORED = Table(
    "unscored",
    "predictions",
    "model version, pool, time, horizon: why a due snapshot was not scored when it was first tried",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        _HORIZON, _NAME, _VERSION, _ROLE,
        text_column("reason", "why; the first that held", values=UNSCORED_REASONS),
        real_column("completeness", "share of the features the model needs that were not null", "1", 0, 1,
                    nullable=False),
        text_column("detail", "what the model did instead of answering", nullable=True),
    ),
    key=_KEY,
)  # fmt: skip

PREDICTION_OUTCOMES = Table(
    "outcomes",
    "predictions",
    "prediction, horizon: what became of it; one that is not here is pending",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        _HORIZON, _NAME, _VERSION, _ROLE,
        time_column("predicted_at", "when the prediction was written"),
        text_column("status", "labelled, or censored with its reason", values=("labelled", "censored")),
        text_column("censor_reason", "why there is no outcome", nullable=True, values=CENSOR_REASONS),
        text_column("outcome", "what became of the pool", nullable=True, values=OUTCOMES),
        real_column("p_outcome", "probability the model gave to it", "1", 0, 1),
        real_column("log_loss", "-ln of that, at most 34.5", "nats", 0),
        flag_column("is_correct", "the most probable outcome came; of equally probable ones the first counts"),
        real_column("return_end_pct", "price at the horizon against the price at the decision", "%", -100),
        real_column("return_peak_pct", "highest price up to the horizon against the price at the decision", "%", -100),
        real_column("return_trough_pct", "lowest price up to the horizon against the price at the decision", "%", -100),
        time_column("peak_at", "when the bar or observation of the peak was over", nullable=True),
        time_column("trough_at", "when the bar or observation of the trough was over", nullable=True),
        time_column("label_known_at", "since when the outcome is known", nullable=True),
        time_column("path_known_at", "since when return_*, peak_at and trough_at are known; null: not yet, or never",
                    nullable=True),
        flag_column("is_evidence", "said in its role, within a tenth of the horizon, and before the outcome was known",
                    nullable=False),
    ),
    key=_KEY,
)  # fmt: skip

PERFORMANCE_REPORTS = Table(
    "performance_reports",
    "predictions",
    "model version, horizon, day of decision, liquidity tier: how good what it said was",
    (
        SOURCE,
        time_column("day_start", "the day of the decisions, UTC"),
        KNOWN_AT, _HORIZON, _NAME, _VERSION,
        text_column("tier", "liquidity at the decision, USD; `all`: every tier", values=("all", *TIERS)),
        flag_column("is_evidence", "over evidence; no: over predictions said with hindsight", nullable=False),
        count_column("n_rows", "labelled predictions", low=1),
        count_column("n_pools", "pools they speak of; the unit is the pool", low=1),
        real_column("accuracy", "share of rows whose most probable outcome came", "1", 0, 1, nullable=False),
        real_column("log_loss", "mean over rows", "nats", 0, nullable=False),
        real_column("brier", "sum over outcomes of the mean squared error (Brier 1950)", "1", 0, 2, nullable=False),
        real_column("ece", "calibration error over bins of equal mass, mean over the outcomes that came", "1", 0, 1),
        real_column("rug_share", "share of RUG", "1", 0, 1, nullable=False),
        real_column("rug_lift", "share of RUG among the tenth most suspected, over the share of all; null: no rug, or"
                    " fewer than ten rows", "1", 0),
    ),
    key=("source", "day_start", "model_name", "model_version", "horizon_hours", "tier", "is_evidence"),
    time=None,
    partition_by=(),
)  # fmt: skip
