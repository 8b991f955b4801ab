"""What a thousand pools and a day cost, and what that means for more of them.

    python benchmarks/sizing.py [--sizes 200,2000] [--json FILE]

Each size is a simulated market of ten days, replayed by a process of its own through the real graph: recording to
snapshots, features, labels, bins. Two sizes give a slope and a part that does not grow; one would only give a guess.
CPU seconds and bytes are told, which a busy machine does not change much; Polars and BLAS are held to one thread, so
that a CPU second is one. Training is left out: its rows are bounded (`CompetitionSpec.trial_rows`), see docs/sizing.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
STAGES = ("pools", "snapshots", "features", "labels", "bins")
DAYS = 10
FAR = (100_000, 1_000_000)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--sizes", default="200,2000", help="two numbers of pools")
    asked.add_argument("--json", type=Path, help="where the figures go as well")
    asked.add_argument("--from-json", type=Path, help="figures of an earlier run, to show them again")
    asked.add_argument("--only", type=int, help="one size, its figures as a line of JSON")
    arguments = asked.parse_args()
    if arguments.only is not None:
        print(json.dumps(measured(arguments.only)))
        return
    if arguments.from_json:
        show(*json.loads(arguments.from_json.read_text()))
        return
    small, large = (apart(int(size)) for size in sorted(arguments.sizes.split(","), key=int))
    if arguments.json:
        arguments.json.write_text(json.dumps([small, large], indent=2) + "\n")
    show(small, large)


def apart(n_pools: int) -> dict[str, Any]:
    """One size, in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "--only", str(n_pools)]
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(  # noqa: S603 - our own command
        command, env={**os.environ, **ONE_THREAD, "PYTHONPATH": root}, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(n_pools: int) -> dict[str, Any]:
    """CPU seconds, peak memory and bytes by stage."""
    from pipeline.calendars import SystemClock
    from pipeline.cli.screen import instance_of
    from pipeline.demo import STEPS
    from pipeline.pools.shelf import Shelf
    from pipeline.pools.simulator import simulate, write_recording
    from pipeline.pools.spec import PoolsSpec, SimulationSpec
    from pipeline.replay import replay
    from resources.settings import Settings

    with tempfile.TemporaryDirectory(prefix="poolcast-sizing-", ignore_cleanup_errors=True) as folder:
        settings = Settings.from_environment(Path(folder) / "data")
        spec = SimulationSpec(n_pools=n_pools, days=DAYS, birth_days=DAYS - 2)
        made = Path(folder) / "recording"
        write_recording(simulate(spec, 7), made, spec, 7)
        told = Shelf(settings.recordings).register(made, PoolsSpec(), SystemClock().now())
        found: dict[str, Any] = {"pools": n_pools, "days": DAYS, "stages": {}}
        with instance_of(settings) as (defs, instance, tags):
            for stage in STAGES:
                begun = time.process_time()
                replay(defs, instance, told, assets=STEPS[stage], tags=tags)
                found["stages"][stage] = {
                    "cpu_seconds": time.process_time() - begun,
                    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                    "bytes": bytes_of(settings, stage),
                }
            found["database_bytes"] = database_bytes()
        found["cycle_cpu_seconds"] = cycle(settings, told.span.end)
        found["snapshots"] = rows_of_snapshots(settings)
        return found


def bytes_of(settings: Any, stage: str) -> int:
    """What the stage's tables take, as the newest version of each; of bins, their files."""
    from pipeline.lake import Lake
    from pipeline.tables import TABLES

    if stage == "bins":
        return sum(file.stat().st_size for file in settings.qlib.rglob("*") if file.is_file())
    lake = Lake(settings.lake)
    stands = [lake.status(table) for table in TABLES.values() if table.stage == stage]
    return sum(one.n_bytes for one in stands if one is not None)


def cycle(settings: Any, end: Any) -> float:
    """CPU seconds of the features of one hour with all that they look back on, as a five-minute cycle computes them."""
    from assets.features import REACH, SPEC, sources_of
    from pipeline.calendars import HOUR, Span
    from pipeline.features.compute import compute_family
    from pipeline.lake import Lake

    lake, hour = Lake(settings.lake), Span(end - 48 * HOUR, end - 47 * HOUR)
    begun = time.process_time()
    for family, reach in REACH.items():
        compute_family(family, sources_of(lake, reach, hour), hour, SPEC)
    return time.process_time() - begun


def rows_of_snapshots(settings: Any) -> int:
    """How many there are."""
    from pipeline.lake import Lake
    from pipeline.tables import SNAPSHOTS

    status = Lake(settings.lake).status(SNAPSHOTS)
    return 0 if status is None or status.n_rows is None else status.n_rows


def database_bytes() -> int:
    """What Dagster's database takes."""
    import sqlalchemy as sa

    engine = sa.create_engine(os.environ["POOLCAST_DAGSTER_URL"])
    with engine.connect() as connection:
        return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)


def show(small: dict[str, Any], large: dict[str, Any]) -> None:
    """A table of slopes a thousand pools and day, and of what they come to."""
    grown = (large["pools"] - small["pools"]) / 1000 * DAYS

    def slope(stage: str, what: str) -> float:
        return float(large["stages"][stage][what] - small["stages"][stage][what]) / grown

    print(f"From {small['pools']:,} to {large['pools']:,} pools over {DAYS} days, one thread.\n")
    print("| stage | CPU s a 1,000 pools and day | CPU s that do not grow | MB on disk a 1,000 pools and day |")
    print("|---|---|---|---|")
    total = 0.0
    for stage in STAGES:
        cpu, taken = slope(stage, "cpu_seconds"), slope(stage, "bytes")
        rest = small["stages"][stage]["cpu_seconds"] - cpu * small["pools"] / 1000 * DAYS
        total += cpu
        print(f"| {stage} | {cpu:.2f} | {rest:.1f} | {taken / 1e6:.2f} |")
    peaks = [max(stage["peak_bytes"] for stage in one["stages"].values()) for one in (small, large)]
    held = (peaks[1] - peaks[0]) / grown / 1e6
    print(f"\nPeak memory {peaks[0] / 1e6:,.0f} and {peaks[1] / 1e6:,.0f} MB.")
    print(f"That is {held:.1f} MB a 1,000 pools and day held at once.")
    print(f"Dagster's database {small['database_bytes'] / 1e6:.1f} and {large['database_bytes'] / 1e6:.1f} MB.")
    looks = [one["cycle_cpu_seconds"] for one in (small, large)]
    per_cycle = (looks[1] - looks[0]) / (large["pools"] - small["pools"]) * 1000
    print(f"Features of one hour with their look-back: {looks[0]:.2f} and {looks[1]:.2f} CPU s, "
          f"{per_cycle:.2f} a 1,000 pools.")  # fmt: skip
    seen = (large["snapshots"] - small["snapshots"]) / grown
    print(f"{seen:,.0f} snapshots a 1,000 pools and day.")
    for pools in FAR:
        on_disk = sum(slope(stage, "bytes") for stage in STAGES) * pools / 1000
        print(f"{pools:,} pools: {total * pools / 1000 / 3600:.1f} CPU hours and {on_disk / 1e9:.1f} GB a day.")


if __name__ == "__main__":
    main()
