"""The smart money family: what wallets do that earned before.

Belongs here: what smart wallets trade and hold in the pool. Stays out: which wallets are smart (`wallets`).

A wallet is smart by what it realised in all pools of the source and network before the swap in question was learned.
Windows speak only where enough of their swaps are known (see `flow`); one that does not tell who made it is not known.
"""

from typing import Final

from pipeline.features.algebra import Value, is_known, ratio, where
from pipeline.features.families.flow import BUYS_1H, SELLS_1H, is_covered
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Input, Now, OfTrades, Row
from pipeline.features.spec import FeaturesSpec

_BUYS_24H: Final = Now("n_buys_h24")
_SELLS_24H: Final = Now("n_sells_h24")
_NAMED: Final = OfTrades("n_named_1h")
_NET_BUYS: Final = OfTrades("smart_net_buys_1h")
_PLACED: Final = OfTrades("n_placed_24h")
_HELD: Final = OfTrades("held_24h")
_SMART_HELD: Final = OfTrades("smart_held_24h")
_NET: Final[tuple[Input, ...]] = (BUYS_1H, SELLS_1H, _NAMED, _NET_BUYS)
_HOLDING: Final[tuple[Input, ...]] = (_BUYS_24H, _SELLS_24H, _PLACED, _HELD, _SMART_HELD)


def _net_buys(x: Row, spec: FeaturesSpec) -> Value:
    return where(is_covered(x, _NAMED, (BUYS_1H, SELLS_1H), spec), x[_NET_BUYS])


def _holding(x: Row, spec: FeaturesSpec) -> Value:
    share = ratio(x[_SMART_HELD], x[_HELD])
    return where(is_covered(x, _PLACED, (_BUYS_24H, _SELLS_24H), spec), share)


@feature(
    "smart_money_net_buys",
    family="smart_money",
    inputs=_NET,
    null_rule="fewer swaps of the hour are known, with their wallet, than `trades_coverage` asks for, or none",
    example=Example({BUYS_1H.name: 5, SELLS_1H.name: 4, _NAMED.name: 9, _NET_BUYS.name: -2}, -2),
)
def smart_money_net_buys(x: Row, spec: FeaturesSpec) -> Value:
    """Purchases less sales in (t - 1 h, t] by wallets that were smart when the swap was learned."""
    return _net_buys(x, spec)


@feature(
    "smart_money_holding",
    family="smart_money",
    inputs=_HOLDING,
    null_rule="fewer swaps of the day are known, with wallet and amount, than `trades_coverage` asks for, or none; or "
    "all that was bought was sold again",
    example=Example(
        {_BUYS_24H.name: 5, _SELLS_24H.name: 4, _PLACED.name: 9, _HELD.name: 2_000.0, _SMART_HELD.name: 500.0},
        0.25,
    ),
)
def smart_money_holding(x: Row, spec: FeaturesSpec) -> Value:
    """Sum over smart wallets of kept / sum over all, kept = max(0, tokens bought - tokens sold) over (t - 24 h, t].

    Smart is here who was so at one of these swaps at least. A day, because a snapshot counts its swaps over a day: so
    it can be told whether enough of them are known.
    """
    return _holding(x, spec)


@feature(
    "is_smart_money_bullish",
    family="smart_money",
    inputs=(*_NET, *_HOLDING),
    null_rule="smart_money_net_buys or smart_money_holding is unknown",
    example=Example(
        {
            BUYS_1H.name: 5,
            SELLS_1H.name: 4,
            _NAMED.name: 9,
            _NET_BUYS.name: 1,
            _BUYS_24H.name: 5,
            _SELLS_24H.name: 4,
            _PLACED.name: 9,
            _HELD.name: 2_000.0,
            _SMART_HELD.name: 500.0,
        },
        True,
    ),
)
def is_smart_money_bullish(x: Row, spec: FeaturesSpec) -> Value:
    """smart_money_net_buys > 0 and smart_money_holding > 0, both known."""
    net, holding = _net_buys(x, spec), _holding(x, spec)
    return where(is_known(net, holding), (net > 0) & (holding > 0))
