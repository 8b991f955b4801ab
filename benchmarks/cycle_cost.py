"""What the lake's part of a five-minute cycle costs after a day and after a month of collecting.

    python benchmarks/cycle_cost.py [--days 30] [--today 12] [--repetitions 9] [--log-only]

Makes lakes that differ in nothing but their history: each past day as the nightly upkeep leaves it, files merged and a
day of commits left in the log, then today's commits, not yet merged. Days that no cycle looks back to have an eleventh
of their rows, in as many files: nothing opens them. One cycle appends answers, pools, trades, tokens and bars, puts
them on record, and brings the running hour of raw pools, candles, snapshots and features up to date. The lakes take
turns. The bar: the medians' ratio is at most 1.2. Also: what opening a table costs after a month of commits, before
and after a vacuum.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from pipeline.calendars import DAY, HOUR, MINUTE, Span, SystemClock, floor
from pipeline.lake import Lake
from pipeline.lake.log import CHECKPOINT_EVERY
from pipeline.provenance import Input, Recipe, record_hours, refresh
from pipeline.tables import (
    ANSWERS,
    CANDLES,
    FEATURES,
    PARTITIONS,
    POOLS,
    RAW_CANDLES,
    RAW_POOLS,
    SNAPSHOTS,
    TOKENS,
    TRADES,
    Table,
)

TODAY = datetime(2026, 3, 1, tzinfo=UTC)
CYCLES_A_DAY = 288
N_NETWORKS = 10
ROWS_A_CYCLE = {ANSWERS: 150, POOLS: 70, TRADES: 300, TOKENS: 100, RAW_CANDLES: 100, RAW_POOLS: 300, CANDLES: 300}
ROWS_A_CYCLE |= {SNAPSHOTS: 300, FEATURES: 300}
APPENDED = (ANSWERS, POOLS, TRADES, TOKENS, RAW_CANDLES)
RECIPES = (
    Recipe("raw_pools", (Input("answers"),), "code"),
    Recipe("candles", (Input("raw_candles"), Input("trades", back=DAY), Input("raw_pools")), "code"),
    Recipe("snapshots", (Input("raw_pools", back=5 * MINUTE),), "code"),
    Recipe("features", (Input("snapshots", back=DAY),), "code"),
)
LOOKED_BACK_TO = {POOLS: 8 * DAY}
"""How far a cycle reaches: others a day."""
BAR = 1.2


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--days", type=int, default=30)
    arguments.add_argument("--today", type=int, default=12, help="cycles of today that are not merged yet")
    arguments.add_argument("--repetitions", type=int, default=9)
    arguments.add_argument("--log-only", action="store_true")
    given = arguments.parse_args()
    root = Path(tempfile.mkdtemp(prefix="cycle_cost_"))
    try:
        show_log(Lake(root / "log"), given.days)
        if not given.log_only:
            compare(root, given.days, given.today, given.repetitions)
    finally:
        shutil.rmtree(root)


def compare(root: Path, days: int, today: int, repetitions: int) -> None:
    begin = time.perf_counter()
    lakes = after_days(root, (1, days), today)
    print(f"made lakes of 1 and {days} days and {today} cycles in {time.perf_counter() - begin:.0f} s")
    took: dict[int, dict[str, list[float]]] = {n: defaultdict(list) for n in lakes}
    for repetition in range(repetitions):
        for n in sorted(lakes, reverse=bool(repetition % 2)):  # who goes first pays for what was not warm
            cycle(lakes[n], today + repetition, took[n])
    print(f"\nmilliseconds, median of {repetitions} cycles{'':14}after 1 day  after {days} days   ratio")
    for step in took[1]:
        first, last = (statistics.median(took[n][step]) * 1000 for n in (1, days))
        print(f"{step:48}{first:8.1f}{last:15.1f}{last / first:9.2f}")
    ratio = statistics.median(took[days]["whole cycle"]) / statistics.median(took[1]["whole cycle"])
    print(f"\n{'within' if ratio <= BAR else 'ABOVE'} the bar of {BAR}: {ratio:.3f}")


def after_days(root: Path, days: Sequence[int], today: int) -> dict[int, Lake]:
    """For each number of days a lake with so much history, and so many of today's cycles.

    One lake grows backwards, and is copied at each length: today's commits are made once.
    """
    growing = Lake(root / "growing")
    lakes, since = {}, 0
    for upto in sorted(days):
        add_days(growing, since + 1, upto)
        if not since:
            for number in range(today):
                cycle(growing, number, defaultdict(list))
        shutil.copytree(growing.root, root / f"after_{upto}")
        lakes[upto], since = Lake(root / f"after_{upto}"), upto
        for table in (PARTITIONS, *ROWS_A_CYCLE):
            age_log(lakes[upto], table, upto)
    os.sync()  # or the first cycles would wait until the copies are on the disk
    return lakes


def add_days(lake: Lake, newest: int, oldest: int) -> None:
    """Whole days of history, from so many days before today back to so many."""
    span = Span(TODAY - oldest * DAY, TODAY - (newest - 1) * DAY)
    for table in ROWS_A_CYCLE:
        lake.replace(table, pl.concat(day_of(table, ago) for ago in range(oldest, newest - 1, -1)), span)
        record_hours(lake, table, span.hours(), columns=table.key)


def day_of(table: Table, ago: int) -> pl.DataFrame:
    """The rows of a day; of one that no cycle looks back to, every 11th, which leaves none of the networks out."""
    every = 1 if ago * DAY <= LOOKED_BACK_TO.get(table, DAY) else 11
    return rows_of(table, TODAY - ago * DAY, CYCLES_A_DAY, every)


def age_log(lake: Lake, table: Table, days: int) -> None:
    """The table's log as so many days of commits and nightly vacuums leave it.

    That is the number of its newest version, and the entries and checkpoints of the last day, the retention: all of
    them say that nothing changed. No process may have the table open.
    """
    folder = lake.root / table.name / "_delta_log"
    opened = DeltaTable(folder.parent)
    opened.create_checkpoint()
    state = (folder / f"{opened.version():020d}.checkpoint.parquet").read_bytes()
    told = json.loads((folder / "_last_checkpoint").read_text())
    for gone in folder.glob("0*"):
        gone.unlink()
    a_day = CYCLES_A_DAY * (len(ROWS_A_CYCLE) if table is PARTITIONS else 1)
    first = opened.version() + (days - 1) * a_day
    write_entries(folder, first + 1, a_day)
    for version in range(first, first + a_day + 1, CHECKPOINT_EVERY):
        (folder / f"{version:020d}.checkpoint.parquet").write_bytes(state)
        (folder / "_last_checkpoint").write_text(json.dumps({**told, "version": version}))
    # Whoever committed them brought them to the disk and noted it: no later commit does that again.
    (lake.root / ".locks" / f"{table.name}.synced").write_text(str(first + a_day))


def cycle(lake: Lake, number: int, took: dict[str, list[float]]) -> None:
    """The lake's part of the cycle that begins so many cycles after the start of today."""
    at = TODAY + number * 5 * MINUTE
    hour = floor(at, HOUR)
    in_hour = (at - hour) // (5 * MINUTE) + 1
    fresh = {table: rows_of(table, at, 1) for table in APPENDED}
    whole = {recipe.table: rows_of(_table(recipe), hour, in_hour) for recipe in RECIPES}
    begin, busy = time.perf_counter(), time.process_time()
    for table in APPENDED:
        with timed(took, f"append {table.name}, put it on record"):
            lake.append(table, fresh[table])
            record_hours(lake, table, [hour], columns=table.key)
    for recipe in RECIPES:
        with timed(took, f"refresh the running hour of {recipe.table}"):
            refresh(lake, recipe, Span(hour, hour + HOUR), reading(lake, recipe, whole[recipe.table]))
    took["whole cycle"].append(time.perf_counter() - begin)
    took["whole cycle, processor time"].append(time.process_time() - busy)


