"""A pool's past, as the API tells it: its bars and its last trades.

Belongs here: cutting updates into bars, listing swaps. Stays out: the state at a moment (`market`), JSON (`wire`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.sandbox.market import BUY, MINUTE_US, SELL, UNKNOWN, Market, PoolFacts, Updates

TRADES_TOLD: Final = 300
TRADES_REACH_US: Final = 1440 * MINUTE_US


@dataclass(frozen=True)
class Bar:
    """[start, start + length): first, highest, lowest and last price, and volume, in quote tokens; NaN: not known."""

    start_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class Swap:
    """One trade: its place in the chain, its amounts in whole tokens. `is_buy`: of the base token."""

    moment_us: int
    block: int
    tx_index: int
    log_index: int
    is_buy: bool
    base_amount: float
    quote_amount: float


def bars(
    market: Market, pool: PoolFacts, moment_us: int, length_us: int, before_us: int | None, limit: int
) -> list[Bar]:
    """The last `limit` bars that start before `before_us`, newest first, made of updates up to the moment.

    Only bars with an update. The bar that holds the moment is told as far as it went. Prices are those after each
    update of the bar, so a bar opens at its first price and not at the close before.
    """
    end = pool.first + market.n_known(pool, moment_us)
    own, updates = slice(pool.first, end), market.updates
    with np.errstate(all="ignore"):
        price = updates.quote[own] / updates.base[own]
    starts = updates.times[own] // length_us * length_us
    told = np.isfinite(price)
    if before_us is not None:
        told &= starts < before_us
    price, starts = price[told], starts[told]
    volume = np.where(updates.kind[own] == UNKNOWN, np.nan, updates.volume[own])[told]
    heads = np.flatnonzero(np.diff(starts, prepend=-1))[-limit:]
    if not heads.size:
        return []
    # What lies before the first bar asked for is cut off, so that the sums below begin with it.
    price, starts, volume, heads = price[heads[0] :], starts[heads[0] :], volume[heads[0] :], heads - heads[0]
    tails = np.append(heads[1:], len(price)) - 1
    columns = (
        starts[heads],
        price[heads],
        np.maximum.reduceat(price, heads),
        np.minimum.reduceat(price, heads),
        price[tails],
        np.add.reduceat(volume, heads),
    )
    return [Bar(*row) for row in zip(*(column[::-1].tolist() for column in columns), strict=True)]


def trades(market: Market, pool: PoolFacts, moment_us: int) -> list[Swap]:
    """The last TRADES_TOLD swaps of the day up to the moment, newest first."""
    end = pool.first + market.n_known(pool, moment_us)
    start = pool.first + market.n_known(pool, moment_us - TRADES_REACH_US)
    updates = market.updates
    found = start + np.flatnonzero(np.isin(updates.kind[start:end], (BUY, SELL)))[-TRADES_TOLD:]
    return [_swap(updates, index) for index in reversed(found.tolist())]


def _swap(updates: Updates, index: int) -> Swap:
    block, tx_index, log_index = updates.place[index].tolist()
    return Swap(
        int(updates.times[index]),
        block,
        tx_index,
        log_index,
        bool(updates.kind[index] == BUY),
        float(updates.base_volume[index]),
        float(updates.volume[index]),
    )
