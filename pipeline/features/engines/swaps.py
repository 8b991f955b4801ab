"""A swap as far as it can be believed, over history and online.

Belongs here: which of a swap's numbers count and in what units, the order of the chain, and which swaps come in order.
Stays out: windows (`from_trades`, `online_trades`) and wallets' records (`wallets`).

Amounts are counted in whole small units. Sums of whole numbers are exact in any order and can be taken back, so a
window that slid over a million swaps holds what a fresh one would, and history and live agree to the last bit.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.calendars import DAY, Span
from pipeline.features.engine import micros
from pipeline.features.inputs import SINCE_BIRTH
from pipeline.tables import POOL_KEY

US: Final = timedelta(microseconds=1)
PER_USD: Final = 2.0**20
"""Units of value in a US dollar: a unit is about a millionth."""
PER_TOKEN: Final = 2.0**30
PER_LOG: Final = 2.0**40
"""Units of a natural logarithm of a price in 1."""
MOST_USD: Final = 1e9
"""No swap of a new pool is worth more; one that is told to be does not tell its value."""
MOST_TOKENS: Final = 1e20
PRICES: Final = (1e-30, 1e30)
"""Quote tokens a base token; what lies outside is no price."""
LATE: Final = DAY
"""An answer tells of the last day. A swap learned later than this after it happened is in no sequence."""
SWAPS_AN_ANSWER: Final = 300
"""An answer holds the last so many swaps of a pool; one that holds fewer holds all of the last day."""

_PLACE: Final = r"_([0-9]+)_[0-9]+$"
"""A swap's name ends in its place in the block and a time; where it does not, the name itself settles the order."""
_PLACE_IN: Final = re.compile(_PLACE)
_MOST_PLACE: Final = 2**63
_WANTED: Final = (
    *POOL_KEY, "event_time", "known_at", "trade_id", "answer_id", "block", "trader", "kind", "base_amount",
    "quote_amount", "volume_usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Swap:
    """One swap: times in microseconds; amounts in whole units, None where not told or not credible."""

    event_us: int
    known_us: int
    block: int
    place: int
    trade_id: str
    answer_id: str
    trader: str | None
    is_buy: bool
    usd: int | None
    tokens: int | None
    log_price: int | None
    is_smart: bool | None

    @property
    def order(self) -> tuple[int, int, int, str]:
        """Its place on the chain."""
        return self.event_us, self.block, self.place, self.trade_id


def swap_of(row: Mapping[str, Any]) -> Swap:
    """A row of TRADES; with a key `is_smart`, if it has one (see `wallets`)."""
    base, quote = row["base_amount"], row["quote_amount"]
    found = _PLACE_IN.search(row["trade_id"])
    place = int(found[1]) if found else -1
    return Swap(
        event_us=micros(row["event_time"]),
        known_us=micros(row["known_at"]),
        block=row["block"],
        place=place if place < _MOST_PLACE else -1,
        trade_id=row["trade_id"],
        answer_id=row["answer_id"],
        trader=row["trader"],
        is_buy=row["kind"] == "buy",
        usd=_units(row["volume_usd"], PER_USD, MOST_USD),
        tokens=_units(base, PER_TOKEN, MOST_TOKENS),
        log_price=_log_price(base, quote),
        is_smart=row.get("is_smart"),
    )


def _units(value: float | None, per: float, most: float) -> int | None:
    return None if value is None or not 0 <= value <= most else round(value * per)


def _log_price(base: float | None, quote: float | None) -> int | None:
    if base is None or quote is None or not (base > 0 and quote > 0):
        return None
    price = quote / base
    return round(math.log(price) * PER_LOG) if PRICES[0] <= price <= PRICES[1] else None


def read_swaps(trades: pl.LazyFrame, span: Span) -> pl.DataFrame:
    """The swaps that decisions within a span can depend on, each once, as first told.

    Args:
        trades: TRADES rows of all pools, in any order.
        span: the moments of decision.

    Returns:
        POOL_KEY (as `pool_no`, with the three names beside it), `wallet_no` (one number a trader of a source and
        network, null where unknown), `event_us`, `known_us`, `order` (place on the chain among all rows), `is_buy`,
        `usd`, `tokens`, `log_price` (whole units, null where not credible), `answer_id`, `is_in_order`; sorted by pool
        and the order in which they were learned.

        `is_in_order` says that the swap was learned within a day, and comes later on the chain than every such swap of
        its pool that was learned before it. Those form a sequence of which what is known at a time is the beginning.
    """
    time = pl.col("event_time")
    told = (
        trades.filter(time >= span.start - SINCE_BIRTH, time < span.end, pl.col("known_at") < span.end)
        .select(_WANTED)
        .collect()
    )
    numbered = told.join(_numbers(told, POOL_KEY, "pool_no"), on=list(POOL_KEY), how="left").join(
        _numbers(told, ("source", "network", "trader"), "wallet_no"), on=["source", "network", "trader"], how="left"
    )
    once = _in_order_of_chain(
        numbered.with_columns(
            time.dt.epoch("us").alias("event_us"), pl.col("known_at").dt.epoch("us").alias("known_us"), _place()
        )
    )
    learned = _measured(once).sort("pool_no", "known_us", "order")
    # Pools are numbered in the order of the rows, so the last place of the pool before is below this pool's first.
    timely = pl.col("known_us") - pl.col("event_us") <= LATE // US
    place = pl.when(timely).then(pl.col("order").cast(pl.Int64)).otherwise(-1)
    return learned.with_columns(is_in_order=timely & (place > place.cum_max().shift(1, fill_value=-1)))


def _in_order_of_chain(swaps: pl.DataFrame) -> pl.DataFrame:
    """The swaps by pool and in the order of the chain (`order`), each once, as first told."""
    numbers, named = ["pool_no", "event_us", "block", "place"], ["trade_id", "known_us"]
    swaps = swaps.sort(numbers)
    is_next = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in numbers).fill_null(value=False)
    is_tie = swaps.select(is_next | is_next.shift(-1, fill_value=False)).to_series()
    # Names settle few places, and to sort by texts is slow.
    tied = swaps.filter(is_tie).sort(numbers + named)
    place = np.arange(swaps.height)
    place[is_tie.to_numpy()] = swaps.height + np.arange(tied.height)
    swaps = pl.concat([swaps, tied])[place] if tied.height else swaps
    is_repeated = is_next & (pl.col("trade_id") == pl.col("trade_id").shift(1))
    return swaps.filter(~is_repeated).with_row_index("order")


