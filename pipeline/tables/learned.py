"""What became of the pools and of their market: labels."""

from typing import Final

import polars as pl

from pipeline.tables.columns import (
    EVENT_TIME,
    NETWORK,
    OUTCOMES,
    POOL,
    POOL_TIME_KEY,
    SOURCE,
    Column,
    Table,
    real_column,
    text_column,
    time_column,
)

LABEL_STATUS: Final = ("labelled", "censored", "pending")
CENSOR_REASONS: Final = (
    "no_price_at_decision", "no_observation_at_horizon", "clock_stood_still", "reserve_not_observed",
    "seen_too_rarely", "stopped_answering",
)  # fmt: skip
RUG_KINDS: Final = ("drained", "dumped", "both")
DIRECTIONS: Final = ("up", "down", "flat")
MARKET_KINDS: Final = ("regime", "rotation")
MARKET_VALUES: Final = ("bull", "bear", "sideways", "into_base", "into_pools", "none")
MARKET_CENSOR_REASONS: Final = ("too_few_bars", "too_few_pools", "base_price_constant", "base_price_not_observed")

LABELS = Table(
    "labels",
    "labels",
    "pool, time, horizon: what became of the pool, and since when we know",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME,
        Column("horizon_hours", pl.Int32(), "how far ahead the label looks", "h", minimum=1),
        text_column("status", "labelled, censored (with its reason) or still pending", values=LABEL_STATUS),
        text_column("outcome", "what became of the pool", nullable=True, values=OUTCOMES),
        text_column("censor_reason", "why there is no outcome", nullable=True, values=CENSOR_REASONS),
        real_column("return_end_pct", "price at the horizon against the price at the decision", "%", -100),
        real_column("return_peak_pct", "highest price up to the horizon against the price at the decision", "%", -100),
        real_column("return_trough_pct", "lowest price up to the horizon against the price at the decision", "%", -100),
        time_column("peak_at", "when the bar or observation of the peak was over", nullable=True),
        time_column("trough_at", "when the bar or observation of the trough was over", nullable=True),
        time_column("rug_at", "since when the rug is known", nullable=True),
        text_column("rug_kind", "the reserve was drained, the price dumped, or both, at that moment; null: no rug",
                    nullable=True, values=RUG_KINDS),
        text_column("first_touch", "which barrier was met first", nullable=True, values=("upper", "lower", "vertical")),
        time_column("first_touch_at", "when its bar or observation was over; of `vertical` the horizon", nullable=True),
        Column("touch_resolution_s", pl.Int32(), "how finely a touch could be seen", "s", nullable=True, minimum=0),
        real_column("return_executable_pct", "return of the spec's position after impact, fees and one snapshot of "
                    "latency; in quote tokens", "%", -100),
        time_column("executable_entry_at", "the snapshot at which that position is bought", nullable=True),
        text_column("direction", "up, down, or flat within the stable band", nullable=True, values=DIRECTIONS),
        real_column("direction_confidence", "how sure the window's mean bar return differs from nothing", "1", 0, 1),
        real_column("average_uniqueness", "mean over the window of 1 / labels of the pool and horizon alive then",
                    "1", 0, 1),
        time_column("label_known_at", "when the last observation the label needed arrived; of a rug, its own",
                    nullable=True),
        time_column("path_known_at", "since when return_*, peak_at, trough_at, direction* and executable_* are known: "
                    "the horizon, or when the last bar or observation of the path arrived; null: not seen to the end",
                    nullable=True),
    ),
    key=(*POOL_TIME_KEY, "horizon_hours"),
    as_of="label_known_at",
)  # fmt: skip

MARKET_LABELS = Table(
    "market_labels",
    "labels",
    "network, hour, kind: where the market as a whole went after it, and since when we know",
    (
        SOURCE, NETWORK, EVENT_TIME,
        text_column("kind", "regime: the pool index; rotation: the base asset against it", values=MARKET_KINDS),
        Column("horizon_hours", pl.Int32(), "how far ahead the label looks", "h", minimum=1),
        text_column("status", "labelled, censored (with its reason) or still pending", values=LABEL_STATUS),
        text_column("censor_reason", "why there is no value", nullable=True, values=MARKET_CENSOR_REASONS),
        text_column("value", "what the market did", nullable=True, values=MARKET_VALUES),
        real_column("return_pct", "regime: change of the index; rotation: of the base asset against the index", "%",
                    -100),
        real_column("confidence", "how sure the window's mean return differs from nothing", "1", 0, 1),
        time_column("label_known_at", "when the last observation the label needed arrived", nullable=True),
    ),
    key=("source", "network", "event_time", "kind"),
    as_of="label_known_at",
)  # fmt: skip
