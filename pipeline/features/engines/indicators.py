"""The technical indicators over history: TA-Lib over the closed bars of all pools at once.

Belongs here: each field of TECHNICAL_FIELDS as a column beside the bar it is computed at. Stays out: bars (`bars`), the
same bar by bar (`online_indicators`), and what a snapshot may see of them (`from_bars`).

TA-Lib's look-back is kept: a field is null until its window is full. Its running sums would carry an unknown volume to
the end of a pool's life, so unknown volumes are set aside before it and come back as nulls where they count.
"""

from typing import Final

import polars as pl
import polars.selectors as cs
import polars_talib as talib

from pipeline.features.engine import POOL_RUN, BarCalculator
from pipeline.features.engines.bars import five_minute_bars, longer_bars, numbered_pools
from pipeline.features.engines.indicator_terms import (
    BANDS,
    DEVIATIONS,
    FAST,
    SIGNAL,
    SLOW,
    SMOOTHING,
    STILL,
    THIRD,
    WILDER,
)
from pipeline.features.engines.online_indicators import Technical
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY, TECHNICAL_FIELDS

FIELDS: Final = tuple(field for field, *_ in TECHNICAL_FIELDS)

_HIGH, _LOW, _CLOSE, _VOLUME = (pl.col(name) for name in ("high", "low", "close", "volume"))
_TOLD: Final = _VOLUME.fill_null(0.0)
_DAY_RUN: Final = "day_run"
_OF_THE_BAR: Final = ("open", "high", "low", "close", "volume")
_SIMPLE: Final = 0
"""TA-Lib's number of the simple moving average."""


def over_history(bars: pl.DataFrame, _minutes: int, _spec: FeaturesSpec) -> pl.DataFrame:
    """The bars in the same order with every field of TECHNICAL_FIELDS, null until its window is full.

    Args:
        bars: closed bars of one length, as `bars` gives them.
    """
    has_unknown = bars["volume"].null_count() > 0
    days = pl.col(POOL_RUN).cast(pl.Int64) * 1_000_000 + pl.col("event_time").dt.epoch("d")
    macd, bands, stoch = (pl.col(name).struct for name in ("macds", "bands", "stochs"))
    upper, middle, lower = (bands.field(f"{name}band") for name in ("upper", "middle", "lower"))
    line, atr = macd.field("macd"), pl.col("atr")
    columns = {
        **{name: pl.col(name) for name in ("vwap", "atr", "rsi", "williams_r", "cci", "adx", "obv", "mfi")},
        "macd": line,
        "macd_signal": macd.field("macdsignal"),
        "macd_histogram": macd.field("macdhist"),
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
        "bollinger_position": pl.when(upper - lower > STILL * (upper.abs() + lower.abs())).then(
            (_CLOSE - lower) / (upper - lower)
        ),
        "stoch_k": stoch.field("slowk"),
        "stoch_d": stoch.field("slowd"),
        "trend_strength": pl.when(atr > STILL * _CLOSE).then(line / atr),
    }
    return (
        bars.lazy()
        # One grouping for all, so that the bars are cut into pools once and not once an indicator.
        .group_by(POOL_RUN, maintain_order=True)
        .agg(pl.all(), *_by_talib())
        .explode(cs.exclude(POOL_RUN))
        .with_columns(days.set_sorted().alias(_DAY_RUN))
        .with_columns(_vwap(has_unknown=has_unknown), *(_known_volumes() if has_unknown else ()))
        .select(*bars.columns, *(_bounded(name, columns[name]) for name in FIELDS if name not in _OF_THE_BAR))
        .collect()
    )


