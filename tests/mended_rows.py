"""What `builders.valid_frame` does to rows of random values so that they mean something.

Belongs here: one function a table that brings columns into agreement. Stays out: values of single columns (`builders`).
"""

from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from hashlib import sha256

import polars as pl

from pipeline.tables import API_WINDOWS, BAR_MINUTES, WINDOWS_MINUTES

Mend = Callable[[pl.DataFrame], pl.DataFrame]
_RETURNS = {"RUG": -90.0, "MOON": 150.0, "PUMP": 50.0, "RISE": 10.0, "STABLE": 0.0, "DIP": -10.0, "DECLINE": -50.0}
_END = pl.col("event_time") + pl.duration(hours=pl.col("horizon_hours"))
_IS_LAST = pl.int_range(pl.len()) == pl.len() - 1


def _sorted_columns(*names: str) -> Mend:
    """Each row's values of these columns in ascending order."""
    ordered = pl.concat_list(names).list.sort()
    return lambda frame: frame.with_columns(ordered.list.get(i).alias(name) for i, name in enumerate(names))


def _nested(prefix: str, suffix: str, windows: tuple[str, ...]) -> Mend:
    return _sorted_columns(*(f"{prefix}_{w}{suffix}" for w in windows))


def _each(*mend: Mend) -> Mend:
    """All of them, one after the other."""
    return lambda frame: reduce(lambda mended, one: one(mended), mend, frame)


def _with(**columns: pl.Expr | str) -> Mend:
    return lambda frame: frame.with_columns(**columns)


def _bars(minutes: int) -> Mend:
    macd, signal = f"macd_{minutes}m", f"macd_signal_{minutes}m"
    return _each(
        _sorted_columns(*(f"{n}_{minutes}m" for n in ("low", "open", "close", "high"))),
        _sorted_columns(*(f"bollinger_{n}_{minutes}m" for n in ("lower", "middle", "upper"))),
        lambda frame: frame.with_columns((pl.col(macd) - pl.col(signal)).alias(f"macd_histogram_{minutes}m")),
    )


def _path(frame: pl.DataFrame) -> pl.DataFrame:
    """Returns, barriers and times that fit the outcome."""
    end = pl.col("outcome").replace_strict(_RETURNS, default=None, return_dtype=pl.Float64)
    framed = frame.with_columns(
        return_end_pct=end,
        return_peak_pct=pl.max_horizontal(end, 0.0) + 5,
        return_trough_pct=pl.min_horizontal(end, 0.0) - 5,
        label_known_at=pl.max_horizontal("label_known_at", _END),
    )
    return framed.with_columns(path_known_at=pl.col("label_known_at") + timedelta(days=1))


def _labels(frame: pl.DataFrame) -> pl.DataFrame:
    """The last row is left pending, so that it may be null wherever a label may."""
    status = pl.when(_IS_LAST & (pl.len() > 1)).then(pl.lit("pending")).otherwise(pl.col("status"))
    end, peak, trough = (pl.col(f"return_{name}_pct") for name in ("end", "peak", "trough"))
    labelled, is_rug = pl.col("status") == "labelled", pl.col("outcome") == "RUG"
    return (
        _path(frame)
        .with_columns(
            status=status,
            direction=pl.when(end > 5).then(pl.lit("up")).when(end < -5).then(pl.lit("down")).otherwise(pl.lit("flat")),
            first_touch=pl.when(peak >= 30)
            .then(pl.lit("upper"))
            .when(trough <= -30)
            .then(pl.lit("lower"))
            .otherwise(pl.lit("vertical")),
        )
        .with_columns(
            pl.when(labelled).then(pl.col("outcome", "label_known_at")).name.keep(),
            censor_reason=pl.when(pl.col("status") == "censored").then(pl.col("censor_reason")),
        )
        .with_columns(pl.when(is_rug).then(pl.col("rug_kind", "rug_at")).name.keep())
    )


def _market_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """The last row is left pending; each value fits its kind."""
    status = pl.when(_IS_LAST & (pl.len() > 1)).then(pl.lit("pending")).otherwise(pl.col("status"))
    is_regime, labelled = pl.col("kind") == "regime", pl.col("status") == "labelled"
    times = pl.col("event_time").first().dt.truncate("1h") + pl.duration(hours=pl.int_range(pl.len()))
    return frame.with_columns(status=status, event_time=times).with_columns(
        value=pl.when(labelled).then(pl.when(is_regime).then(pl.lit("bear")).otherwise(pl.lit("none"))),
        return_pct=pl.when(is_regime).then(-20.0).otherwise(1.0),
        label_known_at=pl.when(labelled).then(pl.col("event_time") + timedelta(days=1)),
        censor_reason=pl.when(pl.col("status") == "censored").then("censor_reason"),
    )


