"""Every technical field equals pandas-ta, with TA-Lib beneath, on the same bars of real pools; pandas cuts the bars."""

import warnings
from datetime import timedelta
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.features.engines.indicators import technical_of_bars
from pipeline.features.spec import FeaturesSpec
from pipeline.pools.candles import candles
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import BAR_MINUTES, TECHNICAL_FIELDS

pytest.importorskip("talib", reason="pandas-ta computes with TA-Lib only where that is installed")
pd = pytest.importorskip("pandas")

RECORDING = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
N_POOLS = 60
FIELDS = [field for field, *_ in TECHNICAL_FIELDS]
COLUMNS = {
    "VWAP_D": "vwap", "ATRr_14": "atr", "RSI_14": "rsi", "MACD_12_26_9": "macd", "MACDs_12_26_9": "macd_signal",
    "MACDh_12_26_9": "macd_histogram", "BBU_20_2.0_2.0": "bollinger_upper", "BBM_20_2.0_2.0": "bollinger_middle",
    "BBL_20_2.0_2.0": "bollinger_lower", "STOCHk_14_3_3": "stoch_k", "STOCHd_14_3_3": "stoch_d",
    "WILLR_14": "williams_r", "CCI_14_0.015": "cci", "ADX_14": "adx", "OBV": "obv", "MFI_14": "mfi",
}  # fmt: skip
"""pandas-ta's names of what it computes, and ours."""


@pytest.fixture(scope="module")
def ta():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas_ta
    assert pandas_ta.Imports["talib"]
    return pandas_ta


@pytest.fixture(scope="module")
def bars():
    """Five-minute bars of the recorded pools with the most updates below 3,000."""
    if not RECORDING.exists():
        pytest.skip("no recording beside the project")
    source = pl.lit("recording:uniswap_v2_2020").alias("source")
    updates = pl.scan_parquet(RECORDING / "reserves.parquet")
    busy = updates.group_by("pool").len().filter(pl.col("len") < 3_000).sort("len", "pool").tail(N_POOLS).collect()
    pools = pl.read_parquet(RECORDING / "pools.parquet").join(busy, on="pool", how="semi")
    pools = pools.with_columns(source, quote_price_usd=pl.lit(375.0))
    before = [
        pl.col(f"{side}_reserve").shift(1).over("pool").alias(f"{side}_reserve_before") for side in ("base", "quote")
    ]
    chosen = (
        updates.join(pools.lazy().select("pool", "network"), on="pool")
        .filter(pl.col("base_reserve") > 0, pl.col("quote_reserve").is_finite())
        .sort("pool", "block", "tx_index", "log_index")
        .with_columns(source, *before)
        .rename({"time": "event_time"})
    )
    return candles(chosen.collect(), pools, PoolsSpec())


def added(volumes) -> float:
    """Their sum in their order; pandas adds in another, and TA-Lib's money flow never forgets a whale's last bit."""
    return reduce(add, volumes, 0.0)


def theirs(ta, bars: "pd.DataFrame", minutes: int) -> "pd.DataFrame":
    """pandas-ta over one pool, on bars of `minutes` that pandas made."""
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume_usd": added}
    longer = bars.groupby(bars.index.floor(f"{minutes}min")).agg(how)
    h, low, c, v = (longer[name] for name in list(how)[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [
            ta.vwap(h, low, c, v, anchor="D"), ta.atr(h, low, c, length=14), ta.rsi(c, length=14),
            ta.macd(c, fast=12, slow=26, signal=9), ta.bbands(c, length=20), ta.stoch(h, low, c, k=14, d=3, smooth_k=3),
            ta.willr(h, low, c, length=14), ta.cci(h, low, c, length=14), ta.adx(h, low, c, length=14), ta.obv(c, v),
            ta.mfi(h, low, c, v, length=14),
        ]  # fmt: skip
    told = pd.concat([p for p in parts if p is not None], axis=1).rename(columns=COLUMNS)
    told = told.reindex(columns=list(COLUMNS.values()))
    still = 1e-9
    width = told["bollinger_upper"] - told["bollinger_lower"]
    reach = told["bollinger_upper"].abs() + told["bollinger_lower"].abs()
    told["bollinger_position"] = ((c - told["bollinger_lower"]) / width).where(width > still * reach)
    told["trend_strength"] = (told["macd"] / told["atr"]).where(told["atr"] > still * c)
    for field, _, _, least, most in TECHNICAL_FIELDS:  # TA-Lib's sums overshoot a range by their last bit
        told[field] = told.get(field, longer.get(field.replace("volume", "volume_usd"))).clip(least, most)
    return told[FIELDS]


@pytest.mark.parametrize("minutes", BAR_MINUTES)
def test_every_technical_field_of_real_pools_equals_pandas_ta(ta, bars, minutes):
    ours = technical_of_bars(bars, minutes, FeaturesSpec())
    frame = bars.select("pool", "event_time", "open", "high", "low", "close", "volume_usd").to_pandas()
    n_told = dict.fromkeys(FIELDS, 0)
    for pool, one in frame.set_index("event_time").groupby("pool"):
        expected = theirs(ta, one.drop(columns="pool").sort_index(), minutes)
        found = ours.filter(pl.col("pool") == pool)
        assert found["event_time"].to_list() == [t.to_pydatetime() for t in expected.index]
        for field in FIELDS:
            told, said = expected[field].to_numpy(dtype=float), found[field].to_numpy()
            np.testing.assert_allclose(said, told, rtol=1e-9, atol=0, err_msg=f"{field} {pool}")
            n_told[field] += int(np.isfinite(told).any())
    assert min(n_told.values()) >= 40, n_told


def test_what_is_told_is_complete_and_long_enough_to_tell_anything(bars):
    assert bars["pool"].n_unique() == N_POOLS
    found = technical_of_bars(bars, 60, FeaturesSpec())
    ends = found["event_time"] + timedelta(hours=1)
    assert (found["closed_at"] >= ends).all()
    assert (found["closed_at"] <= ends + timedelta(minutes=10)).all()
