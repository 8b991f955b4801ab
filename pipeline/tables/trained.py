"""What models learned from and how they did: frozen sets, and evidence on the last block in time."""

import polars as pl

from pipeline.tables.columns import (
    EVENT_TIME,
    KNOWN_AT,
    NETWORK,
    OUTCOMES,
    POOL,
    SOURCE,
    Column,
    Table,
    count_column,
    real_column,
    text_column,
    time_column,
)

TRAINING_SETS = Table(
    "training_sets",
    "models",
    "one frozen training set",
    (
        text_column("training_set_id", "SHA-256 over the rows, the spec and the feature set"),
        text_column("rows_id", "SHA-256 over the decisions, what became of them and the rule of the last block: the"
                    " same are judged on the same rows, whatever features, learners and code"),
        SOURCE, KNOWN_AT,
        text_column("feature_set", "hash of the features' names and formulas"),
        text_column("spec", "the spec it was made under, as JSON"),
        text_column("lake_versions", "table versions it was read from, as JSON"),
        text_column("class_counts", "rows per outcome, as JSON"),
        count_column("n_rows", "rows"),
        count_column("n_pools", "pools"),
        time_column("first_time", "earliest decision"),
        time_column("last_time", "latest decision"),
        count_column("n_last_block_reads", "how often the last block in time was evaluated on"),
    ),
    key=("training_set_id",),
    time=None,
    partition_by=(),
)  # fmt: skip

EVALUATIONS = Table(
    "evaluations",
    "models",
    "model, predictor, pool, time: what a model and the baselines beside it say of the last block in time",
    (
        text_column("model_sha256", "SHA-256 of the model the predictions were made for or beside"),
        text_column("predictor", "`model`, or the name of a baseline on the same rows"),
        NETWORK, POOL, EVENT_TIME,
        Column("horizon_hours", pl.Int32(), "how far ahead the prediction looks", "h", minimum=1),
        Column("decision_age_hours", pl.Int32(), "the pool's age at the decision, rounded down", "h", minimum=0),
        text_column("label", "what became of the pool", values=OUTCOMES),
        *(real_column(f"p_{outcome}", f"probability of {outcome}", "1", 0, 1, nullable=False) for outcome in OUTCOMES),
    ),
    key=("model_sha256", "predictor", "network", "pool", "event_time", "horizon_hours"),
    time=None,
    as_of="event_time",
    partition_by=(),
)  # fmt: skip

FIGURES = Table(
    "figures",
    "models",
    "one figure of one predictor on one block, with its interval",
    (
        text_column("model_sha256", "SHA-256 of the model"),
        text_column("predictor", "`model`, or the name of a baseline on the same rows"),
        text_column("block", "`last_block`, or a walk-forward fold"),
        text_column("decision_age", "the decisions it counts: `all`, or an age in hours"),
        text_column("metric", "the figure's name"),
        text_column("outcome", "the class it speaks of, `macro` or `all`"),
        real_column("value", "the figure; null where it is not defined", "1"),
        real_column("low", "lower end of its 95 % interval, bootstrap over pools", "1"),
        real_column("high", "upper end of its 95 % interval", "1"),
        count_column("n_rows", "rows it was computed on"),
        count_column("n_pools", "pools it was computed on"),
    ),
    key=("model_sha256", "predictor", "block", "decision_age", "metric", "outcome"),
    time=None,
    as_of="model_sha256",
    partition_by=(),
)  # fmt: skip

RETURN_DATASETS = Table(
    "return_datasets",
    "models",
    "one frozen set of decisions with features and forward returns",
    (
        text_column("dataset_id", "SHA-256 over the rows, the spec and the code"),
        SOURCE, KNOWN_AT,
        text_column("export_id", "the export of bins it was made from"),
        text_column("inputs_id", "SHA-256 over the export, pools, unwatched hours, spec and code: the same give"
                    " the same rows"),
        text_column("rows_id", "SHA-256 over the decisions, their returns and the rule of the last block: the same are"
                    " judged on the same rows, whatever features and code"),
        text_column("freq", "the bar's length, as QLib names it"),
        text_column("feature_set", "hash of the features' names and expressions"),
        text_column("code_version", "hash of the code that made it"),
        text_column("spec", "the spec it was made under, as JSON"),
        text_column("segments", "rows, pools and times of each segment in time, as JSON"),
        text_column("lacking", "why nothing was learned from it, or can be yet; empty: something can"),
        count_column("n_rows", "decisions"),
        count_column("n_pools", "pools"),
        count_column("n_features", "features"),
        time_column("first_time", "earliest decision"),
        time_column("last_time", "latest decision"),
        count_column("n_last_block_reads", "how often a model of this dataset was evaluated on the last block in time"),
    ),
    key=("dataset_id",),
    time=None,
    partition_by=(),
)  # fmt: skip

RETURN_EVALUATIONS = Table(
    "return_evaluations",
    "models",
    "model, predictor, pool, time, horizon: what a model and the baselines beside it forecast for the last block",
    (
        text_column("model_sha256", "SHA-256 of the model the forecasts were made for or beside"),
        text_column("predictor", "`model`, or the name of a baseline on the same rows"),
        NETWORK, POOL, EVENT_TIME,
        Column("horizon_hours", pl.Int32(), "how far ahead the forecast looks", "h", minimum=1),
        real_column("target", "where the return came to rank among the pools of the hour, as a normal score", "1",
                    nullable=False),
        real_column("forecast", "the forecast of the target", "1", nullable=False),
        real_column("forward_return", "the return itself, as a share of the price at entry", "1", -1, nullable=False),
    ),
    key=("model_sha256", "predictor", "network", "pool", "event_time", "horizon_hours"),
    time=None,
    as_of="event_time",
    partition_by=(),
)  # fmt: skip

RETURN_FIGURES = Table(
    "return_figures",
    "models",
    "one figure of one predictor on one block at one horizon, with its interval",
    (
        text_column("model_sha256", "SHA-256 of the model"),
        text_column("predictor", "`model`, a kind of model that competed, or the name of a baseline"),
        text_column("kind", "the kind of model; of a baseline, its name"),
        text_column("seed", "the seed it was fitted with, or `all`: their mean forecast"),
        text_column("block", "`last_block`, or the walk-forward"),
        Column("horizon_hours", pl.Int32(), "how far ahead the forecast looks", "h", minimum=1),
        text_column("metric", "the figure's name"),
        real_column("value", "the figure; null where it is not defined", "1"),
        real_column("low", "lower end of its 95 % interval", "1"),
        real_column("high", "upper end of its 95 % interval", "1"),
        count_column("n_rows", "rows it was computed on"),
        count_column("n_pools", "pools it was computed on"),
    ),
    key=("model_sha256", "predictor", "kind", "seed", "block", "horizon_hours", "metric"),
    time=None,
    as_of="model_sha256",
    partition_by=(),
)  # fmt: skip
