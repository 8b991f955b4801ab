"""Windows of pools for which nobody vouches, judged by what observations of the reserve say.

Belongs here: whether observations cover a window, the path of prices seen at bars and observations together, and pools
that stopped answering. Stays out: windows whose bars know their reserves (`paths`), and naming outcomes (`judgement`).

The API's bars do not know reserves, and a bar that is missing may mean that nobody traded or that nobody asked. So a
window of a collected pool is judged by sightings: its bars, and its observations with price and reserve.

**Covered.** From the decision to the horizon, or to the rug, two observations of the reserve in a row are no more than
`gap_share` of the horizon apart. **Bias.** A rug is told as soon as it is seen and everything else only at the horizon,
so wherever looking ends early, what is left would be rugs. Therefore a window counts only if, by what was known at
the decision, the sampler would look at an unchanged pool at least twice in a permitted gap and once near the end:
that is the same for pools that become rugs and pools that do not. **Holes between bars.** A stretch between two
observations is seen finely where nobody traded in it or every bar of it is known, else as coarsely as the stretch is
long; `touch_resolution_s` is the coarsest. A longer stretch than the permitted gap is not seen at all.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from pipeline.labels.bars import HOUR_US, MINUTE_US, NEVER, Bars, Bytes, Decisions, Flags, place
from pipeline.labels.judgement import END, is_rug, is_still, times, tolerance, window_of
from pipeline.labels.observations import Observed, States, minutes_between, quote_reserve
from pipeline.labels.paths import DRAINED, first_rug, kind_of, walk
from pipeline.labels.range_extrema import Floats, Ints, RangeMinimum
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import UTC


@dataclass(frozen=True)
class Coverage:
    """How well observations cover each window.

    `until` (us): up to here, at most the horizon, no permitted gap was exceeded. `resolution_s`: the coarsest stretch
    up to there or to the rug. `seen_at` (us): the last priced observation. `is_silent`: then nothing was heard up to
    `silent_at` (us), when patience runs out.
    """

    until: Ints
    resolution_s: Ints
    seen_at: Ints
    last_reserve: Floats
    is_silent: Flags
    silent_at: Ints


@dataclass(frozen=True)
class Watch:
    """The sightings of the pools for which nobody vouches: bars and observations together, and observations alone."""

    states: States
    together: Bars
    alone: Bars
    wide: RangeMinimum
    coarse: RangeMinimum
    observed: Observed

    @classmethod
    def of(cls, observed: Observed, states: States, candles: pl.DataFrame, bars: Bars, spec: LabelsSpec) -> "Watch":
        """Lay out `states` (of any pools) and `candles` (with `pool_number`; `bars` holds them)."""
        seen = _sightings(states, spec)
        priced = seen.filter(pl.col("close").is_not_null())
        together = pl.concat([priced, _bars_with_reserves(candles, seen)], how="diagonal")
        known = states.part(np.flatnonzero(~np.isnan(states.reserve)))
        gap = minutes_between(known)
        longest = max(spec.horizons_hours) * 60 // spec.bar_minutes + 1
        return cls(
            known,
            Bars.of(together, spec, per_slot=2),
            Bars.of(priced, spec, per_slot=2),
            RangeMinimum.over(-gap, longest),
            RangeMinimum.over(-_resolution_s(known, gap, bars), longest),
            observed,
        )

    def judge(self, chunk: pl.DataFrame, hours: int, now: datetime, spec: LabelsSpec) -> pl.DataFrame:
        """Judged windows, as `judgement.judged_by_bars` gives them, of decisions that know price and reserve."""
        chunk = chunk.with_columns(quote_reserve=quote_reserve())
        decisions = Decisions.of(chunk)
        window = self.together.window(decisions, hours)
        paths = walk(self.together, decisions, window, spec)
        covered = self._cover(decisions, hours, paths.rug_start, spec)
        seen_at, seen_kind = self._rug_seen(decisions, hours, covered, spec)
        # What an observation told of a rug stays: a bar that comes later and shows an earlier moment changes neither.
        rug_at = np.minimum(paths.rug_at, seen_at)
        rug_kind = np.where(seen_at <= paths.rug_at, seen_kind, paths.rug_kind)
        end_us = decisions.time + hours * HOUR_US
        is_rug_covered = _rug_end(paths.rug_start, spec) <= covered.until
        is_drained = covered.last_reserve <= decisions.reserve * spec.beyond(spec.rug_reserve_pct)
        return (
            window_of(chunk, paths, hours, spec)
            .with_columns(
                times("rug_at", rug_at),
                pl.Series("rug_kind_code", rug_kind),
                times("seen_at", covered.seen_at),
                times("silent_at", covered.silent_at),
                pl.Series("resolution_s", covered.resolution_s.astype(np.int32)),
                pl.Series("is_reserve_told", covered.until >= end_us),
                pl.Series("is_planned", self._is_planned(chunk, decisions, hours, spec)),
                pl.Series("is_rug_covered", is_rug_covered & (paths.rug_start != NEVER)),
                pl.Series("is_silent", covered.is_silent & (covered.until < end_us)),
                pl.Series("is_drained", is_drained),
                is_still=is_still(now),
            )
            .pipe(_judged, now, spec)
        )

    def _is_planned(self, chunk: pl.DataFrame, decisions: Decisions, hours: int, spec: LabelsSpec) -> Flags:
        """Whether, by what was known at the decision, the sampler would look often enough, and near the end."""
        minutes = self.observed.asks(_column(chunk, "reserve_usd"))
        since_visit = (decisions.time // MINUTE_US + hours * 60) % minutes
        return (2 * minutes <= spec.gap_share * hours * 60) & (since_visit <= spec.observation_share * hours * 60)

    def _cover(self, decisions: Decisions, hours: int, rug_start: Ints, spec: LabelsSpec) -> Coverage:
        states, gap_us = self.states, round(hours * HOUR_US * spec.gap_share)
        end = decisions.time + hours * HOUR_US
        own = states.positions(decisions)
        stop = states.after(decisions.pool_number, end)
        permitted = np.full(len(end), -np.nextafter(gap_us / MINUTE_US, np.inf))
        last = self.wide.first_at_most(own + 1, stop, permitted) - 1
        until = np.minimum(states.time[last] + gap_us, end)
        needed = np.minimum(_rug_end(rug_start, spec), until)
        upto = np.minimum(np.searchsorted(states.keys, _place(decisions, needed, spec)) + 1, last + 1)
        tail_s = np.maximum(needed - states.time[last], 0) // 1_000_000
        coarsest = np.maximum(-self.coarse.minimum(own + 1, upto), spec.bar_minutes * 60.0)
        silent_at = np.maximum(end + gap_us, states.time[last] + spec.silence_hours * HOUR_US)
        heard = states.after(decisions.pool_number, silent_at)
        return Coverage(
            until,
            np.maximum(coarsest, tail_s).astype(np.int64),
            self._priced_at(decisions, end),
            states.reserve[last],
            heard <= last + 1,
            silent_at,
        )

    def _priced_at(self, decisions: Decisions, end: Ints) -> Ints:
        """When each window's last observation with a price was made; the decision itself is one."""
        stop = self.alone.search(decisions.pool_number, end)
        over_at: Ints = self.alone.over_at[np.maximum(stop - 1, 0)]
        return over_at

    def _rug_seen(self, decisions: Decisions, hours: int, covered: Coverage, spec: LabelsSpec) -> tuple[Ints, Bytes]:
        """When an observation alone told of a rug, and its kind: a bar of an earlier moment may be learned later."""
        window = self.alone.window(decisions, hours)
        rug = first_rug(self.alone, window, decisions, spec)
        is_covered = _rug_end(self.alone.at(self.alone.start, rug, window.stop), spec) <= covered.until
        kind = kind_of(self.alone, rug, window.stop, decisions, spec)
        return np.where(is_covered, self.alone.at(self.alone.known_at, rug, window.stop), NEVER), kind


