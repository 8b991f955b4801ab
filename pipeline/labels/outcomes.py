"""The label of every decision and horizon: outcome, path facts, and exactly one of labelled, censored, pending.

Belongs here: putting bars, observations and judgement together as the `labels` table. Stays out: each of them
(`paths`, `watched`, `executable`, `direction`, `uniqueness`, `judgement`), the thresholds (`spec`), and whose job it is
to fetch the bars.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from pipeline.calendars import require_utc
from pipeline.labels.bars import BAR_COLUMNS, NEVER, Bars, Decisions, require_on_grid
from pipeline.labels.direction import direction_confidence
from pipeline.labels.executable import executable
from pipeline.labels.judgement import END, judged_by_bars, label_columns, settled, times, window_of
from pipeline.labels.observations import Observed, States, quote_reserve
from pipeline.labels.paths import walk
from pipeline.labels.spec import LabelsSpec
from pipeline.labels.uniqueness import average_uniqueness
from pipeline.labels.watched import Watch
from pipeline.tables import LABELS, POOL_KEY

_DECISION = ("price_quote", "quote_reserve", "price_usd", "reserve_usd")


@dataclass(frozen=True)
class _Known:
    """Everything that is known at `now`, laid out once for all decisions and horizons."""

    bars: Bars
    states: States
    watch: Watch | None
    now: datetime
    spec: LabelsSpec


def label_outcomes(
    decisions: pl.DataFrame,
    candles: pl.DataFrame,
    pools: pl.DataFrame,
    standstills: pl.DataFrame,
    now: datetime,
    spec: LabelsSpec,
    observed: Observed | None = None,
) -> pl.DataFrame:
    """Label each decision at each horizon with what became of its pool, as far as it can be known at `now`.

    The window is (t, t + h]. RUG when the price fell more than 80 %, or the reserve more than 90 % with the price down
    more than 50 % in the same bar, at any moment of the window; else MOON, PUMP, RISE, STABLE, DIP or DECLINE by the
    return at its end. Returns are in quote tokens; the reserve is the quote reserve. What a chain holds stays until its
    next update, so the price at t + h is the last one before it, where the source vouches for its record that far;
    elsewhere a bar that starts within `observation_share` of the horizon before t + h is needed.

    Half of the rule speaks of the reserve. Where the decision or a bar of the window does not know it, a pool may have
    been drained unseen, and the window is censored (`reserve_not_observed`) whatever the price says: to keep the rugs
    among such windows and drop the rest would make rugs of them all. Bars after a rug do not matter. Where nobody
    vouches for a pool its observations tell instead (`watched`), if it would have been observed often enough; its
    bars alone settle nothing then, because a label would depend on which of them have come.

    Args:
        decisions: `source, network, pool, event_time, price_quote, quote_reserve`, and `price_usd, reserve_usd` where
            the pools are observed; event_time on the bar grid.
        candles: CANDLES rows that cover every decision's longest window. Bars with `known_at` > `now` are not used.
        pools: POOLS; `watched_until` is how far the source vouches (null: it does not).
        standstills: `source, network, event_time`, instants at which the recorded clock stood still.
        now: the moment of labelling, UTC.
        spec: thresholds and horizons.
        observed: the pools' snapshots, `observed_back` before the decisions to `observed_ahead` after them. Without
            them the bars are all there will ever be: windows with unknown reserves are censored, nothing is
            executable, and decisions have no neighbours.

    Returns:
        LABELS, one row per decision and horizon, sorted by its key. A rug is `labelled` as soon as its bar is known,
        and `label_known_at` is then that bar's `known_at`; any other outcome is known at t + h, or when the last bar
        of the window arrived if that is later. `return_*`, `direction*`, `peak_at` and `trough_at` are null until the
        whole window is known, which is since `path_known_at`, even where a rug was known before; `average_uniqueness`
        is null until t + h. Rows not labelled hold nulls.

    Raises:
        InputError: times off the bar grid, bars twice, or bar prices that are null or not finite.
        UsageError: `now` is not UTC.
    """
    require_utc(now)
    require_on_grid(decisions, "a decision", spec)
    numbers = decisions.select(POOL_KEY).unique().sort(POOL_KEY).with_row_index("pool_number")
    known = _know(decisions, candles, pools, numbers, now, spec, observed)
    wanted = _with_watch(decisions.join(numbers, on=POOL_KEY, how="left"), pools, standstills)
    labels = [
        _label(chunk, known, hours)
        for chunk in wanted.iter_slices(spec.decisions_at_once)
        for hours in spec.horizons_hours
    ]
    return pl.concat([LABELS.empty(), *labels]).sort(LABELS.key)


def _know(
    decisions: pl.DataFrame,
    candles: pl.DataFrame,
    pools: pl.DataFrame,
    numbers: pl.DataFrame,
    now: datetime,
    spec: LabelsSpec,
    observed: Observed | None,
) -> _Known:
    told = candles.filter((pl.col("known_at") <= now) & (pl.col("timeframe") == spec.timeframe)).select(BAR_COLUMNS)
    told = told.join(numbers, on=POOL_KEY, how="inner")
    bars = Bars.of(told, spec)
    states = States.of(None if observed is None else observed.snapshots, decisions, numbers, now, spec)
    if observed is None:
        return _Known(bars, states, None, now, spec)
    vouched = pools.filter(pl.col("watched_until").is_not_null()).join(numbers, on=POOL_KEY, how="inner")["pool_number"]
    unvouched = states.part(np.flatnonzero(~np.isin(states.pool_number, vouched.to_numpy())))
    rest = told.filter(~pl.col("pool_number").is_in(vouched.implode()))
    return _Known(bars, states, Watch.of(observed, unvouched, rest, bars, spec), now, spec)


def _with_watch(decisions: pl.DataFrame, pools: pl.DataFrame, standstills: pl.DataFrame) -> pl.DataFrame:
    """Add how far the source vouches and the first standstill after each decision (null: none)."""
    stills = standstills.select("source", "network", "event_time").drop_nulls().unique().sort("event_time")
    absent = [pl.lit(None, pl.Float64).alias(name) for name in _DECISION if name not in decisions.columns]
    return (
        decisions.with_columns(absent)
        .select("pool_number", *POOL_KEY, "event_time", *_DECISION)
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


def _label(chunk: pl.DataFrame, known: _Known, hours: int) -> pl.DataFrame:
    """The labels of one horizon."""
    decisions = Decisions.of(chunk)
    paths = walk(known.bars, decisions, known.bars.window(decisions, hours), known.spec)
    window = window_of(chunk, paths, hours, known.spec)
    if known.watch is not None:
        # Bars of a pool nobody vouches for settle nothing: which of them came, and when, depends on what became of it.
        is_vouched = pl.col("watched_until").is_not_null()
        window = window.with_columns(is_reserve_told=pl.col("is_reserve_told") & is_vouched)
    judged = settled(judged_by_bars(window, known.now, known.spec))
    if known.watch is not None:
        judged = _with_watched(judged, chunk, known.watch, known, hours)
    return (
        judged.with_columns(_of_window(judged, known, hours))
        .select(label_columns(known.now, known.spec))
        .select(LABELS.schema.names())
        .cast(LABELS.schema)
    )


def _with_watched(judged: pl.DataFrame, chunk: pl.DataFrame, watch: Watch, known: _Known, hours: int) -> pl.DataFrame:
    """Every window of a pool for which nobody vouches, as its observations tell, if price and reserve are known."""
    is_known = chunk.select((quote_reserve() > 0).fill_null(value=False)).to_series()
    is_theirs = judged["watched_until"].is_null() & judged["is_priced"] & is_known
    if not is_theirs.any():
        return judged
    seen = settled(watch.judge(chunk.filter(is_theirs), hours, known.now, known.spec))
    return pl.concat([judged.filter(~is_theirs), seen.select(judged.columns)])


def _of_window(judged: pl.DataFrame, known: _Known, hours: int) -> list[pl.Series]:
    """What is said of a window beside its outcome, in the order of `judged`."""
    decisions = Decisions.of(judged)
    window = known.bars.window(decisions, hours)
    vouched = judged.select((pl.col("watched_until") >= END).fill_null(value=False)).to_series().to_numpy()
    gain, entry, known_at = executable(known.states, known.bars, decisions, hours, vouched, known.spec)
    confidence = direction_confidence(known.bars, decisions, window, known.spec)
    unique = average_uniqueness(known.states, decisions, hours, known.spec)
    return [
        pl.Series("return_executable_pct", gain, nan_to_null=True),
        times("executable_entry_at", np.where(entry == 0, NEVER, entry)),
        times("executable_known_at", np.where(known_at == 0, NEVER, known_at)),
        pl.Series("direction_confidence", confidence, nan_to_null=True),
        pl.Series("average_uniqueness", unique),
    ]