def _outcomes(frame: pl.DataFrame) -> pl.DataFrame:
    """Each value fits its status; everything was joined after it was known."""
    known = (
        "outcome", "p_outcome", "log_loss", "is_correct", "label_known_at", "path_known_at", "return_end_pct",
        "return_peak_pct", "return_trough_pct", "peak_at", "trough_at",
    )  # fmt: skip
    return (
        _path(frame)
        .with_columns(known_at=pl.col("path_known_at") + timedelta(days=1), log_loss=-pl.col("p_outcome").log())
        .with_columns(
            pl.when(pl.col("status") == "labelled").then(pl.col(known)).name.keep(),
            censor_reason=pl.when(pl.col("status") == "censored").then("censor_reason"),
        )
    )


def _chained(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(previous_hash=pl.col("row_hash").shift(1).fill_null("0" * 64))


def _identified(frame: pl.DataFrame) -> pl.DataFrame:
    ids = [sha256(text.encode()).hexdigest() for text in frame["record_id"]]
    return frame.with_columns(record_id=pl.Series(ids, dtype=pl.String))


def _days(frame: pl.DataFrame) -> pl.DataFrame:
    days = pl.col("day_start").first().dt.truncate("1d") + pl.duration(days=pl.int_range(pl.len()))
    return frame.with_columns(day_start=days, known_at=days + timedelta(days=2))


_WINDOWS = tuple(sorted(WINDOWS_MINUTES, key=WINDOWS_MINUTES.__getitem__))
_SHARE = pl.col("n_buys_1h") / (pl.col("n_buys_1h") + pl.col("n_sells_1h"))
_TECHNICAL = _each(*(_bars(minutes) for minutes in BAR_MINUTES))
_ACTIVITY = _each(
    _sorted_columns("volume_1h_usd", "volume_24h_usd"),
    _with(n_trades_24h=pl.col("n_buys_1h") + pl.col("n_sells_1h") + pl.col("n_trades_24h")),
)
_MARKET = _sorted_columns(*(f"liquidity_depth_{usd}_usd_pct" for usd in (100, 1000, 10000)))
_FEW_POOLS = _sorted_columns("n_pools", "n_rows")
_API_COUNTS = ("n_buyers", "n_buys", "n_sellers", "n_sells")

MENDED: dict[str, Mend] = {
    "answers": _with(status=pl.lit(200, pl.Int64)),
    "raw_pools": _each(
        *(_sorted_columns(f"{who}_{w}", f"{what}_{w}")
          for who, what in (("n_buyers", "n_buys"), ("n_sellers", "n_sells")) for w in API_WINDOWS),
        _nested("volume", "_usd", API_WINDOWS),
        *(_nested(what, "", API_WINDOWS) for what in _API_COUNTS),
    ),
    "trades": _with(block=pl.int_range(pl.len(), dtype=pl.Int64)),
    "candles": _each(
        _sorted_columns("low", "open", "close", "high"),
        _sorted_columns("quote_reserve_low", "quote_reserve_close"),
        _with(known_at=pl.col("event_time") + timedelta(minutes=5)),
    ),
    "raw_candles": _sorted_columns("low", "close", "high"),
    "collections": _each(
        _sorted_columns("n_found_late", "n_found"),
        _sorted_columns("n_observed_late", "n_observed"),
        _sorted_columns("n_failed", "n_calls"),
    ),
    "quarantine": _identified,
    "releases": _identified,
    "snapshots": _each(
        _nested("volume", "_usd", _WINDOWS), _nested("n_buys", "", _WINDOWS), _nested("n_sells", "", _WINDOWS)
    ),
    "features_technical": _TECHNICAL,
    "features_activity": _ACTIVITY,
    "features_market": _MARKET,
    "features": _each(_TECHNICAL, _ACTIVITY, _MARKET, _with(buy_pressure_1h=_SHARE)),
    "labels": _labels,
    "market_labels": _market_labels,
    "training_sets": _FEW_POOLS,
    "return_datasets": _FEW_POOLS,
    "figures": _each(_sorted_columns("low", "value", "high"), _FEW_POOLS),
    "return_figures": _each(_sorted_columns("low", "value", "high"), _FEW_POOLS),
    "outcomes": _outcomes,
    "performance_reports": _each(_days, _FEW_POOLS),
    "comparisons": _sorted_columns("gain_low_pct", "gain_pct", "gain_high_pct"),
    "deployments": _chained,
}  # fmt: skip
