"""Every table: its columns, dtypes, units, key, partition columns and as-of column. The vocabulary.

Belongs here: what a column is called, means, may hold. The expectation suites, the docs, Dagster's column
schemas and the lake's own checks are all made from these specs, so a fact about a column is written once.
Stays out: how a value is computed (the stages) and when (the graph).

Three words on time, the same in every table: `event_time` is when the row was true, `known_at` is when we
learned it, and a table's `as_of` column is what a reader must compare with the moment of decision.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.errors import UsageError

UTC: Final = pl.Datetime("us", "UTC")

OUTCOMES: Final = ("RUG", "MOON", "PUMP", "RISE", "STABLE", "DIP", "DECLINE")
"""What may become of a pool, in the order of a model's classes; thresholds are in `pipeline.labels.spec`."""

HORIZONS_HOURS: Final = (1, 6, 24)
WINDOWS_MINUTES: Final = {"m5": 5, "h1": 60, "h6": 360, "h24": 1440}
"""The trailing windows of a snapshot, named as the GeckoTerminal API names them."""


@dataclass(frozen=True)
class Column:
    """One column: what it holds and what it may hold.

    `minimum` and `maximum` are inclusive and in the column's own unit; `values` closes a text column.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    unit: str = ""
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Table:
    """One table: its grain in words, its columns, and which of them identify, place and date a row.

    `time` is the column the table is laid out and replaced by (None: the table does not follow time),
    `partition_by` are the lake's folders (`day` is derived from `time`), `as_of` is the column the
    point-in-time join compares with the moment of decision.
    """

    name: str
    stage: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time: str | None = "event_time"
    as_of: str = "known_at"
    partition_by: tuple[str, ...] = ("day", "network")

    @property
    def schema(self) -> pl.Schema:
        """Column names and dtypes, in order."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def column(self, name: str) -> Column:
        """The column called `name`.

        Raises:
            UsageError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise UsageError(f"table {self.name!r} has no column {name!r}; it has {[c.name for c in self.columns]}")

    def empty(self) -> pl.DataFrame:
        """A frame of the table without rows."""
        return pl.DataFrame(schema=self.schema)


def _time(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, UTC, meaning, "UTC", nullable=nullable)


def _text(name: str, meaning: str, *, nullable: bool = False, values: tuple[str, ...] | None = None) -> Column:
    return Column(name, pl.String(), meaning, nullable=nullable, values=values)


def _real(
    name: str, meaning: str, unit: str, low: float | None = None, high: float | None = None, *, nullable: bool = True
) -> Column:
    return Column(name, pl.Float64(), meaning, unit, nullable=nullable, minimum=low, maximum=high)


def _count(name: str, meaning: str, unit: str = "", *, nullable: bool = False, low: float = 0) -> Column:
    return Column(name, pl.Int64(), meaning, unit, nullable=nullable, minimum=low)


def _flag(name: str, meaning: str, *, nullable: bool = True) -> Column:
    return Column(name, pl.Boolean(), meaning, nullable=nullable)


SOURCE = _text("source", "who told us: `geckoterminal`, `recording:NAME` or `simulation:SEED`")
NETWORK = _text("network", "the chain, as GeckoTerminal names it")
POOL = _text("pool", "the pool's address; the statistical unit")
EVENT_TIME = _time("event_time", "when the row was true")
KNOWN_AT = _time("known_at", "when we learned it; never before it was true")
POOL_KEY = ("source", "network", "pool")
POOL_TIME_KEY = (*POOL_KEY, "event_time")

RAW_POOLS = Table(
    "raw_pools",
    "pools",
    "one record as told: for a recording, one reserve update",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        _count("block", "the block the update was mined in"),
        _count("tx_index", "the transaction's place in its block"),
        _count("log_index", "the event's place in its block"),
        _real("base_reserve", "base tokens in the pool after the update", "tokens", 0, nullable=False),
        _real("quote_reserve", "quote tokens in the pool after the update", "tokens", 0, nullable=False),
        _real("base_reserve_before", "base tokens before it; null at the pool's first update", "tokens", 0),
        _real("quote_reserve_before", "quote tokens before it; null at the pool's first update", "tokens", 0),
    ),
    key=(*POOL_KEY, "block", "tx_index", "log_index"),
)  # fmt: skip

POOLS = Table(
    "pools",
    "pools",
    "one pool",
    (
        SOURCE, NETWORK, POOL, KNOWN_AT,
        _time("created_at", "when the pool was created"),
        _text("dex", "the exchange the pool lives on"),
        _text("base_token", "address of the token that is priced"),
        _text("quote_token", "address of the token it is priced in"),
        _text("quote_symbol", "the quote token's symbol, cleaned for display", nullable=True),
        Column("base_decimals", pl.Int32(), "decimal places of the base token; null when not credible",
               nullable=True, minimum=0, maximum=77),
        Column("quote_decimals", pl.Int32(), "decimal places of the quote token; null when not credible",
               nullable=True, minimum=0, maximum=77),
        _real("quote_price_usd", "what one quote token is taken to be worth", "USD", 0),
        _flag("is_quote_price_nominal", "the USD price is a stated constant, not an observation", nullable=False),
        _time("watched_until", "the source vouches for the pool's record up to this moment", nullable=True),
    ),
    key=POOL_KEY,
    time=None,
    partition_by=(),
)  # fmt: skip

CANDLES = Table(
    "candles",
    "pools",
    "pool, timeframe, bar with at least one update; `event_time` is the bar's start, [start, start + timeframe)",
    (
        SOURCE, NETWORK, POOL,
        _text("timeframe", "the bar's length", values=("5min",)),
        EVENT_TIME, KNOWN_AT,
        _real("open", "first price of the bar", "quote tokens", 0, nullable=False),
        _real("high", "highest price of the bar", "quote tokens", 0, nullable=False),
        _real("low", "lowest price of the bar", "quote tokens", 0, nullable=False),
        _real("close", "last price of the bar", "quote tokens", 0, nullable=False),
        _real("volume_quote", "quote tokens that changed hands", "quote tokens", 0, nullable=False),
        _real("volume_usd", "the same in USD", "USD", 0),
        _count("n_buys", "purchases of the base token"),
        _count("n_sells", "sales of the base token"),
        _real("quote_reserve_low", "lowest quote reserve of the bar", "quote tokens", 0),
        _real("quote_reserve_close", "last quote reserve of the bar", "quote tokens", 0),
    ),
    key=(*POOL_KEY, "timeframe", "event_time"),
)  # fmt: skip

QUARANTINE = Table(
    "quarantine",
    "pools",
    "one record that was refused, with its reason",
    (
        SOURCE,
        _text("table_name", "the table it was meant for"),
        _text("reason", "the rule it broke, one short name"),
        _text("detail", "what was found, in words"),
        Column("network", pl.String(), NETWORK.meaning, nullable=True),
        Column("pool", pl.String(), POOL.meaning, nullable=True),
        _time("event_time", EVENT_TIME.meaning, nullable=True),
        _text("record", "the record as told, as JSON, cut at 2,000 characters"),
        _text("record_id", "SHA-256 of the whole record and its place in the file"),
    ),
    key=("source", "table_name", "record_id"),
    time=None,
    as_of="event_time",
    partition_by=(),
)


def _windowed(prefix: str, suffix: str, meaning: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{prefix}_{w}{suffix}", f"{meaning} over the last {m} min") for w, m in WINDOWS_MINUTES.items())


SNAPSHOTS = Table(
    "snapshots",
    "snapshots",
    "pool, time: the pool's observed state, on the sampler's schedule",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        _time("created_at", "when the pool was created"),
        Column("interval_minutes", pl.Int32(), "minutes to the next snapshot that this state asks for", "min",
               minimum=5, maximum=240),
        _real("price_quote", "price of the base token", "quote tokens", 0),
        _real("price_usd", "price of the base token", "USD", 0),
        _real("base_reserve", "base tokens in the pool", "tokens", 0),
        _real("quote_reserve", "quote tokens in the pool", "tokens", 0),
        _real("reserve_usd", "value of both reserves", "USD", 0),
        *(_real(n, m + ", or since birth if that is later", "%", -100)
          for n, m in _windowed("price_change", "_pct", "price change")),
        *(_real(n, m, "USD", 0) for n, m in _windowed("volume", "_usd", "traded value")),
        *(_count(n, m, nullable=True) for n, m in _windowed("n_buys", "", "purchases of the base token")),
        *(_count(n, m, nullable=True) for n, m in _windowed("n_sells", "", "sales of the base token")),
    ),
    key=POOL_TIME_KEY,
)  # fmt: skip

FEATURES = Table(
    "features",
    "features",
    "pool, time: what a model may know at that time",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        _real("reserve_usd", "value of both reserves", "USD", 0),
        _real("age_hours", "time since the pool was created", "h", 0),
        _real("price_change_5m_pct", "price change over 5 min", "%", -100),
        _real("price_change_1h_pct", "price change over 1 h, or since birth if that is later", "%", -100),
        _real("price_change_24h_pct", "price change over 24 h, or since birth if that is later", "%", -100),
        _real("volume_change_1h_pct", "traded value of the last hour against the hour before", "%", -100),
        _real("volume_change_24h_pct", "traded value of the last 24 h against the 24 h before", "%", -100),
        _real("buy_pressure_1h", "share of purchases among the trades of the last hour", "1", 0, 1),
        _real("price_velocity", "mean price change per hour over the last hour", "%/h"),
        _real("volume_acceleration", "traded value of the last 5 min against the mean 5 min of the last hour", "1", 0),
        _real("liquidity_trend", "reserve now against the reserve an hour before", "%", -100),
        _flag("has_volume_spike", "the last 5 min traded at least three times the hour's mean"),
        _flag("is_pumping", "price up over 10 % in 5 min with most trades purchases"),
        _flag("is_dumping", "price down over 10 % in 5 min with most trades sales"),
        _real("volume_1h_usd", "traded value of the last hour", "USD", 0),
        _real("volume_24h_usd", "traded value of the last 24 h", "USD", 0),
        _count("n_buys_1h", "purchases in the last hour", nullable=True),
        _count("n_sells_1h", "sales in the last hour", nullable=True),
        _count("n_trades_24h", "trades in the last 24 h", nullable=True),
        _real("turnover_1h", "traded value of the last hour over the reserve", "1", 0),
        _real("price_drawdown_24h_pct", "price against the highest snapshot of the last 24 h", "%", -100, 0),
        _real("reserve_drawdown_24h_pct", "reserve against the largest snapshot of the last 24 h", "%", -100, 0),
    ),
    key=POOL_TIME_KEY,
)  # fmt: skip

LABEL_STATUS: Final = ("labelled", "censored", "pending")
CENSOR_REASONS: Final = ("no_price_at_decision", "no_observation_at_horizon", "clock_stood_still")

LABELS = Table(
    "labels",
    "labels",
    "pool, time, horizon: what became of the pool, and since when we know",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME,
        Column("horizon_hours", pl.Int32(), "how far ahead the label looks", "h", minimum=1),
        _text("status", "labelled, censored (with its reason) or still pending", values=LABEL_STATUS),
        _text("outcome", "what became of the pool", nullable=True, values=OUTCOMES),
        _text("censor_reason", "why there is no outcome", nullable=True, values=CENSOR_REASONS),
        _real("return_end_pct", "price at the horizon against the price at the decision", "%", -100),
        _real("return_peak_pct", "highest price up to the horizon against the price at the decision", "%", -100),
        _real("return_trough_pct", "lowest price up to the horizon against the price at the decision", "%", -100),
        _time("peak_at", "when the peak could first be seen", nullable=True),
        _time("trough_at", "when the trough could first be seen", nullable=True),
        _time("rug_at", "when the rug could first be seen", nullable=True),
        _text("first_touch", "which barrier was met first", nullable=True, values=("upper", "lower", "vertical")),
        _time("first_touch_at", "when it could first be seen", nullable=True),
        Column("touch_resolution_s", pl.Int32(), "how finely a touch could be seen", "s", nullable=True, minimum=0),
        _time("label_known_at", "when the last observation the label needed arrived", nullable=True),
    ),
    key=(*POOL_TIME_KEY, "horizon_hours"),
    as_of="label_known_at",
)  # fmt: skip

BIN_EXPORTS = Table(
    "bin_exports",
    "bins",
    "one export of a QLib provider directory",
    (
        _text("export_id", "SHA-256 of every file the export holds"),
        SOURCE, KNOWN_AT,
        _text("freq", "the bar's length, as QLib names it"),
        _text("mode", "what the export did", values=("all",)),
        _time("first_time", "the calendar's first bar", nullable=True),
        _time("last_time", "the calendar's last bar", nullable=True),
        _count("n_instruments", "instruments in the export"),
        _count("n_bars", "bars that hold a trade, over all instruments"),
        _count("n_bytes", "size of the feature files", "bytes"),
        _count("lake_version", "version of the candles table it was made from"),
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
        _text("training_set_id", "SHA-256 over the rows, the spec and the feature set"),
        SOURCE, KNOWN_AT,
        _text("feature_set", "hash of the features' names and formulas"),
        _text("spec", "the spec it was made under, as JSON"),
        _text("lake_versions", "table versions it was read from, as JSON"),
        _text("class_counts", "rows per outcome, as JSON"),
        _count("n_rows", "rows"),
        _count("n_pools", "pools"),
        _time("first_time", "earliest decision"),
        _time("last_time", "latest decision"),
        _count("n_last_block_reads", "how often the last block in time was evaluated on"),
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
        _text("model_sha256", "SHA-256 of the model the predictions were made for or beside"),
        _text("predictor", "`model`, or the name of a baseline on the same rows"),
        NETWORK, POOL, EVENT_TIME,
        Column("horizon_hours", pl.Int32(), "how far ahead the prediction looks", "h", minimum=1),
        Column("decision_age_hours", pl.Int32(), "the pool's age at the decision, rounded down", "h", minimum=0),
        _text("label", "what became of the pool", values=OUTCOMES),
        *(_real(f"p_{outcome}", f"probability of {outcome}", "1", 0, 1, nullable=False) for outcome in OUTCOMES),
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
        _text("model_sha256", "SHA-256 of the model"),
        _text("predictor", "`model`, or the name of a baseline on the same rows"),
        _text("block", "`last_block`, or a walk-forward fold"),
        _text("decision_age", "the decisions it counts: `all`, or an age in hours"),
        _text("metric", "the figure's name"),
        _text("outcome", "the class it speaks of, `macro` or `all`"),
        _real("value", "the figure; null where it is not defined", "1"),
        _real("low", "lower end of its 95 % interval, bootstrap over pools", "1"),
        _real("high", "upper end of its 95 % interval", "1"),
        _count("n_rows", "rows it was computed on"),
        _count("n_pools", "pools it was computed on"),
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
        _text("model_name", "the registered model"),
        _count("model_version", "its version in the registry", low=1),
        _text("model_sha256", "SHA-256 of the model file"),
        _text("feature_set", "hash of the features the model was fed"),
        _real("completeness", "share of the model's features that were not null", "1", 0, 1, nullable=False),
        *(_real(f"p_{outcome}", f"probability of {outcome}", "1", 0, 1, nullable=False) for outcome in OUTCOMES),
    ),
    key=(*POOL_TIME_KEY, "horizon_hours", "model_name", "model_version"),
)  # fmt: skip

COMPARISONS = Table(
    "comparisons",
    "promotion",
    "one A/B verdict",
    (
        _text("comparison_id", "SHA-256 over both sides' losses and the rule"),
        KNOWN_AT,
        _text("model_name", "the registered model"),
        _count("challenger_version", "version that asked to take over", low=1),
        _text("opponent", "`version:N` of the champion, or `baseline:NAME`"),
        _count("n_pools", "pools compared; the unit is the pool"),
        _real("log_loss_challenger", "mean over pools", "nats", 0, nullable=False),
        _real("log_loss_opponent", "mean over pools", "nats", 0, nullable=False),
        _real("gain_pct", "relative reduction in log loss", "%", nullable=False),
        _real("gain_low_pct", "lower end of its 95 % interval, bootstrap over pools", "%", nullable=False),
        _real("gain_high_pct", "upper end of its 95 % interval", "%", nullable=False),
        _real("mcnemar_p", "McNemar's exact p on pools, reported beside the gate", "1", 0, 1),
        _flag("is_passed", "the challenger beat this opponent by the written rule", nullable=False),
        _text("reason", "the verdict in words"),
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
        _count("sequence", "place in the chain, from 1", low=1),
        KNOWN_AT,
        _text("model_name", "the registered model"),
        _text("alias", "the alias that moved", values=("champion",)),
        _text("action", "what happened", values=("promote",)),
        _count("version", "version the alias points to now", low=1),
        _count("previous_version", "version it pointed to before", nullable=True, low=1),
        _text("model_sha256", "SHA-256 of the model file"),
        _text("actor", "who moved it"),
        _text("reason", "why, in words"),
        _text("evidence", "the comparisons that justify it, as JSON"),
        _text("previous_hash", "`row_hash` of the row before; 64 zeros for the first"),
        _text("row_hash", "SHA-256 over every other column"),
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
        _text("table_name", "the table"),
        _time("hour", "the partition"),
        _text("fingerprint", "hash of the code, the spec and the inputs it was computed from"),
        _text("content_hash", "hash of the rows it holds, whatever their order"),
        _count("n_rows", "rows it holds"),
    ),
    key=("table_name", "hour"),
    time="hour",
    as_of="hour",
    partition_by=("table_name",),
)

TABLES: Final = {
    t.name: t
    for t in (
        RAW_POOLS, POOLS, CANDLES, QUARANTINE, SNAPSHOTS, FEATURES, LABELS, BIN_EXPORTS, TRAINING_SETS,
        EVALUATIONS, FIGURES, PREDICTIONS, COMPARISONS, DEPLOYMENTS, PARTITIONS,
    )
}  # fmt: skip


def table(name: str) -> Table:
    """The table called `name`.

    Raises:
        UsageError: there is no such table.
    """
    if name not in TABLES:
        raise UsageError(f"there is no table {name!r}; there are {sorted(TABLES)}")
    return TABLES[name]
