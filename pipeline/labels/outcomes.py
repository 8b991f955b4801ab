"""The label of every decision and horizon: outcome, path facts, and exactly one of labelled, censored, pending.

Belongs here: naming the outcome and deciding what can be known at `now`. Stays out: how a window is walked (`paths`),
the thresholds (`spec`), and whose job it is to fetch the bars.
"""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.calendars import require_utc
from pipeline.labels.paths import LOWER, NEVER, NO_TOUCH, UPPER, Bars, Decisions, Paths, require_on_grid, walk
from pipeline.labels.range_extrema import Floats
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import LABELS, POOL_KEY, UTC

_LARGEST = float(np.finfo(np.float64).max)
_BAR_COLUMNS = (*POOL_KEY, "event_time", "known_at", "high", "low", "close", "quote_reserve_low")
_END = pl.col("end_time")


def label_outcomes(
    decisions: pl.DataFrame,
    candles: pl.DataFrame,
    pools: pl.DataFrame,
    standstills: pl.DataFrame,
    now: datetime,
    spec: LabelsSpec,
) -> pl.DataFrame:
    """Label each decision at each horizon with what became of its pool, as far as it can be known at `now`.

    The window is (t, t + h]. RUG when the price fell more than 80 %, or the reserve more than 90 % with the price down
    more than 50 % in the same bar, at any moment of the window; else MOON, PUMP, RISE, STABLE, DIP or DECLINE by the
    return at its end. Returns are in quote tokens; the reserve is the quote reserve. What a chain holds stays until its
    next update, so the price at t + h is the last one before it, where the source vouches for its record that far;
    elsewhere a bar that starts within `observation_share` of the horizon before t + h is needed.

    Half of the rule speaks of the reserve. Where the decision or a bar of the window does not know it, a pool may have
    been drained unseen, and the window is censored (`reserve_not_observed`) whatever the price says: to keep the rugs
    among such windows and drop the rest would make rugs of them all. Bars after a rug do not matter.

    Args:
        decisions: `source, network, pool, event_time, price_quote, quote_reserve`; event_time on the bar grid.
        candles: CANDLES rows that cover every decision's longest window. Bars with `known_at` > `now` are not used.
        pools: POOLS; `watched_until` is how far the source vouches (null: it does not).
        standstills: `source, network, event_time`, instants at which the recorded clock stood still.
        now: the moment of labelling, UTC.
        spec: thresholds and horizons.

    Returns:
        LABELS, one row per decision and horizon, sorted by its key. A rug is `labelled` as soon as its bar is known,
        and `label_known_at` is then that bar's `known_at`; any other outcome is known at t + h, or when the last bar
        of the window arrived if that is later. `return_*`, `peak_at` and `trough_at` are null until the whole window
        is known, and belong to t + h even where a rug was known before. Rows not labelled hold nulls.

    Raises:
        InputError: times off the bar grid, bars twice, or bar prices that are null or not finite.
        UsageError: `now` is not UTC.
    """
    require_utc(now)
    require_on_grid(decisions, "a decision", spec)
    numbers = decisions.select(POOL_KEY).unique().sort(POOL_KEY).with_row_index("pool_number")
    known = candles.filter((pl.col("known_at") <= now) & (pl.col("timeframe") == spec.timeframe)).select(_BAR_COLUMNS)
    bars = Bars.of(known.join(numbers, on=POOL_KEY, how="inner"), spec)
    wanted = _with_watch(decisions.join(numbers, on=POOL_KEY, how="left"), pools, standstills)
    labels = [
        _settle(_window(chunk, walk(bars, Decisions.of(chunk), hours, spec), hours), now, spec)
        for chunk in wanted.iter_slices(spec.decisions_at_once)
        for hours in spec.horizons_hours
    ]
    return pl.concat([LABELS.empty(), *labels]).sort(LABELS.key)


