"""What two stages must say alike without importing each other."""

import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pools.candles import trade_columns
from pipeline.snapshots.ticks import trades

RESERVE = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 1e-12, 1e30]), st.floats(0, 1e12))
BEFORE = st.one_of(st.none(), RESERVE)
COLUMNS = ("base_reserve_before", "quote_reserve_before", "base_reserve", "quote_reserve")


@given(st.lists(st.tuples(BEFORE, BEFORE, RESERVE, RESERVE), min_size=1, max_size=30))
def test_candles_and_snapshots_take_the_same_updates_for_trades_of_the_same_size(
    rows: list[tuple[float | None, float | None, float, float]],
) -> None:
    updates = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")
    of_candles = updates.select(trade_columns())
    of_snapshots = updates.select(trades())
    assert (of_candles["kind"] == "buy").fill_null(value=False).to_list() == (of_snapshots["buys"] == 1).to_list()
    assert (of_candles["kind"] == "sell").fill_null(value=False).to_list() == (of_snapshots["sells"] == 1).to_list()
    sizes = zip(of_candles["traded_quote"].fill_null(0.0), of_snapshots["volume"], strict=True)
    assert all(math.isclose(a, b, rel_tol=0, abs_tol=0) for a, b in sizes)
