from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.findings import Event, Soaked, body_of
from benchmarks.soak.location import last_tick
from benchmarks.soak.sittings import next_place, page_of, sittings

BEGAN = datetime(2024, 3, 7, tzinfo=UTC)
SPEED = 10.0
MINUTE = timedelta(minutes=1)


def soaked(**judged: Any) -> Soaked:
    """Four hours of a market in which everything was as it must be."""
    slots = [BEGAN + (5 * n + 5) * MINUTE for n in range(48)]
    cycles = {
        "n_grid_points": len(slots),
        "missed": [],
        "seen": [
            {"event_time": (slot - 4 * MINUTE).isoformat(), "known_at": slot.isoformat(), "n_observed": 20,
             "n_observed_late": 0, "is_gap": False}
            for slot in slots
        ],
    }  # fmt: skip
    answers = {"n_served": 100, "n_kept": 100, "n_kept_twice": 0, "lost": [], "n_lost": 0}
    sound = {
        "cycles": cycles, "answers": answers, "n_in_journal": 0, "behind": None, "tables": [], "ledger": [],
        "predictions": {"words": "10 predictions", "faults": []}, "audit": {"is_sound": True},
        "counts": {"snapshots": 100, "features": 100, "predictions": 10},
    }  # fmt: skip
    found = Soaked(Path(), Path(), "", BEGAN, 4.0, SPEED, real_start=1000.0, judged={**sound, **judged})
    found.events = [Event(BEGAN + 60 * MINUTE, "now: kill postgres")]
    found.memory = [{"at": (BEGAN + 2 * n * MINUTE).isoformat(), "daemon": 100.0 + n % 3} for n in range(120)]
    found.runs = [
        {"runId": f"{n:08d}", "jobName": "collect", "status": "SUCCESS", "creationTime": real,
         "startTime": real, "endTime": real + 30.0 + 4.0}
        for n, real in enumerate(1000.0 + 30.0 * n for n in range(48))
    ]  # fmt: skip
    return found


def missed(*minutes: int) -> dict[str, Any]:
    cycles = soaked().judged["cycles"]
    return {"cycles": {**cycles, "missed": [(BEGAN + m * MINUTE).isoformat() for m in minutes]}}


def test_a_soak_in_which_everything_went_well_is_sound_and_told() -> None:
    found = soaked()
    assert found.faults() == []
    page = body_of(found)
    assert "served by a cycle: 48" in page
    assert "What is not as it must be: nothing." in page
    # 34 real seconds, 24 of which (four minutes of the market) collect.
    assert [took for _, took in found.cycle_seconds()][:2] == pytest.approx([10.0, 10.0])


def test_a_grid_point_that_nobody_served_is_forgiven_beside_a_disturbance_only() -> None:
    assert soaked(**missed(55, 75)).faults() == []
    assert soaked(**missed(85)).faults() == ["1 of 48 grid points was served by nobody"]


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        ({"behind": "07 00:00"}, "behind: 07 00:00"),
        ({"tables": ["labels: broken"]}, "labels: broken"),
        ({"predictions": {"words": "", "faults": ["2 wait"]}}, "2 wait"),
        ({"audit": {"is_sound": False}}, "the audit of promotion is not sound"),
        ({"n_in_journal": 3}, "3 answers lie in the journal"),
        ({"counts": {"features": 0}}, "there are no features of the soak's own time"),
        (
            {"answers": {"n_kept_twice": 0, "n_lost": 1, "lost": [(BEGAN + 100 * MINUTE).isoformat()]}},
            "1 answer is lost",
        ),
    ],
)
def test_whatever_is_not_as_it_must_be_is_a_fault(judged: dict[str, Any], words: str) -> None:
    assert soaked(**judged).faults() == [words]


def test_what_is_still_held_left_or_growing_is_a_fault() -> None:
    found = soaked()
    found.under_way, found.held, found.left = [{**found.runs[0], "status": "STARTED"}], ["api"], ["daemon"]
    found.exit_status = 1
    assert len(found.faults()) == 4
    grown = replace(soaked(), memory=[{**row, "daemon": 100.0 + n} for n, row in enumerate(soaked().memory)])
    assert [fault.split()[0] for fault in grown.faults()] == ["daemon"]


def test_what_a_part_holds_is_compared_within_one_life_of_it() -> None:
    """PostgreSQL was killed after an hour; the process before grew, the one after is small, and is the longer one."""
    found = soaked()
    found.events.append(Event(BEGAN + 60 * MINUTE, "PostgreSQL killed"))
    found.memory = [{**row, "PostgreSQL": 50.0 + n if n < 30 else 20.0} for n, row in enumerate(found.memory)]
    assert found.growth()["PostgreSQL"] == (20.0, 20.0)


def test_a_soak_in_sittings_goes_on_where_it_was_left_and_adds_up(tmp_path: Path) -> None:
    for sitting in (soaked(**missed(55, 85)), soaked(), replace(soaked(), judged={})):
        kept = replace(sitting, folder=next_place(tmp_path), ended=BEGAN + timedelta(hours=4))
        kept.stopped = BEGAN + timedelta(hours=5) if kept.judged else None
        kept.keep()
    next_place(tmp_path)  # of one that ended before it saw anything
    found = sittings(tmp_path)
    assert [one.folder.name for one in found] == ["sitting-1", "sitting-2", "sitting-3"]
    assert found[0].troubles() == soaked().troubles()
    assert found[0].left_at() == BEGAN + timedelta(hours=5)
    last_look = BEGAN + 2 * 119 * MINUTE
    assert found[2].left_at() > last_look, "nobody knows how long it went on"
    page = page_of(found)
    assert "2 sittings, 8.0 hours of the market" in page
    assert "Of 96 grid points a cycle served 94; 1 was missed beside a disturbance, 1 otherwise" in page
    assert "1 more was cut off before it could be judged" in page
    assert "1 sitting, 4.0 hours of the market, 1 disturbance. Of 48 grid points" in page_of(found[:1])
    assert "2 were missed beside a disturbance" in page_of([soaked(**missed(55, 60))])
    assert next_place(tmp_path).name == "sitting-5"


def test_of_the_ticks_nobody_looked_at_the_last_one_counts_and_none_twice() -> None:
    at = BEGAN + 17 * MINUTE
    assert last_tick("*/5 * * * *", BEGAN, at) == BEGAN + 15 * MINUTE
    assert last_tick("*/5 * * * *", BEGAN + 15 * MINUTE, at) is None
    second = timedelta(seconds=1)
    assert last_tick("*/5 * * * *", BEGAN + 299.5 * second, BEGAN + 309.5 * second) == BEGAN + 5 * MINUTE
    assert last_tick("7 * * * *", at, BEGAN + 67 * MINUTE) == BEGAN + 67 * MINUTE
