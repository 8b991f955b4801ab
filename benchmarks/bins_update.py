"""How long exports of bins take: everything, one new hour, one new day at a hundred thousand instruments.

    python benchmarks/bins_update.py [--large] [--folder DIR]

Each row says the seconds beside those of writing the same feature files raw (one after another, not flushed), and the
largest amount of memory the process has held so far. `--large` adds 100,000 instruments, of which a fifth gains a day.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.bins.export import Export, export_all, update
from pipeline.bins.spec import BinsSpec

HOUR_US = 3_600_000_000
BEGIN_US = 1_599_584_400_000_000
VALUES = ("open", "high", "low", "close", "volume", "vwap")
N_HOURS = 2000


def made(names: np.ndarray, begins: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Hourly bars without gaps: of each name, so many from its first hour on."""
    hours = np.repeat(begins - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    time_us = pl.Series(hours * HOUR_US + BEGIN_US).cast(pl.Datetime("us", "UTC"))
    values = {field: rng.random(hours.size) for field in VALUES}
    return pl.DataFrame({"instrument": np.repeat(names, lengths), "event_time": time_us, **values})


def write_raw(directory: Path, folder: Path) -> float:
    """Seconds it takes to write the feature files of an export again, from memory."""
    root = directory.resolve()
    contents = [(path.parent.name, path.name, path.read_bytes()) for path in root.glob("features/*/*.bin")]
    began = time.perf_counter()
    for name, file, content in contents:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_bytes(content)
    return time.perf_counter() - began


def timed(label: str, call: Callable[[], Export], raw: float | None = None) -> None:
    os.sync()
    began = time.perf_counter()
    done = call()
    seconds = time.perf_counter() - began
    ratio = f"{seconds / raw:5.1f} x raw" if raw else ""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{label:44} {done.n_bars:>11,} {done.n_files_written:>8,} {seconds:8.2f} s {ratio:12} {held:6.2f} GiB")


def measure(n: int, lengths: np.ndarray, share: float, hours: int, folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    names = np.array([f"simulated-0x{at:040x}" for at in range(n)])
    known = {name: ("simulated", name.removeprefix("simulated-")) for name in names.tolist()}
    bars = made(names, N_HOURS - lengths, lengths, rng)
    export_all(bars.head(100), known, folder / "warm", BinsSpec())
    timed(f"all, {n:,} instruments", lambda: export_all(bars, known, folder / "bins"))
    raw = write_raw(folder / "bins", folder / "raw") if n < 10_000 else None
    timed("all, elsewhere", lambda: export_all(bars, known, folder / "again"), raw)
    timed("all, once more (nothing to do)", lambda: export_all(bars, known, folder / "bins"), raw)
    for at in range(3):
        some = np.sort(rng.choice(n, round(n * share), replace=False))
        first = np.full(some.size, N_HOURS + at * hours)
        new = made(names[some], first, np.full(some.size, hours), rng)
        what = f"update, {hours} new hours of {some.size:,} instruments"
        timed(what, lambda new=new: update(new, known, folder / "bins"), raw)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="100,000 instruments, too: 12 GB of disk, some minutes")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if none is given")
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="poolcast-bins-", dir=arguments.folder))
    lengths = np.random.default_rng(0)
    try:
        print(f"{'':44} {'rows':>11} {'files':>8} {'':10} {'':12} {'memory':>10}")
        measure(2000, lengths.integers(1000, N_HOURS + 1, 2000), 1.0, 1, place / "small")
        if arguments.large:
            measure(100_000, lengths.integers(100, 901, 100_000), 0.2, 24, place / "large")
    finally:
        shutil.rmtree(place)
