"""Column lineage: which columns of the assets before it each column of a table is made of.

Belongs here: columns that one table hands on to the next under the same name (the same quantity has the same name in
every table), and what computed columns are made of where it is more than that. A feature's inputs are known to the
registry (`pipeline.features.lineage`). Stays out: how anything is computed.

Figures about many rows (reports, verdicts, training sets) are made of whole tables: the asset graph shows those.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import dagster as dg

from pipeline.features.lineage import Place, made_of
from pipeline.features.registry import REGISTRY
from pipeline.tables import FAMILY_TABLE_NAMES, FEATURE_HEAD, OUTCOMES, SNAPSHOTS, TABLES, Table

_HEAD: Final = tuple(column.name for column in FEATURE_HEAD)

_COLUMNS: Final = {name: frozenset(column.name for column in target.columns) for name, target in TABLES.items()}

HANDED_ON: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(("raw_pools", "tokens", "trades", "raw_candles"), ("answers",)),
        "pools": ("raw_pools",),
        "candles": ("raw_candles", "trades", "reserves"),
        "snapshots": ("raw_pools", "reserves", "pools"),
        **dict.fromkeys(FAMILY_TABLE_NAMES, ("snapshots",)),
        "features": FAMILY_TABLE_NAMES,
        "labels": ("snapshots",),
        "market_labels": ("snapshots",),
        "predictions": ("features",),
        "outcomes": ("predictions", "labels"),
        "performance_reports": ("outcomes",),
    }
)
"""Whose columns go on under their own names."""

BY_THE_CLOCK: Final = ("predictions", "outcomes", "performance_reports", "market_labels")
"""When their rows became known is told by the clock and not by the rows before."""


def _of(table: str, *columns: str) -> tuple[Place, ...]:
    return tuple((table, column) for column in columns)


_RESERVES: Final = _of("reserves", "base_reserve", "quote_reserve")
_BEFORE: Final = _of("reserves", "base_reserve_before", "quote_reserve_before")
_PRICES: Final = (*_RESERVES, *_of("trades", "base_amount", "quote_amount"))
_SEEN: Final = _of("snapshots", "price_quote", "price_usd", "quote_reserve", "reserve_usd")
_BARS: Final = _of("candles", "high", "low", "close", "quote_reserve_low", "quote_reserve_close", "event_time")
_BODY: Final = _of("answers", "body")
_CHANCES: Final = _of("predictions", *(f"p_{outcome}" for outcome in OUTCOMES))
_SAID: Final = tuple(("features", name) for name in REGISTRY)

_WINDOWS: Final = tuple(name for name in SNAPSHOTS.schema.names() if name.startswith(("volume_", "n_buys", "n_sells")))
COMPUTED: Final[Mapping[str, Mapping[str, tuple[Place, ...]]]] = MappingProxyType(
    {
        "pools": {
            **{name: _of("reserves", name) for name in ("source", "network", "pool")},
            "quote_symbol": _of("tokens", "symbol"),
            "base_decimals": _of("tokens", "decimals"),
            "quote_decimals": _of("tokens", "decimals"),
        },
        "candles": {
            **dict.fromkeys(("open", "high", "low", "close"), _PRICES),
            "volume_quote": (*_RESERVES, *_BEFORE, *_of("trades", "quote_amount")),
            "volume_usd": (*_RESERVES, *_BEFORE, ("pools", "quote_price_usd")),
            **dict.fromkeys(("n_buys", "n_sells"), (*_RESERVES, *_BEFORE, *_of("trades", "kind"))),
            **dict.fromkeys(("quote_reserve_low", "quote_reserve_close"),
                            (*_of("reserves", "quote_reserve"), *_of("raw_pools", "quote_reserve"))),
            "is_backfilled": _of("raw_candles", "known_at"),
        },
        "snapshots": {
            "observed_at": _of("raw_pools", "event_time"),
            "interval_minutes": (*_of("raw_pools", "reserve_usd"), *_RESERVES, ("pools", "created_at")),
            "price_quote": (*_RESERVES, *_of("raw_pools", "price_usd", "quote_price_usd")),
            **dict.fromkeys(("price_usd", "reserve_usd"), (*_RESERVES, ("pools", "quote_price_usd"))),
            **{name: _RESERVES for name in SNAPSHOTS.schema if name.startswith("price_change")},
            **dict.fromkeys(_WINDOWS, (*_RESERVES, *_BEFORE)),
        },
        "labels": {
            **dict.fromkeys(("horizon_hours", "average_uniqueness"), _of("snapshots", "event_time")),
            "label_known_at": (*_of("candles", "known_at"), *_of("snapshots", "known_at")),
            "path_known_at": (*_of("candles", "known_at"), *_of("snapshots", "known_at")),
        },
        "predictions": {"inputs": _SAID, "completeness": _SAID},
        "outcomes": {
            "predicted_at": _of("predictions", "known_at"),
            **dict.fromkeys(("p_outcome", "log_loss", "is_correct"), (*_of("labels", "outcome"), *_CHANCES)),
            "is_evidence": _of("predictions", "role", "known_at"),
        },
        "performance_reports": {
            "accuracy": _of("outcomes", "is_correct"), "rug_share": _of("outcomes", "outcome"),
            "day_start": _of("outcomes", "event_time"),
        },
    }
)  # fmt: skip
"""What computed columns are made of, beside what is handed on to them."""

THE_REST: Final[Mapping[str, tuple[Place, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(("raw_pools", "tokens", "trades", "raw_candles"), _BODY),
        "labels": (*_SEEN, *_BARS, ("pools", "watched_until")),
        "market_labels": (
            *_of("snapshots", "price_quote", "price_usd"), *_of("candles", "close"),
            *_of("pools", "quote_token", "watched_until"),
        ),
    }
)  # fmt: skip
"""What every column is made of that is neither handed on nor named above."""


@cache
def lineage_of(name: str) -> Mapping[str, tuple[Place, ...]]:
    """The columns of a table that are made of columns of other tables, each with those, by their table's name."""
    target = TABLES.get(name)
    made = {column: _made_of(target, column) for column in target.schema} if target else {}
    return {column: places for column, places in made.items() if places}


def column_lineage(name: str) -> dg.TableColumnLineage | None:
    """The same as Dagster's metadata value; None where nothing is told."""
    told = lineage_of(name)
    if not told:
        return None
    return dg.TableColumnLineage({column: [_dep(*place) for place in places] for column, places in told.items()})


@cache
def _dep(table: str, column: str) -> dg.TableColumnDep:
    return dg.TableColumnDep(asset_key=dg.AssetKey(table), column_name=column)


def _made_of(target: Table, column: str) -> tuple[Place, ...]:
    if target.name in FAMILY_TABLE_NAMES and column not in _HEAD:
        return made_of(REGISTRY[column])
    computed = COMPUTED.get(target.name, {}).get(column, ())
    if target.name == "predictions" and column.startswith(("p_", "signal_", "is_signal")):
        computed = _SAID
    return tuple(dict.fromkeys((*_handed_on(target.name, column), *computed))) or THE_REST.get(target.name, ())


def _handed_on(name: str, column: str) -> tuple[Place, ...]:
    if column == "known_at" and name in BY_THE_CLOCK:
        return ()
    givers = (table for table in HANDED_ON.get(name, ()) if column in _COLUMNS[table])
    # All families share one head; it is shown as the first one's.
    return tuple((table, column) for table in ([next(givers, "")] if name == "features" else givers) if table)
