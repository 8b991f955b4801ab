"""What was made, said and decided: exports, training sets, evidence, predictions, verdicts, moves, the record."""

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

BIN_EXPORTS = Table(
    "bin_exports",
    "bins",
    "one export of a QLib provider directory",
    (
        text_column("export_id", "SHA-256 of every file the export holds"),
        SOURCE, KNOWN_AT,
        text_column("freq", "the bar's length, as QLib names it"),
        text_column("mode", "what the export did", values=("all",)),
        time_column("first_time", "the calendar's first bar", nullable=True),
        time_column("last_time", "the calendar's last bar", nullable=True),
        count_column("n_instruments", "instruments in the export"),
        count_column("n_bars", "bars that hold a trade, over all instruments"),
        count_column("n_bytes", "size of the feature files", "bytes"),
        count_column("lake_version", "version of the candles table it was made from"),
    ),
    key=("export_id", "source"),
    time=None,
    partition_by=(),
)  # fmt: skip

TRAINING_SETS = Table(
    "training_sets",
    "models",
    "one frozen training set",
    (
        text_column("training_set_id", "SHA-256 over the rows, the spec and the feature set"),
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

PREDICTIONS = Table(
    "predictions",
    "predictions",
    "model version, pool, time: what the model said",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        Column("horizon_hours", pl.Int32(), "how far ahead the prediction looks", "h", minimum=1),
        text_column("model_name", "the registered model"),
        count_column("model_version", "its version in the registry", low=1),
        text_column("model_sha256", "SHA-256 of the model file"),
        text_column("feature_set", "hash of the features the model was fed"),
        real_column("completeness", "share of the model's features that were not null", "1", 0, 1, nullable=False),
        *(real_column(f"p_{outcome}", f"probability of {outcome}", "1", 0, 1, nullable=False) for outcome in OUTCOMES),
    ),
    key=(*POOL_TIME_KEY, "horizon_hours", "model_name", "model_version"),
)  # fmt: skip

COMPARISONS = Table(
    "comparisons",
    "promotion",
    "one A/B verdict",
    (
        text_column("comparison_id", "SHA-256 over both sides' losses and the rule"),
        KNOWN_AT,
        text_column("model_name", "the registered model"),
        count_column("challenger_version", "version that asked to take over", low=1),
        text_column("opponent", "`version:N` of the champion, or `baseline:NAME`"),
        count_column("n_pools", "pools compared; the unit is the pool"),
        real_column("log_loss_challenger", "mean over pools", "nats", 0, nullable=False),
        real_column("log_loss_opponent", "mean over pools", "nats", 0, nullable=False),
        real_column("gain_pct", "relative reduction in log loss", "%", nullable=False),
        real_column("gain_low_pct", "lower end of its 95 % interval, bootstrap over pools", "%", nullable=False),
        real_column("gain_high_pct", "upper end of its 95 % interval", "%", nullable=False),
        real_column("mcnemar_p", "McNemar's exact p on pools, reported beside the gate", "1", 0, 1),
        flag_column("is_passed", "the challenger beat this opponent by the written rule", nullable=False),
        text_column("reason", "the verdict in words"),
    ),
    key=("comparison_id",),
    time=None,
    partition_by=(),
)  # fmt: skip

DEPLOYMENTS = Table(
    "deployments",
    "promotion",
    "one move of an alias; append-only, each row bound to the one before by its hash",
    (
        count_column("sequence", "place in the chain, from 1", low=1),
        KNOWN_AT,
        text_column("model_name", "the registered model"),
        text_column("alias", "the alias that moved", values=("champion",)),
        text_column("action", "what happened", values=("promote",)),
        count_column("version", "version the alias points to now", low=1),
        count_column("previous_version", "version it pointed to before", nullable=True, low=1),
        text_column("model_sha256", "SHA-256 of the model file"),
        text_column("actor", "who moved it"),
        text_column("reason", "why, in words"),
        text_column("evidence", "the comparisons that justify it, as JSON"),
        text_column("previous_hash", "`row_hash` of the row before; 64 zeros for the first"),
        text_column("row_hash", "SHA-256 over every other column"),
    ),
    key=("sequence",),
    time=None,
    partition_by=(),
)  # fmt: skip

PARTITIONS = Table(
    "partitions",
    "lake",
    "one hour of one table: what it was computed from, so that it need not be computed again",
    (
        text_column("table_name", "the table"),
        time_column("hour", "the partition"),
        text_column("fingerprint", "hash of the code, the spec and the inputs it was computed from"),
        text_column("content_hash", "hash of the rows it holds, whatever their order"),
        count_column("n_rows", "rows it holds"),
    ),
    key=("table_name", "hour"),
    time="hour",
    as_of="hour",
    partition_by=("table_name",),
)
