"""What is derived for a model: features and labels."""

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

FEATURES = Table(
    "features",
    "features",
    "pool, time: what a model may know at that time",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        real_column("reserve_usd", "value of both reserves", "USD", 0),
        real_column("age_hours", "time since the pool was created", "h", 0),
        real_column("price_change_5m_pct", "price change over 5 min", "%", -100),
        real_column("price_change_1h_pct", "price change over 1 h, or since birth if that is later", "%", -100),
        real_column("price_change_24h_pct", "price change over 24 h, or since birth if that is later", "%", -100),
        real_column("volume_change_1h_pct", "traded value of the last hour against the hour before", "%", -100),
        real_column("volume_change_24h_pct", "traded value of the last 24 h against the 24 h before", "%", -100),
        real_column("buy_pressure_1h", "share of purchases among the trades of the last hour", "1", 0, 1),
        real_column("price_velocity", "mean price change per hour over the last hour", "%/h"),
        real_column("volume_acceleration", "traded value of 5 min against the mean 5 min of the last hour", "1", 0),
        real_column("liquidity_trend", "reserve now against the reserve an hour before", "%", -100),
        flag_column("has_volume_spike", "the last 5 min traded at least three times the hour's mean"),
        flag_column("is_pumping", "price up over 10 % in 5 min with most trades purchases"),
        flag_column("is_dumping", "price down over 10 % in 5 min with most trades sales"),
        real_column("volume_1h_usd", "traded value of the last hour", "USD", 0),
        real_column("volume_24h_usd", "traded value of the last 24 h", "USD", 0),
        count_column("n_buys_1h", "purchases in the last hour", nullable=True),
        count_column("n_sells_1h", "sales in the last hour", nullable=True),
        count_column("n_trades_24h", "trades in the last 24 h", nullable=True),
        real_column("turnover_1h", "traded value of the last hour over the reserve", "1", 0),
        real_column("price_drawdown_24h_pct", "price against the highest snapshot of the last 24 h", "%", -100, 0),
        real_column("reserve_drawdown_24h_pct", "reserve against the largest snapshot of the last 24 h", "%", -100, 0),
    ),
    key=POOL_TIME_KEY,
)  # fmt: skip

LABEL_STATUS: Final = ("labelled", "censored", "pending")
CENSOR_REASONS: Final = (
    "no_price_at_decision", "no_observation_at_horizon", "clock_stood_still", "reserve_not_observed",
)  # fmt: skip

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
        time_column("peak_at", "when the peak could first be seen", nullable=True),
        time_column("trough_at", "when the trough could first be seen", nullable=True),
        time_column("rug_at", "when the rug could first be seen", nullable=True),
        text_column("first_touch", "which barrier was met first", nullable=True, values=("upper", "lower", "vertical")),
        time_column("first_touch_at", "when it could first be seen", nullable=True),
        Column("touch_resolution_s", pl.Int32(), "how finely a touch could be seen", "s", nullable=True, minimum=0),
        time_column("label_known_at", "when the last observation the label needed arrived", nullable=True),
    ),
    key=(*POOL_TIME_KEY, "horizon_hours"),
    as_of="label_known_at",
)  # fmt: skip
