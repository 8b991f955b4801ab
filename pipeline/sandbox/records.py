"""One record of an answer: a pool, a token, a bar, a trade, a network, an exchange, as the API spells it.

Belongs here: field names, and how numbers and moments are written. Stays out: which records an answer holds (`wire`).

Numbers are decimal text that gives the same float back, without an exponent. What a recording cannot know is null,
also where the official schema asks for a text or a number (a test lists these fields); nothing is made up but the
names of tokens (the start of their address) and the hashes of transactions (of their place in the chain).
"""

import hashlib
import math
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from pipeline.calendars import EPOCH
from pipeline.sandbox.histories import Bar, Swap
from pipeline.sandbox.market import PoolFacts, State

Record = dict[str, Any]


def decimal(value: float) -> str | None:
    """The number as decimal text that gives the same float back; None where it is not finite.

    >>> decimal(1.19542577944133e-07), decimal(2.0), decimal(math.nan)
    ('0.000000119542577944133', '2.0', None)
    """
    if not math.isfinite(value):
        return None
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def moment(at_us: int) -> str:
    """The moment in the API's form; a fraction of a second is told where there is one.

    >>> moment(1_600_000_000_000_000), moment(1_600_000_000_500_000)
    ('2020-09-13T12:26:40Z', '2020-09-13T12:26:40.500000Z')
    """
    return (EPOCH + timedelta(microseconds=at_us)).isoformat().removesuffix("+00:00") + "Z"


def label(token: str, symbol: str | None = None) -> str:
    """What a token is called: its symbol, or the start of its address where no recording tells one.

    >>> label("0x0123456789abcdef"), label("0xc02a", "WETH")
    ('0x012345', 'WETH')
    """
    return token[:8] if symbol is None else symbol


def pool_record(
    pool: PoolFacts,
    state: State,
    *,
    is_detailed: bool = False,
    has_composition: bool = False,
    names_network: bool = False,
) -> Record:
    """One pool; `is_detailed`: as endpoints of known pools tell it, `names_network`: as the list over all chains."""
    usd, price = pool.quote_price_usd, state.price
    price_usd = price * usd
    name = f"{label(pool.base_token)} / {label(pool.quote_token, pool.quote_symbol)}"
    attributes: Record = {
        "base_token_price_usd": decimal(price_usd),
        # The quote token is taken for the chain's own currency, which no recording tells.
        "base_token_price_native_currency": decimal(price),
        "quote_token_price_usd": decimal(usd),
        "quote_token_price_native_currency": "1.0",
        "base_token_price_quote_token": decimal(price),
        "quote_token_price_base_token": decimal(state.base / state.quote if state.quote else math.nan),
        "address": pool.address,
        "name": name,
        "pool_created_at": moment(pool.created_us),
        "fdv_usd": None,
        "market_cap_usd": None,
        "price_change_percentage": {key: decimal(window.change_pct) for key, window in state.windows.items()},
        "transactions": {
            key: {"buys": window.n_buys, "sells": window.n_sells} for key, window in state.windows.items()
        },
        "volume_usd": {key: decimal(window.volume_quote * usd) for key, window in state.windows.items()},
        "reserve_in_usd": decimal(2 * state.quote * usd),
    }
    if is_detailed:
        attributes |= {"pool_name": name, "pool_fee_percentage": None, "locked_liquidity_percentage": None}
    if has_composition:
        attributes |= {
            "base_token_balance": decimal(state.base),
            "base_token_liquidity_usd": decimal(state.base * price_usd),
            "quote_token_balance": decimal(state.quote),
            "quote_token_liquidity_usd": decimal(state.quote * usd),
        }
    return {
        "id": f"{pool.network}_{pool.address}",
        "type": "pool",
        "attributes": attributes,
        "relationships": _relationships(pool, names_network),
    }


def _relationships(pool: PoolFacts, names_network: bool) -> Record:
    told = {
        "base_token": (f"{pool.network}_{pool.base_token}", "token"),
        "quote_token": (f"{pool.network}_{pool.quote_token}", "token"),
        "dex": (pool.dex, "dex"),
    }
    if names_network:
        told["network"] = (pool.network, "network")
    return {name: {"data": {"id": key, "type": kind}} for name, (key, kind) in told.items()}


def included_records(pools: list[PoolFacts], wanted: set[str]) -> list[Record]:
    """The tokens and exchanges of the pools that were asked for, each once, in order of appearance."""
    found: dict[tuple[str, str], Record] = {}
    for pool in pools:
        if "base_token" in wanted:
            found.setdefault((pool.network, pool.base_token), _token(pool, pool.base_token))
        if "quote_token" in wanted:
            found.setdefault((pool.network, pool.quote_token), _token(pool, pool.quote_token))
        if "dex" in wanted:
            found.setdefault(("dex", pool.dex), dex_record(pool.dex))
        if "network" in wanted:
            found.setdefault(("network", pool.network), network_record(pool.network))
    return list(found.values())


def _token_facts(pool: PoolFacts, token: str) -> tuple[str, int | None]:
    is_base = token == pool.base_token
    return (
        label(token, None if is_base else pool.quote_symbol),
        pool.base_decimals if is_base else pool.quote_decimals,
    )


