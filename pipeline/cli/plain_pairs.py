"""Paired losses in a plain file, and what they prove.

Belongs here: what a file's columns stand for, one answer for each experiment in it. Stays out: the gates
(`pipeline.promotion`), the screen (`gate`).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.cli.parquet import require_parquet
from pipeline.errors import InputError, UsageError
from pipeline.promotion.gate import compare_offline
from pipeline.promotion.losses import CLIP
from pipeline.promotion.sequential import LOSSES, PAIRS, SequentialVerdict, sequential_verdict, sequential_verdicts
from pipeline.promotion.spec import PromotionSpec

EXPERIMENT: Final = "experiment"
MATURED_AT: Final = "matured_at"
_CORRECT: Final = ("correct_champion", "correct_challenger")
_CALENDAR: Final = (date(1, 1, 1), date(9999, 12, 31))
"""The days that a datetime of Python can hold; Polars and Parquet hold others, and stumble over them."""


def read_pairs(path: Path, *, is_timed: bool = True) -> tuple[pl.DataFrame, str | None]:
    """The file's pairs, `matured_at` in UTC, and what had to be taken for granted about its times.

    Args:
        path: the file.
        is_timed: whether `matured_at` is read at all.

    Raises:
        InputError: it is no Parquet, holds no row, its times are no moments, or its names are none.
    """
    require_parquet(path)
    try:
        told = pl.scan_parquet(path, glob=False)
        wanted = (EXPERIMENT, *(name for name in PAIRS if is_timed or name != MATURED_AT), *_CORRECT)
        held = told.collect_schema().names()
        found = [name for name in wanted if name in held]
        if lacking := [name for name in ("pool", *LOSSES) if name not in held]:
            raise InputError(f"{str(path)!r} has no columns {lacking!r}, found {held!r}: give a file of paired losses")
        pairs = _named(told.select(found).collect())
        return _in_utc(pairs) if MATURED_AT in found else (pairs, None)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot use {str(path)!r}: {error}; give a Parquet file of pairs") from error


def sequential_answers(
    pairs: pl.DataFrame, *, alpha: float, margin: float, max_pools: int | None
) -> Iterator[tuple[Any, SequentialVerdict]]:
    """The verdict of each experiment; of a file without that column one, of experiment None."""
    rule: dict[str, Any] = {"alpha": alpha, "margin": margin, "max_pools": max_pools}
    if EXPERIMENT in pairs.columns:
        yield from sequential_verdicts(pairs, EXPERIMENT, **rule)
    else:
        yield None, sequential_verdict(pairs, **rule)


def sequential_record(verdict: SequentialVerdict) -> dict[str, Any]:
    """A verdict as plain values, without its path."""
    return {
        "decision": verdict.decision,
        "wealth": verdict.wealth,
        "wealth_worse": verdict.wealth_worse,
        "bound": verdict.bound,
        "n_pools": verdict.n_pools,
        "stopped_at": verdict.stopped_at.isoformat() if verdict.stopped_at else None,
        "reason": verdict.reason,
    }


def offline_answers(pairs: pl.DataFrame, spec: PromotionSpec) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The offline comparison of each experiment as plain values; without `correct_*` columns there is no McNemar."""
    if pairs.is_empty():
        raise InputError("read pairs: there is no row, so there is nothing to judge")
    nulls = {name: n for name in pairs.columns if name != MATURED_AT and (n := pairs[name].null_count())}
    if nulls:
        raise InputError(f"read pairs: missing values, by column: {nulls!r}; leave out what has not matured")
    if EXPERIMENT not in pairs.columns:
        yield None, _offline_record(pairs, spec)
        return
    for (experiment,), rows in pairs.sort(EXPERIMENT).group_by(EXPERIMENT, maintain_order=True):
        yield experiment, _offline_record(rows, spec)


def _offline_record(pairs: pl.DataFrame, spec: PromotionSpec) -> dict[str, Any]:
    # A loss of exactly 0 is an error that was not made; the gate divides by means of losses and refuses a 0, so that
    # here, as in `losses`, the least loss is CLIP.
    champion, challenger = (np.where(v == 0, CLIP, v) for v in (_losses(pairs, name) for name in LOSSES))
    if champion.max() <= CLIP:
        raise InputError("compared two models: the champion has no loss at all, so a relative gain has no meaning")
    is_told = all(name in pairs.columns for name in _CORRECT)
    nothing = np.zeros(len(pairs), dtype=bool)
    right, challenger_right = (_flags(pairs, name) if is_told else nothing for name in _CORRECT)
    done = compare_offline(pairs["pool"].to_numpy(), challenger, champion, challenger_right, right, spec=spec)
    record = {
        "is_passed": done.is_passed,
        "gain": done.gain,
        "gain_low": done.gain_low,
        "gain_high": done.gain_high,
        "min_gain": spec.min_gain,
        "loss_champion": done.loss_opponent,
        "loss_challenger": done.loss_challenger,
        "n_pools": done.n_pools,
        "n_rows": done.n_rows,
        "reason": done.reason.removeprefix("log "),  # nobody said which loss the file holds
    }
    mcnemar = {
        "n_champion_only": done.n_opponent_only,
        "n_challenger_only": done.n_challenger_only,
        "mcnemar_p": done.mcnemar_p,
    }
    return {**record, **mcnemar} if is_told else record