def reading(lake: Lake, recipe: Recipe, rows: pl.DataFrame) -> Callable[[Span], pl.DataFrame]:
    """A computation that reads all it may read, and gives rows that were made before."""

    def compute(span: Span) -> pl.DataFrame:
        for source in recipe.inputs:
            lake.scan(_named(source.table), span.widened(back=source.back, ahead=source.ahead)).collect()
        lake.scan(POOLS, span.widened(back=7 * DAY)).collect()
        return rows

    return compute


@contextmanager
def timed(took: dict[str, list[float]], step: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    took[step].append(time.perf_counter() - begin)


def _table(recipe: Recipe) -> Table:
    return _named(recipe.table)


def _named(name: str) -> Table:
    return next(table for table in ROWS_A_CYCLE if table.name == name)


def rows_of(table: Table, start: datetime, cycles: int, every: int = 1) -> pl.DataFrame:
    """The rows of so many cycles from `start` on, or every so many of them; the same moment gives the same rows."""
    a_cycle = ROWS_A_CYCLE[table]
    step = 5 * MINUTE / a_cycle
    place = pl.int_range(0, a_cycle * cycles, every, eager=True)
    first = (start - TODAY) // (5 * MINUTE) * a_cycle
    moment = pl.lit(start) + pl.duration(microseconds=place * int(step / timedelta(microseconds=1)))
    name = (place + first).hash(seed=7).cast(pl.String)
    values = {column.name: _values(column.name, column.dtype, place, name, moment) for column in table.columns}
    frame = pl.DataFrame({"place_": place}).select(
        value.alias(key) if isinstance(value, pl.Expr) else pl.lit(value).alias(key) for key, value in values.items()
    )
    closed = {c.name: c.values[0] for c in table.columns if c.values}
    return frame.with_columns(pl.lit(text).alias(key) for key, text in closed.items()).cast(dict(table.schema))


def _values(column: str, dtype: pl.DataType, place: pl.Series, name: pl.Series, moment: pl.Expr) -> object:
    if column == "source":
        return "geckoterminal"
    if column == "network":
        return pl.format("network_{}", place % N_NETWORKS)
    if dtype.is_temporal():
        return moment
    if dtype == pl.String:
        return name + "x" * 24
    return _small_values(dtype, place, name)


def _small_values(dtype: pl.DataType, place: pl.Series, name: pl.Series) -> object:
    if dtype == pl.Binary:
        return pl.Series([hashlib.sha512(text.encode()).digest() * 8 for text in name])
    if dtype == pl.Boolean:
        return place % 2 == 0
    return place if dtype.is_integer() else name.hash(seed=3) % 1_000_003 / 7


def pad_log(lake: Lake, table: Table, n_commits: int) -> None:
    """So many commits that changed nothing, with the checkpoints: what a month of small commits leaves."""
    folder = lake.root / table.name
    before = DeltaTable(folder).version()
    for first in range(before + 1, before + n_commits + 1, CHECKPOINT_EVERY):
        write_entries(folder / "_delta_log", first, CHECKPOINT_EVERY)
        DeltaTable(folder).create_checkpoint()


def write_entries(folder: Path, first: int, n: int) -> None:
    """So many entries of a log, from version `first` on, that change nothing."""
    told = json.dumps({"commitInfo": {"timestamp": int(SystemClock().now().timestamp() * 1000), "operation": "WRITE"}})
    for version in range(first, first + n):
        (folder / f"{version:020d}.json").write_text(told)


def show_log(lake: Lake, days: int) -> None:
    """What opening one table costs with a month of commits in its log."""
    lake.append(TOKENS, rows_of(TOKENS, TODAY, 1))
    print(f"opening a table of one commit: {opening(lake):.1f} ms")
    pad_log(lake, TOKENS, days * CYCLES_A_DAY)
    lake.append(TOKENS, rows_of(TOKENS, TODAY + HOUR, 1))
    entries = len(list((lake.root / "tokens" / "_delta_log").iterdir()))
    print(f"after {days} days of {CYCLES_A_DAY} commits, {entries} files in its log: {opening(lake):.1f} ms")
    begin = time.perf_counter()
    n_gone = len(lake.vacuum(TOKENS, now=SystemClock().now() + 2 * DAY, retention=DAY))
    print(f"after a vacuum of {n_gone} files in {time.perf_counter() - begin:.1f} s: {opening(lake):.1f} ms")


def opening(lake: Lake) -> float:
    """Median milliseconds of opening the table `tokens` at its newest version."""
    took = []
    for _ in range(9):
        begin = time.perf_counter()
        lake.version(TOKENS)
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1000


if __name__ == "__main__":
    main()
