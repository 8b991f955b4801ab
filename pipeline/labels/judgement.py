"""Exactly one of labelled, censored, pending for every decision and horizon, and the label's columns.

Belongs here: naming the outcome, and what can be said of a window at `now`. Stays out: what happened in a window
(`paths`), windows that only observations tell of (`watched`), and the thresholds (`spec`).

A *window* is one row a decision with what happened; a *judged* window also says whether that is enough:

- `is_rug`, `is_observed` (the price at the end was seen), `is_reserve_told`, `is_open` (waiting may still help),
  `is_still` (the recorded clock stood still), `is_silent_rug` (drained when it was last heard of).
"""

from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.labels.bars import NEVER, Decisions
from pipeline.labels.paths import LOWER, NO_TOUCH, RUG_KINDS, UPPER, Paths
from pipeline.labels.range_extrema import Floats, Ints
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import POOL_KEY, UTC

END: Final = pl.col("end_time")
_LARGEST: Final = float(np.finfo(np.float64).max)
_BARRIERS: Final = {UPPER: "upper", LOWER: "lower", NO_TOUCH: "vertical"}


def window_of(chunk: pl.DataFrame, paths: Paths, hours: int, spec: LabelsSpec) -> pl.DataFrame:
    """The decisions with what happened in their windows, before anyone asks what of it may be said."""
    reference = Decisions.of(chunk).price
    return chunk.with_columns(
        pl.lit(hours, pl.Int32).alias("horizon_hours"),
        (pl.col("event_time") + pl.duration(hours=hours)).alias("end_time"),
        pl.Series("is_priced", ~np.isnan(reference)),
        pl.Series("end_ratio", _ratio(paths.end, reference), nan_to_null=True),
        pl.Series("peak_ratio", _ratio(paths.peak, reference), nan_to_null=True),
        pl.Series("trough_ratio", _ratio(paths.trough, reference), nan_to_null=True),
        times("peak_at", paths.peak_at),
        times("trough_at", paths.trough_at),
        times("rug_at", paths.rug_at),
        times("touch_at", paths.touch_at),
        times("last_start", paths.last_start),
        (pl.col("quote_reserve").is_finite().fill_null(value=False) & pl.Series(paths.is_reserve_told)).alias(
            "is_reserve_told"
        ),
        times("all_known_at", paths.all_known_at),
        pl.Series("touch", paths.touch),
        pl.Series("rug_kind_code", paths.rug_kind),
        pl.lit(spec.bar_minutes * 60, pl.Int32).alias("resolution_s"),
        pl.lit(value=False).alias("is_silent_rug"),
        pl.lit(value=True).alias("is_path_seen"),
        pl.lit(None, pl.String).alias("unseen_reason"),
    )


def judged_by_bars(window: pl.DataFrame, now: datetime, spec: LabelsSpec) -> pl.DataFrame:
    """Windows whose bars say it all, or do not."""
    return window.with_columns(
        is_rug=is_rug(pl.col("is_reserve_told"), now), is_still=is_still(now), is_observed=_is_observed(spec)
    ).with_columns(is_open=_is_open(now, spec))


def settled(judged: pl.DataFrame) -> pl.DataFrame:
    """Each row's `status` and `censor_reason`, and whether its whole window `is_whole`: seen, and over."""
    return judged.with_columns(status=_status(), censor_reason=_censor_reason()).with_columns(
        is_labelled=pl.col("status") == "labelled",
        is_whole=pl.col("is_priced")
        & ~pl.col("is_still")
        & ~pl.col("is_open")
        & pl.col("is_observed")
        & pl.col("is_path_seen"),
    )


def is_rug(condition: pl.Expr, now: datetime) -> pl.Expr:
    """A rug that may be told: of a pool with a price, before the clock stood still in its window, under `condition`.

    A clock that stood still after the window says nothing of it, though the rug's bar was told later than that.
    """
    before_still = ~is_still(now) | (pl.col("rug_at") <= pl.col("standstill_at"))
    return pl.col("rug_at").is_not_null() & before_still & pl.col("is_priced") & condition


def is_still(now: datetime) -> pl.Expr:
    """Whether the recorded clock stood still within the window."""
    return (pl.col("standstill_at") <= pl.min_horizontal(END, pl.lit(now, UTC))).fill_null(value=False)


def tolerance(share: float) -> pl.Expr:
    """That share of each row's horizon."""
    return pl.duration(hours="horizon_hours") * share


def _is_observed(spec: LabelsSpec) -> pl.Expr:
    """Whether the price at the end of the window is an observation and not a guess."""
    vouched = (pl.col("watched_until") >= END).fill_null(value=False)
    return vouched | (pl.col("last_start") >= END - tolerance(spec.observation_share)).fill_null(value=False)


def _is_open(now: datetime, spec: LabelsSpec) -> pl.Expr:
    """Whether waiting can still bring what is missing.

    A source that vouches is given one horizon to move on after it fell silent; one that does not, `patience_hours`: its
    bars are told late.
    """
    patience = pl.coalesce(pl.col("watched_until") + tolerance(1), END + timedelta(hours=spec.patience_hours))
    return (pl.lit(now, UTC) < END) | (~pl.col("is_observed") & (pl.lit(now, UTC) <= patience))


