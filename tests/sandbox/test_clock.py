"""Virtual time, on the server and with its clients."""

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sandbox_market import START

from pipeline.calendars import Timer
from pipeline.errors import ServiceError, UsageError
from pipeline.sandbox.clock import SandboxTimer, VirtualClock
from pipeline.sandbox.server import RunningSandbox, SandboxSpec, running


def test_a_running_clock_is_as_much_faster_as_it_was_told() -> None:
    real = [100.0]
    clock = VirtualClock(START, 60.0, lambda: real[0])
    assert clock.read().now == START
    real[0] += 2.5
    assert clock.read().now == START + timedelta(seconds=150)
    with pytest.raises(UsageError, match="runs by itself"):
        clock.advance_to(START + timedelta(days=1))


def test_a_stepped_clock_stands_until_it_is_advanced_and_never_goes_back() -> None:
    real = [100.0]
    clock = VirtualClock(START, None, lambda: real[0])
    real[0] += 1000
    assert clock.read().now == START
    clock.advance_to(START + timedelta(hours=1))
    clock.advance_to(START + timedelta(minutes=1))
    assert clock.read().now == START + timedelta(hours=1)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(UsageError, match="speed"):
        VirtualClock(START, speed, time.monotonic)


def test_a_start_that_is_not_utc_is_refused() -> None:
    with pytest.raises(UsageError, match="UTC"):
        VirtualClock(datetime(2024, 3, 1), None, time.monotonic)  # noqa: DTZ001 -- that is the point


@pytest.mark.slow
def test_sleeping_on_a_stepped_sandbox_advances_it_and_takes_no_time(sandbox: RunningSandbox) -> None:
    timer: Timer = SandboxTimer(sandbox.url)
    before = timer.now()
    assert before == sandbox.control.clock().now
    timer.sleep(3600.5)
    assert timer.now() == before + timedelta(seconds=3600.5)
    timer.sleep(-5)
    assert timer.now() == before + timedelta(seconds=3600.5)


@pytest.mark.slow
def test_sleepers_who_begin_at_the_same_moment_wake_at_the_same_moment(sandbox: RunningSandbox) -> None:
    timers = [SandboxTimer(sandbox.url) for _ in range(4)]
    before, gate = timers[0].now(), threading.Barrier(4)
    for timer in timers:
        asked = timer.now
        timer.now = lambda asked=asked: (asked(), gate.wait())[0]  # type: ignore[method-assign] # all have read the clock
    threads = [threading.Thread(target=timer.sleep, args=(60.0,)) for timer in timers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.control.clock().now == before + timedelta(seconds=60)


@pytest.mark.slow
def test_the_controls_advance_a_stepped_clock(sandbox: RunningSandbox) -> None:
    before = sandbox.control.clock().now
    assert sandbox.control.advance(90).now == before + timedelta(seconds=90)
    assert sandbox.control.advance_to(before).now == before + timedelta(seconds=90)
    with pytest.raises(ServiceError, match="refused"):
        sandbox.control.advance(float("1e300"))


@pytest.mark.slow
def test_on_a_running_sandbox_timer_and_server_agree_and_sleep_is_divided_by_the_speed(spec: SandboxSpec) -> None:
    with running(replace(spec, speed=600.0)) as sandbox:
        timer = SandboxTimer(sandbox.url)
        before, told, after = timer.now(), sandbox.control.clock().now, timer.now()
        assert before <= told <= after, "computed here and asked there, it is one clock"
        began, real = timer.now(), time.monotonic()
        timer.sleep(120.0)
        passed, real_s = timer.now() - began, time.monotonic() - real
        assert passed >= timedelta(seconds=119.999)
        assert 0.2 <= real_s < 120
        assert passed.total_seconds() == pytest.approx(real_s * 600, rel=0.2)
        with pytest.raises(ServiceError, match="runs by itself"):
            sandbox.control.advance(1)


@pytest.mark.slow
def test_a_timer_without_a_sandbox_says_so() -> None:
    with pytest.raises(ServiceError, match="no sandbox tells its time"):
        SandboxTimer("http://127.0.0.1:9")
