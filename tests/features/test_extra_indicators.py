"""Indicators of pandas-ta by name: what they are called, that they are its own, and which of them are refused."""

import math
import subprocess
import sys
import warnings
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from pipeline.calendars import MINUTE, Span
from pipeline.errors import UsageError
from pipeline.features.engines.bars import numbered_pools
from pipeline.features.engines.extra_indicators import NOT_CAUSAL, attach_extra, extra_columns, extra_of_bars
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import CANDLES, POOL_KEY

MIDNIGHT = datetime(2020, 9, 8, tzinfo=UTC)
CAUSAL = ("bbands", "donchian", "ema", "kama", "linreg", "natr", "psar", "supertrend", "vwma", "zscore")


def at(minute):
    return MIDNIGHT + minute * MINUTE


def market(**lives):
    """Bars of pools of so many bars each, a random walk."""
    rng = np.random.default_rng(3)
    rows = []
    for pool, n in lives.items():
        close = np.exp(np.cumsum(rng.normal(0, 0.03, n)))
        for i, c in enumerate(close.tolist()):
            rows.append((
                "recording:test", "eth", pool, "5min", at(5 * i), at(5 * i + 5), c * 0.99, c * 1.02, c * 0.97, c,
                float(rng.lognormal(4, 1)),
            ))  # fmt: skip
    names = (*POOL_KEY, "timeframe", "event_time", "known_at", "open", "high", "low", "close", "volume_usd")
    return pl.DataFrame(rows, schema={name: CANDLES.schema[name] for name in names}, orient="row")


def asking(*names, minutes=(5,)):
    return FeaturesSpec(extra_indicators=names, extra_minutes=minutes)


def test_columns_are_named_after_pandas_ta_and_the_length():
    assert extra_columns(asking("sma", minutes=(5, 60))) == ("ta_sma_10_5m", "ta_sma_10_60m")
    assert extra_columns(asking("bbands"))[0] == "ta_bbl_5_2p0_2p0_5m"
    assert extra_columns(FeaturesSpec()) == ()


def test_values_are_those_of_pandas_ta():
    frame = market(a=120, b=70)
    found = extra_of_bars(frame, 5, asking("ema", "supertrend"))
    assert found.columns[:5] == [*POOL_KEY, "event_time", "closed_at"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas_ta

        for pool in "ab":
            one = frame.filter(pl.col("pool") == pool).to_pandas()
            said = found.filter(pl.col("pool") == pool)
            told = pandas_ta.ema(one["close"])
            np.testing.assert_array_equal(said["ta_ema_10_5m"].to_numpy(), told.to_numpy())
            trend = pandas_ta.supertrend(one["high"], one["low"], one["close"]).iloc[:, 0]
            column = next(name for name in said.columns if name.startswith("ta_supert_"))
            np.testing.assert_array_equal(said[column].to_numpy(), trend.to_numpy(dtype=float))


def test_pandas_is_left_as_it_was_though_pandas_ta_switches_it_for_the_whole_process():
    code = (
        "import pandas as pd; before = pd.options.mode.copy_on_write;"
        "from pipeline.features.engines.extra_indicators import extra_columns;"
        "from pipeline.features.spec import FeaturesSpec;"
        "extra_columns(FeaturesSpec(extra_indicators=('sma',)));"
        "assert pd.options.mode.copy_on_write == before"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_longer_bars_are_made_of_those_of_five_minutes():
    frame = market(a=90)
    found = extra_of_bars(frame, 15, asking("sma"))
    last = frame["close"].to_numpy()[2::3]
    assert found.height == 30
    assert math.isclose(found["ta_sma_10_15m"][-1], last[-10:].mean())


def test_a_pool_too_young_for_an_indicator_has_its_columns_all_null():
    found = extra_of_bars(market(a=120, b=3), 5, asking(*CAUSAL))
    assert set(extra_columns(asking(*CAUSAL))) == set(found.columns[5:])
    young = found.filter(pl.col("pool") == "b")
    assert young.height == 3
    assert young["ta_ema_10_5m"].null_count() == 3
    assert not any(found[name].is_nan().any() for name in found.columns[5:])


def test_no_bars_give_no_rows_but_every_column():
    found = extra_of_bars(market(), 5, asking("sma"))
    assert (found.height, found.columns[-1]) == (0, "ta_sma_10_5m")


@pytest.mark.parametrize("name", sorted(NOT_CAUSAL))
def test_an_indicator_that_later_bars_change_is_refused(name):
    with pytest.raises(UsageError, match="later bars"):
        extra_columns(asking(name))


@pytest.mark.parametrize("name", ["no_such_indicator", "__class__", "strategy"])
def test_an_unknown_indicator_is_refused(name):
    with pytest.raises(UsageError, match=name):
        extra_of_bars(market(a=3), 5, asking(name))


def test_what_was_said_does_not_change_when_more_is_learned():
    frame, spec = market(a=120), asking(*CAUSAL)
    whole, part = extra_of_bars(frame, 5, spec), extra_of_bars(frame.head(90), 5, spec)
    for name in extra_columns(spec):
        np.testing.assert_allclose(whole[name].head(90).to_numpy(), part[name].to_numpy(), rtol=1e-9, err_msg=name)


def test_a_snapshot_sees_the_latest_closed_bar_unless_it_is_stale():
    frame, spec = market(a=30, b=20), asking("sma", minutes=(5, 15))
    times = pl.Series("event_time", [at(99), at(100), at(150), at(215)], CANDLES.schema["event_time"])
    rows = times.to_frame().join(numbered_pools(frame), how="cross")
    rows = rows.sort(*POOL_KEY, "event_time")
    found = attach_extra(rows, Sources(rows.lazy(), candles=frame.lazy()), Span(MIDNIGHT, at(999)), spec)
    assert found.columns == [*rows.columns, *extra_columns(spec)]
    at_bars = extra_of_bars(frame, 5, spec).filter(pl.col("pool") == "a")["ta_sma_10_5m"]
    assert found["ta_sma_10_5m"].to_list()[:4] == [at_bars[18], at_bars[19], at_bars[29], None]
    assert attach_extra(rows, Sources(rows.lazy()), Span(MIDNIGHT, at(999)), FeaturesSpec()).equals(rows)


EARLY = (
    "alligator", "amat", "aobv", "chandelier_exit", "coppock", "kama", "kdj", "kvo", "mcgd", "pvi", "qqe", "rma",
    "rvgi", "smc", "squeeze", "ssf", "stoch", "thermo", "tmo",
)  # fmt: skip
"""pandas-ta says something of early bars with these only if enough later bars exist."""


@pytest.mark.parametrize("name", EARLY)
def test_what_is_said_of_an_early_bar_does_not_tell_whether_its_pool_lived_on(name):
    frame, spec = market(a=240), asking(name)
    whole = extra_of_bars(frame, 5, spec)
    for n in (5, 12, 30, 60, 120, 200):
        part = extra_of_bars(frame.head(n), 5, spec)
        for column in extra_columns(spec):
            told, again = whole[column].head(n), part[column]
            assert (told.is_null() == again.is_null()).all(), f"{column} of {n} bars"
            assert ((told - again).abs() <= 1e-9 * told.abs()).fill_null(value=True).all(), f"{column} of {n} bars"