def _by_talib() -> list[pl.Expr]:
    """What TA-Lib makes of one pool's bars, an unknown volume taken for none."""
    columns = {
        "atr": talib.atr(_HIGH, _LOW, _CLOSE, timeperiod=WILDER),
        "rsi": talib.rsi(_CLOSE, timeperiod=WILDER),
        "adx": talib.adx(_HIGH, _LOW, _CLOSE, timeperiod=WILDER),
        "cci": talib.cci(_HIGH, _LOW, _CLOSE, timeperiod=WILDER),
        "williams_r": talib.willr(_HIGH, _LOW, _CLOSE, timeperiod=WILDER),
        "obv": talib.obv(_CLOSE, _TOLD),
        "mfi": talib.mfi(_HIGH, _LOW, _CLOSE, _TOLD, timeperiod=WILDER),
        "macds": talib.macd(_CLOSE, fastperiod=FAST, slowperiod=SLOW, signalperiod=SIGNAL),
        "bands": talib.bbands(_CLOSE, timeperiod=BANDS, nbdevup=DEVIATIONS, nbdevdn=DEVIATIONS, matype=_SIMPLE),
        "stochs": talib.stoch(
            _HIGH, _LOW, _CLOSE, fastk_period=WILDER, slowk_period=SMOOTHING, slowk_matype=_SIMPLE,
            slowd_period=SMOOTHING, slowd_matype=_SIMPLE,
        ),
    }  # fmt: skip
    return [column.alias(name) for name, column in columns.items()]


def _vwap(*, has_unknown: bool) -> pl.Expr:
    """The average price of the day so far, null from an unknown volume to the day's end."""
    so_far = _TOLD.cum_sum().over(_DAY_RUN)
    worth = ((_HIGH + _LOW + _CLOSE) * THIRD * _TOLD).cum_sum().over(_DAY_RUN)
    is_known = so_far > 0
    if has_unknown:
        is_known &= _VOLUME.is_null().cum_sum().over(_DAY_RUN) == 0
    return pl.when(is_known).then(worth / so_far).alias("vwap")


def _known_volumes() -> tuple[pl.Expr, pl.Expr]:
    """The fields by volume, null where an unknown one counts: `obv` for ever, `mfi` within its window."""
    unknown = _VOLUME.is_null().cum_sum()
    in_window = unknown.over(POOL_RUN) - unknown.shift(WILDER).over(POOL_RUN).fill_null(0)
    return pl.when(unknown.over(POOL_RUN) == 0).then("obv").alias("obv"), pl.when(in_window == 0).then("mfi").alias(
        "mfi"
    )


def _bounded(name: str, column: pl.Expr) -> pl.Expr:
    """Within the declared range, where the last bit overshoots it; null where it is not a number."""
    low, high = next((low, high) for field, _, _, low, high in TECHNICAL_FIELDS if field == name)
    inside = column if low is None and high is None else column.clip(low, high)
    return pl.when(column.is_finite()).then(inside).alias(name)


CALCULATOR: Final = BarCalculator(FIELDS, over_history, lambda _minutes, _spec: Technical())


def technical_of_bars(candles: pl.DataFrame | pl.LazyFrame, minutes: int, spec: FeaturesSpec) -> pl.DataFrame:
    """Every technical field at every closed bar of every pool.

    Args:
        candles: rows of CANDLES in any order; of its columns, POOL_KEY, `event_time`, `known_at`, prices and
            `volume_usd` are read.
        minutes: length of the bars wanted; they are made of those of five minutes.
        spec: when a longer bar closes.

    Returns:
        POOL_KEY, `event_time` (the bar's start), `closed_at` (when it and so its fields were known) and the fields of
        TECHNICAL_FIELDS by name, sorted by POOL_KEY and `event_time`.

    Raises:
        UsageError: bars of that length cannot be made.
    """
    pools = numbered_pools(candles.lazy().select(POOL_KEY).unique().collect())
    bars = longer_bars(five_minute_bars(candles, pools), minutes, spec)
    found = over_history(bars, minutes, spec)
    return found.select(*(pools[name].gather(found[POOL_RUN]) for name in POOL_KEY), "event_time", "closed_at", *FIELDS)
