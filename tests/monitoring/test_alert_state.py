"""One alert for as long as a thing is so, however it flaps."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import MINUTE
from pipeline.lake import Lake
from pipeline.monitoring.alerts.journal import acknowledge, look, remembered
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked
from pipeline.tables import ALERTS
from tests.monitoring.alert_bench import NOON, event

KIND = frozenset({"freshness.stale"})


def walked(folder: Path, pattern: str, step: timedelta = 5 * MINUTE) -> list[tuple[int, str]]:
    """What was said, as (minute, state), where the thing is so at each `x` and not at each `.`; `?`: nobody looked."""
    lake, memory, said = Lake(folder / "lake"), {}, list[tuple[int, str]]()
    for n, sign in enumerate(pattern):
        now = NOON + n * step
        found = (event("trades", kind="freshness.stale", at=now, title="trades: old"),) if sign == "x" else ()
        looked = Looked(frozenset() if sign == "?" else KIND, found)
        n_new, memory = look(lake, folder, looked, [], memory, now, rules=Rules(), spec=AlertsSpec())  # type: ignore[assignment]
        last = remembered(lake, ALERTS, now).sort("known_at").to_dicts()[-n_new:] if n_new else []
        said += [(int((now - NOON) / MINUTE), row["state"] + ("!" if "still" in row["title"] else "")) for row in last]
    return said


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("....", []),
        ("xxxxxx", [(0, "raised")]),
        ("xx....", [(0, "raised"), (20, "recovered")]),
        ("x.x.x.x.x", [(0, "raised")]),  # never over for long enough
        ("x...x...x...x", [(0, "raised"), (15, "recovered"), (60, "raised")]),  # one pair in the cool-down
        ("x..." * 6, [(0, "raised"), (15, "recovered"), (60, "raised"), (75, "recovered")]),
        ("x??????", [(0, "raised")]),  # nobody looked, so nothing is over
        ("x.??.", [(0, "raised"), (20, "recovered")]),
        ("x" * 52, [(0, "raised"), (245, "raised!")]),  # told again when the window has passed
    ],
)
def test_what_comes_and_goes_is_said_so_often(tmp_path: Path, pattern: str, said: list[tuple[int, str]]) -> None:
    assert walked(tmp_path, pattern) == said


@pytest.mark.parametrize("seed", range(3))
def test_however_it_flaps_there_is_at_most_one_pair_in_a_cool_down(tmp_path: Path, seed: int) -> None:
    import random

    dice = random.Random(seed)
    said = walked(tmp_path, "".join(dice.choice("x.") for _ in range(60)))
    begun = [minute for minute, state in said if state == "raised"]
    assert all(b - a >= 60 for a, b in pairwise(begun))
    assert [state for _minute, state in said] == (["raised", "recovered"] * len(said))[: len(said)]


def test_what_somebody_acknowledged_is_not_told_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")

    def looks(now: datetime) -> int:
        looked = Looked(KIND, (event("trades", kind="freshness.stale", at=now),))
        return look(lake, tmp_path, looked, [], {}, now, rules=Rules(), spec=AlertsSpec())[0]

    assert looks(NOON) == 1
    (row,) = remembered(lake, ALERTS, NOON).to_dicts()
    acknowledge(lake, row["alert_id"], "somebody", None, NOON)
    assert looks(NOON + timedelta(hours=9)) == 0
    assert looks(NOON + timedelta(hours=10)) == 0


def test_two_who_look_at_once_write_a_beginning_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def looks(n: int) -> int:
        looked, now = Looked(KIND, (event("trades", kind="freshness.stale"),)), NOON + timedelta(seconds=n)
        return look(Lake(tmp_path / "lake"), tmp_path, looked, [], {}, now, rules=Rules(), spec=AlertsSpec())[0]

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(looks, range(4))) == 1


def test_a_clock_that_was_ahead_for_a_look_makes_one_beginning_one_end_and_hides_nothing_later(tmp_path: Path) -> None:
    lake, memory, said = Lake(tmp_path / "lake"), {}, list[tuple[int, str]]()
    two_days = timedelta(days=2) // MINUTE
    # The minute by the clock, and whether the thing is so: the second look is made by a clock that is two days ahead.
    seen = [(0, ""), (two_days, "x"), *((minute, "x") for minute in (5, 10, 15)), *((m, "") for m in range(20, 80, 5))]
    later = [(two_days + m, "x" if 0 < m < 30 else "") for m in range(-58, 90, 5)]
    for minute, sign in seen + later:
        now = NOON + minute * MINUTE
        found = (event("trades", kind="freshness.stale", at=now, title="trades: old"),) if sign else ()
        n, memory = look(lake, tmp_path, Looked(KIND, found), [], memory, now, rules=Rules(), spec=AlertsSpec())  # type: ignore[assignment]
        rows = lake.scan(ALERTS).filter(pl.col("known_at") == now).collect()
        assert rows.height == n
        said += [(minute, state) for state in rows["state"]]
    assert said == [
        (two_days, "raised"), (30, "recovered"), (two_days + 2, "raised"), (two_days + 42, "recovered"),
    ]  # fmt: skip
    assert lake.scan(ALERTS).collect()["known_at"].dt.date().n_unique() == 2
