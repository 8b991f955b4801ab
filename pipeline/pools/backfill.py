"""Bars since birth for pools that were found late, or that somebody names.

Belongs here: which pools, and paging back to their birth. Stays out: what becomes of the bars (the graph).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipeline.calendars import HOUR, Span, ceil, floor
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.pools.answer import BARS_A_CALL, ohlcv
from pipeline.pools.collector import Collector
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.drain import drain
from pipeline.tables import POOLS, RAW_CANDLES


@dataclass(frozen=True)
class Backfilled:
    """What a backfill did: requests, calls without an answer, finished bars told, and the hours they fall into."""

    n_calls: int
    n_failed: int
    n_bars: int
    span: Span | None


def late_pools(lake: Lake, setup: CollectorSetup, addresses: Sequence[str], now: datetime) -> pl.DataFrame:
    """Rows of POOLS whose bars are to be fetched: those at `addresses`, or all that were found late and have none yet.

    Raises:
        UsageError: an address is not that of a pool of this source.
    """
    of_source = lake.scan(POOLS).filter(pl.col("source") == setup.source)
    if addresses:
        named = of_source.filter(pl.col("pool").is_in(list(addresses))).collect()
        unknown = sorted(set(addresses) - set(named["pool"]))
        if unknown:
            raise UsageError(f"no pool of {setup.source!r} is known at {unknown!r}: collect it first, or mind the case")
        return named
    followed = Span(now - timedelta(days=setup.sampler.follow_days), now)
    late = of_source.filter(
        pl.col("created_at").is_between(followed.start, followed.end),
        pl.col("known_at") - pl.col("created_at") > setup.collection.late,
    )
    told = lake.scan(RAW_CANDLES, followed).filter(pl.col("source") == setup.source).select("network", "pool").unique()
    return late.join(told, on=["network", "pool"], how="anti").sort("created_at", "pool").collect()


def backfill(desk: Collector, lake: Lake, pools: pl.DataFrame, say: Callable[[str], None]) -> Backfilled:
    """Fetch the bars of each pool from now back to its birth, within the shared budget, and bring them to the lake.

    A pool whose calls fail is left half done and said; what was answered is kept.
    """
    n_calls = n_failed = n_bars = 0
    oldest: datetime | None = None
    for row in pools.iter_rows(named=True):
        before: datetime | None = None
        while True:
            asked, bars = desk.bars(ohlcv(row["network"], row["pool"], before))
            n_calls += asked.n_calls
            if bars is None:
                n_failed += 1
                break
            n_bars += bars.height
            first = bars["event_time"].min()
            if not isinstance(first, datetime):
                break
            oldest = first if oldest is None else min(oldest, first)
            leads_back = before is None or first < before
            if bars.height < BARS_A_CALL - 1 or first <= row["created_at"] or not leads_back:
                break
            before = first
        say(f"{row['network']} {row['pool']}: {n_bars:,} bars so far in {n_calls:,} calls")
    drain(desk.journal, lake)
    span = None if oldest is None else Span(floor(oldest, HOUR), ceil(desk.timer.now(), HOUR))
    return Backfilled(n_calls, n_failed, n_bars, span)
