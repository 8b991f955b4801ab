"""The market family: where the price comes from, how deep the pool is, what a trade costs, how much it moves.

Belongs here: what the price's path and the pool's own reserve say of the market in it. Stays out: indicators
(`technical`), other pools (`correlation`), who trades (`flow`). What needs bars is told as of the last closed one.
"""

from typing import Final

from pipeline.calendars import DAY, HOUR
from pipeline.features.algebra import Value, change_pct, clamp, ln, ratio
from pipeline.features.engines.market_terms import HORIZONS, PROFILE, SPREAD, VOLATILITIES
from pipeline.features.families.flow import BUYS_1H, HOUR_OF_TRADES, SELLS_1H, UNTOLD_HOUR, VALUED_1H, if_told
from pipeline.features.feature import Example, Feature, feature
from pipeline.features.inputs import Lagged, Now, OfBar, OfTrades, Rolled, Row
from pipeline.features.spec import FeaturesSpec

_MINUTES: Final = 5
_CLOSE: Final = OfBar("close", _MINUTES)
_PROFILE: Final = OfBar(PROFILE, _MINUTES)
_CORWIN_SCHULTZ: Final = OfBar(SPREAD, _MINUTES)
_ROLL: Final = OfTrades("roll_spread_1h")
_RESERVE: Final = Now("reserve_usd")
_RESERVE_BEFORE: Final = Lagged("reserve_usd", 6 * HOUR)
_RESERVE_MEAN: Final = Rolled("reserve_usd", DAY, "mean")
_RESERVE_STD: Final = Rolled("reserve_usd", DAY, "std")
_ESTIMATED_BY: Final = {
    "parkinson": "sqrt(mean of ln(high/low)^2 / (4 ln 2)): Parkinson (1980), Journal of Business 53, 61-65.",
    "garman_klass": "sqrt(mean of ln(high/low)^2 / 2 - (2 ln 2 - 1) ln(close/open)^2): Garman & Klass (1980), Journal "
    "of Business 53, 67-78, the practical estimator.",
    "realised": "sqrt(mean of ln(close/close before)^2) over adjacent bars: Andersen & Bollerslev (1998), "
    "International Economic Review 39, 885-905. Nothing is said of the move across a gap.",
}


def _momentum(horizon: str) -> Feature:
    before = OfBar(f"close_{horizon}_before", _MINUTES)

    def formula(x: Row, _: FeaturesSpec) -> Value:
        return change_pct(x[_CLOSE], x[before])

    formula.__doc__ = (
        f"100 (close / close of the latest bar that ended at or before end - {horizon}, - 1), in per cent; `end` is "
        "the end of the last closed bar."
    )
    define = feature(
        f"price_momentum_{horizon}_pct",
        family="market",
        inputs=(_CLOSE, before),
        null_rule=f"no bar ended in the last half of {horizon} before end - {horizon}, its close is zero, or the last "
        "bar is stale",
        example=Example({_CLOSE.name: 3.0, before.name: 2.0}, 50.0),
    )
    return define(formula)


def _depth(usd: int) -> Feature:
    def formula(x: Row, _: FeaturesSpec) -> Value:
        # ((Q + u) / Q)^2 - 1 = u/Q (2 + u/Q), which keeps its digits where u is small beside Q.
        share = ratio(2.0 * usd, x[_RESERVE])
        return share * (share + 2) * 100

    formula.__doc__ = (
        f"100 (((Q + {usd}) / Q)^2 - 1), Q = reserve_usd / 2: how far a purchase of {usd} USD moves the price of a "
        "pool that keeps the product of its reserves constant (Adams, Zinsmeister & Robinson 2020, Uniswap v2 Core), "
        "its fee left out; in per cent."
    )
    define = feature(
        f"liquidity_depth_{usd}_usd_pct",
        family="market",
        inputs=(_RESERVE,),
        null_rule="the reserve is unknown or zero",
        example=Example({_RESERVE.name: 20.0 * usd}, 21.0),
    )
    return define(formula)


def _volatility(name: str, window: str) -> Feature:
    of_bar = OfBar(f"{name}_{window}", _MINUTES)

    def formula(x: Row, _: FeaturesSpec) -> Value:
        return x[of_bar] * 100

    formula.__doc__ = (
        f"100 x {_ESTIMATED_BY[name]} Over the 5-min bars that ended in the last {window} before the end of the last "
        "closed bar: the standard deviation of a 5-min log return, in per cent."
    )
    few = "3" if window == "1h" else "`min_returns`"
    define = feature(
        f"volatility_{name}_{window}_pct",
        family="market",
        inputs=(of_bar,),
        null_rule=f"fewer than {few} bars of the last {window} tell it, or the last bar is stale",
        example=Example({of_bar.name: 0.015}, 1.5),
    )
    return define(formula)