def _token(pool: PoolFacts, token: str) -> Record:
    symbol, decimals = _token_facts(pool, token)
    attributes = {
        "address": token, "name": symbol, "symbol": symbol, "decimals": decimals,
        "image_url": None, "coingecko_coin_id": None,
    }  # fmt: skip
    return {"id": f"{pool.network}_{token}", "type": "token", "attributes": attributes}


def dex_record(name: str) -> Record:
    """One exchange; it is called what its address in the API says."""
    return {"id": name, "type": "dex", "attributes": {"name": name}}


def network_record(name: str) -> Record:
    """One chain; it is called what its address in the API says."""
    return {"id": name, "type": "network", "attributes": {"name": name, "coingecko_asset_platform_id": None}}


def bar_row(pool: PoolFacts, bar: Bar, *, in_usd: bool, is_inverted: bool) -> list[float | None]:
    """One bar: start in seconds, open, high, low, close, volume.

    `in_usd`: all in USD, else in the other token. `is_inverted`: of the quote token. What is not known is null.
    """
    worth = pool.quote_price_usd if in_usd else 1.0
    if not is_inverted:
        told = [bar.open * worth, bar.high * worth, bar.low * worth, bar.close * worth]
    elif in_usd:
        told = [worth] * 4
    else:
        told = [1 / price if price else math.nan for price in (bar.open, bar.low, bar.high, bar.close)]
    row = [*told, bar.volume * worth]
    return [bar.start_us // 1_000_000, *(value if math.isfinite(value) else None for value in row)]


def pair_meta(pool: PoolFacts) -> Record:
    """The two tokens, as an answer of bars names them."""
    return {
        side: {
            "address": token,
            "name": _token_facts(pool, token)[0],
            "symbol": _token_facts(pool, token)[0],
            "coingecko_coin_id": None,
        }
        for side, token in (("base", pool.base_token), ("quote", pool.quote_token))
    }


def trade_record(pool: PoolFacts, swap: Swap) -> Record:
    """One swap. The price of base is the one that was paid: quote amount over base amount."""
    usd = pool.quote_price_usd
    paid = swap.quote_amount / swap.base_amount
    quote = (pool.quote_token, swap.quote_amount, 1.0, usd)
    base = (pool.base_token, swap.base_amount, paid, paid * usd)
    given, taken = (quote, base) if swap.is_buy else (base, quote)
    place = f"{pool.network}:{swap.block}:{swap.tx_index}"
    tx_hash = "0x" + hashlib.sha256(place.encode()).hexdigest()
    seconds = swap.moment_us // 1_000_000
    return {
        "id": f"{pool.network}_{swap.block}_{tx_hash}_{swap.log_index}_{seconds}",
        "type": "trade",
        "attributes": {
            "block_number": swap.block,
            "tx_hash": tx_hash,
            "tx_from_address": None,
            "from_token_amount": decimal(given[1]),
            "to_token_amount": decimal(taken[1]),
            "price_from_in_currency_token": decimal(given[2]),
            "price_to_in_currency_token": decimal(taken[2]),
            "price_from_in_usd": decimal(given[3]),
            "price_to_in_usd": decimal(taken[3]),
            "block_timestamp": moment(swap.moment_us),
            "kind": "buy" if swap.is_buy else "sell",
            "volume_in_usd": decimal(swap.quote_amount * usd),
            "from_token_address": given[0],
            "to_token_address": taken[0],
        },
    }


_SOCIALS: Final = (
    "websites", "discord_url", "farcaster_url", "zora_url", "telegram_handle", "twitter_handle", "description",
)  # fmt: skip


def _described(pool: PoolFacts, token: str) -> Record:
    attributes: Record = _token(pool, token)["attributes"]
    return attributes | dict.fromkeys((*_SOCIALS, "gt_score"))


def updated_token(pool: PoolFacts) -> Record:
    """The base token of a pool, as the list of changed token information tells it; it changed at the pool's birth."""
    return {
        "id": f"{pool.network}_{pool.base_token}",
        "type": "token",
        "attributes": _described(pool, pool.base_token) | {"metadata_updated_at": moment(pool.created_us)},
        "relationships": {"network": {"data": {"id": pool.network, "type": "network"}}},
    }


def token_info(pool: PoolFacts, token: str) -> Record:
    """What is known of a token: its address and its decimals. Everything else is null."""
    unknown = (
        "banner_image_url", "gt_verified", "mint_authority", "freeze_authority", "developer_address",
        "developer_holding_percentage", "categories", "gt_category_ids",
    )  # fmt: skip
    attributes = _described(pool, token) | dict.fromkeys(unknown)
    attributes |= {
        "image": dict.fromkeys(("thumb", "small", "large")),
        "gt_score_details": dict.fromkeys(("pool", "transaction", "creation", "info", "holders")),
        "is_honeypot": "unknown",
        "holders": dict.fromkeys(("count", "distribution_percentage", "last_updated")),
    }
    return {"id": f"{pool.network}_{token}", "type": "token", "attributes": attributes}
