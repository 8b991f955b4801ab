"""The swaps of a pool beside its snapshots, over history.

Belongs here: every field of `OfTrades`, for all pools at once. Stays out: how windows are summed
(`windows_of_swaps`), who is smart (`wallets`), formulas and what must be known before they speak (`flow`).

Fields (USD, base tokens; as known at t; windows by the time of the block):
    n_valued_1h             swaps of (t - 1 h, t] that tell their value
    bought_usd_1h, sold_usd_1h, largest_usd_1h   of these; the largest is null where there is none
    n_unnamed_buys_1h       purchases of the window that do not tell who made them
    buyer_squares_1h        sum over buyers of (USD bought)^2
    n_named_1h              swaps of the window that tell who made them
    smart_net_buys_1h       purchases less sales by wallets that were smart when the swap was learned
    n_placed_24h            swaps of (t - 24 h, t] that tell who made them and how many base tokens they moved
    held_24h                sum over wallets of max(0, tokens bought - tokens sold) over these
    smart_held_24h          the same over wallets that were smart at one of these swaps at least
    roll_spread_1h          Roll (1984), effective spread as a share of the price
    first_minute_buyers, first_minute_usd, first_hour_usd    see `births`
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl

from pipeline.calendars import DAY, HOUR, Span
from pipeline.features.engines.births import attach_births
from pipeline.features.engines.swaps import PER_LOG, PER_TOKEN, PER_USD, US, read_swaps
from pipeline.features.engines.wallets import smart_flags
from pipeline.features.engines.windows_of_swaps import View, Whole, between, bisect_within, ranges_of, whole
from pipeline.features.inputs import OfTrades
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY

LEAST_COVARIANCE: Final = 2.0**-56
"""A covariance of log changes nearer to zero is none: the spread would be below 0.000001 %."""

_USD_SUMS: Final = ("n_valued_1h", "bought_usd_1h", "sold_usd_1h", "n_unnamed_buys_1h")
_SMART_SUMS: Final = ("n_named_1h", "smart_net_buys_1h")
_HELD: Final = ("held_24h", "smart_held_24h")
_FIRST: Final = ("first_minute_buyers", "first_minute_usd", "first_hour_usd")
_BUY: Final = pl.col("is_buy")
_NAMED: Final = pl.col("wallet_no").is_not_null()


def follows_wallets(read: OfTrades) -> bool:
    """Whether a field depends on what wallets did in all pools (`wallets`)."""
    return read.field in {*_SMART_SUMS, *_HELD}


def attach(
    rows: pl.DataFrame, inputs: Sequence[OfTrades], sources: Sources, span: Span, spec: FeaturesSpec
) -> pl.DataFrame:
    """The rows with one column for each field asked for; see `engine.OverHistory`."""
    names = {read.field: read.name for read in inputs}
    swaps = read_swaps(sources.trades, span)
    pools = swaps.select(*POOL_KEY, "pool_no").unique()
    placed = rows.join(pools, on=list(POOL_KEY), how="left", maintain_order="left")
    if any(map(follows_wallets, inputs)):
        swaps = swaps.with_columns(smart_flags(swaps, spec))
    swaps = swaps.join(placed.select("pool_no").unique(), on="pool_no", how="semi", maintain_order="left")
    view = View(swaps, placed["pool_no"].cast(pl.Int64).fill_null(-1).to_numpy(), _micros(placed["event_time"]))
    found: dict[str, pl.Series] = {}
    for fields, compute in _GROUPS.items():
        if names.keys() & set(fields):
            found |= dict(zip(fields, compute(view, spec), strict=True))
    if names.keys() & set(_FIRST):
        found |= attach_births(placed, swaps)
    return rows.with_columns(found[field].alias(name) for field, name in names.items())


def _micros(times: pl.Series) -> Whole:
    return times.dt.epoch("us").to_numpy()


def _usd_sums(view: View, _: FeaturesSpec) -> list[pl.Series]:
    usd, none = pl.col("usd"), pl.lit(0, dtype=pl.Int64)
    columns = (
        usd.is_not_null().cast(pl.Int64).alias("valued"),
        pl.when(_BUY).then(usd).otherwise(none).alias("bought"),
        pl.when(_BUY).then(none).otherwise(usd).alias("sold"),
        (_BUY & ~_NAMED).cast(pl.Int64).alias("unnamed"),
    )
    valued, bought, sold, unnamed = view.sums(HOUR, columns)
    return [valued, bought.cast(pl.Float64) / PER_USD, sold.cast(pl.Float64) / PER_USD, unnamed]


def _largest(view: View, _: FeaturesSpec) -> list[pl.Series]:
    found = pl.Series(view.largest(HOUR, "usd"))
    return [found.set(found < 0, None).cast(pl.Float64) / PER_USD]


def _squares(view: View, _: FeaturesSpec) -> list[pl.Series]:
    bought = pl.when(_BUY).then(pl.col("usd").cast(pl.Int128)).fill_null(0).alias("bought")
    (found,) = view.sums_over_wallets(HOUR, [bought], [pl.col("bought") * pl.col("bought")])
    return [found.cast(pl.Float64) / PER_USD**2]


def _smart_sums(view: View, _: FeaturesSpec) -> list[pl.Series]:
    side = pl.when(_BUY).then(1).otherwise(-1).cast(pl.Int64)
    return view.sums(
        HOUR, (_NAMED.cast(pl.Int64).alias("named"), pl.when(pl.col("is_smart")).then(side).alias("net_buys"))
    )


def _n_placed(view: View, _: FeaturesSpec) -> list[pl.Series]:
    return view.sums(DAY, [(_NAMED & pl.col("tokens").is_not_null()).cast(pl.Int64).alias("placed")])


def _held(view: View, _: FeaturesSpec) -> list[pl.Series]:
    tokens, net = pl.col("tokens"), pl.col("net")
    columns = (
        pl.when(_BUY).then(tokens).otherwise(0 - tokens).fill_null(0).alias("net"),
        (pl.col("is_smart") & tokens.is_not_null()).cast(pl.Int64).alias("n_smart"),
    )
    kept = pl.when(net > 0).then(net).otherwise(0)
    by_smart = pl.when(pl.col("n_smart") > 0).then(kept).otherwise(0)
    return [held.cast(pl.Float64) / PER_TOKEN for held in view.sums_over_wallets(DAY, columns, [kept, by_smart])]


def _roll(view: View, spec: FeaturesSpec) -> list[pl.Series]:
    """2 sqrt(-cov(d(i-1), d(i))), d = changes of the log price from swap to swap, over the pairs in the hour.

    Null where the covariance is not below -LEAST_COVARIANCE or fewer than `min_returns` pairs are known. Only swaps in
    order count, so the sequence is never rewritten.

    Reference: R. Roll, "A simple implicit measure of the effective bid-ask spread in an efficient market", Journal of
    Finance 39 (1984), 1127-1139.
    """
    priced = view.swaps.filter(pl.col("is_in_order"), pl.col("log_price").is_not_null())
    if priced.is_empty():
        return [pl.Series([None] * len(view.at_us), dtype=pl.Float64)]
    log = priced["log_price"].cast(pl.Int128)
    change = log.diff().fill_null(0)
    first, last = ranges_of(whole(priced["pool_no"]), view.pool_no)
    high = bisect_within(whole(priced["known_us"]), first, last, view.at_us, right=True)
    low = bisect_within(whole(priced["event_us"]), first, high, view.at_us - HOUR // US, right=True)
    n = np.maximum(high - low - 2, 0)
    begin = np.minimum(low + 2, high)
    # Sums of changes are differences of prices; where there is no pair, any row will do and is passed over.
    sums = pl.DataFrame(
        {
            "n": pl.Series(n, dtype=pl.Int128),
            "both": between((change * change.shift(1)).fill_null(0), begin, high),
            "earlier": _at(log, high - 2) - _at(log, low),
            "later": _at(log, high - 1) - _at(log, low + 1),
        }
    )
    covariance = pl.col("n") * pl.col("both") - pl.col("earlier") * pl.col("later")
    per_pair = covariance.cast(pl.Float64) / (pl.col("n") * pl.col("n")).cast(pl.Float64)
    enough = (pl.col("n") >= spec.min_returns) & (per_pair < -LEAST_COVARIANCE * PER_LOG**2)
    spread = pl.when(enough).then((-per_pair).sqrt() * 2 / PER_LOG)
    return [sums.select(spread.alias("roll_spread_1h")).to_series()]


def _at(values: pl.Series, places: Whole) -> pl.Series:
    return values.gather(np.clip(places, 0, len(values) - 1))


type _Compute = Callable[[View, FeaturesSpec], list[pl.Series]]
_GROUPS: Final[dict[tuple[str, ...], _Compute]] = {
    _USD_SUMS: _usd_sums,
    ("largest_usd_1h",): _largest,
    ("buyer_squares_1h",): _squares,
    _SMART_SUMS: _smart_sums,
    ("n_placed_24h",): _n_placed,
    _HELD: _held,
    ("roll_spread_1h",): _roll,
}
"""Fields that are computed together, and how."""
FIELDS: Final = (*(field for fields in _GROUPS for field in fields), *_FIRST)