def _status() -> pl.Expr:
    seen = pl.col("is_observed") & pl.col("is_reserve_told")
    return (
        pl.when(~pl.col("is_priced"))
        .then(pl.lit("censored"))
        .when("is_rug")
        .then(pl.lit("labelled"))
        .when("is_still")
        .then(pl.lit("censored"))
        .when("is_open")
        .then(pl.lit("pending"))
        .when(seen)
        .then(pl.lit("labelled"))
        .otherwise(pl.lit("censored"))
    )


def _censor_reason() -> pl.Expr:
    return (
        pl.when(~pl.col("is_priced"))
        .then(pl.lit("no_price_at_decision"))
        .when("is_rug")
        .then(None)
        .when("is_still")
        .then(pl.lit("clock_stood_still"))
        .when("is_open")
        .then(None)
        .when(pl.col("unseen_reason").is_not_null())
        .then("unseen_reason")
        .when(~pl.col("is_observed"))
        .then(pl.lit("no_observation_at_horizon"))
        .when(~pl.col("is_reserve_told"))
        .then(pl.lit("reserve_not_observed"))
    )


def _outcome(spec: LabelsSpec) -> pl.Expr:
    """The first class that fits, in the order in which they are asked for."""
    ratio = pl.col("end_ratio")
    return (
        pl.when("is_rug")
        .then(pl.lit("RUG"))
        .when(ratio > spec.beyond(spec.moon_pct))
        .then(pl.lit("MOON"))
        .when(ratio > spec.beyond(spec.pump_pct))
        .then(pl.lit("PUMP"))
        .when(ratio < spec.beyond(spec.decline_pct))
        .then(pl.lit("DECLINE"))
        .when(ratio > spec.beyond(spec.stable_pct))
        .then(pl.lit("RISE"))
        .when(ratio < spec.beyond(-spec.stable_pct))
        .then(pl.lit("DIP"))
        .otherwise(pl.lit("STABLE"))
    )


def _direction(spec: LabelsSpec) -> pl.Expr:
    ratio = pl.col("end_ratio")
    return (
        pl.when(ratio > spec.beyond(spec.stable_pct))
        .then(pl.lit("up"))
        .when(ratio < spec.beyond(-spec.stable_pct))
        .then(pl.lit("down"))
        .otherwise(pl.lit("flat"))
    )


def label_columns(now: datetime, spec: LabelsSpec) -> list[pl.Expr]:
    """The columns of LABELS from settled windows, in any order."""
    labelled, whole = pl.col("is_labelled"), pl.col("is_labelled") & pl.col("is_whole")
    # A pool that fell silent was not seen to the end: that no barrier was met cannot be said of it.
    touched, silent = pl.col("touch") != NO_TOUCH, pl.col("is_silent_rug")
    known_at = pl.when("is_rug").then("rug_at").otherwise(pl.max_horizontal(END, "all_known_at"))
    barrier = pl.when(touched | ~silent).then(pl.col("touch").replace_strict(_BARRIERS))
    touch_at = pl.when(touched).then("touch_at").when(~silent).then(END)
    rug = labelled & pl.col("is_rug")
    kind = pl.col("rug_kind_code").replace_strict(RUG_KINDS, default=None, return_dtype=pl.String)
    of_whole = ("return_executable_pct", "executable_entry_at", "direction_confidence")
    return [
        pl.col(*POOL_KEY, "event_time", "horizon_hours", "status", "censor_reason"),
        pl.when(labelled).then(_outcome(spec)).alias("outcome"),
        *(pl.when(whole).then(_change(f"{n}_ratio")).alias(f"return_{n}_pct") for n in ("end", "peak", "trough")),
        # Where no bar went beyond the reference, the reference was the extreme, and was seen at the decision.
        *(pl.when(whole).then(pl.coalesce(n, "event_time")).alias(n) for n in ("peak_at", "trough_at")),
        pl.when(rug).then("rug_at").alias("rug_at"),
        pl.when(rug).then(kind).alias("rug_kind"),
        pl.when(labelled).then(barrier).alias("first_touch"),
        pl.when(labelled).then(touch_at).alias("first_touch_at"),
        pl.when(labelled).then("resolution_s").alias("touch_resolution_s"),
        pl.when(labelled).then(known_at).alias("label_known_at"),
        pl.when(whole).then(pl.max_horizontal(END, "all_known_at", "executable_known_at")).alias("path_known_at"),
        *(pl.when(whole).then(name).alias(name) for name in of_whole),
        pl.when(whole).then(_direction(spec)).alias("direction"),
        # A decision that is still to come before the end would overlap this one.
        pl.when(labelled & (pl.lit(now, UTC) >= END)).then("average_uniqueness").alias("average_uniqueness"),
    ]


def _change(ratio: str) -> pl.Expr:
    return (pl.col(ratio) - 1) * 100


def _ratio(price: Floats, reference: Floats) -> Floats:
    # Two prices may lie more than 10^308 apart; the largest number that can be written still says "beyond every band".
    with np.errstate(over="ignore"):
        return np.minimum(price / reference, _LARGEST / 200)


def times(name: str, micros: Ints) -> pl.Series:
    """Moments in us as UTC, null where it was never."""
    series = pl.Series(name, micros)
    return series.set(series == NEVER, None).cast(UTC)