def _judged(window: pl.DataFrame, now: datetime, spec: LabelsSpec) -> pl.DataFrame:
    """Decide what may be said of each window, and what of it waiting can still bring."""
    present, seen = pl.lit(now, UTC), END - tolerance(spec.observation_share)
    planned, told = pl.col("is_planned"), pl.col("is_reserve_told")
    near = (pl.col("seen_at") >= seen) | (pl.col("last_start") >= seen).fill_null(value=False)
    silent = pl.col("is_silent") & planned
    # Bars are told once a day, and may bring the price at the end, or a rug, wherever observations cover.
    told_late = END + timedelta(hours=spec.patience_hours)
    patience = pl.when(silent & pl.col("is_drained")).then("silent_at").otherwise(told_late)
    reason = pl.when(~planned).then(pl.lit("seen_too_rarely")).when(silent).then(pl.lit("stopped_answering"))
    judged = window.with_columns(
        is_reserve_told=told & planned,
        is_path_seen=told,
        is_observed=near,
        is_seen_rug=is_rug(planned & pl.col("is_rug_covered"), now),
    ).with_columns(
        is_open=(present < END)
        | (planned & ~(pl.col("is_observed") & pl.col("is_reserve_told")) & (present <= patience)),
        unseen_reason=reason,
    )
    lost = pl.col("is_drained") & silent & ~pl.col("is_open") & ~pl.col("is_seen_rug")
    return judged.with_columns(
        is_silent_rug=lost,
        is_rug=pl.col("is_seen_rug") | lost,
        rug_at=pl.when(lost).then("silent_at").otherwise("rug_at"),
        rug_kind_code=pl.when(lost).then(pl.lit(DRAINED, pl.Int8)).otherwise("rug_kind_code"),
    )


