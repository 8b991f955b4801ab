"""A collector whose clock is far off refuses to collect, and leaves what it knows as it was."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from market_under_test import Market, served, setup_of, simulated

import pipeline.pools.collector
from pipeline.errors import InputError
from pipeline.pools.answer import Call, ohlcv
from pipeline.pools.memory import Memory
from pipeline.sandbox.clock import SandboxTimer
from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.server import RunningSandbox

HOURS_IN = timedelta(hours=12, minutes=1)


@dataclass
class WrongTimer:
    """The sandbox's clock, as a machine has it that is so far off."""

    of: SandboxTimer
    off: timedelta

    def now(self) -> datetime:
        return self.of.now() + self.off

    def sleep(self, seconds: float) -> None:
        self.of.sleep(seconds)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Market:
    found = simulated(tmp_path_factory.mktemp("market"), 80, n_networks=2)
    return replace(found, start=found.start + HOURS_IN)


def wrong(sandbox: RunningSandbox, off: timedelta) -> WrongTimer:
    return WrongTimer(SandboxTimer(sandbox.url), off)


def remembered(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a collector's memory."""
    memory = Memory(folder / "memory.sqlite")
    try:
        tables = ("answers", "collections", "watched", "feeds", "births", "plans", "visits")
        return {name: memory.rows(f"SELECT * FROM {name}") for name in tables}  # noqa: S608
    finally:
        memory.close()


@pytest.mark.slow
@pytest.mark.parametrize("off", [timedelta(days=30), timedelta(hours=3), timedelta(hours=-3), timedelta(days=-30)])
def test_a_clock_that_is_far_off_ends_the_cycle_before_anything_is_written_by_it(
    told: Market, tmp_path: Path, off: timedelta
) -> None:
    with served(told) as sandbox:
        with setup_of(told, sandbox, tmp_path).open() as desk:
            desk.cycle(desk.next_slot())
        before = remembered(tmp_path)
        assert before["watched"]
        with (
            setup_of(told, sandbox, tmp_path, timer=wrong(sandbox, off)).open() as desk,
            pytest.raises(InputError, match="our clock said") as raised,
        ):
            desk.cycle(desk.next_slot())
        assert remembered(tmp_path) == before
        now = sandbox.control.clock().now
        assert f"'{now:%Y-%m-%d %H:%M}" in str(raised.value)
        assert f"'{now + off:%Y-%m-%d %H:%M}" in str(raised.value)
        # Set right, it goes on where it was.
        with setup_of(told, sandbox, tmp_path).open() as desk:
            assert desk.cycle(desk.next_slot()).totals()["visits_late"] == 0


@pytest.mark.slow
def test_a_clock_that_is_set_wrong_in_the_middle_of_a_cycle_ends_it_at_the_next_answer(
    told: Market, tmp_path: Path
) -> None:
    with served(told) as sandbox:
        timer = wrong(sandbox, timedelta(0))
        with setup_of(told, sandbox, tmp_path, timer=timer).open() as desk:
            desk.bars(ohlcv(told.networks[0], "0x01"))
            timer.off = timedelta(days=2)
            with pytest.raises(InputError, match="our clock said"):
                desk.bars(ohlcv(told.networks[0], "0x01"))
        assert len(remembered(tmp_path)["answers"]) == 1


@pytest.mark.slow
def test_nobody_is_forgotten_by_a_clock_that_no_answer_vouches_for(told: Market, tmp_path: Path) -> None:
    with served(told) as sandbox:
        with setup_of(told, sandbox, tmp_path).open() as desk:
            desk.cycle(desk.next_slot())
        n_watched = len(remembered(tmp_path)["watched"])
        late = {"timer": wrong(sandbox, timedelta(days=30)), "base_url": "http://127.0.0.1:9/api/v2"}
        with setup_of(told, sandbox, tmp_path, **late).open() as desk:
            desk.cycle(desk.next_slot())
        assert len(remembered(tmp_path)["watched"]) == n_watched


@pytest.mark.slow
def test_a_refusal_vouches_for_a_clock_as_well_as_any_answer(
    told: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard_of = Call("tokens_recently_updated", None, "tokens/nowhere")
    monkeypatch.setattr(pipeline.pools.collector, "tokens_recently_updated", lambda: unheard_of)
    with served(told) as sandbox, setup_of(told, sandbox, tmp_path).open() as desk:
        desk.cycle(desk.next_slot())
        assert desk.watch.n_watched() > 0
        sandbox.control.advance(timedelta(days=8).total_seconds())
        desk.cycle(desk.next_slot())
        assert desk.watch.n_watched() == 0


@pytest.mark.slow
def test_whom_a_wrong_clock_claimed_or_read_while_nobody_answered_is_asked_for_again_once_it_is_right(
    told: Market, tmp_path: Path
) -> None:
    with served(told) as sandbox:
        with setup_of(told, sandbox, tmp_path).open() as desk:
            first = desk.cycle(desk.next_slot())
        late = {"timer": wrong(sandbox, timedelta(hours=8)), "base_url": "http://127.0.0.1:9/api/v2"}
        with setup_of(told, sandbox, tmp_path, **late).open() as desk:
            desk.cycle(desk.next_slot())
        with setup_of(told, sandbox, tmp_path).open() as desk:
            again = desk.cycle(desk.next_slot())
        assert again.totals()["pools_waiting"] == 0
        assert again.totals()["visits"] >= first.totals()["visits"] // 2
        assert all(again.verdict(network)[0] for network in told.networks)


@pytest.mark.slow
def test_a_market_that_runs_sixty_times_as_fast_is_collected_though_its_answers_come_slowly(
    told: Market, tmp_path: Path
) -> None:
    slow = FaultPlan(probability={"drip": 1.0}, drip_s=0.4)
    with served(told, speed=60.0, faults=slow, calls_per_minute=1000) as sandbox:
        with setup_of(told, sandbox, tmp_path).open() as desk:
            cycle = desk.cycle(desk.next_slot())
        assert cycle.totals()["answered_calls"] > 0
