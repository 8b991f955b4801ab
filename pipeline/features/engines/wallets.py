"""Which wallets are smart: each wallet's realised record over all pools of a source and network, before a moment.

Belongs here: what closes a position, what a sale realised, and who is smart by that; over history as a column, and
online as a book that takes the swaps of all pools in the order in which they were learned.
Stays out: what smart wallets do in a pool (`from_trades`, `online_trades`, `smart_money`).

A sale realises the difference between its price and the average price of the wallet's purchases in that pool, on the
tokens that the wallet was seen to buy there and did not sell since: average cost, on what was learned within
COST_WINDOW before the sale was. Tokens that came from elsewhere realise nothing. Only swaps in order count
(`read_swaps`). A wallet is smart at a swap if, of the sales learned within RECORD_WINDOW before that swap was (never
with it), there were at least `smart_trades`, at least `smart_win_share` of them gained, and together they gained.

The three windows, the day that news may take, and the day over which swaps are looked at, make the week that is read.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.calendars import DAY
from pipeline.features.engines.swaps import LATE, US, Swap, swap_of
from pipeline.features.engines.windows_of_swaps import between, bisect_within, ranges_of, whole
from pipeline.features.spec import FeaturesSpec

COST_WINDOW: Final = 2 * DAY
RECORD_WINDOW: Final = 3 * DAY
MOST_GAIN: Final = 2.0**50
"""A sale's gain or loss counts up to so many units of value, about a billion USD."""