def _with_watch(decisions: pl.DataFrame, pools: pl.DataFrame, standstills: pl.DataFrame) -> pl.DataFrame:
    """Add how far the source vouches and the first standstill after each decision (null: none)."""
    stills = standstills.select("source", "network", "event_time").drop_nulls().unique().sort("event_time")
    columns = ["pool_number", *POOL_KEY, "event_time", "price_quote", "quote_reserve"]
    return (
        decisions.select(columns)
        .join(pools.select(*POOL_KEY, "watched_until"), on=POOL_KEY, how="left")
        .sort("event_time")
        .join_asof(
            stills.with_columns(pl.col("event_time").alias("standstill_at")),
            on="event_time",
            by=["source", "network"],
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .sort("pool_number", "event_time")
    )


def _window(chunk: pl.DataFrame, paths: Paths, hours: int) -> pl.DataFrame:
    """The decisions with what happened in their windows, before anyone asks what of it may be said."""
    reference = Decisions.of(chunk).price
    return chunk.with_columns(
        pl.lit(hours, pl.Int32).alias("horizon_hours"),
        (pl.col("event_time") + pl.duration(hours=hours)).alias("end_time"),
        pl.Series("is_priced", ~np.isnan(reference)),
        pl.Series("end_ratio", _ratio(paths.end, reference), nan_to_null=True),
        pl.Series("peak_ratio", _ratio(paths.peak, reference), nan_to_null=True),
        pl.Series("trough_ratio", _ratio(paths.trough, reference), nan_to_null=True),
        _times("peak_at", paths.peak_at),
        _times("trough_at", paths.trough_at),
        _times("rug_at", paths.rug_at),
        _times("touch_at", paths.touch_at),
        _times("last_start", paths.last_start),
        (pl.col("quote_reserve").is_finite().fill_null(value=False) & pl.Series(paths.is_reserve_told)).alias(
            "is_reserve_told"
        ),
        _times("all_known_at", paths.all_known_at),
        pl.Series("touch", paths.touch),
    )


def _settle(window: pl.DataFrame, now: datetime, spec: LabelsSpec) -> pl.DataFrame:
    """Decide each row's status and write down what may be said."""
    judged = window.with_columns(
        # A rug counts only if its whole bar lies before the clock stood still.
        is_rug=pl.col("rug_at").is_not_null()
        & (pl.col("rug_at") <= pl.col("standstill_at")).fill_null(value=True)
        & pl.col("is_priced")
        & pl.col("is_reserve_told"),
        is_still=(pl.col("standstill_at") <= pl.min_horizontal(_END, pl.lit(now, UTC))).fill_null(value=False),
        is_observed=_is_observed(spec),
    ).with_columns(is_open=_is_open(now, spec))
    settled = judged.with_columns(status=_status(), censor_reason=_censor_reason()).with_columns(
        is_labelled=pl.col("status") == "labelled",
        is_whole=pl.col("is_priced") & ~pl.col("is_still") & ~pl.col("is_open") & pl.col("is_observed"),
    )
    return settled.select(_columns(spec)).select(LABELS.schema.names()).cast(LABELS.schema)


def _is_observed(spec: LabelsSpec) -> pl.Expr:
    """Whether the price at the end of the window is an observation and not a guess."""
    tolerance = pl.duration(hours="horizon_hours") * spec.observation_share
    vouched = (pl.col("watched_until") >= _END).fill_null(value=False)
    return vouched | (pl.col("last_start") >= _END - tolerance).fill_null(value=False)


def _is_open(now: datetime, spec: LabelsSpec) -> pl.Expr:
    """Whether waiting can still bring what is missing.

    A source that vouches is given one horizon to move on after it fell silent; one that does not, the same share of the
    horizon after its end as an observation may lie before it: its last bar arrives late.
    """
    horizon = pl.duration(hours="horizon_hours")
    patience = pl.coalesce(pl.col("watched_until") + horizon, _END + horizon * spec.observation_share)
    return (pl.lit(now, UTC) < _END) | (~pl.col("is_observed") & (pl.lit(now, UTC) <= patience))


def _status() -> pl.Expr:
    return (
        pl.when(~pl.col("is_priced"))
        .then(pl.lit("censored"))
        .when("is_rug")
        .then(pl.lit("labelled"))
        .when("is_still")
        .then(pl.lit("censored"))
        .when("is_open")
        .then(pl.lit("pending"))
        .when(pl.col("is_observed") & pl.col("is_reserve_told"))
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


def _columns(spec: LabelsSpec) -> list[pl.Expr]:
    labelled, whole = pl.col("is_labelled"), pl.col("is_labelled") & pl.col("is_whole")
    touched = pl.col("touch") != NO_TOUCH
    barrier = pl.col("touch").replace_strict({UPPER: "upper", LOWER: "lower", NO_TOUCH: "vertical"})
    known_at = pl.when("is_rug").then("rug_at").otherwise(pl.max_horizontal(_END, "all_known_at"))
    return [
        pl.col(*POOL_KEY, "event_time", "horizon_hours", "status", "censor_reason"),
        pl.when(labelled).then(_outcome(spec)).alias("outcome"),
        *(pl.when(whole).then(_change(f"{n}_ratio")).alias(f"return_{n}_pct") for n in ("end", "peak", "trough")),
        # Where no bar went beyond the reference, the reference was the extreme, and was seen at the decision.
        *(pl.when(whole).then(pl.coalesce(n, "event_time")).alias(n) for n in ("peak_at", "trough_at")),
        pl.when(labelled & pl.col("is_rug")).then("rug_at").alias("rug_at"),
        pl.when(labelled).then(barrier).alias("first_touch"),
        pl.when(labelled).then(pl.when(touched).then("touch_at").otherwise(_END)).alias("first_touch_at"),
        pl.when(labelled).then(pl.lit(spec.bar_minutes * 60)).alias("touch_resolution_s"),
        pl.when(labelled).then(known_at).alias("label_known_at"),
    ]


def _change(ratio: str) -> pl.Expr:
    return (pl.col(ratio) - 1) * 100


def _ratio(price: Floats, reference: Floats) -> Floats:
    # Two prices may lie more than 10^308 apart; the largest number that can be written still says "beyond every band".
    with np.errstate(over="ignore"):
        return np.minimum(price / reference, _LARGEST / 200)


def _times(name: str, micros: npt.NDArray[np.int64]) -> pl.Series:
    series = pl.Series(name, micros)
    return series.set(series == NEVER, None).cast(UTC)
