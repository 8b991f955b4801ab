"""What is known of a pool can be read in a terminal of 80 columns."""

from rich.console import Console

from pipeline.cli.pools import _table

SEEN = [
    {"event_time": f"2024-03-0{day}", **{f"a_column_with_a_name_{i}": i * day for i in range(11)}}
    for day in range(1, 9)
]


def on_80_columns(rows: list[dict[str, object]]) -> str:
    console = Console(width=80)
    with console.capture() as shown:
        console.print(_table("last snapshots", rows))
    return shown.get()


def test_a_wide_table_stands_on_its_side_with_its_last_rows() -> None:
    shown = on_80_columns(SEEN)
    assert all(f"a_column_with_a_name_{i} " in shown for i in range(11))
    assert [day for day in range(1, 9) if f"2024-03-0{day}" in shown] == [6, 7, 8]


def test_a_narrow_one_lies() -> None:
    shown = on_80_columns([{"table": "candles", "rows": 7}, {"table": "trades", "rows": 0}])
    assert "│ candles │ 7 " in shown
