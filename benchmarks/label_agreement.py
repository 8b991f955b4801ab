"""How far our rug rule agrees with the two label sets beside a recording, why not, and how long labelling takes.

    python benchmarks/label_agreement.py RECORDING [--disagreements 20]

RECORDING is a folder with pools.parquet, reserves.parquet, labels_a.csv.gz and labels_b.csv.gz.
"""

import argparse
import resource
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from pipeline.calendars import HOUR, Span, SystemClock, floor
from pipeline.labels.agreement import agreement, pair_verdicts
from pipeline.labels.differences import classified
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.candles import candles
from pipeline.pools.recording import RecordedFrames, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.schedule import interval_when_grown
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOL_KEY

SPEC = LabelsSpec()
LIFE = replace(SPEC, horizons_hours=(24 * 400,))
"""Longer than any pool of a recording of one year is followed."""

RULES = {
    (0, LIFE.horizons_hours[0]): "from the first snapshot, whole life",
    (60, max(SPEC.horizons_hours)): "from 1 h of age, within 24 h",
}
"""The rules whose differences are looked at, by minutes of age and horizon."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("recording", type=Path)
    arguments.add_argument(
        "--disagreements",
        type=int,
        default=0,
        help="list so many pools of each kind, drawn at random, with what happened to them",
    )
    given = arguments.parse_args()
    frames = read_recording(open_recording(given.recording), PoolsSpec(), SystemClock().now())
    bars = candles(frames.reserves, frames.pools, PoolsSpec())
    ours = pl.concat(verdicts(frames, bars))
    a = pl.read_csv(given.recording / "labels_a.csv.gz", infer_schema_length=None)
    b = pl.read_csv(given.recording / "labels_b.csv.gz", infer_schema_length=None)
    show("rug verdicts, ours against theirs", agreement(ours, a, b))
    for rule, minutes, spec in (("birth, whole life", 0, LIFE), ("1 h of age, within 24 h", 60, SPEC)):
        differing = differences(frames, bars, ours, (a, b), minutes, spec)
        kinds = differing.group_by("set", "kind", "happened").agg(pl.len().alias("pools"))
        show(f"why they differ: from {rule}", kinds.sort("set", "kind", "pools", descending=[False, False, True]))
        if given.disagreements:
            sample = differing.filter(pl.int_range(pl.len()).shuffle(seed=1).over("set", "kind") < given.disagreements)
            show(f"a sample of them: from {rule}", sample.sort("set", "kind", "happened", "pool"))
    show("collected instead of recorded: what observations alone tell", collected(frames, bars))


def differences(
    frames: RecordedFrames,
    bars: pl.DataFrame,
    ours: pl.DataFrame,
    sets: tuple[pl.DataFrame, pl.DataFrame],
    minutes: int,
    spec: LabelsSpec,
) -> pl.DataFrame:
    """The pools on which our rule and a label set differ, with what happened to them."""
    rule = RULES[(minutes, max(spec.horizons_hours))]
    theirs = (
        sets[0].select(pl.lit("a").alias("set"), "pool", (pl.col("is_rugpull") == 1).alias("is_rug_theirs")),
        sets[1].select(pl.lit("b").alias("set"), "pool", pl.col("Label").alias("is_rug_theirs")),
    )
    found = []
    for one in theirs:
        paired = pair_verdicts(ours.filter(pl.col("rule") == rule), one).drop("rule", "rug_at")
        is_other = pl.col("is_rug").is_null() | (pl.col("is_rug") != pl.col("is_rug_theirs"))
        kind = pl.when(pl.col("is_rug").is_null()).then(pl.lit("not judged by us"))
        kind = kind.when("is_rug").then(pl.lit("ours only")).otherwise(pl.lit("theirs only"))
        differing = paired.filter(pl.col("is_rug_theirs").is_not_null() & is_other).with_columns(kind=kind)
        found.append(classified(differing, decide(frames, minutes), bars, spec))
    return pl.concat(found)


def collected(frames: RecordedFrames, bars: pl.DataFrame) -> pl.DataFrame:
    """The recording as a collector would have seen it: bars know no reserve, nobody vouches, a tenth of visits missed.

    Against the labels of the whole record: how much is told of rugs and of the rest, and how often the same.
    """
    sampler, first, end = SnapshotsSpec(), frames.reserves["event_time"].min(), end_of(frames)
    assert isinstance(first, datetime), "a recording has updates"  # noqa: S101
    span = Span(floor(first, HOUR), floor(end, HOUR))
    taken = take_snapshots(frames.reserves, frames.pools, span, sampler)
    no_stills = taken.clear().select("source", "network", "event_time")
    whole = label_outcomes(taken, bars, frames.pools, no_stills, end, SPEC)
    kept = pl.Series(np.random.default_rng(0).random(taken.height) >= 0.1)
    nothing = pl.lit(None, pl.Float64)
    seen = taken.filter(kept).with_columns(quote_reserve=nothing)
    blind = bars.with_columns(quote_reserve_low=nothing, quote_reserve_close=nothing)
    pools = frames.pools.with_columns(watched_until=pl.lit(None, taken.schema["event_time"]))
    observed = Observed(seen, interval_when_grown(sampler))
    told = label_outcomes(seen, blind, pools, no_stills, end, SPEC, observed)
    key = ["pool", "event_time", "horizon_hours"]
    both = told.join(whole.select(*key, truth="outcome"), on=key).filter(pl.col("truth").is_not_null())
    is_told, is_rug = pl.col("status") == "labelled", pl.col("truth") == "RUG"
    planned = both.filter(pl.col("censor_reason").fill_null("") != "seen_too_rarely")
    return (
        planned.group_by("horizon_hours")
        .agg(
            (pl.len() / (both.height / len(SPEC.horizons_hours))).alias("planned"),
            is_told.filter(is_rug).mean().alias("told of rugs"),
            is_told.filter(~is_rug).mean().alias("told of others"),
            is_rug.mean().alias("rugs in truth"),
            (pl.col("outcome") == "RUG").filter(is_told).mean().alias("rugs as told"),
            (pl.col("outcome") == pl.col("truth")).filter(is_told).mean().alias("same outcome"),
            (pl.col("outcome") == "RUG").filter(is_told & is_rug).mean().alias("rugs found"),
        )
        .sort("horizon_hours")
    )


def verdicts(frames: RecordedFrames, bars: pl.DataFrame) -> list[pl.DataFrame]:
    """Our rule's verdicts: at birth over the whole life, at birth within 24 h, at 1 h of age within 24 h and life."""
    no_stills = frames.quarantine.clear().select("source", "network", "event_time")
    stills = frames.quarantine.filter(pl.col("reason") == "clock_stood_still").select(no_stills.columns).unique()
    judged = []
    drained = replace(LIFE, rug_drained_pct=-99.0)
    for name, minutes, spec, clock in (
        # Over a whole life the order of events counts and not the hour, so a clock that stood still does not censor.
        ("from the first snapshot, whole life", 0, LIFE, no_stills),
        ("from the first snapshot, within 24 h", 0, SPEC, stills),
        ("from 1 h of age, whole life", 60, LIFE, no_stills),
        ("from 1 h of age, within 24 h", 60, SPEC, stills),
        ("from the first snapshot, whole life, or drained by 99 %", 0, drained, no_stills),
        ("from 1 h of age, within 24 h, or drained by 99 %", 60, replace(SPEC, rug_drained_pct=-99.0), stills),
    ):
        decisions = decide(frames, minutes)
        started = time.perf_counter()
        labels = label_outcomes(decisions, bars, frames.pools, clock, end_of(frames), spec)
        labels = labels.filter(pl.col("horizon_hours") == max(spec.horizons_hours))
        took, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        shares = labels.group_by("status", "censor_reason", "outcome").len().sort("len", descending=True)
        show(f"{name}: {labels.height} pools, {took:.1f} s, peak {peak:.2f} GiB", shares)
        judged.append(judge(labels, name, is_life=spec.horizons_hours == LIFE.horizons_hours))
    return judged


