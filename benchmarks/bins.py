"""How fast bins are written: a full export beside QLib's own dump, and beside writing the same files raw.

    python benchmarks/bins.py [--instruments 2000] [--bars 2000] [--dump-bin DUMP_BIN.py] [--suffix .csv] [--seed 0]

The market is synthetic and seeded: instruments live up to `--bars` hours, with gaps, at six fields. Ours starts from
one Parquet file, as `poolcast bins export` does. QLib's dump starts from one file an instrument (its own form; making
those is not timed) and works with two processes. Its script does not come with its wheel: name a copy with
`--dump-bin` (`scripts/dump_bin.py` of QLib's repository); without it, the same steps are done here with pandas.
Every feature file of the two must be equal, byte for byte, or the benchmark fails.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.bins.export import export_all
from pipeline.bins.spec import BinsSpec
from pipeline.cli.plain_bins import read_bars

START = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = ("open", "high", "low", "close", "volume", "vwap")
SPEC = BinsSpec(fields=FIELDS)
HOUR_US = 3_600_000_000
WORKERS = 2


def synthetic_bars(n_instruments: int, n_bars: int, seed: int) -> pl.DataFrame:
    """Random walks: the first instrument trades in every hour, the others live for a while, with gaps."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, max(1, n_bars // 2), n_instruments)
    lives = np.minimum(rng.integers(n_bars // 2, n_bars + 1, n_instruments), n_bars - first)
    first[0], lives[0] = 0, n_bars
    at = np.concatenate([np.arange(a, a + n) for a, n in zip(first, lives, strict=True)])
    owner = np.repeat(np.arange(n_instruments), lives)
    kept = (rng.random(at.size) > 0.05) | (owner == 0)
    at, owner = at[kept], owner[kept]
    close = np.exp(rng.normal(0, 0.02, at.size).cumsum() % 20)
    opened = close * np.exp(rng.normal(0, 0.01, at.size))
    names = np.array([f"pool{i:05d}" for i in range(n_instruments)])
    moment = pl.Series(int(START.timestamp() * 1e6) + at * HOUR_US).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "symbol": names[owner],
            "date": moment,
            "open": opened,
            "high": np.maximum(opened, close) * 1.01,
            "low": np.minimum(opened, close) * 0.99,
            "close": close,
            "volume": rng.exponential(1000, at.size),
            "vwap": (opened + close) / 2,
        }
    )


def ours(source: Path, directory: Path) -> None:
    plain = read_bars(source)
    export_all(plain.bars, plain.identities, directory, SPEC)


def written_raw(contents: list[tuple[str, bytes]], root: Path) -> None:
    """The same files, created and written one after the other, and nothing else."""
    made = ""
    for path, content in contents:
        folder = path.rpartition("/")[0]
        if folder != made:
            os.makedirs(f"{root}/{folder}", exist_ok=True)  # noqa: PTH103 - as little as possible beside the writing
            made = folder
        with open(f"{root}/{path}", "wb", buffering=0) as file:  # noqa: PTH123
            file.write(content)


def per_instrument_files(bars: pl.DataFrame, folder: Path, suffix: str) -> None:
    folder.mkdir()
    naive = bars.with_columns(pl.col("date").dt.replace_time_zone(None))
    for (symbol,), rows in naive.group_by("symbol"):
        path = folder / f"{symbol}{suffix}"
        rows.write_csv(path) if suffix == ".csv" else rows.write_parquet(path)


def dumped_by_qlib(script: Path, sources: Path, directory: Path, suffix: str) -> None:
    told = {
        "data_path": sources, "qlib_dir": directory, "freq": "60min", "max_workers": WORKERS, "file_suffix": suffix,
        "exclude_fields": "symbol,date",
    }  # fmt: skip
    flags = [f"--{key}={value}" for key, value in told.items()]
    told_script = [sys.executable, script, "dump_all", *flags]  # a script that the caller named
    done = subprocess.run(told_script, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"QLib's dump failed: {done.stderr[-1000:]}")


