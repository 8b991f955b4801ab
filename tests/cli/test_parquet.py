"""Whoever gives something else than Parquet is told so in words, by every command that takes a file."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.parquet import require_parquet
from pipeline.errors import InputError

CSV = "symbol,time,open\nA,2026-01-01,1.0\n"
COMMANDS = [
    ("features", "compute", "FILE", "-o", "OUT"),
    ("labels", "compute", "FILE", "-o", "OUT"),
    ("bins", "export", "FILE", "--qlib-dir", "OUT"),
    ("quality", "report", "FILE"),
    ("drift", "compare", "FILE", "FILE"),
    ("gate", "offline", "FILE"),
    ("gate", "sequential", "FILE"),
    ("models", "compare", "FILE", "FILE"),
    ("models", "evaluate", "FILE"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_csv_is_called_one_and_how_to_convert_it_is_said(command: tuple[str, ...], tmp_path: Path) -> None:
    source = tmp_path / "bars.csv"
    source.write_text(CSV)
    places = {"FILE": str(source), "OUT": str(tmp_path / "out")}
    told = str(CliRunner().invoke(app, [places.get(word, word) for word in command]).exception)
    assert "bars.csv' is no Parquet file, it begins with 'symbol,time,open" in told
    assert "polars.read_csv(" in told
    assert [path.name for path in tmp_path.iterdir()] == ["bars.csv"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"PA", "is no Parquet"), (b"PAR1 and no more", "is cut short"), (b"\x1b[2J\xff", r"\\x1b")],
)
def test_what_is_wrong_with_a_file_is_said_and_never_interpreted(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        require_parquet(tmp_path / "x")
    assert "\x1b" not in str(refused.value)


def test_a_parquet_file_passes_and_a_folder_does_not(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "x.parquet")
    require_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="is no file"):
        require_parquet(tmp_path)
