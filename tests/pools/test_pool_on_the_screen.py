"""What is known of a pool can be read in a terminal of 80 columns."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.pools import _table
from pipeline.lake import Lake
from pipeline.tables import POOLS
from tests.builders import valid_frame

SEEN = [
    {"event_time": f"2024-03-0{day}", **{f"a_column_with_a_name_{i}": i * day for i in range(11)}}
    for day in range(1, 9)
]


def on_80_columns(rows: list[dict[str, object]]) -> str:
    console = Console(width=80)
    with console.capture() as shown:
        console.print(_table(rows))
    return shown.get()


def test_a_wide_table_stands_on_its_side_with_its_last_rows() -> None:
    shown = on_80_columns(SEEN)
    assert all(f"a_column_with_a_name_{i} " in shown for i in range(11))
    assert [day for day in range(1, 9) if f"2024-03-0{day}" in shown] == [6, 7, 8]


def test_a_narrow_one_lies() -> None:
    shown = on_80_columns([{"table": "candles", "rows": 7}, {"table": "trades", "rows": 0}])
    assert "candles  7" in shown


def test_no_name_of_a_column_and_no_value_is_cut_off() -> None:
    label = {
        "event_time": datetime(2024, 3, 1, tzinfo=UTC), "horizon_hours": 24, "status": "censored", "outcome": None,
        "censor_reason": "stopped_answering", "return_end_pct": -99.12345678,
    }  # fmt: skip
    shown = on_80_columns([label, label])
    assert "…" not in shown
    for told in ("2024-03-01 00:00:00", "horizon", "hours", "end_pct", "stopped_answering", "-99.1235"):
        assert told in shown


def test_a_title_is_one_line_however_narrow_its_table_is(tmp_path: Path) -> None:
    named = {"source": "recording:a_market_with_a_long_name", "network": "simulated", "pool": "0xa"}
    fact = valid_frame(POOLS, 1).with_columns(pl.lit(value).alias(name) for name, value in named.items())
    Lake(tmp_path / "lake", sync=lambda path: None).append(POOLS, fact)
    shown = CliRunner().invoke(app, ["pools", "show", "0xa", "--data-dir", str(tmp_path)]).stdout.splitlines()
    assert "recording:a_market_with_a_long_name simulated: last labels" in shown
