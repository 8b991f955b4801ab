"""Rows to learn from: features that QLib evaluates over a provider directory, beside forward returns.

Belongs here: which decisions there are and what is known at each. Stays out: which of them train (`dataset`).

A decision is made at the end of a bar in which its pool traded, once it has `min_bars` traded bars and from its
birth until it is `max_age_hours` old. All are known then, so no pool is kept or dropped for what became of it later.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import batched
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.errors import InputError
from pipeline.models.returns.evaluated import evaluated
from pipeline.models.returns.expressions import BAR_FEATURES, expressions, feature_names
from pipeline.models.returns.qlib_session import qlib_data, start_qlib
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import KEYS, censored, label_end_name, return_name, with_returns

CHUNK: Final = 50
"""Instruments evaluated at once: bounds memory to their series times the features."""
_POOLS: Final = ("instrument", "network", "pool", "base_token", "created_at")
_UTC: Final = pl.Datetime("us", "UTC")

type Progress = Callable[[str, float], None]


def return_rows(
    provider: Path,
    pools: pl.DataFrame,
    spec: ReturnsSpec,
    progress: Progress = lambda _step, _share: None,
    unwatched: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Every decision with its features and forward returns, sorted by pool and time.

    Args:
        provider: a QLib directory with hourly bars; it is held open by nobody here, so give a resolved one.
        pools: `instrument`, `network`, `pool`, `base_token` (or null), `created_at` (UTC). Instruments that are not
            among them, or without a birth, are left out: they cannot be split by birth.
        progress: told of each chunk and the share that is done.
        unwatched: `network`, `hour` (UTC starts of hours in which nobody watched that network): a return whose window
            meets one is null (`targets.censored`). None: every hour was watched.

    Returns:
        `KEYS` (`event_time`: the END of the decision's bar, UTC), one Float32 column a feature (null: not defined),
        and for each horizon `return_{h}h` (Float64; null: pending or not observed) and `label_end_{h}h`.

    Raises:
        InputError: no directory, columns missing, an instrument there twice, or no instrument of `pools` in it.
    """
    _check(pools)
    start_qlib(provider)
    calendar = _calendar(spec)
    known = pools.select(_POOLS).drop_nulls(["instrument", "network", "pool", "created_at"])
    names = _instruments(known, spec)
    closes = pl.concat([_closes(chunk, spec) for chunk in batched(names, 10 * CHUNK)])
    decisions = _decisions(closes, known, spec)
    until = calendar[-1] + spec.step
    asked = with_returns(
        decisions, closes.with_columns(pl.col("bar") + spec.step).rename({"bar": "known_at"}), spec, until
    )
    if unwatched is not None:
        asked = censored(asked, unwatched, spec)
    parts = []
    for done, frame in _featured(asked, calendar, spec):
        parts.append(frame)
        progress("features of pools", done)
    schema = {name: pl.Float32() for name in feature_names(spec)}
    rows = pl.concat(parts) if parts else asked.with_columns(pl.lit(None, kind).alias(n) for n, kind in schema.items())
    ends = [name for h in spec.horizons_hours for name in (return_name(h), label_end_name(h))]
    return rows.select(*KEYS, *schema, *ends).sort("instrument", "event_time")


def _check(pools: pl.DataFrame) -> None:
    missing = [name for name in _POOLS if name not in pools.columns]
    if missing:
        raise InputError(f"pools without the columns {missing!r}, found {pools.columns!r}")
    if pools["instrument"].is_duplicated().any():
        twice = pools.filter(pools["instrument"].is_duplicated())["instrument"][0]
        raise InputError(f"instrument {twice!r} stands for several pools: give each pool one row")
    if pools.schema["created_at"] != _UTC:
        raise InputError(f"expected created_at in UTC, found {pools.schema['created_at']!r}")


def _calendar(spec: ReturnsSpec) -> list[datetime]:
    times = [time.to_pydatetime() for time in qlib_data().calendar(freq=spec.freq)]
    if not times:
        raise InputError("the provider's calendar is empty: export bins first")
    return _in_utc(times)


def _in_utc(times: Sequence[datetime]) -> list[datetime]:
    return pl.Series(times, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC").to_list()


def _instruments(pools: pl.DataFrame, spec: ReturnsSpec) -> list[str]:
    """Those of our pools that the provider holds, sorted."""
    data = qlib_data()
    held = set(data.list_instruments(data.instruments("all"), freq=spec.freq, as_list=True))
    names = sorted(held & set(pools["instrument"].to_list()))
    if not names:
        raise InputError(f"none of {pools.height} pools is among the provider's {len(held)} instruments")
    return names


def _decisions(closes: pl.DataFrame, pools: pl.DataFrame, spec: ReturnsSpec) -> pl.DataFrame:
    """Which bars are decided at, with what is counted from the bars: `KEYS`, `bar`, `BAR_FEATURES`."""
    counted = closes.sort("instrument", "bar").with_columns(
        pl.int_range(1, pl.len() + 1).over("instrument").cast(pl.Float32).alias("n_bars_until_now"),
        (pl.col("bar") + spec.step).alias("event_time"),
    )
    age = ((pl.col("event_time") - pl.col("created_at")).dt.total_seconds() / 3600).cast(pl.Float32)
    return (
        counted.join(pools, on="instrument", maintain_order="left")
        .with_columns(age.alias("age_hours"))
        .filter(pl.col("n_bars_until_now") >= spec.min_bars, pl.col("age_hours").is_between(0, spec.max_age_hours))
        .select(*KEYS, "bar", *BAR_FEATURES)
    )


def _featured(
    asked: pl.DataFrame, calendar: Sequence[datetime], spec: ReturnsSpec
) -> Iterator[tuple[float, pl.DataFrame]]:
    """The decisions with QLib's features, a chunk of instruments at a time in the order of birth, and the share."""
    fields = expressions(spec)
    births = asked.group_by("instrument").agg(pl.col("created_at").min())
    names = births.sort("created_at", "instrument")["instrument"].to_list()
    for at, chunk in enumerate(batched(names, CHUNK)):
        own = asked.filter(pl.col("instrument").is_in(chunk))
        yield min(1.0, (at + 1) * CHUNK / len(names)), evaluated(own, fields, calendar, spec.freq).drop("bar")


def _closes(names: Sequence[str], spec: ReturnsSpec) -> pl.DataFrame:
    """The close of every traded bar: `instrument`, `bar` (its start, UTC), `close` (Float32)."""
    found = qlib_data().features(list(names), ["$close"], freq=spec.freq)
    index = found.index
    frame = pl.DataFrame(
        {
            "instrument": pl.Series(index.get_level_values("instrument").astype(str).to_numpy(), dtype=pl.String),
            "bar": pl.Series(index.get_level_values("datetime").to_numpy(), dtype=pl.Datetime("us")),
            "close": pl.Series(found.iloc[:, 0].to_numpy(dtype="float32")),
        }
    )
    is_traded = pl.col("close").is_finite() & (pl.col("close") > 0)
    return frame.filter(is_traded).with_columns(pl.col("bar").dt.replace_time_zone("UTC"))
