"""`poolcast bins export` on plain Parquet files; from the lake, see `test_from_lake`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.bins.export import export_all
from pipeline.bins.instruments import read_identities
from pipeline.bins.spec import BinsSpec
from pipeline.cli import app, plain_bins
from pipeline.cli.plain_bins import read_bars
from pipeline.errors import InputError, UsageError

START = datetime(2026, 1, 1, tzinfo=UTC)


def bars(*symbols: str, n: int = 48, every: timedelta = timedelta(hours=1)) -> pl.DataFrame:
    price = np.linspace(1, 2, n)
    return pl.concat(
        pl.DataFrame(
            {
                "symbol": symbol,
                "date": pl.Series([START + at * every for at in range(n)], dtype=pl.Datetime("us", "UTC")),
                "open": price,
                "High": price * 1.1,
                "low": price * 0.9,
                "close": price * 1.05,
                "volume": np.arange(n),
            }
        )
        for symbol in symbols
    )


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["bins", *map(str, arguments)], env={"COLUMNS": "200"})


def told(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exception is None, done.exception
    return dict(json.loads(done.stdout))


def tree(directory: Path) -> dict[str, bytes]:
    root = directory.resolve()
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_file_becomes_a_provider_directory(tmp_path: Path) -> None:
    source = written(bars("BTC-USDT", "btc-usdt", "nan"), tmp_path / "in.parquet")
    done = told("export", source, "--qlib-dir", tmp_path / "qlib")
    assert (done["mode"], done["freq"], done["n_instruments"], done["n_bars"]) == ("all", "60min", 3, 144)
    assert {name[0] for name in read_identities(tmp_path / "qlib").values()} == {"BTC-USDT", "btc-usdt", "nan"}
    one = next((tmp_path / "qlib" / "features").iterdir())
    # QLib lower-cases a field's name to find its file.
    assert {p.name for p in one.iterdir()} == {f"{f}.60min.bin" for f in ("open", "high", "low", "close", "volume")}
    assert np.fromfile(one / "volume.60min.bin", "<f4").tolist() == [0, *range(48)]


def test_a_span_without_an_end_goes_on_to_the_end_of_time(tmp_path: Path) -> None:
    late = bars("a", n=3).with_columns(pl.col("date") + pl.duration(days=200 * 365))
    source = written(pl.concat([bars("a", n=3), late]), tmp_path / "in.parquet")
    assert told("export", source, "--qlib-dir", tmp_path / "q", "--start-date", "2210-01-01")["n_bars"] == 3


def test_updates_give_what_one_export_gives(tmp_path: Path) -> None:
    whole = bars("a", "b")
    late = whole.filter((pl.col("symbol") == "b") & (pl.col("date") == START + timedelta(hours=5)))
    told("export", written(whole, tmp_path / "whole.parquet"), "--qlib-dir", tmp_path / "whole")
    for at, part in enumerate((whole[:20], whole.join(late, on=["symbol", "date"], how="anti")[15:], late)):
        mode = "update" if at else "all"
        told("export", written(part, tmp_path / f"{at}.parquet"), "--qlib-dir", tmp_path / "parts", "--mode", mode)
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_a_fix_patches_what_is_named_and_nothing_else(tmp_path: Path) -> None:
    told("export", written(bars("a", "b"), tmp_path / "in.parquet"), "--qlib-dir", tmp_path / "qlib")
    before = tree(tmp_path / "qlib")
    better = written(bars("a", "b").with_columns(close=pl.lit(7.0)), tmp_path / "better.parquet")
    fixed = told(
        "export", better, "--qlib-dir", tmp_path / "qlib", "--mode", "fix", "--instruments", "b",
        "--start-date", "2026-01-01T03:00", "--end-date", "2026-01-01T04:00",
    )  # fmt: skip
    after = tree(tmp_path / "qlib")
    changed = {path for path in after if after[path] != before[path]}
    assert fixed["n_instruments_changed"] == 1
    assert {path for path in changed if path.endswith(".bin")} == {"features/b/close.60min.bin"}
    values = np.frombuffer(after["features/b/close.60min.bin"], "<f4")[1:]
    assert np.flatnonzero(values == 7).tolist() == [3, 4]


def test_a_last_day_is_meant_whole_and_a_last_moment_is_its_bar(tmp_path: Path) -> None:
    source = written(bars("a"), tmp_path / "in.parquet")
    at = ("--qlib-dir", tmp_path / "qlib")
    assert told("export", source, *at, "--start-date", "2026-01-01", "--end-date", "2026-01-01")["n_bars"] == 24
    assert told("export", source, *at, "--end-date", "2026-01-02T01:00:00+01:00")["n_bars"] == 25


def test_days_may_be_dates_without_a_time(tmp_path: Path) -> None:
    daily = bars("a", every=timedelta(days=1), n=9).with_columns(pl.col("date").cast(pl.Date))
    done = told("export", written(daily, tmp_path / "in.parquet"), "--qlib-dir", tmp_path / "qlib", "--freq", "day")
    assert (done["freq"], done["n_bars"]) == ("day", 9)
    assert (tmp_path / "qlib/calendars/day.txt").read_text().startswith("2026-01-01\n2026-01-02\n")


def test_fields_are_chosen_by_name_and_a_factor_may_be_asked_for(tmp_path: Path) -> None:
    source = written(bars("a"), tmp_path / "in.parquet")
    told("export", source, "--qlib-dir", tmp_path / "qlib", "--fields", "close,high,factor")
    names = {p.name for p in (tmp_path / "qlib/features/a").iterdir()}
    assert names == {"close.60min.bin", "high.60min.bin", "factor.60min.bin"}
    assert set(np.fromfile(tmp_path / "qlib/features/a/factor.60min.bin", "<f4")[1:]) == {1.0}


def test_what_is_shown_harms_no_terminal(tmp_path: Path) -> None:
    source = written(bars("[red]\x1b[2J"), tmp_path / "in.parquet")
    shown = run("export", source, "--qlib-dir", tmp_path / "[bold]x")
    assert shown.exception is None
    assert "\x1b[2J" not in shown.stdout
    assert "[bold]x" in shown.stdout


MINUTE = pl.duration(minutes=1)
FAR = bars("b", n=1).with_columns(date=pl.lit(datetime(2260, 1, 1, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")))
BAD = {
    "no symbol": (bars("a").drop("symbol"), "no column"),
    "no date": (bars("a").drop("date"), "no column"),
    "no field": (bars("a").select("symbol", "date"), "no field"),
    "text": (bars("a").with_columns(note=pl.lit("x")), "hold no numbers"),
    "moments as text": (bars("a").with_columns(pl.col("date").cast(pl.String)), "not moments"),
    "another zone": (bars("a").with_columns(pl.col("date").dt.convert_time_zone("Europe/Berlin")), "convert it to UTC"),
    "a symbol missing": (bars("a").with_columns(symbol=pl.lit(None, pl.String)), "without a symbol"),
    "two columns of one field": (bars("a").with_columns(OPEN=pl.col("open")), "one field to QLib"),
    "a name no field has": (bars("a").with_columns(pl.col("open").alias("o/../p")), "no field can have"),
    "a name that bars are told by": (bars("a").with_columns(Instrument=pl.lit(1.0)), "none of"),
    "twice": (pl.concat([bars("a"), bars("a")]), "twice|two bars|more than once|share"),
    "off the grid": (bars("a").with_columns(pl.col("date") + MINUTE), "grid"),
    "infinite": (bars("a").with_columns(close=pl.lit(float("inf"))), "infinite"),
    "empty": (bars("a").clear(), "no row|no bar|empty"),
    "beyond the index": (bars("a").vstack(FAR), "16777216|16,777,216|2\\^24"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("mode", ["all", "update"])
def test_bad_input_is_told_and_changes_nothing(tmp_path: Path, what: str, mode: str) -> None:
    frame, message = BAD[what]
    freq = "5min" if what == "beyond the index" else "60min"
    directory = tmp_path / "qlib"
    told("export", written(bars("a", "b"), tmp_path / "ok.parquet"), "--qlib-dir", directory, "--freq", freq)
    before = tree(directory)
    source = written(frame, tmp_path / "bad.parquet")
    done = run("export", source, "--qlib-dir", directory, "--freq", freq, "--mode", mode)
    assert isinstance(done.exception, InputError | UsageError), done.exception
    with pytest.raises(type(done.exception), match=message):
        raise done.exception
    assert tree(directory) == before
    assert {p.name for p in tmp_path.iterdir()} == {"qlib", "qlib.exports", "ok.parquet", "bad.parquet"}


def test_what_is_no_parquet_or_no_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("not parquet")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").write_text("mine")
    good = written(bars("a"), tmp_path / "in.parquet")
    for arguments, message in (
        ((tmp_path / "none.parquet", "--qlib-dir", tmp_path / "q"), "no file"),
        ((tmp_path / "text.parquet", "--qlib-dir", tmp_path / "q"), "no Parquet"),
        ((good,), "--qlib-dir"),
        ((good, "--qlib-dir", tmp_path / "taken"), "taken"),
        ((good, "--qlib-dir", tmp_path / "q", "--start-date", "yesterday"), "--start-date"),
        ((good, "--qlib-dir", tmp_path / "q", "--start-date", "2026-01-02", "--end-date", "2026-01-01"), "after"),
        ((good, "--qlib-dir", tmp_path / "q", "--instruments", "zzz"), "zzz"),
        ((good, "--qlib-dir", tmp_path / "q", "--fields", "hgih"), "hgih"),
        ((good, "--qlib-dir", tmp_path / "q", "--mode", "fix"), "q"),
    ):
        done = run("export", *arguments)
        assert isinstance(done.exception, InputError | UsageError), (arguments, done.exception)
        assert message in str(done.exception)
        assert not (tmp_path / "q").exists()
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("option", "moment"),
    [
        ("--end-date", "9999-12-31"),
        ("--end-date", "9999-12-31T23:59:59-05:00"),
        ("--start-date", "0001-01-01"),
        ("--start-date", "0001-01-01T00:00+05:00"),
        ("--calendar-start", "0001-01-01T00:00+05:00"),
        ("--calendar-start", "9999-12-31T23:00-05:00"),
    ],
)
def test_a_moment_at_the_end_of_time_is_wrong_use(tmp_path: Path, option: str, moment: str) -> None:
    source = written(bars("a"), tmp_path / "in.parquet")
    done = run("export", source, "--qlib-dir", tmp_path / "q", option, moment)
    assert isinstance(done.exception, UsageError), done.exception
    assert option in str(done.exception)
    assert not (tmp_path / "q").exists()


def test_a_zero_byte_in_a_path_is_wrong_use(tmp_path: Path) -> None:
    source = written(bars("a"), tmp_path / "in.parquet")
    for arguments in ((source, "--qlib-dir", tmp_path / "q\0"), (f"{source}\0", "--qlib-dir", tmp_path / "q")):
        done = run("export", *arguments)
        assert done.exit_code == 2
        assert not (tmp_path / "q.exports").exists()


def test_yes_and_no_are_one_and_zero(tmp_path: Path) -> None:
    frame = bars("a", n=3).with_columns(flag=pl.Series([True, None, False]))
    told("export", written(frame, tmp_path / "in.parquet"), "--qlib-dir", tmp_path / "q", "--fields", "close,flag")
    found = np.fromfile(tmp_path / "q/features/a/flag.60min.bin", "<f4")
    np.testing.assert_array_equal(found, np.float32([0, 1, np.nan, 0]))


def test_nanoseconds_are_read_but_never_cut(tmp_path: Path) -> None:
    whole = bars("a", "b").with_columns(pl.col("date").cast(pl.Datetime("ns", "UTC")))
    told("export", written(whole, tmp_path / "ns.parquet"), "--qlib-dir", tmp_path / "ns")
    told("export", written(bars("a", "b"), tmp_path / "us.parquet"), "--qlib-dir", tmp_path / "us")
    assert tree(tmp_path / "ns") == tree(tmp_path / "us")
    off = pl.when(pl.col("symbol") == "b").then(pl.duration(nanoseconds=1)).otherwise(pl.duration(nanoseconds=0))
    source = written(whole.with_columns(pl.col("date") + off), tmp_path / "off.parquet")
    done = run("export", source, "--qlib-dir", tmp_path / "ns")
    assert isinstance(done.exception, InputError), done.exception
    assert "['b'] that are no whole microseconds" in str(done.exception)
    assert told("export", source, "--qlib-dir", tmp_path / "ns", "--instruments", "a")["n_instruments"] == 1


@pytest.mark.parametrize("held", [0, 10**9])
def test_a_damaged_page_is_told_whenever_it_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Also where the file is too large to be held, and is read again while the bins are written."""
    monkeypatch.setattr(plain_bins, "HELD_BARS", held)
    rng = np.random.default_rng(0)
    frame = bars("a", n=5_000).select("symbol", "date", close=pl.Series(rng.random(5_000).round(3)))
    source = written(frame, tmp_path / "in.parquet")
    told("export", source, "--qlib-dir", tmp_path / "q")
    before, raw = tree(tmp_path / "q"), bytearray(source.read_bytes())
    begin, end = len(raw) * 3 // 4, len(raw) * 7 // 8  # within the closes, which come last and compress worst
    raw[begin:end] = rng.bytes(end - begin)
    source.write_bytes(raw)
    done = run("export", source, "--qlib-dir", tmp_path / "q")
    assert isinstance(done.exception, InputError), done.exception
    assert "cannot use" in str(done.exception)
    assert tree(tmp_path / "q") == before


