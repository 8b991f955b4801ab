"""Runs everything for days of a simulated market, disturbs it on purpose, and says what became of it.

    python -m benchmarks.soak FOLDER [--hours 48] [--speed 10]      (or: make soak)

First a history of six days is made and learned from (`poolcast demo`), so that there is a champion. Then `poolcast up`
runs on it beside a sandbox that serves the days after, every sensor and schedule switched on. PostgreSQL is restarted
once and killed once, MLflow hangs for ten minutes, and once everything is killed with SIGKILL and started again. At the
end everything must be where it belongs. Nothing else should run on the machine: the faster the market, the shorter are
its five minutes, and a busy machine makes late what is not.

Called again with the same folder it sits down once more: the market goes on where it was left, with all that was kept.
So a long soak can be had in several sittings, and each is judged by itself.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.soak.findings import Event, Soaked, draw
from benchmarks.soak.house import ROOT, House, Sandbox, wait_for
from benchmarks.soak.sittings import next_place, show_all, sittings
from pipeline.sandbox.clock import SandboxTimer
from tests.ports import free_port

START = datetime(2024, 3, 7, tzinfo=UTC)
"""Pools of the simulated market are born until a day after this plus 24 hours."""
SAMPLE_S = 15.0
MLFLOW_AWAY_S = 600.0
_A_LOOK_S = 130.0
"""Longer than the sensor that catches up waits between two looks, by the machine's clock."""
POOLS = 400
SEED = 7


def history(folder: Path) -> tuple[Path, Path]:
    """The market, and its first days as a recording of the same source."""
    market, past = folder / "market", folder / "past" / "market"
    if not market.exists():
        _poolcast("recordings", "simulate", str(market), "--seed", str(SEED), "--pools", str(POOLS))
    past.mkdir(parents=True, exist_ok=True)
    pools = pl.read_parquet(market / "pools.parquet").filter(pl.col("created_at") < START)
    known = pl.col("pool").is_in(pools["pool"].implode())
    pools.write_parquet(past / "pools.parquet")
    pl.read_parquet(market / "reserves.parquet").filter(pl.col("time") < START, known).write_parquet(
        past / "reserves.parquet"
    )
    (past / "simulation.json").write_bytes((market / "simulation.json").read_bytes())
    return market, past