def offline_spec(min_gain: float, min_pools: int) -> PromotionSpec:
    """The written rule with the gain and the pools that somebody asked for.

    Raises:
        UsageError: one of them lies outside its range.
    """
    if not 0 <= min_gain < 1:
        raise UsageError(f"--min-gain takes a share from 0 to below 1, found {min_gain!r}")
    if min_pools < 2:
        raise UsageError(f"--min-pools takes 2 or more, found {min_pools!r}")
    return replace(PromotionSpec(), min_gain=min_gain, min_pools=min_pools)


def _named(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs, once their names are names: one value each that can be told from others, sorted and printed."""
    for name in (name for name in (EXPERIMENT, "pool") if name in pairs.columns):
        dtype = pairs.schema[name]
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            raise InputError(f"read pairs: {name!r} holds {dtype}, not names: write text, numbers or times")
        if dtype.is_float():
            n_bad = int((~pairs[name].is_finite()).sum())
            if n_bad:
                raise InputError(f"read pairs: {n_bad:,} values of {name!r} are NaN or infinite, which name nothing")
            pairs = pairs.with_columns(pl.col(name) + 0.0)  # -0.0 is 0.0
        _require_calendar(pairs[name])
    return pairs


def _require_calendar(times: pl.Series) -> None:
    """Raise InputError for days outside the years 1 to 9999. By plain numbers: as days Polars would panic over them."""
    if times.dtype == pl.Date:
        a_day = 1
    elif isinstance(times.dtype, pl.Datetime):
        a_day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[times.dtype.time_unit]
    else:
        return
    first, last = ((day - date(1970, 1, 1)).days for day in _CALENDAR)
    slack = int(getattr(times.dtype, "time_zone", None) not in (None, "UTC"))  # where it is another day than in UTC
    days = times.to_physical().cast(pl.Int64) // a_day
    n_bad = int((~days.is_between(first + slack, last - slack)).sum())
    if n_bad:
        raise InputError(f"read pairs: {n_bad:,} values of {times.name!r} lie outside the years 1 to 9999")


def _in_utc(pairs: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    dtype, moment = pairs.schema[MATURED_AT], pl.col(MATURED_AT)
    _require_calendar(pairs[MATURED_AT])
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            return pairs.with_columns(moment.dt.convert_time_zone("UTC")), None
        return pairs.with_columns(moment.dt.replace_time_zone("UTC")), "matured_at names no time zone: read as UTC"
    if dtype == pl.Date:
        days = moment.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return pairs.with_columns(days), "matured_at holds days: read as their start, UTC; pools of a day by their name"
    raise InputError(
        f"read pairs: 'matured_at' holds {dtype}, not moments: write timestamps, best in UTC (whole numbers do not say"
        " whether they count seconds, and text does not say its format)"
    )


def _floats(pairs: pl.DataFrame, name: str) -> Any:
    if not (pairs.schema[name].is_numeric() or pairs.schema[name] == pl.Boolean):
        raise InputError(f"read pairs: {name!r} holds {pairs.schema[name]}, not numbers")
    return pairs[name].cast(pl.Float64).to_numpy()


def _losses(pairs: pl.DataFrame, name: str) -> Any:
    values = _floats(pairs, name)
    n_bad = len(values) - int((np.isfinite(values) & (values >= 0)).sum())
    if n_bad:
        raise InputError(
            f"read pairs: {n_bad:,} of {len(values):,} values of {name!r} are negative, NaN or infinite: a relative"
            " gain needs losses that are finite and >= 0"
        )
    return values


def _flags(pairs: pl.DataFrame, name: str) -> Any:
    values = _floats(pairs, name)
    if not np.isin(values, (0.0, 1.0)).all():
        raise InputError(
            f"read pairs: {name!r} must be true or false (1 or 0), found {np.unique(values)[:5].tolist()!r}"
        )
    return values == 1
