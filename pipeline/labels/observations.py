"""A pool's own observations: its price and reserve when somebody looked, and what they say of the time between.

Belongs here: reading a reserve out of a snapshot, and laying observations out to be searched. Stays out: windows that
are judged by them (`watched`), and when a pool is looked at (the sampler's, which hands in what it would have asked).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from pipeline.labels.bars import MINUTE_US, Decisions, micros, place, require_on_grid
from pipeline.labels.range_extrema import Floats, Ints
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import POOL_KEY, WINDOWS_MINUTES

_REAL: Final = ("price_quote", "price_usd", "quote_reserve", "reserve_usd")
_COUNTS: Final = tuple(f"n_{side}_{window}" for window in WINDOWS_MINUTES for side in ("buys", "sells"))


@dataclass(frozen=True)
class Observed:
    """The pools' snapshots, and how often the sampler looks at a pool of a given reserve.

    `snapshots` are SNAPSHOTS rows from `observed_back` before the decisions to `observed_ahead` after them.
    `asks` gives, for reserves in USD (NaN: unknown), the minutes to the next visit of a pool that is no longer newborn;
    visits lie on multiples of it.
    """

    snapshots: pl.DataFrame = field(repr=False)
    asks: Callable[[Floats], Ints]


@dataclass(frozen=True)
class States:
    """Every observation of every pool, in time order: what was seen at `time` (us) and learned at `known_at`.

    `price` and `quote_usd` are NaN where not told or not positive, `reserve` (quote tokens) where not told.
    `quiet_minutes` is the longest trailing window of the observation in which nobody traded, 0 where none is.
    """

    bar_minutes: int
    keys: Ints
    pool_number: Ints
    time: Ints
    known_at: Ints
    price: Floats
    reserve: Floats
    quote_usd: Floats
    quiet_minutes: Ints

    @classmethod
    def of(
        cls,
        snapshots: pl.DataFrame | None,
        decisions: pl.DataFrame,
        numbers: pl.DataFrame,
        now: datetime,
        spec: LabelsSpec,
    ) -> "States":
        """The observations known at `now` of the pools in `numbers`; a decision is an observation of its pool, too.

        Raises:
            InputError: an observation off the grid.
        """
        given = [_told(decisions, decisions["event_time"])]
        if snapshots is not None:
            require_on_grid(snapshots, "an observation", spec)
            told = snapshots.filter(pl.col("known_at") <= now)
            given.append(_told(told, told["known_at"]))
        ordered = (
            pl.concat(given)
            .join(numbers, on=POOL_KEY, how="inner")
            .sort("pool_number", "event_time", maintain_order=True)
            .unique(["pool_number", "event_time"], keep="first", maintain_order=True)
        )
        pool_number, time = ordered["pool_number"].to_numpy().astype(np.int64), micros(ordered, "event_time")
        price, reserve, usd = (ordered[name].fill_null(np.nan).to_numpy() for name in ("price", "reserve", "quote_usd"))
        return cls(
            spec.bar_minutes,
            place(pool_number, time, spec.bar_minutes),
            pool_number,
            time,
            micros(ordered, "known_at"),
            price,
            reserve,
            usd,
            ordered["quiet_minutes"].to_numpy(),
        )

    def after(self, pool_number: Ints, time: Ints) -> Ints:
        """The first observation of each pool later than each time, in the layout; it may be another pool's."""
        return np.searchsorted(self.keys, place(pool_number, time, self.bar_minutes) + 1)

    def positions(self, decisions: Decisions) -> Ints:
        """Where each decision's own observation lies."""
        return np.searchsorted(self.keys, place(decisions.pool_number, decisions.time, self.bar_minutes))

    def part(self, chosen: Ints) -> "States":
        """The chosen observations alone."""
        return States(
            self.bar_minutes,
            self.keys[chosen],
            self.pool_number[chosen],
            self.time[chosen],
            self.known_at[chosen],
            self.price[chosen],
            self.reserve[chosen],
            self.quote_usd[chosen],
            self.quiet_minutes[chosen],
        )


def quote_usd() -> pl.Expr:
    """The quote token's price in USD, as a snapshot's two prices imply it; null where it is not positive.

    >>> pl.DataFrame({"price_usd": [1.0, 1.0], "price_quote": [0.5, 0.0]}).select(quote_usd()).to_series().to_list()
    [2.0, None]
    """
    quotient = pl.col("price_usd") / pl.col("price_quote")
    return pl.when(quotient.is_finite() & (quotient > 0)).then(quotient)


def quote_reserve() -> pl.Expr:
    """The quote reserve as told, else half of the USD value of both: the two sides of x * y = k are worth the same.

    >>> rows = {"quote_reserve": [3.0, None, None], "reserve_usd": [9.0, 8.0, 0.0], "price_usd": [2.0, 2.0, None],
    ...         "price_quote": [1.0, 1.0, None]}
    >>> pl.DataFrame(rows).select(quote_reserve()).to_series().to_list()
    [3.0, 2.0, 0.0]
    """
    told, worth = pl.col("quote_reserve"), pl.col("reserve_usd")
    implied = pl.when(worth == 0).then(0.0).otherwise(worth / 2 / quote_usd())
    return pl.coalesce(pl.when(value.is_finite() & (value >= 0)).then(value) for value in (told, implied))


def _told(rows: pl.DataFrame, known_at: pl.Series) -> pl.DataFrame:
    """What each row tells; columns it does not have are not told."""
    absent = [pl.lit(None, pl.Float64).alias(name) for name in _REAL if name not in rows.columns]
    absent += [pl.lit(None, pl.Int64).alias(name) for name in _COUNTS if name not in rows.columns]
    price = pl.col("price_quote")
    return rows.with_columns(known_at.alias("known_at"), *absent).select(
        *POOL_KEY,
        "event_time",
        "known_at",
        pl.when(price.is_finite() & (price > 0)).then(price).alias("price"),
        quote_reserve().alias("reserve"),
        quote_usd().alias("quote_usd"),
        _quiet_minutes().alias("quiet_minutes"),
    )


def _quiet_minutes() -> pl.Expr:
    windows = [
        pl.when(pl.col(f"n_buys_{name}") + pl.col(f"n_sells_{name}") == 0).then(pl.lit(minutes, pl.Int64))
        for name, minutes in WINDOWS_MINUTES.items()
    ]
    return pl.max_horizontal(*windows, pl.lit(0, pl.Int64))


def minutes_between(states: States) -> Floats:
    """Minutes from the observation of the same pool before to each one; infinite at a pool's first."""
    gap = np.full(len(states.time), np.inf)
    same = states.pool_number[1:] == states.pool_number[:-1]
    gap[1:][same] = np.diff(states.time)[same] / MINUTE_US
    return gap
