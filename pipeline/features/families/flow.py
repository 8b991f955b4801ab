"""The flow family: who moved how much, swap by swap.

Belongs here: quantities of single swaps and their wallets. Stays out: counts that the snapshot has itself
(`activity`, `momentum`), smart wallets (`smart_money`).

A window of which swaps are missing says nothing: it speaks only where at least the spec's `trades_coverage` of the
swaps that the snapshot counts are known, and one at least. A swap that does not tell its value is not known here.
"""

from typing import Final

from pipeline.features.algebra import Value, clamp, ratio, where
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Input, Now, OfTrades, Row
from pipeline.features.spec import FeaturesSpec

BUYS_1H: Final = Now("n_buys_h1")
SELLS_1H: Final = Now("n_sells_h1")
VALUED_1H: Final = OfTrades("n_valued_1h")
_BOUGHT: Final = OfTrades("bought_usd_1h")
_SOLD: Final = OfTrades("sold_usd_1h")
_LARGEST: Final = OfTrades("largest_usd_1h")
_UNNAMED: Final = OfTrades("n_unnamed_buys_1h")
_SQUARES: Final = OfTrades("buyer_squares_1h")
_MINUTE_USD: Final = OfTrades("first_minute_usd")
_HOUR_USD: Final = OfTrades("first_hour_usd")
_MINUTE_BUYERS: Final = OfTrades("first_minute_buyers")
HOUR_OF_TRADES: Final[tuple[Input, ...]] = (BUYS_1H, SELLS_1H, VALUED_1H)
UNTOLD_HOUR: Final = "fewer swaps of the hour are known, with their value, than `trades_coverage` asks for, or none"
_FIRST_RULE: Final = "part of it may not have been told (see `births`), the pool is older than a week"


def is_covered(x: Row, known: Input, counted: tuple[Input, Input], spec: FeaturesSpec) -> Value:
    """Whether enough of the purchases and sales that the snapshot counts are known, and one at least."""
    buys, sells = counted
    return (x[known] >= 1) & (x[known] >= (x[buys] + x[sells]) * spec.trades_coverage)


def if_told(x: Row, value: Value, spec: FeaturesSpec) -> Value:
    """The value, where enough swaps of the last hour are known with their value."""
    return where(is_covered(x, VALUED_1H, (BUYS_1H, SELLS_1H), spec), value)


@feature(
    "order_flow_imbalance_1h",
    family="flow",
    inputs=(*HOUR_OF_TRADES, _BOUGHT, _SOLD),
    null_rule=f"{UNTOLD_HOUR}, or they were worth nothing",
    example=Example(
        {BUYS_1H.name: 3, SELLS_1H.name: 2, VALUED_1H.name: 5, _BOUGHT.name: 300.0, _SOLD.name: 100.0},
        0.5,
    ),
)
def order_flow_imbalance_1h(x: Row, spec: FeaturesSpec) -> Value:
    """(USD bought - USD sold) / (USD bought + USD sold), over the swaps of (t - 1 h, t]."""
    return if_told(x, ratio(x[_BOUGHT] - x[_SOLD], x[_BOUGHT] + x[_SOLD]), spec)


@feature(
    "largest_trade_share_1h",
    family="flow",
    inputs=(*HOUR_OF_TRADES, _BOUGHT, _SOLD, _LARGEST),
    null_rule=f"{UNTOLD_HOUR}, or they were worth nothing",
    example=Example(
        {BUYS_1H.name: 3, SELLS_1H.name: 2, VALUED_1H.name: 5, _BOUGHT.name: 3.0, _SOLD.name: 1.0, _LARGEST.name: 2.0},
        0.5,
    ),
)
def largest_trade_share_1h(x: Row, spec: FeaturesSpec) -> Value:
    """USD of the largest swap / USD of all, over the swaps of (t - 1 h, t]."""
    # Each sum is rounded once on its way into a float, so a lone swap could come out a hair larger than all.
    return if_told(x, clamp(ratio(x[_LARGEST], x[_BOUGHT] + x[_SOLD]), high=1.0), spec)


@feature(
    "buyer_herfindahl_1h",
    family="flow",
    inputs=(*HOUR_OF_TRADES, _BOUGHT, _UNNAMED, _SQUARES),
    null_rule=f"{UNTOLD_HOUR}, or a purchase does not tell who made it, or nothing was bought",
    example=Example(
        {
            BUYS_1H.name: 3,
            SELLS_1H.name: 0,
            VALUED_1H.name: 3,
            _BOUGHT.name: 4.0,
            _UNNAMED.name: 0,
            _SQUARES.name: 10.0,
        },
        0.625,
    ),
)
def buyer_herfindahl_1h(x: Row, spec: FeaturesSpec) -> Value:
    """Sum over buyers of (their share of the USD bought)^2, over the swaps of (t - 1 h, t]; 1: one buyer.

    The index of A. O. Hirschman (1945) and O. C. Herfindahl (1950).
    """
    index = clamp(ratio(x[_SQUARES], x[_BOUGHT] * x[_BOUGHT]), high=1.0)
    return where(x[_UNNAMED] == 0, if_told(x, index, spec))


@feature(
    "first_minute_buy_share",
    family="flow",
    inputs=(_MINUTE_USD, _HOUR_USD),
    null_rule=f"{_FIRST_RULE}, the hour is not over, a purchase does not tell its value, or nothing was bought",
    example=Example({_MINUTE_USD.name: 40.0, _HOUR_USD.name: 160.0}, 0.25),
)
def first_minute_buy_share(x: Row, _: FeaturesSpec) -> Value:
    """USD bought in the first minute after birth / USD bought in the first hour; it stays once it is said."""
    return ratio(x[_MINUTE_USD], x[_HOUR_USD])


@feature(
    "n_first_minute_buyers",
    family="flow",
    inputs=(_MINUTE_BUYERS,),
    null_rule=f"{_FIRST_RULE}, the minute is not over, or a purchase does not tell who made it",
    example=Example({_MINUTE_BUYERS.name: 7}, 7),
)
def n_first_minute_buyers(x: Row, _: FeaturesSpec) -> Value:
    """Wallets that bought in the first minute after birth; it stays once it is said."""
    return x[_MINUTE_BUYERS]
