"""What was made and decided: exports, training sets, evidence, verdicts, moves, the record."""

from typing import Final

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
    flag_column,
    real_column,
    text_column,
    time_column,
)

PROCEDURES: Final = ("offline", "trial", "harm")
DEPLOYED_ALIASES: Final = ("champion", "shadow", "challenger", "none")
DEPLOYED_ACTIONS: Final = (
    "promote", "rollback", "challenge", "shadow", "reject", "approve", "veto", "pin", "unpin",
)  # fmt: skip

BIN_EXPORTS = Table(
    "bin_exports",
    "bins",
    "one export into a QLib provider directory",
    (
        text_column("export_id", "SHA-256 of what the directory holds after it, all bar lengths"),
        SOURCE,
        text_column("directory", "the provider directory's name"),
        KNOWN_AT,
        text_column("freq", "the bar's length, as QLib names it"),
        text_column("fields", "the fields, sorted, by comma"),
        text_column("mode", "what was done: everything written, what changed brought up to date, bars patched",
                    values=("all", "update", "fix")),
        text_column("reason", "why this mode and not the one asked for, or what an update found; else empty"),
        count_column("n_days", "days of candles that were read"),
        time_column("range_start", "start of the stretch it worked on; null: all of it, or none",
                    nullable=True),
        time_column("range_end", "end of the stretch", nullable=True),
        time_column("first_time", "the calendar's first bar", nullable=True),
        time_column("last_time", "the calendar's last bar", nullable=True),
        count_column("n_instruments", "instruments in the export"),
        count_column("n_instruments_changed", "of these, written, and instruments that went"),
        count_column("n_bars", "bars that were read and given to the writer"),
        count_column("n_bars_held", "bars in the directory at this bar length; null where nobody counted",
                     nullable=True),
        count_column("n_bytes", "size of the feature files of this bar length", "bytes"),
        count_column("n_files_written", "files that were written; all others are those of the export before"),
        count_column("n_unrepresentable", "values that float32 cannot hold, NaN in the export"),
        real_column("seconds", "how long it took", "s", 0, nullable=False),
        flag_column("is_whole", "the export holds every bar the lake held at these versions, and no other",
                    nullable=False),
        count_column("lake_version", "version of the candles table that was read"),
        count_column("features_version", "version of the features table; null where no field is a feature",
                     nullable=True),
        text_column("content_id", "SHA-256 of the directory's manifest of this bar length"),
        text_column("fingerprint", "hash of the code, the spec and the tables it was made from"),
    ),
    key=("export_id", "source", "directory", "freq", "known_at"),
    time=None,
    partition_by=(),
)  # fmt: skip

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

COMPARISONS = Table(
    "comparisons",
    "promotion",
    "one A/B verdict",
    (
        text_column("comparison_id", "SHA-256 over both sides' losses and the rule"),
        KNOWN_AT,
        text_column("procedure", "how it was reached: offline, on the last block in time; trial, a challenger in the"
                    " champion's shadow; harm, a champion against the one before", values=PROCEDURES),
        text_column("model_name", "the registered model"),
        count_column("challenger_version", "version that asked to take over, or whose harm is looked for", low=1),
        text_column("opponent", "`version:N` of the other model, or `baseline:NAME`"),
        count_column("n_pools", "pools compared; the unit is the pool"),
        text_column("loss", "what both sides are judged by", values=("log_loss", "squared_error")),
        real_column("loss_challenger", "its mean over pools", "nats or squares", 0, nullable=False),
        real_column("loss_opponent", "its mean over pools", "nats or squares", 0, nullable=False),
        real_column("gain_pct", "relative reduction of the loss", "%", nullable=False),
        real_column("gain_low_pct", "lower end of its 95 % interval, bootstrap over pools; null: judged while peeking",
                    "%"),
        real_column("gain_high_pct", "upper end of its 95 % interval", "%"),
        real_column("mcnemar_p", "McNemar's exact p on pools, reported beside the gate", "1", 0, 1),
        real_column("wealth", "of the bets that it is better (trial) or worse (harm); null: offline", "1", 0),
        real_column("wealth_needed", "the wealth that proves it: 1 / alpha", "1", 1),
        real_column("alpha", "the chance of a false proof, under any peeking", "1", 0, 1),
        flag_column("is_passed", "the challenger beat this opponent by the written rule; harm: it is proven",
                    nullable=False),
        text_column("reason", "the verdict in words"),
    ),
    key=("comparison_id",),
    time=None,
    partition_by=(),
)  # fmt: skip

DEPLOYMENTS = Table(
    "deployments",
    "promotion",
    "one move of an alias, or one word of a person on it; append-only, each row bound to the one before by its hash",
    (
        count_column("sequence", "place in the chain, from 1", low=1),
        KNOWN_AT,
        text_column("model_name", "the registered model"),
        text_column("alias", "the alias that moved; none: a person's word", values=DEPLOYED_ALIASES),
        text_column("action", "what happened; what follows from it is in `pipeline.promotion.standing`",
                    values=DEPLOYED_ACTIONS),
        count_column("version", "version the row is about: the alias points to it now, unless the action is `reject`",
                     low=1),
        count_column("previous_version", "version it pointed to before", nullable=True, low=1),
        text_column("model_sha256", "SHA-256 of the model file"),
        text_column("actor", "who moved it"),
        text_column("reason", "why, in words"),
        text_column("evidence", "what justifies it, as JSON: comparisons, of a trial its alpha and the challenger's"
                    " number k in the year"),
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
