"""What lies in the house after a soak: was everything collected on time, is anything lost, does everything agree?

Run in the house's own environment while `up` still runs; prints one line of JSON.
"""

import json
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from assets.behind import behind
from assets.outcomes import reconciled
from benchmarks.soak.house import ROOT
from pipeline.calendars import HOUR, MINUTE, Span, ceil, floor
from pipeline.cli.screen import lake_of, settings_of
from pipeline.expectations.verdict import validate
from pipeline.lake import Lake
from pipeline.pools.journal import Journal
from pipeline.pools.memory import Memory
from pipeline.pools.shelf import Shelf
from pipeline.sandbox.app import LoggedCall
from pipeline.sandbox.clock import SandboxTimer
from pipeline.sandbox.control import SandboxControl
from pipeline.tables import ANSWERS, COLLECTIONS, DEPLOYMENTS, FEATURES, PREDICTIONS, SNAPSHOTS, TABLES

GRID = 5 * MINUTE


def cycles(lake: Lake, began: datetime, ended: datetime) -> dict[str, Any]:
    """Every grid point there was, and whether a cycle served it."""
    rows = lake.scan(COLLECTIONS).filter(pl.col("event_time") >= began).sort("event_time").collect()
    first, last = ceil(began, GRID) + GRID, floor(ended, GRID)
    expected = [first + n * GRID for n in range((last - first) // GRID + 1)]
    served = {floor(moment, GRID) + GRID for moment in rows["event_time"]}
    return {
        "n_grid_points": len(expected),
        "missed": [slot.isoformat() for slot in expected if slot not in served],
        "seen": rows.select("event_time", "known_at", "n_calls", "n_found", "n_observed", "n_observed_late",
                            "n_waiting", "is_gap").to_dicts(),
    }  # fmt: skip


def answers(lake: Lake, sandbox: SandboxControl, began: datetime) -> dict[str, Any]:
    """What the sandbox answered, beside what is in the lake: an answer that was acknowledged must be there."""
    told = [call for call in sandbox.calls() if call.now >= began and not call.is_over_budget and call.status == 200]
    kept = lake.scan(ANSWERS).filter(pl.col("event_time") >= began, pl.col("status") == 200).collect()
    served = Counter(map(_asked, told))
    found = Counter(url.partition("/api/v2/")[2] for url in kept["url"])
    lost = served - found
    at: dict[str, list[datetime]] = {url: [] for url in served}
    for url, moment in kept.select("url", "event_time").iter_rows():
        at.setdefault(url.partition("/api/v2/")[2], []).append(moment)

    def loneliness(call: LoggedCall) -> timedelta:
        """How far from a call the nearest answer lies that was kept of the same address."""
        return min((abs(call.now - moment) for moment in at[_asked(call)]), default=timedelta.max)

    loneliest = {
        url: sorted((call for call in told if _asked(call) == url), key=loneliness)[-n:] for url, n in lost.items()
    }
    return {
        "n_served": len(told),
        "n_kept": kept.height,
        "n_kept_twice": kept.height - kept["answer_id"].n_unique(),
        "n_never_served": (found - served).total(),
        "lost": sorted(call.now.isoformat() for calls in loneliest.values() for call in calls),
        "n_lost": lost.total(),
    }


def _asked(call: LoggedCall) -> str:
    return f"{call.path}?{call.query}" if call.query else call.path


def tables(lake: Lake) -> list[str]:
    """What of any table is not as its spec says."""
    told = []
    for table in TABLES.values():
        if lake.version(table) is None:
            continue
        verdict = validate(table, lake.scan(table).collect())
        if not verdict.is_passed:
            told.append(f"{table.name}: {verdict.in_words()}")
    return told


def audit() -> tuple[bool, list[Any]]:
    """Ledger, evidence, registry and files, as `poolcast promotion audit` finds them."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "promotion", "audit", "--json"],
        cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.returncode == 0, json.loads(done.stdout)


def counts(lake: Lake, began: datetime) -> dict[str, int]:
    """How much of the soak's own time there is."""
    span = Span(began, began + timedelta(days=30))
    return {t.name: lake.scan(t, span).select(pl.len()).collect().item() for t in (SNAPSHOTS, FEATURES, PREDICTIONS)}


def main() -> None:
    asked = json.loads(sys.argv[1])
    began, ended = (datetime.fromisoformat(asked[name]) for name in ("began", "ended"))
    settings = settings_of(None)
    lake, control, now = lake_of(settings), SandboxControl(asked["sandbox"]), SandboxTimer(asked["sandbox"]).now()
    found = behind(lake, Shelf(settings.recordings), now)
    memory = Memory(settings.collector / "memory.sqlite")
    is_sound, findings = audit()
    ledger = lake.scan(DEPLOYMENTS).sort("sequence").collect()
    ends = reconciled(lake, floor(now, HOUR))
    print(json.dumps({
        "cycles": cycles(lake, began, ended),
        "answers": answers(lake, control, began),
        "n_in_journal": Journal(memory).n_answers(),
        "behind": None if found is None else f"{found[0].start:%d %H:%M} to {found[0].end:%d %H:%M}: {found[1]}",
        "tables": tables(lake),
        "predictions": {"words": ends.in_words(), "faults": list(ends.faults)},
        "audit": {"is_sound": is_sound, "findings": findings},
        "ledger": ledger.select("known_at", "model_name", "action", "version", "reason").to_dicts(),
        "counts": counts(lake, began),
    }, default=str))  # fmt: skip


if __name__ == "__main__":
    main()
