"""What a snapshot may see of its pool's bars: the fields computed at the latest bar that had closed.

Belongs here: running the calculators over history and looking their fields up. Stays out: what they compute
(`indicators` and others), making bars (`bars`), and the same online (`online_bars`).
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.calendars import MINUTE, Span
from pipeline.errors import UsageError
from pipeline.features.engine import POOL_RUN, BarCalculator
from pipeline.features.engines import indicators, market_bars
from pipeline.features.engines.bars import five_minute_bars, longer_bars
from pipeline.features.inputs import SINCE_BIRTH, OfBar
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY

CALCULATORS: Final[tuple[BarCalculator, ...]] = (indicators.CALCULATOR, market_bars.CALCULATOR)
"""Everything that is computed at closed bars; of two that know a field, the first is asked."""

ENDED: Final = "bar_ended_at"
"""When the bar was over, which may be long before it closed."""


def calculators_of(inputs: Sequence[OfBar], minutes: int) -> dict[BarCalculator, list[OfBar]]:
    """The calculators that know the inputs on bars of `minutes`, each with those it is asked for.

    Raises:
        UsageError: nobody knows a field.
    """
    asked: dict[BarCalculator, list[OfBar]] = {}
    for wanted in inputs:
        if wanted.minutes != minutes:
            continue
        knowing = next((calculator for calculator in CALCULATORS if wanted.field in calculator.fields), None)
        if knowing is None:
            known = [field for calculator in CALCULATORS for field in calculator.fields]
            raise UsageError(f"no field {wanted.field!r} is computed at bars, only {known!r}: correct the input")
        asked.setdefault(knowing, []).append(wanted)
    return asked


def attach(
    rows: pl.DataFrame, inputs: Sequence[OfBar], sources: Sources, span: Span, spec: FeaturesSpec
) -> pl.DataFrame:
    """The rows in the same order, with each `OfBar` as a column beside them; see `engine.OverHistory`.

    A row at t sees the bar that closed last at or before t. If that bar ended more than `spec.stale_bars` of its
    lengths before t, its fields are null.
    """
    pools = rows.select(*POOL_KEY, POOL_RUN).unique()
    start = pl.col("event_time")
    candles = sources.candles.filter(start >= span.start - SINCE_BIRTH, start < span.end)
    parts = five_minute_bars(candles, pools)
    for minutes in dict.fromkeys(wanted.minutes for wanted in inputs):
        bars = longer_bars(parts, minutes, spec)
        found = bars.select(POOL_RUN, "closed_at", (start + minutes * MINUTE).alias(ENDED))
        for calculator, wanted in calculators_of(inputs, minutes).items():
            computed = calculator.over_history(bars, minutes, spec)
            found = found.with_columns(computed[i.field].alias(i.name) for i in wanted)
        rows = look_up(rows, found, minutes, spec)
    return rows


def look_up(rows: pl.DataFrame, found: pl.DataFrame, minutes: int, spec: FeaturesSpec) -> pl.DataFrame:
    """Each row with the columns of `found` as of the latest bar of its pool that had closed, null if that is stale.

    Args:
        rows: POOL_RUN and `event_time`, sorted within each pool.
        found: POOL_RUN, `closed_at`, ENDED and what is looked up, in the order of the bars' starts.
        minutes: length of the bars.
        spec: `stale_bars`.
    """
    columns = [name for name in found.columns if name not in {POOL_RUN, "closed_at", ENDED}]
    run = rows.schema[POOL_RUN]
    # Both sides are sorted within each pool: rows by contract, bars because they close in the order of their starts.
    seen = rows.join_asof(
        found.with_columns(pl.col(POOL_RUN).cast(run)),
        left_on="event_time",
        right_on="closed_at",
        by=POOL_RUN,
        strategy="backward",
        check_sortedness=False,
    )
    is_fresh = pl.col("event_time") - pl.col(ENDED) <= spec.stale_bars * minutes * MINUTE
    kept = seen.with_columns(pl.when(is_fresh).then(pl.col(columns)).name.keep())
    return kept.select(*rows.columns, *columns)