def _poolcast(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pipeline.cli", *words], cwd=ROOT, check=True)  # noqa: S603 - our own command


@dataclass
class Hand:
    """What is done to the house on purpose, and when."""

    house: House
    say: Callable[[str], None]
    hanging_until: float | None = None
    events: list[Event] = field(default_factory=list)

    def restart_postgres(self) -> str:
        """Stop PostgreSQL as its own command does; `up` starts it again."""
        self.house.send("PostgreSQL", signal.SIGINT, first_only=True)
        return "PostgreSQL restarted"

    def kill_postgres(self) -> str:
        """Kill PostgreSQL with all its processes."""
        self.house.send("PostgreSQL", signal.SIGKILL)
        return "PostgreSQL killed"

    def hang_mlflow(self) -> str:
        """Let MLflow hang for ten minutes; whenever it is started again meanwhile, it hangs again."""
        self.hanging_until = time.monotonic() + MLFLOW_AWAY_S
        self.keep_hanging()
        return "MLflow hangs, for ten real minutes"

    def keep_hanging(self) -> None:
        """What has to be done for that every few seconds."""
        if self.hanging_until is None:
            return
        if time.monotonic() < self.hanging_until:
            self.house.send("MLflow", signal.SIGSTOP)
        else:
            self.let_go()

    def let_go(self) -> None:
        """Let MLflow go on."""
        if self.hanging_until is not None:
            self.house.send("MLflow", signal.SIGCONT)
            self.hanging_until = None

    def kill_everything(self) -> str:
        """Kill every process at once and start again."""
        n = self.house.kill_everything()
        self.house.start()
        return f"all {n} processes killed and started again"


def soak(folder: Path, hours: float, speed: float) -> Soaked:
    """Run one sitting; gives what was seen meanwhile."""
    market, past = history(folder)
    data, before = folder / "data", sittings(folder)
    if not (data / "demo").exists():
        _poolcast("demo", "--recording", str(past), "--data-dir", str(data))
    here = next_place(folder)
    start = before[-1].left_at() if before else START
    with Sandbox(market, start, speed, here / "sandbox.log") as sandbox:
        return _beside(sandbox, Soaked(here, data, sandbox.url, start, hours, speed))


def _beside(sandbox: Sandbox, soaked: Soaked) -> Soaked:
    """Run everything beside a market that is served."""
    timer, opened = SandboxTimer(sandbox.url), time.time()
    house = House(soaked.data, soaked.folder, sandbox.url, (free_port(), free_port()))

    def say(words: str) -> None:
        soaked.events.append(Event(timer.now(), words))
        print(f"{datetime.now(UTC):%H:%M:%S}, market {timer.now():%d %H:%M:%S}: {words}", flush=True)

    try:
        house.start()
        for sensor in ("market_clockwork", "pools_waiting"):
            house.switch(sensor, on=True)
        say(f"everything is switched on, the market is {soaked.speed:g} times as fast")
        # The clockwork counts from its first look, and some of what it asks for first was due before anybody looked.
        wait_for(lambda: any(run["jobName"] == "collect" for run in house.runs(opened)), 300)
        soaked.began, soaked.real_start = timer.now(), time.time()
        hand = Hand(house, say)
        _live(house, timer, soaked, hand, soaked.began + timedelta(hours=soaked.hours), say)
        hand.let_go()
        for sensor in ("market_clockwork", "pools_waiting"):
            house.switch(sensor, on=False)
        soaked.ended = timer.now()
        say("the schedules are switched off")
        _let_end(house)
        time.sleep(_A_LOOK_S)  # histories that the last collection fetched are caught up at its next look
        _let_end(house)
        _last_turn(house, opened)
        say("the last turn is over")
        soaked.runs = house.runs(opened)
        soaked.under_way = house.under_way()
        soaked.held = house.held_slots()
        soaked.judged = _judged(house, soaked)
        soaked.exit_status = house.stop()
        say(f"stopped with exit status {soaked.exit_status}")
        soaked.left = [part for part, _ in house.processes()]
    finally:
        house.kill_everything()
        soaked.stopped = timer.now()
        soaked.keep()
    return soaked


def _live(
    house: House, timer: SandboxTimer, soaked: Soaked, hand: Hand, until: datetime, say: Callable[[str], None]
) -> None:
    """Watch, and do what is due."""
    began, whole = timer.now(), until - timer.now()
    planned = [(began + whole * share, what) for share, what in (
        (0.15, hand.restart_postgres), (0.3, hand.hang_mlflow), (0.6, hand.kill_postgres), (0.8, hand.kill_everything),
    )]  # fmt: skip
    while (now := timer.now()) < until:
        if planned and planned[0][0] <= now:
            _, what = planned.pop(0)
            say(f"now: {what.__name__.replace('_', ' ')}")
            say(what())
        was_hanging = hand.hanging_until is not None
        hand.keep_hanging()
        if was_hanging and hand.hanging_until is None:
            say("MLflow goes on")
        soaked.memory.append({"at": timer.now().isoformat(), **house.memory()})
        soaked.keep()
        time.sleep(SAMPLE_S if hand.hanging_until is None else 3.0)


def _let_end(house: House) -> None:
    """Wait for the runs that are under way; one that never ends is a finding."""
    with suppress(TimeoutError):
        wait_for(lambda: not house.under_way(), 600)


def _last_turn(house: House, opened: float) -> None:
    """Serve once more, so that labels which matured have outcomes; again where hours were caught up meanwhile."""
    for _ in range(5):
        house.launch("serve")
        _let_end(house)
        if house.runs(opened)[0]["jobName"] == "serve":
            return


def _judged(house: House, soaked: Soaked) -> dict[str, Any]:
    """What a look at everything that was kept finds, made in the house's own environment."""
    told = json.dumps({"began": soaked.began, "ended": soaked.ended, "sandbox": soaked.sandbox_url}, default=str)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "benchmarks.soak.judgement", told], cwd=ROOT, check=True, stdout=subprocess.PIPE,
        env={**house.environment, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{house.mlflow_port}"}, text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is kept; made where it is missing")
    parser.add_argument("--hours", type=float, default=48.0, help="of the market")
    parser.add_argument("--speed", type=float, default=10.0, help="market seconds in a real one")
    asked = parser.parse_args()
    if given := sorted(name for name in os.environ if name.startswith("POOLCAST_") or name == "MLFLOW_TRACKING_URI"):
        raise SystemExit(f"{', '.join(given)}: a soak keeps its own data and tells nobody; unset them")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, it ends what it started, too
    asked.folder.mkdir(parents=True, exist_ok=True)
    soaked = soak(asked.folder.absolute(), asked.hours, asked.speed)
    draw(soaked)
    print(show_all(asked.folder))
    raise SystemExit(0 if soaked.is_sound() else 1)


if __name__ == "__main__":
    main()