def test_bars_of_a_file_do_not_come_beside_those_of_a_source(tmp_path: Path) -> None:
    source = written(bars("a"), tmp_path / "in.parquet")
    plain = read_bars(source)
    spec = BinsSpec(fields=plain.fields)
    export_all(plain.bars, plain.identities, tmp_path / "q", spec, origin="simulation:7")
    done = run("export", source, "--qlib-dir", tmp_path / "q", "--mode", "update")
    assert isinstance(done.exception, UsageError), done.exception
    assert "'simulation:7'" in str(done.exception)


def test_a_damaged_bar_length_can_be_left_behind(tmp_path: Path) -> None:
    directory, source = tmp_path / "qlib", written(bars("a"), tmp_path / "in.parquet")
    for freq in ("5min", "60min"):
        told("export", source, "--qlib-dir", directory, "--freq", freq)
    next((directory / "features/a").glob("*.5min.bin")).unlink()
    written(bars("a", n=9), source)
    refused = run("export", source, "--qlib-dir", directory)
    assert "--drop-damaged" in str(refused.exception)
    mixed = run("export", source, "--qlib-dir", directory, "--mode", "update", "--drop-damaged")
    assert isinstance(mixed.exception, UsageError)
    told("export", source, "--qlib-dir", directory, "--drop-damaged")
    assert {p.name for p in (directory / "calendars").iterdir()} == {"60min.txt"}


def test_the_command_gives_what_the_library_gives(tmp_path: Path) -> None:
    source = written(bars("A", "b"), tmp_path / "in.parquet")
    told("export", source, "--qlib-dir", tmp_path / "command")
    plain = read_bars(source)
    export_all(plain.bars, plain.identities, tmp_path / "library", BinsSpec(fields=plain.fields), origin="file")
    assert tree(tmp_path / "command") == tree(tmp_path / "library")