def smart_flags(swaps: pl.DataFrame, spec: FeaturesSpec) -> pl.Series:
    """Whether each swap's wallet was smart when the swap was learned; null where the wallet is unknown.

    Args:
        swaps: as `read_swaps` gives them, of all pools.
        spec: what makes a wallet smart.
    """
    sales = _closed(swaps).sort("wallet_no", "known_us")
    asked = swaps.with_row_index("row").filter(pl.col("wallet_no").is_not_null())
    known, sold = whole(asked["known_us"]), whole(sales["known_us"])
    first, last = ranges_of(whole(sales["wallet_no"]), whole(asked["wallet_no"]))
    low = bisect_within(sold, first, last, known - RECORD_WINDOW // US, right=True)
    high = bisect_within(sold, low, last, known, right=False)
    n_won, gain = (between(sales[name], low, high).to_numpy() for name in ("has_won", "gain"))
    is_smart = _is_smart(high - low, n_won, gain, spec)
    flags = np.zeros(swaps.height, dtype=bool)
    flags[asked["row"].to_numpy()] = is_smart
    return pl.select(pl.when(swaps["wallet_no"].is_not_null()).then(pl.Series(flags)).alias("is_smart")).to_series()


def _is_smart(n: Any, n_won: Any, gain: Any, spec: FeaturesSpec) -> Any:
    """The rule, over numbers or arrays of them."""
    return (n >= spec.smart_trades) & (n_won >= spec.smart_win_share * n) & (gain > 0)


def _closed(swaps: pl.DataFrame) -> pl.DataFrame:
    """The sales that closed something: `wallet_no`, `known_us`, `gain` in units of value, `has_won` as 0 or 1."""
    is_buy, usd, tokens = pl.col("is_buy"), pl.col("usd"), pl.col("tokens")
    is_bought = is_buy & usd.is_not_null()
    swaps = (
        swaps.filter(pl.col("is_in_order"), pl.col("wallet_no").is_not_null(), tokens.is_not_null())
        # They come by pool, and within it as learned, and stay so within each wallet.
        .sort("wallet_no", maintain_order=True)
        .with_columns(
            pl.when(is_bought).then(tokens).otherwise(0).alias("bought"),
            pl.when(is_bought).then(usd).otherwise(0).alias("cost"),
            pl.when(is_buy).then(0).otherwise(tokens).alias("sold"),
        )
    )
    wallet_in_pool = pl.col("wallet_no").cast(pl.Int64) * 2**32 + pl.col("pool_no")
    position = whole(swaps.select(wallet_in_pool.rle_id()).to_series())
    starts, _ = ranges_of(position, position)
    here, known = np.arange(swaps.height), whole(swaps["known_us"])
    low = bisect_within(known, starts, here, known - COST_WINDOW // US, right=True)
    before = [between(swaps[name], low, here).alias(f"{name}_before") for name in ("bought", "cost", "sold")]
    left = pl.col("bought_before") - pl.col("sold_before")
    sales = swaps.with_columns(before).filter(~is_buy, usd.is_not_null(), tokens > 0, left > 0)
    closed, value, sold, cost, bought = (
        x.cast(pl.Float64)
        for x in (pl.min_horizontal(left, tokens), usd, tokens, pl.col("cost_before"), pl.col("bought_before"))
    )
    gain = closed * (value / sold - cost / bought)
    units = gain.clip(-MOST_GAIN, MOST_GAIN).round(mode="half_to_even").cast(pl.Int64)
    return sales.select("wallet_no", "known_us", units.alias("gain")).with_columns(
        (pl.col("gain") > 0).cast(pl.Int64).alias("has_won")
    )


type _Pool = tuple[str, str, str]
type _Wallet = tuple[str, str, str]


@dataclass(slots=True)
class _Position:
    """What a wallet did in a pool within COST_WINDOW, in whole units."""

    n: int = 0
    bought: int = 0
    cost: int = 0
    sold: int = 0


@dataclass(slots=True)
class _Record:
    """What a wallet realised within RECORD_WINDOW."""

    n: int = 0
    n_won: int = 0
    gain: int = 0


class WalletBook:
    """The same, swap by swap: takes rows of TRADES of all pools in the order in which they were learned.

    A swap takes a time that does not grow with their number; what left its window is forgotten.
    """

    def __init__(self, spec: FeaturesSpec) -> None:
        self._spec = spec
        self._batch: list[tuple[_Pool, Swap]] = []
        self._newest: dict[_Pool, Swap] = {}
        self._positions: dict[tuple[_Pool, str], _Position] = {}
        self._records: dict[_Wallet, _Record] = {}
        self._taken: deque[tuple[_Pool, Swap]] = deque()
        self._sales: deque[tuple[int, _Wallet, int]] = deque()

    def take(self, row: Mapping[str, Any]) -> bool | None:
        """Whether the swap's wallet is smart when the swap is learned (None: the wallet is unknown); then note it."""
        swap, pool = swap_of(row), (row["source"], row["network"], row["pool"])
        if self._batch and self._batch[0][1].known_us < swap.known_us:
            self._note_batch()
        self._batch.append((pool, swap))
        if swap.trader is None:
            return None
        self._forget_sales(swap.known_us - RECORD_WINDOW // US)
        record = self._records.get((*pool[:2], swap.trader))
        return record is not None and bool(_is_smart(record.n, record.n_won, record.gain, self._spec))

    def _note_batch(self) -> None:
        """Note what was learned at one moment, in the order of the chain."""
        batch, self._batch = sorted(self._batch, key=lambda taken: taken[1].order), []
        self._forget_swaps(batch[0][1].known_us - COST_WINDOW // US)
        for pool, swap in batch:
            newest = self._newest.get(pool)
            is_after = newest is None or swap.order > newest.order
            if is_after and swap.known_us - swap.event_us <= LATE // US:
                self._newest[pool] = swap
                self._taken.append((pool, swap))
                self._note(pool, swap)

    def _note(self, pool: _Pool, swap: Swap) -> None:
        if swap.trader is None or swap.tokens is None:
            return
        position = self._positions.setdefault((pool, swap.trader), _Position())
        left = position.bought - position.sold
        if not swap.is_buy and swap.usd is not None and swap.tokens > 0 and left > 0:
            closed = float(min(left, swap.tokens))
            gain = closed * (float(swap.usd) / float(swap.tokens) - float(position.cost) / float(position.bought))
            self._close(swap.known_us, (*pool[:2], swap.trader), round(min(max(gain, -MOST_GAIN), MOST_GAIN)))
        _add(position, swap, 1)

    def _close(self, known_us: int, wallet: _Wallet, gain: int) -> None:
        record = self._records.setdefault(wallet, _Record())
        record.n, record.n_won, record.gain = record.n + 1, record.n_won + (gain > 0), record.gain + gain
        self._sales.append((known_us, wallet, gain))

    def _forget_swaps(self, upto_us: int) -> None:
        while self._taken and self._taken[0][1].known_us <= upto_us:
            pool, swap = self._taken.popleft()
            # A swap that comes before this one on the chain would by now be too late to count.
            if self._newest.get(pool) is swap:
                del self._newest[pool]
            if swap.trader is not None and swap.tokens is not None:
                position = self._positions[pool, swap.trader]
                _add(position, swap, -1)
                if not position.n:
                    del self._positions[pool, swap.trader]

    def _forget_sales(self, upto_us: int) -> None:
        while self._sales and self._sales[0][0] <= upto_us:
            _, wallet, gain = self._sales.popleft()
            record = self._records[wallet]
            record.n, record.n_won, record.gain = record.n - 1, record.n_won - (gain > 0), record.gain - gain
            if not record.n:
                del self._records[wallet]


def _add(position: _Position, swap: Swap, sign: int) -> None:
    tokens = sign * (swap.tokens or 0)
    position.n += sign
    if not swap.is_buy:
        position.sold += tokens
    elif swap.usd is not None:
        position.bought += tokens
        position.cost += sign * swap.usd