def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, low_memory=False) if path.suffix == ".csv" else pd.read_parquet(path)
    return frame.assign(date=pd.to_datetime(frame["date"]))


def _times(path: Path) -> set[pd.Timestamp]:
    return set(_read(path)["date"])


def _dumped(path: Path, calendar: list[pd.Timestamp], directory: Path) -> None:
    frame = _read(path).drop_duplicates("date").set_index("date").drop(columns="symbol")
    grid = pd.DatetimeIndex(calendar)
    laid = frame.reindex(grid[(grid >= frame.index.min()) & (grid <= frame.index.max())])
    folder = directory / "features" / path.stem.lower()
    folder.mkdir(parents=True)
    for field in laid.columns:
        np.hstack([calendar.index(laid.index[0]), laid[field]]).astype("<f").tofile(folder / f"{field}.60min.bin")


def dumped_likewise(sources: Path, directory: Path) -> None:
    """The steps of QLib's dump, with pandas and two processes: every file read twice, and one bin after the other."""
    paths = sorted(sources.iterdir())
    with ProcessPoolExecutor(WORKERS) as pool:
        calendar = sorted(set().union(*pool.map(_times, paths)))
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(partial(_dumped, calendar=calendar, directory=directory), paths))


def timed(work: Callable[[], None]) -> float:
    os.sync()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def unequal(a: Path, b: Path) -> list[str]:
    """Feature files that differ or that one side lacks."""
    sides = [{p.relative_to(root).as_posix(): p for p in (root / "features").rglob("*.bin")} for root in (a, b)]
    lone = sides[0].keys() ^ sides[1].keys()
    both = sides[0].keys() & sides[1].keys()
    return sorted(lone | {name for name in both if sides[0][name].read_bytes() != sides[1][name].read_bytes()})


def run(n_instruments: int, n_bars: int, script: Path | None, suffix: str, seed: int, root: Path) -> None:
    bars = synthetic_bars(n_instruments, n_bars, seed)
    print(f"{bars.height:,} bars of {n_instruments:,} instruments, {len(FIELDS)} fields")
    source = root / "bars.parquet"
    bars.write_parquet(source)
    own = [timed(lambda at=at: ours(source, root / f"ours{at}")) for at in range(3)]  # type: ignore[misc]
    export = (root / "ours0").resolve()
    contents = [(p.relative_to(export).as_posix(), p.read_bytes()) for p in sorted(export.rglob("*")) if p.is_file()]
    raw = [timed(lambda at=at: written_raw(contents, root / f"raw{at}")) for at in range(3)]  # type: ignore[misc]
    per_instrument_files(bars, root / "sources", suffix)
    theirs = root / "theirs"
    if script:
        name, seconds = "QLib's dump", timed(lambda: dumped_by_qlib(script, root / "sources", theirs, suffix))
    else:
        name, seconds = "the steps of QLib's dump", timed(lambda: dumped_likewise(root / "sources", theirs))
    if wrong := unequal(export, theirs):
        raise SystemExit(f"{len(wrong):,} feature files differ, the first {wrong[:3]}")
    best, floor = min(own), min(raw)
    print(f"ours: {best:.2f} s (of {', '.join(f'{s:.2f}' for s in own)})")
    print(f"the same files raw: {floor:.2f} s; ours takes {best / floor:.1f} times that")
    print(f"{name}, two processes, {suffix} files: {seconds:.1f} s; ours is {seconds / best:.1f} times as fast")
    print("every feature file is equal, byte for byte")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruments", type=int, default=2_000)
    parser.add_argument("--bars", type=int, default=2_000)
    parser.add_argument("--dump-bin", type=Path)
    parser.add_argument("--suffix", choices=(".csv", ".parquet"), default=".csv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder unless given")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        run(asked.instruments, asked.bars, asked.dump_bin, asked.suffix, asked.seed, place)
    finally:
        shutil.rmtree(place)
