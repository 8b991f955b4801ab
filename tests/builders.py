"""Frames the tests are made from, built from a table's own spec.

`valid_frame` fills any table with rows that its expectation suite accepts; a test then changes what it is about.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.tables import OUTCOMES, POOL_KEY, Column, Table
from tests.mended_rows import MENDED

START = datetime(2020, 9, 8, 18, tzinfo=UTC)
STEP = timedelta(minutes=5)
_AFTER = {
    "asked_at": timedelta(seconds=-2),
    "births_from": timedelta(minutes=-10),
    "created_at": timedelta(days=-1),
    "first_time": timedelta(days=-2),
    "known_at": timedelta(minutes=1),
    "peak_at": timedelta(minutes=10),
    "trough_at": timedelta(minutes=20),
    "rug_at": timedelta(minutes=20),
    "first_touch_at": timedelta(minutes=10),
    "label_known_at": timedelta(days=1),
    "path_known_at": timedelta(days=2),
    "predicted_at": timedelta(minutes=1),
    "watched_until": timedelta(days=30),
}
_SAME_TEXT = {"source": "recording:test", "network": "eth", "dex": "uniswap_v2", "quote_symbol": "WETH"}


def valid_frame(table: Table, n_rows: int = 10, seed: int = 0) -> pl.DataFrame:
    """`n_rows` rows that hold to the spec and the meaning of `table`; the last of several is null wherever it may be.

    Row i is true at `START + i * STEP` (a column `hour`: i hours later), of pool number i % 3 (POOLS: i).
    """
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame([_series(c, table, n_rows, rng) for c in table.columns], schema=table.schema)
    mended = MENDED.get(table.name, lambda f: f)(_probabilities(frame))
    if n_rows < 2:
        return mended.select(table.schema.names())
    is_last = pl.int_range(pl.len()) == n_rows - 1
    nullable = [c.name for c in table.columns if c.nullable]
    return mended.with_columns(pl.when(~is_last).then(pl.col(nullable)).name.keep()).select(table.schema.names())


def _series(column: Column, table: Table, n_rows: int, rng: np.random.Generator) -> pl.Series:
    rows = range(n_rows)
    if column.dtype.is_temporal():
        step = timedelta(hours=1) if column.name == "hour" else STEP
        start = START + _AFTER.get(column.name, timedelta(0))
        return pl.Series(column.name, [start + i * step for i in rows], column.dtype)
    if column.dtype == pl.String:
        return pl.Series(column.name, [_text(column, table, i) for i in rows], pl.String)
    if column.dtype == pl.Boolean:
        return pl.Series(column.name, [i % 2 == 0 for i in rows], pl.Boolean)
    low = 0 if column.minimum is None else int(column.minimum)
    high = low + 1_000 if column.maximum is None else int(column.maximum)
    if column.dtype.is_float():
        return pl.Series(column.name, rng.uniform(low, high, n_rows), column.dtype)
    numbers = low + np.arange(n_rows) if column.name in table.key else rng.integers(low, high, n_rows, endpoint=True)
    return pl.Series(column.name, numbers, column.dtype)


def _text(column: Column, table: Table, row: int) -> str:
    if column.values is not None:
        return column.values[row % len(column.values)]
    if column.name in _SAME_TEXT:
        return _SAME_TEXT[column.name]
    if column.name == "pool":
        return f"0x{row if table.key == POOL_KEY else row % 3:040x}"
    return f"{column.name} {row}"


def _probabilities(frame: pl.DataFrame) -> pl.DataFrame:
    names = [f"p_{outcome}" for outcome in OUTCOMES]
    if not set(names) <= set(frame.columns):
        return frame
    return frame.with_columns(pl.col(names) / pl.sum_horizontal(names))