def _sightings(states: States, spec: LabelsSpec) -> pl.DataFrame:
    """Each observation as a bar of one moment, at the place of the bar that ends with it; not all have a price."""
    price, reserve = (pl.Series(values, nan_to_null=True) for values in (states.price, states.reserve))
    return pl.DataFrame(
        {"pool_number": states.pool_number, "low": price, "high": price, "close": price, "quote_reserve_low": reserve}
    ).with_columns(
        (times("event_time", states.time) - timedelta(minutes=spec.bar_minutes)).alias("event_time"),
        times("known_at", states.known_at),
        reserve.alias("quote_reserve_close"),
        pl.lit(0, pl.Int64).alias("rank"),
    )


def _bars_with_reserves(candles: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """The bars, each with the reserve that was observed within it; known when both are."""
    within = seen.filter(pl.col("quote_reserve_low").is_not_null()).select(
        "pool_number", "event_time", seen_low="quote_reserve_low", seen_known_at="known_at"
    )
    names = ["event_time", "known_at", "high", "low", "close", "quote_reserve_low", "quote_reserve_close"]
    return (
        candles.select(pl.col("pool_number").cast(pl.Int64), *names)
        .join(within, on=["pool_number", "event_time"], how="left")
        .with_columns(
            quote_reserve_low=pl.min_horizontal("quote_reserve_low", "seen_low"),
            known_at=pl.max_horizontal("known_at", "seen_known_at"),
            rank=pl.lit(1, pl.Int64),
        )
        .drop("seen_low", "seen_known_at")
    )


def _resolution_s(states: States, gap: Floats, bars: Bars) -> Floats:
    """How finely the stretch up to each observation was seen: 0 where nobody traded in it or all its bars are known."""
    before = np.where(np.isfinite(gap), gap, 0.0) * MINUTE_US
    n_bars = bars.search(states.pool_number, states.time)
    n_bars -= bars.search(states.pool_number, states.time - before.astype(np.int64))
    is_fine = (states.quiet_minutes >= gap) | (n_bars * bars.bar_minutes >= gap)
    return np.where(is_fine, 0.0, np.where(np.isfinite(gap), gap, 0.0) * 60)


def _rug_end(rug_start: Ints, spec: LabelsSpec) -> Ints:
    """When the sighting that was a rug was over; `NEVER` stays."""
    return np.where(rug_start == NEVER, NEVER, np.minimum(rug_start, NEVER - HOUR_US) + spec.bar_minutes * MINUTE_US)


def _place(decisions: Decisions, time: Ints, spec: LabelsSpec) -> Ints:
    return place(decisions.pool_number, time, spec.bar_minutes)


def _column(frame: pl.DataFrame, name: str) -> Floats:
    if name not in frame.columns:
        return np.full(frame.height, np.nan)
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
