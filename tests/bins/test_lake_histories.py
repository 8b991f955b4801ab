"""After any history of writes, deletions, compactions and exports, an update leaves what a full export leaves."""

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bins.bars import bars_of
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import HOUR, MINUTE, Span
from pipeline.lake import Lake
from pipeline.tables import CANDLES, FEATURES
from tests.bins.bins_history import tree
from tests.bins.bins_market import candle, candles
from tests.bins.exported_lake import (
    FEATURED,
    LONG_AFTER,
    POOLS,
    SOURCE,
    START,
    exported,
    in_full,
    lake_in,
    reserve_told,
)

DAYS = 4
moments = st.integers(0, DAYS * 24 - 1)
writes = st.one_of(
    st.tuples(st.just("late"), moments, st.sampled_from([*POOLS, "new", "newer"])),
    st.tuples(st.just("revise"), moments, st.integers(1, 30)),
    st.tuples(st.just("delete"), moments, st.integers(1, 30)),
    st.tuples(st.just("feature"), moments, st.sampled_from(POOLS)),
    st.tuples(st.just("compact"), st.booleans()),
    st.tuples(st.just("export"), st.integers(1, DAYS * 24 * 60)),
)


def carry_out(lake: Lake, write: tuple[object, ...], number: int) -> None:
    match write:
        case "late", int(hour), str(pool):
            value = 1.0 + number
            row = candle(START + hour * HOUR + 10 * MINUTE, pool=pool, high=value + 9, close=value, volume_quote=value)
            lake.append(CANDLES, candles(row, row | {"source": "simulation:1"}))
        case "revise" | "delete" as kind, int(hour), int(length):
            span = Span(START + hour * HOUR, START + (hour + length) * HOUR)
            kept = lake.scan(CANDLES, span).with_columns(pl.col("close", "high") + number).collect()
            lake.replace(CANDLES, kept if kind == "revise" else CANDLES.empty(), span)
        case "feature", int(hour), str(pool):
            lake.append(FEATURES, reserve_told(START + hour * HOUR, pool, float(number)))
        case "compact", bool(is_vacuumed):
            lake.compact(CANDLES)
            if is_vacuumed:
                lake.vacuum(CANDLES, now=LONG_AFTER, retention=timedelta(0))


@settings(max_examples=25)
@given(
    spec=st.sampled_from([FEATURED, BinsSpec(freq="15min"), BinsSpec(freq="day")]),
    first=st.sets(moments, min_size=1, max_size=12),
    history=st.lists(writes, min_size=2, max_size=9),
)
def test_after_any_history_an_update_leaves_what_a_full_export_leaves(
    spec: BinsSpec, first: set[int], history: list[tuple[object, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = lake_in(folder)
        lake.append(CANDLES, candles(*(candle(START + n * HOUR, pool=POOLS[n % 3]) for n in first)))
        exported(lake, folder / "qlib", spec)
        for number, write in enumerate([*history, ("export", 10**6)]):
            carry_out(lake, write, number)
            if write[0] != "export":
                continue
            until = START + int(write[1]) * MINUTE
            ends = pl.col("event_time") + spec.step
            held = bars_of(lake.scan(CANDLES, sources=[SOURCE]), replace(spec, fields=("close",)))
            if held.filter(ends <= until).height:
                done = exported(lake, folder / "qlib", spec, at=until)
                assert done.is_whole
                assert tree(folder / "qlib") == in_full(lake, spec, until=done.at.until)
                assert done.n_bars_held in (None, held.filter(ends <= done.at.until).height)
