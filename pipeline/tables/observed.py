"""What was observed: records, pools, candles, refused records, snapshots."""

import polars as pl

from pipeline.tables.columns import (
    EVENT_TIME,
    KNOWN_AT,
    NETWORK,
    POOL,
    POOL_KEY,
    POOL_TIME_KEY,
    SOURCE,
    WINDOWS_MINUTES,
    Column,
    Table,
    count_column,
    flag_column,
    real_column,
    text_column,
    time_column,
)

RAW_POOLS = Table(
    "raw_pools",
    "pools",
    "one record as told: for a recording, one reserve update",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        count_column("block", "the block the update was mined in"),
        count_column("tx_index", "the transaction's place in its block"),
        count_column("log_index", "the event's place in its block"),
        real_column("base_reserve", "base tokens in the pool after the update", "tokens", 0, nullable=False),
        real_column("quote_reserve", "quote tokens in the pool after the update", "tokens", 0, nullable=False),
        real_column("base_reserve_before", "base tokens before it; null at the pool's first update", "tokens", 0),
        real_column("quote_reserve_before", "quote tokens before it; null at the pool's first update", "tokens", 0),
    ),
    key=(*POOL_KEY, "block", "tx_index", "log_index"),
)  # fmt: skip

POOLS = Table(
    "pools",
    "pools",
    "one pool",
    (
        SOURCE, NETWORK, POOL, KNOWN_AT,
        time_column("created_at", "when the pool was created"),
        text_column("dex", "the exchange the pool lives on"),
        text_column("base_token", "address of the token that is priced"),
        text_column("quote_token", "address of the token it is priced in"),
        text_column("quote_symbol", "the quote token's symbol, cleaned for display", nullable=True),
        Column("base_decimals", pl.Int32(), "decimal places of the base token; null when not credible",
               nullable=True, minimum=0, maximum=77),
        Column("quote_decimals", pl.Int32(), "decimal places of the quote token; null when not credible",
               nullable=True, minimum=0, maximum=77),
        real_column("quote_price_usd", "what one quote token is taken to be worth", "USD", 0),
        flag_column("is_quote_price_nominal", "the USD price is a stated constant, not an observation", nullable=False),
        time_column("watched_until", "the source vouches for the pool's record up to this moment", nullable=True),
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
        text_column("timeframe", "the bar's length", values=("5min",)),
        EVENT_TIME, KNOWN_AT,
        real_column("open", "first price of the bar", "quote tokens", 0, nullable=False),
        real_column("high", "highest price of the bar", "quote tokens", 0, nullable=False),
        real_column("low", "lowest price of the bar", "quote tokens", 0, nullable=False),
        real_column("close", "last price of the bar", "quote tokens", 0, nullable=False),
        real_column("volume_quote", "quote tokens that changed hands", "quote tokens", 0, nullable=False),
        real_column("volume_usd", "the same in USD", "USD", 0),
        count_column("n_buys", "purchases of the base token"),
        count_column("n_sells", "sales of the base token"),
        real_column("quote_reserve_low", "lowest quote reserve of the bar", "quote tokens", 0),
        real_column("quote_reserve_close", "last quote reserve of the bar", "quote tokens", 0),
    ),
    key=(*POOL_KEY, "timeframe", "event_time"),
)  # fmt: skip

QUARANTINE = Table(
    "quarantine",
    "pools",
    "one record that was refused, with its reason",
    (
        SOURCE,
        text_column("table_name", "the table it was meant for"),
        text_column("reason", "the rule it broke, one short name"),
        text_column("detail", "what was found, in words"),
        Column("network", pl.String(), NETWORK.meaning, nullable=True),
        Column("pool", pl.String(), POOL.meaning, nullable=True),
        time_column("event_time", EVENT_TIME.meaning, nullable=True),
        text_column("record", "the record as told, as JSON, cut at 2,000 characters"),
        text_column("record_id", "SHA-256 of the whole record and its place in the file"),
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
        time_column("created_at", "when the pool was created"),
        Column("interval_minutes", pl.Int32(), "minutes to the next snapshot that this state asks for", "min",
               minimum=5, maximum=240),
        real_column("price_quote", "price of the base token", "quote tokens", 0),
        real_column("price_usd", "price of the base token", "USD", 0),
        real_column("base_reserve", "base tokens in the pool", "tokens", 0),
        real_column("quote_reserve", "quote tokens in the pool", "tokens", 0),
        real_column("reserve_usd", "value of both reserves", "USD", 0),
        *(real_column(n, m + ", or since birth if that is later", "%", -100)
          for n, m in _windowed("price_change", "_pct", "price change")),
        *(real_column(n, m, "USD", 0) for n, m in _windowed("volume", "_usd", "traded value")),
        *(count_column(n, m, nullable=True) for n, m in _windowed("n_buys", "", "purchases of the base token")),
        *(count_column(n, m, nullable=True) for n, m in _windowed("n_sells", "", "sales of the base token")),
    ),
    key=POOL_TIME_KEY,
)  # fmt: skip
