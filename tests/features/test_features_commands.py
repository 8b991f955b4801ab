"""`poolcast features`: the list, the explanation, the docs page, and features of plain files."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pandas_ta
import polars as pl
import pytest
from battery_market import market
from typer.testing import CliRunner

from pipeline.calendars import MINUTE
from pipeline.cli import app
from pipeline.errors import InputError, UsageError
from pipeline.features.compute import compute_columns
from pipeline.features.registry import REGISTRY
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec

DOCS = Path(__file__).parents[2] / "docs" / "features.md"
OPEN = datetime(2024, 1, 1, tzinfo=UTC)


def run(*arguments):
    return CliRunner().invoke(app, ["features", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_list_has_every_feature_once():
    told = json.loads(run("list", "--json").stdout)
    assert [entry["name"] for entry in told] == list(REGISTRY)
    assert all(entry["meaning"] and entry["formula"] and entry["null_when"] for entry in told)


def test_the_list_of_a_family_is_shown_as_a_table():
    shown = run("list", "--family", "patterns").stdout
    assert "is_pumping" in shown
    assert "rsi_5m" not in shown


def test_the_docs_page_is_what_the_registry_says():
    assert run("list", "--markdown").stdout == DOCS.read_text(encoding="utf-8"), (
        "docs/features.md is behind the registry: poolcast features list --markdown > docs/features.md"
    )


def test_a_feature_is_explained_with_its_example_worked():
    told = json.loads(run("explain", "buy_pressure_1h", "--json").stdout)
    assert (told["example_given"], told["example_gives"]) == ({"n_buys_h1": 3, "n_sells_h1": 1}, 0.75)
    shown = run("explain", "price_velocity").stdout
    assert "per cent per hour" in shown
    assert "20.0" in shown


@pytest.mark.parametrize(
    ("name", "near"), [("buy_presure_1h", "buy_pressure_1h"), ("RSI", "rsi_60m"), ("velocity", "price_velocity")]
)
def test_a_feature_there_is_not_is_refused_and_names_like_it_are_told(name, near):
    refused = run("explain", name).exception
    assert isinstance(refused, UsageError)
    assert near in str(refused).partition("did you mean")[2]


def test_nothing_is_guessed_where_no_name_is_near():
    refused = run("explain", "astrology").exception
    assert isinstance(refused, UsageError)
    assert str(refused).startswith("there is no feature 'astrology'; `poolcast features list`")


def bars(n_symbols=3, n=200, minutes=5):
    rng = np.random.default_rng(4)
    frames = []
    for i in range(n_symbols):
        close = np.exp(np.cumsum(rng.normal(0, 0.02, n)))
        opened = np.r_[1.0, close[:-1]]
        frames.append(
            pl.DataFrame({
                "symbol": [f"=cmd|'{i}"] * n, "time": [OPEN + j * minutes * MINUTE for j in range(n)], "open": opened,
                "high": np.maximum(opened, close) * 1.01, "low": np.minimum(opened, close) * 0.99, "close": close,
                "volume": rng.random(n),
            })
        )  # fmt: skip
    return pl.concat(frames)


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_indicators_of_bars_are_those_of_pandas_ta(tmp_path, minutes):
    told = bars(minutes=minutes)
    told.write_parquet(tmp_path / "in.parquet")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--families", "technical")
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(tmp_path / "out.parquet").sort("symbol", "time")
    assert found.select("symbol", "time").equals(told.select("symbol", "time").sort("symbol", "time"))
    assert {name.rpartition("_")[2] for name in found.columns if "_" in name and name.endswith("m")} == {
        f"{m}m" for m in (5, 15, 60) if m >= minutes
    }
    for (symbol,), one in told.group_by("symbol", maintain_order=True):
        ours = found.filter(pl.col("symbol") == symbol)
        close = pd.Series(one["close"].to_numpy())
        expected = pandas_ta.rsi(close, length=14, talib=True)
        np.testing.assert_allclose(ours[f"rsi_{minutes}m"].to_numpy(), expected, rtol=1e-9)


def test_an_indicator_of_pandas_ta_is_switched_on_by_name(tmp_path):
    bars().write_parquet(tmp_path / "in.parquet")
    done = run(
        "compute",
        tmp_path / "in.parquet",
        "-o",
        tmp_path / "o.parquet",
        "--families",
        "technical",
        "--indicators",
        "aroon",
    )
    assert done.exit_code == 0, done.output
    assert "ta_aroonu_14_5m" in pl.read_parquet(tmp_path / "o.parquet").columns
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "p.parquet", "--indicators", "ichimoku")
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "p.parquet").exists()


def test_snapshots_give_what_the_library_gives(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.cli.plain.ROWS_AT_ONCE", 50)  # more than one part
    snapshots = market(11).snapshots
    snapshots.write_parquet(tmp_path / "in.parquet")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--families", "momentum,trends")
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(tmp_path / "out.parquet")
    names = [name for name in found.columns if name in REGISTRY]
    assert "price_velocity" in names
    assert "holder_trend" not in names
    time = snapshots["event_time"]
    from pipeline.calendars import Span

    span = Span(time.min(), time.max() + timedelta(days=1))
    expected = compute_columns(Sources(snapshots.lazy()), span, FeaturesSpec(), [REGISTRY[n] for n in names])
    assert found.select(expected.columns).equals(expected)


def of_two_lengths(frame):
    return pl.concat([frame, bars(1, 20, 60).with_columns(symbol=pl.lit("hourly"))])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.with_columns(pl.col("time").dt.date()), "not moments"),
        (lambda f: f.drop("close"), "neither snapshots"),
        (lambda f: pl.concat([f, f.head(1)]), "two bars"),
        (lambda f: f.with_columns(close=pl.lit(float("nan"))), "without a finite"),
        (lambda f: f.with_columns(low=-pl.col("low")), "from zero up"),
        (lambda f: f.with_columns(low=pl.col("high"), high=pl.col("low")), "outside of low and high"),
        (lambda f: f.with_columns(symbol=pl.lit(None, pl.String)), "without a symbol"),
        (lambda f: f.with_columns(pl.col("time").dt.offset_by("7000y")), "not between 1970 and 2200"),
        (lambda f: f.with_columns(close=pl.lit("dear")), "cannot use"),
        (lambda f: f.with_columns(pl.col("time").dt.offset_by("2m")), "5-min grid"),
        (of_two_lengths, "--bar-minutes"),
        (lambda f: f.with_columns(pl.col("time").dt.truncate("12h")).unique(["symbol", "time"]), "min long"),
        (lambda f: f.clear(), "empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_written(tmp_path, change, said):
    change(bars()).write_parquet(tmp_path / "in.parquet")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["in.parquet"]


def test_bars_of_a_symbol_that_seldom_trades_are_used_where_their_length_is_stated(tmp_path):
    rare = bars(1, 40, 10).with_columns(symbol=pl.lit("rare"))
    pl.concat([bars(), rare]).write_parquet(tmp_path / "in.parquet")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--bar-minutes", 5)
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(tmp_path / "out.parquet").filter(pl.col("symbol") == "rare")
    assert (found["known_at"] - found["time"]).unique().to_list() == [timedelta(minutes=5)]


def test_the_file_that_is_read_is_not_written_over(tmp_path):
    bars().write_parquet(tmp_path / "in.parquet")
    before = (tmp_path / "in.parquet").read_bytes()
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "in.parquet")
    assert isinstance(done.exception, UsageError)
    assert (tmp_path / "in.parquet").read_bytes() == before


def test_a_folder_that_is_not_there_is_named_before_anything_is_read(tmp_path):
    bars().write_parquet(tmp_path / "bars.parquet")
    refused = run("compute", tmp_path / "bars.parquet", "-o", tmp_path / "nowhere" / "out.parquet").exception
    assert isinstance(refused, UsageError)
    assert f"there is no folder {str(tmp_path / 'nowhere')!r}" in str(refused)


def test_the_file_that_is_named_is_read_and_no_other(tmp_path):
    bars(1).with_columns(symbol=pl.lit("right")).write_parquet(tmp_path / "data[1].parquet")
    bars(1).with_columns(symbol=pl.lit("wrong")).write_parquet(tmp_path / "data1.parquet")
    done = run("compute", tmp_path / "data[1].parquet", "-o", tmp_path / "out.parquet")
    assert done.exit_code == 0, done.output
    assert pl.read_parquet(tmp_path / "out.parquet")["symbol"].unique().to_list() == ["right"]


@pytest.mark.parametrize("name", ["event_time", "pool"])
def test_snapshots_without_a_pool_or_a_time_are_refused(tmp_path, name):
    frame = market(11).snapshots
    frame.with_columns(pl.lit(None, frame.schema[name]).alias(name)).write_parquet(tmp_path / "in.parquet")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    assert isinstance(done.exception, InputError)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "in.parquet").write_text("hello")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    assert isinstance(done.exception, InputError)


def test_a_family_that_needs_more_than_the_file_holds_is_refused(tmp_path):
    bars().write_parquet(tmp_path / "in.parquet")
    done = run("compute", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--families", "core")
    assert isinstance(done.exception, UsageError)
