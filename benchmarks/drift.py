"""False and missed drift in worlds of known truth: ours beside the usual ways, their time, and how soon a change shows.

    python benchmarks/drift.py [--repetitions 1000] [--seed 1] [--only alarms|time|delay|months] [--picture FILE.png]

Pools are log-normal, log-sd 1.5 between pools and 0.4 within, 12 snapshots a pool, 20 features, 400 pools of reference.
docs/drift.md says what the figures mean.
"""

import argparse
import os

# One thread a process: two processes share two cores better than their threads do.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("ITERATIVE_DO_NOT_TRACK", "1")

import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from scipy import stats

from pipeline.calendars import EPOCH
from pipeline.monitoring.drift.alarm import Look, alarm
from pipeline.monitoring.drift.comparison import compare
from pipeline.monitoring.drift.spec import DriftSpec
from pipeline.monitoring.drift.watch_spec import WatchSpec

BETWEEN, WITHIN, SNAPSHOTS, FEATURES, REFERENCE = 1.5, 0.4, 12, 20, 400
USUAL_EVERY = 10
POOLS_A_DAY, WINDOW_HOURS, DELAY_HOURS, MONTH_DAYS = 200, 24, 36, 30
NAMES = [f"f{i:02d}" for i in range(FEATURES)]
type Shift = tuple[float, ...]
NONE: Shift = ()