def decide(frames: RecordedFrames, minutes: int) -> pl.DataFrame:
    """The state of each pool at the first grid point at least `minutes` after its creation."""
    step = timedelta(minutes=SPEC.bar_minutes)
    updates = frames.reserves.select(*POOL_KEY, "event_time", "block", "log_index", "base_reserve", "quote_reserve")
    when = (pl.col("created_at") + pl.duration(minutes=minutes) - timedelta(microseconds=1)).dt.truncate("5m") + step
    return (
        frames.pools.select(*POOL_KEY, when.alias("event_time"))
        .sort("event_time")
        .join_asof(
            updates.sort("event_time", "block", "log_index"), on="event_time", by=POOL_KEY, check_sortedness=False
        )
        .with_columns((pl.col("quote_reserve") / pl.col("base_reserve")).alias("price_quote"))
    )


def judge(labels: pl.DataFrame, rule: str, *, is_life: bool) -> pl.DataFrame:
    """One verdict a pool: over a whole life a pool that was no rug up to the end of the recording is none."""
    is_rug = pl.col("outcome") == "RUG"
    if is_life:
        is_rug = pl.when(pl.col("status") != "censored").then(is_rug.fill_null(value=False))
    return labels.select(pl.lit(rule).alias("rule"), "pool", is_rug.alias("is_rug"), "rug_at")


def end_of(frames: RecordedFrames) -> datetime:
    end = frames.pools["watched_until"].max()
    assert isinstance(end, datetime), "a recording says until when it was watched"  # noqa: S101
    return end


def show(title: str, frame: pl.DataFrame) -> None:
    console = Console(width=max(200, 10 * frame.width))
    console.print(f"\n{title}")
    table = Table(*(name.removeprefix("n_").removesuffix("_hours") for name in frame.columns))
    for row in frame.iter_rows():
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


if __name__ == "__main__":
    main()
