"""How far our rug rule agrees with the two label sets beside a recording, and how long labelling takes.

    python benchmarks/label_agreement.py RECORDING [--disagreements 10]

RECORDING is a folder with pools.parquet, reserves.parquet, labels_a.csv.gz and labels_b.csv.gz.
"""

import argparse
import resource
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from pipeline.calendars import SystemClock
from pipeline.labels.agreement import agreement, pair_verdicts
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.candles import candles
from pipeline.pools.recording import RecordedFrames, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import POOL_KEY

SPEC = LabelsSpec()
LIFE = replace(SPEC, horizons_hours=(24 * 400,))
"""Longer than any pool of a recording of one year is followed."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("recording", type=Path)
    arguments.add_argument("--disagreements", type=int, default=0, help="list so many pools of each kind")
    given = arguments.parse_args()
    frames = read_recording(open_recording(given.recording), PoolsSpec(), SystemClock().now())
    bars = candles(frames.reserves, frames.pools, PoolsSpec())
    ours = pl.concat(verdicts(frames, bars))
    a = pl.read_csv(given.recording / "labels_a.csv.gz", infer_schema_length=None)
    b = pl.read_csv(given.recording / "labels_b.csv.gz", infer_schema_length=None)
    show("rug verdicts, ours against theirs", agreement(ours, a, b))
    if given.disagreements:
        for kind, pools in disagreements(ours, a, b, given.disagreements).items():
            show(kind, pools)


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


def disagreements(ours: pl.DataFrame, a: pl.DataFrame, b: pl.DataFrame, n: int) -> dict[str, pl.DataFrame]:
    """The first `n` pools by address of each kind of disagreement, under the first rule."""
    ours = ours.filter(pl.col("rule") == ours["rule"][0])
    sets = {
        "a": a.select("pool", (pl.col("is_rugpull") == 1).alias("is_rug_theirs"), "n_syncs", "size_ratio"),
        "b": b.select("pool", pl.col("Label").alias("is_rug_theirs"), "n_syncs"),
    }
    found = {}
    for name, theirs in sets.items():
        paired = pair_verdicts(ours, theirs).drop("rule").sort("pool")
        found[f"ours only, set {name}"] = paired.filter(pl.col("is_rug") & ~pl.col("is_rug_theirs")).head(n)
        found[f"theirs only, set {name}"] = paired.filter(~pl.col("is_rug") & pl.col("is_rug_theirs")).head(n)
    return found


def show(title: str, frame: pl.DataFrame) -> None:
    console = Console(width=max(200, 10 * frame.width))
    console.print(f"\n{title}")
    table = Table(*(name.removeprefix("n_").removesuffix("_hours") for name in frame.columns))
    for row in frame.iter_rows():
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


if __name__ == "__main__":
    main()
