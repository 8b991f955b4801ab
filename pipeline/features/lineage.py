"""What each feature is made of: the columns of the tables that its inputs are read from.

Belongs here: the columns behind each kind of input. The keys and times by which a row is found are left out, unless a
value is made of them. A test disturbs every column in turn and sees that no other feature moves. Stays out: lineage of
the other tables (`assets.lineage`), and how far back an input reaches (`registry.look_backs`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.features.feature import Feature
from pipeline.features.inputs import Age, EngineName, Input, Lagged, Now, OfToken, OfTrades, Rolled

type Place = tuple[str, str]
"""A table and one of its columns."""

_BAR: Final[tuple[Place, ...]] = tuple(("candles", name) for name in ("open", "high", "low", "close", "volume_usd"))
_SWAP: Final[tuple[Place, ...]] = tuple(
    ("trades", name)
    for name in ("block", "trade_id", "answer_id", "trader", "kind", "base_amount", "quote_amount", "volume_usd")
)
_QUOTE: Final[tuple[Place, ...]] = (("snapshots", "price_quote"), ("snapshots", "price_usd"), ("pools", "quote_token"))
_SINCE_BIRTH: Final = ("first_minute_usd", "first_hour_usd", "first_minute_buyers")
"""Swaps that are counted from the pool's birth on."""
OF_ENGINE: Final[Mapping[EngineName, tuple[Place, ...]]] = MappingProxyType(
    {"bars": _BAR, "extra": _BAR, "index": (*_BAR, *_QUOTE), "trades": _SWAP}
)
"""What an engine reads whole, whichever of its fields is asked for: a bar, a swap."""


def made_of(feature: Feature) -> tuple[Place, ...]:
    """The columns that a feature is made of, in the order of its inputs; none where no source tells it yet.

    >>> from pipeline.features.registry import named
    >>> made_of(named("liquidity_trend"))
    (('snapshots', 'reserve_usd'),)
    """
    return tuple(dict.fromkeys(place for read in feature.inputs for place in _columns_of(read)))


def _columns_of(read: Input) -> tuple[Place, ...]:
    if isinstance(read, Now | Lagged | Rolled):
        return (("snapshots", read.column),)
    if isinstance(read, Age):
        return ("snapshots", "created_at"), ("snapshots", "event_time")
    if isinstance(read, OfToken):
        return ("tokens", read.column), ("pools", "base_token")
    since_birth = (("snapshots", "created_at"),) if isinstance(read, OfTrades) and read.field in _SINCE_BIRTH else ()
    return (*OF_ENGINE.get(read.engine, ()), *since_birth)
