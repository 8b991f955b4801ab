"""What was observed: answers, records, pools, trades, tokens, candles, snapshots."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

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

API_WINDOWS: Final = ("m5", "m15", "m30", "h1", "h6", "h24")
"""The trailing windows of an API record, as the API names them; the answers of 2023 lack m15 and m30."""

ENDPOINTS: Final = (
    "networks", "dexes", "new_pools", "pools_multi", "pool", "ohlcv", "trades", "token_info", "tokens_recently_updated",
)  # fmt: skip
"""What the API can be asked for."""


def _windowed(
    prefix: str, suffix: str, meaning: str, windows: Iterable[str] = WINDOWS_MINUTES
) -> tuple[tuple[str, str], ...]:
    return tuple((f"{prefix}_{w}{suffix}", f"{meaning}, window {w}") for w in windows)


ANSWERS = Table(
    "answers",
    "pools",
    "one answer of the API, kept as told before it was parsed; `event_time` is when it arrived",
    (
        SOURCE, EVENT_TIME, KNOWN_AT,
        text_column("answer_id", "SHA-256 of the URL, the moment and the body, cut to 32 digits"),
        text_column("endpoint", "what was asked for", values=ENDPOINTS),
        Column("network", pl.String(), "the chain that was asked about; null: all of them", nullable=True),
        text_column("url", "the whole address, without the key"),
        time_column("asked_at", "when the request was sent"),
        count_column("status", "HTTP status"),
        text_column("content_type", "the content type as told, cut", nullable=True),
        count_column("n_bytes", "length of the body as told", "bytes"),
        text_column("sha256", "SHA-256 of the body"),
        Column("body", pl.Binary(), "the body, gzip"),
        text_column("plan", "JSON: pool -> [inclusion probability, missed visits]; null where nothing was sampled",
                    nullable=True),
    ),
    key=("answer_id",),
    partition_by=("day",),
    key_reach=timedelta(0),  # its id is a hash over its moment
)  # fmt: skip

RAW_POOLS = Table(
    "raw_pools",
    "pools",
    "one pool in one answer of the API, as told; what is not credible is null and noted in `quarantine`",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        text_column("answer_id", "the answer it was told in"),
        count_column("place", "its place in the answer, from 0"),
        text_column("endpoint", "what was asked for", values=("new_pools", "pools_multi", "pool")),
        real_column("inclusion_probability", "how likely the sampler was to ask for this pool then", "1", 0, 1,
                    nullable=False),
        count_column("n_missed", "visits that were due before this one and did not happen"),
        time_column("created_at", "when the pool was created"),
        text_column("dex", "the exchange the pool lives on"),
        text_column("base_token", "address of the token that is priced"),
        text_column("quote_token", "address of the token it is priced in"),
        text_column("name", "the pool's name, cleaned for display", nullable=True),
        real_column("price_quote", "price of the base token", "quote tokens", 0),
        real_column("price_usd", "price of the base token", "USD", 0),
        real_column("quote_price_usd", "price of the quote token", "USD", 0),
        real_column("base_reserve", "base tokens in the pool, where told", "tokens", 0),
        real_column("quote_reserve", "quote tokens in the pool, where told", "tokens", 0),
        real_column("reserve_usd", "value of both reserves", "USD", 0),
        real_column("fdv_usd", "fully diluted value of the base token", "USD", 0),
        real_column("market_cap_usd", "market capitalisation of the base token", "USD", 0),
        real_column("lp_burned_pct", "share of the liquidity tokens that is burned or locked", "%", 0, 100),
        *(real_column(n, m, "%", -100) for n, m in _windowed("price_change", "_pct", "price change", API_WINDOWS)),
        *(real_column(n, m, "USD", 0) for n, m in _windowed("volume", "_usd", "traded value", API_WINDOWS)),
        *(count_column(n, m, nullable=True)
          for what, meaning in (("n_buys", "purchases of the base token"), ("n_sells", "sales of the base token"),
                                ("n_buyers", "wallets that bought"), ("n_sellers", "wallets that sold"))
          for n, m in _windowed(what, "", meaning, API_WINDOWS)),
    ),
    key=(*POOL_KEY, "answer_id", "place"),
)  # fmt: skip

TRADES = Table(
    "trades",
    "pools",
    "one swap, as first told; `event_time` is its block's time",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        text_column("trade_id", "the API's name of the swap"),
        text_column("answer_id", "the answer it was first told in"),
        count_column("block", "the block the swap was mined in"),
        text_column("tx_hash", "the transaction"),
        text_column("trader", "the wallet that sent it", nullable=True),
        text_column("kind", "a purchase or a sale of the base token", values=("buy", "sell")),
        real_column("base_amount", "base tokens that changed hands", "tokens", 0),
        real_column("quote_amount", "quote tokens that changed hands", "tokens", 0),
        real_column("price_usd", "price of the base token", "USD", 0),
        real_column("volume_usd", "traded value", "USD", 0),
    ),
    key=(*POOL_KEY, "event_time", "trade_id"),
)  # fmt: skip

TOKENS = Table(
    "tokens",
    "pools",
    "one token as seen at a time; what an answer does not speak of is null",
    (
        SOURCE, NETWORK,
        text_column("token", "the token's address"),
        EVENT_TIME, KNOWN_AT,
        text_column("answer_id", "the answer it was told in"),
        text_column("symbol", "its symbol, cleaned for display", nullable=True),
        text_column("name", "its name, cleaned for display", nullable=True),
        flag_column("is_name_hostile", "name or symbol held control, hidden or markup characters, or was too long",
                    nullable=False),
        Column("decimals", pl.Int32(), "decimal places; null when not credible", nullable=True, minimum=0, maximum=77),
        count_column("n_holders", "wallets that hold it", nullable=True),
        real_column("top10_pct", "share of the ten largest holders", "%", 0, 100),
        flag_column("is_mint_revoked", "nobody can mint more"),
        flag_column("is_freeze_revoked", "nobody can freeze holders"),
        flag_column("is_honeypot", "it can be bought and not sold"),
        flag_column("has_socials", "it names a website or an account"),
        real_column("gt_score", "the API's own score", "1", 0, 100),
        text_column("developer", "address that deployed it", nullable=True),
    ),
    key=("source", "network", "token", "event_time"),
)  # fmt: skip

RAW_CANDLES = Table(
    "raw_candles",
    "pools",
    "one finished bar of an OHLCV answer, as first told; `event_time` is the bar's start",
    (
        SOURCE, NETWORK, POOL,
        text_column("timeframe", "the bar's length", values=("5min",)),
        EVENT_TIME, KNOWN_AT,
        text_column("answer_id", "the answer it was first told in"),
        text_column("currency", "what the prices are in", values=("usd", "quote")),
        real_column("open", "first price of the bar", "currency", 0, nullable=False),
        real_column("high", "highest price of the bar", "currency", 0, nullable=False),
        real_column("low", "lowest price of the bar", "currency", 0, nullable=False),
        real_column("close", "last price of the bar", "currency", 0, nullable=False),
        real_column("volume", "traded value as told; the API does not say in which currency", "", 0),
    ),
    key=(*POOL_KEY, "timeframe", "event_time"),
)  # fmt: skip

COLLECTIONS = Table(
    "collections",
    "pools",
    "one collection cycle of one network: what it asked, found, missed; `event_time` is its start",
    (
        SOURCE, NETWORK, EVENT_TIME, KNOWN_AT,
        text_column("collector", "the process that collected"),
        count_column("n_calls", "requests sent, repeated ones included"),
        count_column("n_failed", "calls that ended without a usable answer"),
        count_column("n_found", "pools seen for the first time"),
        count_column("n_found_late", "of these, pools older than the spec's `late_minutes`"),
        count_column("n_observed", "observations of pools that were due"),
        count_column("n_observed_late", "of these, observations after the moment they were due for"),
        count_column("n_waiting", "pools that were due at its end and not observed"),
        time_column("births_from", "every pool born after this ...", nullable=True),
        time_column("births_until", "... and up to this was seen, as far as the API lists it", nullable=True),
        flag_column("is_gap", "pools born between the cycle before and `births_from` may have been missed",
                    nullable=False),
    ),
    key=("source", "network", "event_time", "collector"),
)  # fmt: skip

RESERVES = Table(
    "reserves",
    "pools",
    "one reserve update of a recording, as told",
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
    time="created_at",
    # Born once; the API is asked about it for a week. Should it correct a birth by more than this, it is stored twice.
    key_reach=timedelta(days=8),
)  # fmt: skip

CANDLES = Table(
    "candles",
    "pools",
    "pool, timeframe, bar with at least one update; `event_time` is the bar's start, [start, start + timeframe)",
    (
        SOURCE, NETWORK, POOL,
        text_column("timeframe", "the bar's length", values=("5min",)),
        EVENT_TIME, KNOWN_AT,
        text_column("built_from", "what the bar was made of", values=("reserves", "trades", "ohlcv")),
        flag_column("is_backfilled", "it was learned more than the spec's `late_minutes` after it ended",
                    nullable=False),
        real_column("open", "first price of the bar", "quote tokens", 0),
        real_column("high", "highest price of the bar", "quote tokens", 0, nullable=False),
        real_column("low", "lowest price of the bar", "quote tokens", 0, nullable=False),
        real_column("close", "last price of the bar", "quote tokens", 0, nullable=False),
        real_column("volume_quote", "quote tokens that changed hands", "quote tokens", 0),
        real_column("volume_usd", "the same in USD", "USD", 0),
        count_column("n_buys", "purchases of the base token", nullable=True),
        count_column("n_sells", "sales of the base token", nullable=True),
        real_column("quote_reserve_low", "lowest quote reserve of the bar", "quote tokens", 0),
        real_column("quote_reserve_close", "last quote reserve of the bar", "quote tokens", 0),
    ),
    key=(*POOL_KEY, "timeframe", "event_time"),
)  # fmt: skip

SNAPSHOTS = Table(
    "snapshots",
    "snapshots",
    "pool, time: the pool's observed state, on the sampler's schedule",
    (
        SOURCE, NETWORK, POOL, EVENT_TIME, KNOWN_AT,
        time_column("created_at", "when the pool was created"),
        time_column("observed_at", "when the state was last observed, at most one grid step before"),
        Column("interval_minutes", pl.Int32(), "minutes to the next snapshot that this state asks for", "min",
               minimum=5, maximum=240),
        real_column("inclusion_probability", "how likely the sampler was to take this snapshot", "1", 0, 1,
                    nullable=False),
        count_column("n_missed", "snapshots that were due before this one and were not taken"),
        real_column("price_quote", "price of the base token", "quote tokens", 0),
        real_column("price_usd", "price of the base token", "USD", 0),
        real_column("base_reserve", "base tokens in the pool", "tokens", 0),
        real_column("quote_reserve", "quote tokens in the pool", "tokens", 0),
        real_column("reserve_usd", "value of both reserves", "USD", 0),
        real_column("lp_burned_pct", "share of the liquidity tokens that is burned or locked", "%", 0, 100),
        *(real_column(n, m, "%", -100)
          for n, m in _windowed("price_change", "_pct", "price change, or since birth if that is later")),
        *(real_column(n, m, "USD", 0) for n, m in _windowed("volume", "_usd", "traded value")),
        *(count_column(n, m, nullable=True, high=1e12)
          for what, meaning in (("n_buys", "purchases of the base token"), ("n_sells", "sales of the base token"))
          for n, m in _windowed(what, "", meaning)),
    ),
    key=POOL_TIME_KEY,
)  # fmt: skip