WORLDS: dict[str, tuple[int, Shift]] = {
    "no drift, 100 pools": (100, NONE),
    "no drift, 25 pools": (25, NONE),
    "one feature x 2, 100 pools": (100, (2.0,)),
    "one feature x 4, 100 pools": (100, (4.0,)),
    "three features x 2, 100 pools": (100, (2.0, 2.0, 2.0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1_000)
    parser.add_argument("--worlds", type=int, default=100, help="changes a curve of delays is made of")
    parser.add_argument("--months", type=int, default=20, help="quiet months of hourly looks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=("alarms", "time", "delay", "months"))
    parser.add_argument("--picture", type=Path, help="draw the curve of delays to this PNG")
    given = parser.parse_args()
    console, started = Console(width=170), time.perf_counter()
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for name, show in (("alarms", alarms), ("time", times), ("delay", delays), ("months", months)):
            if given.only in (None, name):
                console.print(show(given, pool.map))
    console.print(f"seed {given.seed}, {time.perf_counter() - started:.0f} s")


def draw(n: int, rng: np.random.Generator, shift: Shift = NONE, snapshots: int = SNAPSHOTS) -> pl.DataFrame:
    """So many pools; the first features are multiplied by the shift."""
    logs = rng.normal(0, BETWEEN, (n, 1, FEATURES)) + rng.normal(0, WITHIN, (n, snapshots, FEATURES))
    logs[:, :, : len(shift)] += np.log(shift)
    values = dict(zip(NAMES, np.exp(logs).reshape(-1, FEATURES).T, strict=True))
    return pl.DataFrame({"pool": np.repeat([f"{rng.integers(2**62):x}" for _ in range(n)], snapshots), **values})


# --- alarms -------------------------------------------------------------------------------------------------------


def alarms(given: argparse.Namespace, in_parallel: Callable) -> Table:
    """Alarms, names rightly and wrongly given, way by way."""
    table = Table("world", "way", "alarm", "all shifted named", "another named", title="Alarms", title_justify="left")
    for at, (world, (n_current, shift)) in enumerate(WORLDS.items()):
        jobs = [(given.seed, at, n, n_current, shift) for n in range(given.repetitions)]
        found = list(in_parallel(_one_world, jobs, chunksize=10))
        for way in found[0]:
            named = _named(found, way)
            right = share(named[:, : len(shift)].all(axis=1)) if shift else "-"
            told = is_alarm(way, named)
            table.add_row(world, way, share(told), right, share(named[:, len(shift) :].any(axis=1)))
        table.add_section()
        print(f"{world}: poolcast alarms in {share(is_alarm('poolcast', _named(found, 'poolcast')))}", file=sys.stderr)
    return table


def _named(found: list[dict[str, list[bool]]], way: str):
    """(repetitions, features), of those repetitions that went that way."""
    return np.array([one[way] for one in found if way in one])


def is_alarm(way: str, named):
    return named.mean(axis=1) >= 0.5 if "half" in way else named.any(axis=1)


def _one_world(job: tuple[int, int, int, int, Shift]) -> dict[str, list[bool]]:
    """What each way names, feature by feature."""
    seed, at, n, n_current, shift = job
    rng = np.random.default_rng([seed, at, n])
    reference, current = draw(REFERENCE, rng), draw(n_current, rng, shift)
    ours = compare(reference, current, group=["pool"], spec=DriftSpec(seed=n)).columns["is_drifted"]
    is_thinned = n % USUAL_EVERY > 0  # of what alarms anyhow, fewer repetitions tell enough
    return {"poolcast": ours.to_list(), **({} if is_thinned else _usual(reference, current))}


def _usual(reference: pl.DataFrame, current: pl.DataFrame) -> dict[str, list[bool]]:
    """Rows taken as independent, fixed thresholds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests.psi import psi_stat_test
        from evidently.legacy.calculations.stattests.wasserstein_distance_norm import wasserstein_stat_test
        from evidently.legacy.core import ColumnType

        before, after = (frame.select(NAMES).to_pandas() for frame in (reference, current))
        # With more than 1,000 rows of reference, this is what Evidently's DataDriftPreset takes for numbers.
        default = [bool(wasserstein_stat_test.func(before[n], after[n], ColumnType.Numerical, 0.1)[1]) for n in NAMES]
        by_psi = [bool(psi_stat_test.func(before[n], after[n], ColumnType.Numerical, 0.2)[1]) for n in NAMES]
        by_ks = np.array([stats.ks_2samp(before[n], after[n]).pvalue for n in NAMES])
    return {
        "Evidently, default (Wasserstein > 0.1), any feature": default,
        "Evidently, default, half of the features": default,
        "Evidently, PSI > 0.2, any feature": by_psi,
        "KS on rows, p < 0.05, any feature": (by_ks < 0.05).tolist(),
        "KS on rows, p < 0.05 / 20, any feature": (by_ks < 0.05 / FEATURES).tolist(),
    }


# --- time ---------------------------------------------------------------------------------------------------------


def times(given: argparse.Namespace, in_parallel: Callable) -> Table:
    """Seconds for 20 features over 100,000 rows."""
    table = Table("20 features, 100,000 rows", "s", title="Time, one thread", title_justify="left")
    for pools, snapshots in ((8_333, 12), (100_000, 1)):
        job = [(given.seed, pools, snapshots)]
        for way, seconds in next(iter(in_parallel(_timed, job))).items():
            table.add_row(f"{way}: {pools:,} pools of {snapshots} rows on each side", f"{seconds:.1f}")
    return table


def _timed(job: tuple[int, int, int]) -> dict[str, float]:
    seed, n_pools, snapshots = job
    rng = np.random.default_rng(seed)
    reference, current = (draw(n_pools, rng, snapshots=snapshots) for _ in range(2))
    started = time.perf_counter()
    compare(reference, current, group=["pool"], spec=DriftSpec())
    ours = time.perf_counter() - started
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import Dataset, Report
        from evidently.presets import DataDriftPreset

        started = time.perf_counter()
        before, after = (Dataset.from_pandas(frame.select(NAMES).to_pandas()) for frame in (reference, current))
        Report([DataDriftPreset()]).run(after, before)
    return {"poolcast": ours, "Evidently, DataDriftPreset": time.perf_counter() - started}


# --- delay --------------------------------------------------------------------------------------------------------


def delays(given: argparse.Namespace, in_parallel: Callable) -> Table:
    """Share of worlds in which a change is seen, and confirmed, by the hours since it happened."""
    hours = (3, 6, 9, 12, 15, 18, 24, 36)
    titles = [f"{h} h" for h in hours]
    table = Table("change", "", *titles, "median", title=f"{POOLS_A_DAY} new pools a day", title_justify="left")
    curves = {}
    for factor in (4.0, 2.0, 1.5):
        jobs = [(given.seed, n, factor) for n in range(given.worlds)]
        found = np.array(list(in_parallel(_delay, jobs)))
        curves[factor] = found
        for at, what in enumerate(("seen", "confirmed")):
            by = [f"{100 * np.mean(found[:, at] <= h):.0f} %" for h in hours]
            middle = np.median(found[:, at])
            told = f"{middle:.0f} h" if middle <= DELAY_HOURS else f"over {DELAY_HOURS} h"
            table.add_row(f"one feature x {factor:g}", what, *by, told)
    if given.picture:
        given.picture.write_bytes(_picture(curves))
    return table


def _delay(job: tuple[int, int, float]) -> tuple[float, float]:
    """Hours until the first look that sees the change, and until the alarm stands."""
    seed, n, factor = job
    rng = np.random.default_rng([seed, n, int(10 * factor)])
    reference = draw(REFERENCE, rng)
    pools = _births(rng, -WINDOW_HOURS, DELAY_HOURS)
    pools = pools.with_columns(pl.when(pl.col("born") > 0).then(pl.col("f00") * factor).otherwise("f00").alias("f00"))
    return _watched(reference, pools, range(1, DELAY_HOURS + 1), n)


def _births(rng: np.random.Generator, first: int, last: int) -> pl.DataFrame:
    """Pools born between two hours with their snapshots, all of which are taken to be there at once."""
    n = rng.poisson(POOLS_A_DAY * (last - first) / 24)
    born = np.sort(rng.uniform(first, last, n))
    return draw(n, rng).with_columns(born=np.repeat(born, SNAPSHOTS))


def _watched(reference: pl.DataFrame, pools: pl.DataFrame, hours: range, seed: int) -> tuple[float, float]:
    """The first hourly look over the last day that sees drift, and when the alarm of the watch stands first."""
    looks, seen, spec = [], np.inf, replace(DriftSpec(), seed=seed)
    for hour in hours:
        window = pools.filter(pl.col("born").is_between(hour - WINDOW_HOURS, hour, closed="right")).drop("born")
        is_seen = compare(reference, window, group=["pool"], spec=spec).alarm
        seen = min(seen, hour) if is_seen else seen
        at = EPOCH + timedelta(hours=hour + WINDOW_HOURS)
        looks.append(Look(at, at, is_seen))
        if alarm(looks, WatchSpec()).is_standing:
            return seen, hour
    return seen, np.inf


def months(given: argparse.Namespace, in_parallel: Callable) -> Table:
    """Quiet months, looked at every hour."""
    table = Table("30 days without drift, a look every hour", "months", title="Quiet months", title_justify="left")
    found = np.array(list(in_parallel(_month, [(given.seed, n) for n in range(given.months)])))
    table.add_row("any look alone saw drift", share(np.isfinite(found[:, 0])))
    table.add_row("the alarm stood", share(np.isfinite(found[:, 1])))
    return table


def _month(job: tuple[int, int]) -> tuple[float, float]:
    seed, n = job
    rng = np.random.default_rng([seed, n, 99])
    reference = draw(REFERENCE, rng)
    pools = _births(rng, -WINDOW_HOURS, 24 * MONTH_DAYS)
    return _watched(reference, pools, range(24 * MONTH_DAYS), n)


def _picture(curves: dict[float, np.ndarray]) -> bytes:
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    hours = np.arange(DELAY_HOURS + 1)
    for colour, (factor, found) in zip(("#1b7837", "#2166ac", "#b2182b"), curves.items(), strict=True):
        for at, style in ((0, ":"), (1, "-")):
            by = [100 * np.mean(found[:, at] <= h) for h in hours]
            label = f"x {factor:g}, {('seen by a look', 'alarm stands')[at]}"
            axes.step(hours, by, where="post", color=colour, linestyle=style, label=label)
    axes.axvline(24, color="#bbbbbb", linewidth=1, zorder=0)
    axes.set(
        xlabel="hours since the change", ylabel="worlds in which it was found, %", xlim=(0, DELAY_HOURS), ylim=(0, 102)
    )
    axes.set_title(
        "One of 20 features changes; 200 new pools a day, hourly looks over the last day", loc="left", fontsize=10
    )
    axes.legend(frameon=False, fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def share(is_so) -> str:
    """A share of repetitions with its standard error."""
    p = float(np.mean(is_so))
    return f"{100 * p:.1f} % (+- {100 * np.sqrt(p * (1 - p) / len(is_so)):.1f})"


if __name__ == "__main__":
    main()
