"""What the lake's verbs cost in a folder and on an object store on loopback, and how many requests each makes.

    python -m benchmarks.lake_places [--repetitions 20] [--delay-ms 0]

The two take turns at the same work on `snapshots`: ten cycles of history, then 300 rows appended, the same rows again,
an hour replaced, an hour read, the version asked. The store is that of the tests (moto behind one lock); `--delay-ms`
lets it answer so much later, as one over a network does. Prints medians, their ratio, and requests a call.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl

from pipeline.calendars import HOUR, Span
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.lake.locks import FileLocks
from pipeline.tables import SNAPSHOTS
from tests.builders import START, valid_frame
from tests.object_store import BUCKET, Store

ROWS = 300


def at(hour: int, pool: str) -> pl.DataFrame:
    """So many snapshots within an hour, of pools that nobody else has."""
    frame = valid_frame(SNAPSHOTS, ROWS)
    moments = [START + hour * HOUR + number * timedelta(seconds=11) for number in range(ROWS)]
    times = pl.Series("event_time", moments, SNAPSHOTS.schema["event_time"])
    return frame.with_columns(times, pool=pl.lit(pool) + pl.int_range(ROWS).cast(pl.String))


def verbs(lake: Lake, turn: int) -> dict[str, Callable[[], object]]:
    hour = Span(START + 20 * HOUR, START + 21 * HOUR)
    new, replaced = at(11, f"0x{turn}-"), at(20, f"0xr{turn}-")
    return {
        "append": lambda: lake.append(SNAPSHOTS, new),
        "append, all known": lambda: lake.append(SNAPSHOTS, new),
        "replace an hour": lambda: lake.replace(SNAPSHOTS, replaced, hour),
        "read an hour": lambda: lake.scan(SNAPSHOTS, hour).collect(),
        "version": lambda: lake.version(SNAPSHOTS),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repetitions", type=int, default=20)
    arguments.add_argument("--delay-ms", type=float, default=0.0)
    given = arguments.parse_args()
    store = Store()
    store.start()
    os.environ.update(store.environment)
    try:
        with tempfile.TemporaryDirectory() as folder:
            bucket = Bucket(f"s3://{BUCKET}/bench", FileLocks(Path(folder) / "locks"), is_plain=True)
            lakes = {"folder": Lake(Path(folder) / "lake"), "store": Lake(bucket)}
            compare(lakes, store, given.repetitions, given.delay_ms / 1000)
    finally:
        store.end()


def compare(lakes: dict[str, Lake], store: Store, repetitions: int, delay: float) -> None:
    for hour in range(10):
        for lake in lakes.values():
            lake.append(SNAPSHOTS, at(hour, "0x"))
    store.say(f"delay {delay}")
    took: dict[str, dict[str, list[float]]] = {place: defaultdict(list) for place in lakes}
    asked: dict[str, list[int]] = defaultdict(list)
    for turn in range(repetitions):
        for place, lake in lakes.items():
            for verb, work in verbs(lake, turn).items():
                before, begin = int(store.say("count")), time.perf_counter()
                work()
                took[place][verb].append(time.perf_counter() - begin)
                if place == "store":
                    asked[verb].append(int(store.say("count")) - before)
    print(f"{'verb':20} {'folder':>9} {'store':>9} {'ratio':>6} {'requests':>9}")
    for verb, requests in asked.items():
        here, there = (1000 * statistics.median(took[place][verb]) for place in ("folder", "store"))
        print(f"{verb:20} {here:6.1f} ms {there:6.1f} ms {there / here:6.1f} {statistics.median(requests):9.0f}")


if __name__ == "__main__":
    main()
