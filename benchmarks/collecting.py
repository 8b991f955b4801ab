"""How many pools a budget of 30 calls a minute finds and snapshots, and how much faster the parser is.

    python benchmarks/collecting.py [--minutes 20] [--pools 4000] [--json]

A sandbox serves a simulated market at full speed (stepped: its clock moves only while the collector waits). Beside the
collector stands what people write first: page 1 of each network's list of new pools in turn, then one call a pool.
Figures are per minute of the market's clock, so the machine's speed does not enter them; seconds of real time stand
beside.
"""

import argparse
import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "collecting"))

import polars as pl
from market_under_test import HURRIED, Market, market, served, setup_of, simulated

from pipeline.calendars import Span
from pipeline.lake import Lake
from pipeline.pools.answer import Call, new_pools, pool
from pipeline.pools.drain import drain
from pipeline.pools.parse import parse_pools
from pipeline.pools.recording import RecordedFrames
from pipeline.pools.spec import PoolsSpec
from pipeline.snapshots.observed import observed_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import ANSWERS

CALLS_PER_MINUTE = 30
N_NETWORKS = 10
SQUEEZE = 24
"""A day's births happen within an hour, so that there are always more pools to see than calls to see them with."""
WARM = timedelta(minutes=40)
"""Counting begins when most pools have been born."""


def squeezed(folder: Path, n_pools: int) -> Market:
    """A simulated market whose pools are born SQUEEZE times as fast; each lives as it would have."""
    told = simulated(folder, n_pools // N_NETWORKS, days=3, birth_days=1, n_networks=N_NETWORKS)
    earlier = (pl.col("created_at") - told.start) * (1 - 1 / SQUEEZE)
    pools = told.frames.pools.with_columns(earlier.alias("earlier"))
    reserves = told.frames.reserves.join(pools.select("network", "pool", "earlier"), on=["network", "pool"])
    reserves = reserves.with_columns(pl.col("event_time", "known_at") - pl.col("earlier")).drop("earlier")
    moved = pools.with_columns(pl.col("created_at", "known_at") - pl.col("earlier")).drop("earlier")
    return market(RecordedFrames(reserves, moved, told.frames.quarantine), folder, told.source, told.start)


def collected(folder: Path, n_pools: int, minutes: int) -> dict[str, float]:
    told = squeezed(folder, n_pools)
    lake = Lake(folder / "lake")
    with served(told, calls_per_minute=CALLS_PER_MINUTE) as sandbox:
        setup = setup_of(told, sandbox, folder / "collector", client=HURRIED)
        began = time.perf_counter()
        with setup.open() as desk:
            while desk.timer.now() < told.start + WARM:
                desk.cycle(desk.next_slot())
            counted_from = desk.timer.now()
            while desk.timer.now() < counted_from + timedelta(minutes=minutes):
                desk.cycle(desk.next_slot())
            counted_to = desk.timer.now()
            drain(desk.journal, lake)
        seconds = time.perf_counter() - began
        calls = [c for c in sandbox.control.calls() if counted_from <= c.now < counted_to]
        over = sum(c.is_over_budget for c in sandbox.control.calls())
    records = parse_pools(lake.scan(ANSWERS).collect(), PoolsSpec()).raw_pools
    moment = timedelta(microseconds=1)  # the grid points after the first moment, up to and with the last
    span = Span(counted_from + moment, counted_to + moment)
    snapshots = observed_snapshots(records, span, counted_to, SnapshotsSpec())
    return {
        "calls_a_minute": len(calls) / minutes,
        "calls_over_budget": over,
        "records_a_minute": records.filter(records["event_time"] >= counted_from).height / minutes,
        "snapshots_a_minute": snapshots.height / minutes,
        "real_seconds": seconds,
    }


def naive(folder: Path, n_pools: int, minutes: int) -> dict[str, float]:
    """Page 1 of every network, then pools one call each, in turn; what a first script does."""
    told = squeezed(folder, n_pools)
    seen: set[tuple[str, str, int]] = set()
    with served(told, calls_per_minute=CALLS_PER_MINUTE) as sandbox:
        setup = setup_of(told, sandbox, folder / "collector", client=HURRIED)
        with setup.open() as desk:
            desk.timer.sleep(WARM.total_seconds())
            known: list[tuple[str, str]] = []
            end = desk.timer.now() + timedelta(minutes=minutes)
            turn = 0
            while desk.timer.now() < end:
                calls: list[Call] = [new_pools(network) for network in told.networks]
                due = [known[(turn + k) % len(known)] for k in range(min(20, len(known)))] if known else []
                turn += len(due)
                for call in calls + [pool(*key) for key in due]:
                    answer = desk.api.ask(call).answer
                    if answer is None:
                        continue
                    for row in parse_pools(_frame(answer), PoolsSpec()).raw_pools.iter_rows(named=True):
                        key = (row["network"], row["pool"])
                        known.extend([key] if key not in known else [])
                        seen.add((*key, int(answer.answered_at.timestamp()) // 300))
    return {"snapshots_a_minute": len(seen) / minutes}


def _frame(answer: object) -> object:
    from pipeline.pools.collector import frame_of

    return frame_of(answer)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--pools", type=int, default=4000)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    found = {}
    for name, run in (("poolcast", collected), ("page 1 and one call a pool", naive)):
        with tempfile.TemporaryDirectory(prefix="poolcast-bench-") as folder:
            found[name] = run(Path(folder), told.pools, told.minutes)
    if told.json:
        print(json.dumps(found, indent=2))
        return
    for name, figures in found.items():
        print(name)
        for figure, value in figures.items():
            print(f"  {figure:<22} {value:10,.1f}")
    ratio = found["poolcast"]["snapshots_a_minute"] / found["page 1 and one call a pool"]["snapshots_a_minute"]
    print(f"ratio of snapshots a minute: {ratio:.1f}")


if __name__ == "__main__":
    main()
