"""From five-minute candles, and the features beside them, to the bars that QLib is given.

Belongs here: the arithmetic of a bar, and which feature a bar may carry. Stays out: which days of the lake are read
(`from_lake`), calendars and files (the other modules of this stage).

A bar says what was traded. Five-minute bars in which nobody bought or sold (liquidity was only added or removed) take
no part in it, and a stretch without any trade has no bar: a gap stays a gap. Where nobody counted the trades (a bar
that the API told without the swaps in it) there were some: it tells only of bars with a trade.

A bin is history as we know it now: CANDLES holds one row a pool and bar, the latest telling, and a bar that was told
late or revised is exported as it stands. When it was learned does not matter here; a model that must not know a bar
before its time takes it from the snapshots' features, or leaves a bar between the decision and the entry.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl

from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec
from pipeline.errors import UsageError
from pipeline.tables import FEATURE_HEAD, FEATURES, POOL_KEY

FACTOR: Final = "factor"
BAR_FIELDS: Final = ("open", "high", "low", "close", "volume", "vwap")
"""What a bar is made of candles alone; `factor` is the spec's constant, and any other field is a feature."""
BAR_HEAD: Final = ("source", "network", "pool", "instrument", "event_time")

_KNOWN_FEATURES: Final = tuple(n for n in FEATURES.schema.names() if n not in {c.name for c in FEATURE_HEAD})
_MOMENT: Final = timedelta(microseconds=1)
_BAR: Final = (*POOL_KEY, "bar")


def features_in(fields: Sequence[str]) -> tuple[str, ...]:
    """Those of the fields that are columns of the features table.

    Raises:
        UsageError: a field is neither of a bar nor a feature.
    """
    if strange := [name for name in fields if name not in {*BAR_FIELDS, FACTOR, *_KNOWN_FEATURES}]:
        raise UsageError(
            f"the lake has no fields {strange!r}: a bar has {[*BAR_FIELDS, FACTOR]!r}, and beside them the features "
            f"{list(_KNOWN_FEATURES)!r}"
        )
    return tuple(name for name in fields if name in _KNOWN_FEATURES)


def bars_of(
    candles: pl.LazyFrame | pl.DataFrame, spec: BinsSpec, features: pl.LazyFrame | pl.DataFrame | None = None
) -> pl.DataFrame:
    """The bars of every pool, made of the five-minute bars that hold a trade, with the chosen features beside them.

    Args:
        candles: rows of CANDLES, in any order, whole bars of the spec's grid; other timeframes than the spec's, and
            rows without a finite high, low and close, are passed over.
        spec: the grid, and the fields.
        features: rows of FEATURES, in any order, from the start of the first bar to the end of the last, both included;
            needed if a field is one.

    Returns:
        source, network, pool, instrument (the pool's name in QLib), event_time (the bar's start, UTC), then the fields
        of the spec in its order but for `factor`, sorted by source, network, pool and time. Prices are in quote tokens
        per base token, `volume` in quote tokens, and null where that of a part is unknown. `vwap` weighs each
        five-minute bar's typical price, (high + low + close) / 3, by its volume, because the volume in base tokens is
        not recorded; it is null where the trades moved no quote token at all.

        A feature is that of the pool's last row with bar start < event_time <= bar end which was known at the bar's
        end, the moment at which QLib decides: nothing that was learned later enters. It is null where there is none,
        or where that row does not know it; yes and no are 1 and 0.

    Raises:
        UsageError: a field is neither of a bar nor a feature, or it is a feature and there are none.
    """
    chosen = features_in(spec.fields)
    bars = _traded(candles.lazy(), spec)
    if chosen and features is None:
        raise UsageError(f"fields {list(chosen)!r} are features: give the rows of {FEATURES.name!r} beside the candles")
    if chosen and features is not None:
        bars = bars.join(_last_known(features.lazy(), chosen, spec.step), on=_BAR, how="left", maintain_order="left")
    wanted = [name for name in spec.fields if name != FACTOR]
    # The streaming engine adds a group's parts in the order its threads finish: the last bit would change per run.
    found = bars.select(*POOL_KEY, pl.col("bar").alias("event_time"), *wanted).collect(engine="in-memory")
    return _named(found).select(*BAR_HEAD, *wanted)


def holds_a_trade() -> pl.Expr:
    """Whether a row of CANDLES takes part in a bar."""
    is_traded = (pl.col("n_buys") + pl.col("n_sells") > 0).fill_null(value=True)
    return is_traded & pl.all_horizontal(pl.col("high", "low", "close").is_finite())


def _traded(candles: pl.LazyFrame, spec: BinsSpec) -> pl.LazyFrame:
    volume = pl.col("volume_quote")
    total = pl.when(volume.is_not_null().all()).then(volume.sum())
    typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    return (
        candles.filter(pl.col("timeframe") == spec.timeframe, holds_a_trade())
        .sort(*POOL_KEY, "event_time")
        .group_by(*POOL_KEY, pl.col("event_time").dt.truncate(spec.step).alias("bar"), maintain_order=True)
        .agg(
            _finite("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            total.alias("volume"),
            pl.when(total > 0).then((typical * volume).sum() / total).alias("vwap"),
        )
        # A mean lies between the extremes; with the tiniest volumes the division loses its digits and does not.
        .with_columns(_finite("volume"), _finite("vwap").clip("low", "high"))
    )


def _finite(name: str) -> pl.Expr:
    """Null in the place of what is no number: amounts are anybody's to choose, and one must not stop an export."""
    return pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name)


def _last_known(features: pl.LazyFrame, chosen: Sequence[str], step: timedelta) -> pl.LazyFrame:
    """The last row of each pool and bar that was known at the bar's end: POOL_KEY, `bar`, the chosen as numbers."""
    # A row at the very end of a bar is still seen by it: bars are half-open, what may be known at a moment is not.
    bar = (pl.col("event_time") - _MOMENT).dt.truncate(step)
    return (
        features.select(*POOL_KEY, "event_time", "known_at", bar.alias("bar"), *chosen)
        .filter(pl.col("known_at") <= pl.col("bar") + step)
        .sort(*POOL_KEY, "event_time")
        .group_by(*_BAR, maintain_order=True)
        .agg(pl.col(chosen).last().cast(pl.Float64))
        .with_columns(_finite(name) for name in chosen)
    )


def _named(bars: pl.DataFrame) -> pl.DataFrame:
    pools = bars.select("network", "pool").unique()
    names = pl.Series("instrument", [instrument_name(*pool) for pool in pools.iter_rows()], pl.String)
    return bars.join(
        pools.with_columns(names), on=["network", "pool"], how="left", validate="m:1", maintain_order="left"
    )


def identities_of(bars: pl.DataFrame) -> dict[str, tuple[str, str]]:
    """Which pool each instrument of `bars_of` is: name -> (network, pool)."""
    pools = bars.select("instrument", "network", "pool").unique()
    return {name: (network, pool) for name, network, pool in pools.iter_rows()}
