"""Frames the tests are made from, built from a table's own spec.

`valid_frame` fills any table with rows that its expectation suite accepts; a test then changes what it is about.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce

import numpy as np
import polars as pl

from pipeline.tables import OUTCOMES, POOL_KEY, WINDOWS_MINUTES, Column, Table

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
    mended = _MENDED.get(table.name, lambda f: f)(_probabilities(frame))
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


def _sorted_columns(*names: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Each row's values of these columns in ascending order."""
    ordered = pl.concat_list(names).list.sort()
    return lambda frame: frame.with_columns(ordered.list.get(i).alias(name) for i, name in enumerate(names))


def _nested_windows(frame: pl.DataFrame) -> pl.DataFrame:
    windows = sorted(WINDOWS_MINUTES, key=WINDOWS_MINUTES.__getitem__)
    for prefix, suffix in (("volume", "_usd"), ("n_buys", ""), ("n_sells", "")):
        frame = _sorted_columns(*(f"{prefix}_{w}{suffix}" for w in windows))(frame)
    return frame


def _each(*mend: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """All of them, one after the other."""
    return lambda frame: reduce(lambda mended, one: one(mended), mend, frame)


def _statuses(frame: pl.DataFrame) -> pl.DataFrame:
    """The last row is left pending, so that it may be null wherever a label may."""
    is_last = pl.int_range(pl.len()) == pl.len() - 1
    status = pl.when(is_last & (pl.len() > 1)).then(pl.lit("pending")).otherwise(pl.col("status"))
    return _sorted_columns("return_trough_pct", "return_end_pct", "return_peak_pct")(
        frame.with_columns(status=status)
        .with_columns(
            pl.when(pl.col("status") == "labelled").then(pl.col("outcome", "label_known_at")).name.keep(),
            censor_reason=pl.when(pl.col("status") == "censored").then(pl.col("censor_reason")),
        )
        .with_columns(rug_kind=pl.when(pl.col("outcome") == "RUG").then(pl.col("rug_kind")))
    )


def _market_statuses(frame: pl.DataFrame) -> pl.DataFrame:
    """The last row is left pending; each value fits its kind."""
    is_last = pl.int_range(pl.len()) == pl.len() - 1
    status = pl.when(is_last & (pl.len() > 1)).then(pl.lit("pending")).otherwise(pl.col("status"))
    value = pl.when(pl.col("kind") == "regime").then(pl.lit("bear")).otherwise(pl.lit("none"))
    labelled = pl.col("status") == "labelled"
    return frame.with_columns(status=status).with_columns(
        value=pl.when(labelled).then(value),
        label_known_at=pl.when(labelled).then("label_known_at"),
        censor_reason=pl.when(pl.col("status") == "censored").then("censor_reason"),
    )


def _judged(frame: pl.DataFrame) -> pl.DataFrame:
    """Each value fits its status; everything was joined after it was known."""
    known = ("outcome", "p_outcome", "log_loss", "is_correct", "label_known_at", "path_known_at")
    return frame.with_columns(
        pl.when(pl.col("status") == "labelled").then(pl.col(known)).name.keep(),
        censor_reason=pl.when(pl.col("status") == "censored").then("censor_reason"),
        known_at=pl.col("event_time") + timedelta(days=3),
    )


_MENDED: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "candles": _each(
        _sorted_columns("low", "open", "close", "high"), _sorted_columns("quote_reserve_low", "quote_reserve_close")
    ),
    "raw_candles": _sorted_columns("low", "high"),
    "collections": _each(_sorted_columns("n_found_late", "n_found"), _sorted_columns("n_observed_late", "n_observed")),
    "snapshots": _nested_windows,
    "labels": _statuses,
    "market_labels": _market_statuses,
    "outcomes": _judged,
    "figures": _sorted_columns("low", "value", "high"),
    "comparisons": _sorted_columns("gain_low_pct", "gain_pct", "gain_high_pct"),
}
