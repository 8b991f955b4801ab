"""A round of exports: a full one and three updates, after which it begins again; for processes that are killed."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

import polars as pl

from pipeline.bins.export import Export, export_all, update
from pipeline.calendars import Span
from tests.bins.bins_market import START, identities, made_bars

N_STEPS = 4


@cache
def steps(n_pools: int) -> list[Callable[[Path], Export]]:
    """Each takes the directory from the state that the one before it leaves; the first from any."""
    pools = tuple(f"0x{at:02x}Ab" for at in range(n_pools))
    bars = made_bars(pools, n_hours=50)
    known, at = identities(bars), pl.col("event_time")
    n_hours = 50 + 7 * n_pools
    early, late = START + timedelta(hours=n_hours // 2), START + timedelta(hours=n_hours - 8)
    of_few = pl.col("pool").is_in(pools[: n_pools // 4 + 1])
    begun, grown = bars.filter(at < early, ~of_few), bars.filter(at >= early, at < late, ~of_few)
    new = bars.filter(of_few | (at >= late))
    revised = [Span(early - timedelta(hours=20), early)]
    seen_anew = made_bars(pools, n_hours=50, seed=1).filter(at >= revised[0].start, at < revised[0].end)
    return [
        lambda directory: export_all(begun, known, directory),
        lambda directory: update(grown, known, directory),
        lambda directory: update(new, known, directory),
        lambda directory: update(seen_anew, known, directory, within=revised),
    ]