PRICE_MOMENTUM: Final = {h: _momentum(h) for h in HORIZONS}
LIQUIDITY_DEPTH: Final = {usd: _depth(usd) for usd in (100, 1000, 10000)}
VOLATILITY: Final = {(n, w): _volatility(n, w) for w in ("1h", "24h") for n in VOLATILITIES}


@feature(
    "volume_profile_24h",
    family="market",
    inputs=(_PROFILE,),
    null_rule="a bar's traded value is unknown, nothing was traded in 24 h, or the last bar is stale",
    example=Example({_PROFILE.name: 0.25}, 0.25),
)
def volume_profile_24h(x: Row, _: FeaturesSpec) -> Value:
    """USD traded in bars with |(high + low + close) / 3 - last close| <= `profile_band_pct` of it / USD traded.

    Over the 5-min bars that ended in the last 24 h before the end of the last closed bar. A bar's trades are all taken
    to lie at its typical price, as in a volume profile by bars (Steidlmayer 1986, Markets and Market Logic).
    """
    return clamp(x[_PROFILE], 0.0, 1.0)


@feature(
    "spread_roll_1h_pct",
    family="market",
    inputs=(*HOUR_OF_TRADES, _ROLL),
    null_rule=f"{UNTOLD_HOUR}; or successive price changes are too few, or do not tend to reverse",
    example=Example({BUYS_1H.name: 3, SELLS_1H.name: 2, VALUED_1H.name: 5, _ROLL.name: 0.006}, 0.6),
)
def spread_roll_1h_pct(x: Row, spec: FeaturesSpec) -> Value:
    """100 x 2 sqrt(-cov(d_i, d_{i-1})), d the log price changes from trade to trade in the last hour, in per cent.

    Roll (1984), "A Simple Implicit Measure of the Effective Bid-Ask Spread in an Efficient Market", Journal of Finance
    39, 1127-1139.
    """
    return if_told(x, x[_ROLL] * 100, spec)


@feature(
    "spread_corwin_schultz_24h_pct",
    family="market",
    inputs=(_CORWIN_SCHULTZ,),
    null_rule="fewer than `min_returns` pairs of adjacent bars in 24 h tell it, or the last bar is stale",
    example=Example({_CORWIN_SCHULTZ.name: 0.012}, 1.2),
)
def spread_corwin_schultz_24h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 x the mean over adjacent 5-min bars of max(0, 2 (e^a - 1) / (1 + e^a)), in per cent.

    a = (sqrt(2 b) - sqrt(b)) / k - sqrt(g / k), k = 3 - 2 sqrt 2, b = the sum of both bars' ln(high/low)^2, g =
    ln(highest/lowest of both)^2: Corwin & Schultz (2012), Journal of Finance 67, 719-760, with negative estimates set
    to zero. Over pairs whose later bar ended in the last 24 h before the end of the last closed bar.
    """
    return clamp(x[_CORWIN_SCHULTZ] * 100, 0.0, 200.0)


@feature(
    "liquidity_stability_24h",
    family="market",
    inputs=(_RESERVE_MEAN, _RESERVE_STD),
    null_rule="the reserve is known of fewer than two snapshots of 24 h, or was always zero",
    example=Example({_RESERVE_MEAN.name: 200.0, _RESERVE_STD.name: 50.0}, 0.8),
)
def liquidity_stability_24h(x: Row, _: FeaturesSpec) -> Value:
    """1 / (1 + std / mean) of reserve_usd over the snapshots in (t - 24 h, t]: 1 where it did not move at all."""
    return 1 / (ratio(x[_RESERVE_STD], x[_RESERVE_MEAN]) + 1)


@feature(
    "liquidity_growth_rate_6h",
    family="market",
    inputs=(_RESERVE, _RESERVE_BEFORE),
    null_rule="the pool has no snapshot about 6 h earlier, or one of the reserves is zero or unknown",
    example=Example({_RESERVE.name: 200.0, _RESERVE_BEFORE.name: 100.0}, 11.552453009332421),
)
def liquidity_growth_rate_6h(x: Row, _: FeaturesSpec) -> Value:
    """100 ln(reserve_usd(t) / reserve_usd(t - 6 h)) / 6, in per cent per hour."""
    return ln(ratio(x[_RESERVE], x[_RESERVE_BEFORE])) * (100 / 6)