def _numbers(told: pl.DataFrame, key: tuple[str, ...], name: str) -> pl.DataFrame:
    return told.select(key).drop_nulls().unique(maintain_order=True).with_row_index(name)


def _place() -> pl.Expr:
    return pl.col("trade_id").str.extract(_PLACE).cast(pl.Int64, strict=False).fill_null(-1).alias("place")


def _measured(swaps: pl.DataFrame) -> pl.DataFrame:
    base, quote = pl.col("base_amount"), pl.col("quote_amount")
    price = pl.when((base > 0) & (quote > 0)).then(quote / base)
    log_price = pl.when(price.is_between(*PRICES)).then(_whole(price.log() * PER_LOG, pl.Int64()))
    return swaps.select(
        *(*POOL_KEY, "pool_no", "wallet_no", "event_us", "known_us", "order", "answer_id"),
        (pl.col("kind") == "buy").alias("is_buy"),
        _in_units("volume_usd", PER_USD, MOST_USD, pl.Int64()).alias("usd"),
        _in_units("base_amount", PER_TOKEN, MOST_TOKENS, pl.Int128()).alias("tokens"),
        log_price.alias("log_price"),
    )


def _in_units(column: str, per: float, most: float, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    return pl.when(value.is_between(0, most)).then(_whole(value * per, dtype))


def _whole(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    # A value that `when` passes over is cast as well: what does not fit is null instead of an error.
    return value.round(mode="half_to_even").cast(dtype, strict=False)
