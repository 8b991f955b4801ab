"""What a soak found: figures, what is wrong in words, a table and a picture.

Belongs here: reckoning and showing. Stays out: what is looked at after a soak (`judgement`).
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

LONG_LIVED: Final = ("up", "daemon", "webserver", "code servers", "MLflow", "PostgreSQL")
ON_TIME: Final = 0.999
MOST_GROWTH: Final = 1.25
"""A part that holds more than so many times at the end what it held at the start has grown."""
ANEW: Final = {"PostgreSQL": "PostgreSQL ", "MLflow": "MLflow goes on"}
"""How events begin after which a part is another process; all of them are after everything was killed."""
AROUND_TROUBLE: Final = (timedelta(minutes=10), timedelta(minutes=20))
"""How long before and after a disturbance a grid point counts as hit by it, in the market's time."""
HEAD: Final = """# The soak

Made by `make soak` (`benchmarks/soak`): `poolcast up` beside a sandbox market that runs faster than the clock, with
every schedule and sensor switched on, disturbed on purpose. Schedules go by the market's clock: a sensor asks each of
them at its ticks, as Dagster's scheduler knows the machine's time alone.
"""


def counted(n: int, one: str, many: str = "") -> str:
    """A number and what it counts, which where there are several of it ends in `s` unless `many` says otherwise.

    >>> counted(1, "sitting"), counted(1_200, "sitting"), counted(2, "was missed", "were missed")
    ('1 sitting', '1,200 sittings', '2 were missed')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


@dataclass(frozen=True)
class Event:
    """Something that was done, at a time of the market."""

    at: datetime
    words: str

    @property
    def is_trouble(self) -> bool:
        """Whether it was a disturbance."""
        return self.words.startswith("now: ")


@dataclass
class Soaked:
    """Everything that was seen."""

    folder: Path
    data: Path
    sandbox_url: str
    began: datetime
    hours: float
    speed: float
    ended: datetime | None = None
    stopped: datetime | None = None
    real_start: float = 0.0
    events: list[Event] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    under_way: list[dict[str, Any]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    judged: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    exit_status: int = 0

    def keep(self) -> None:
        """Write what was seen so far: a soak that is cut off tells what it saw."""
        unfinished = self.folder / "seen.json.part"
        unfinished.write_text(json.dumps(asdict(self), default=str))
        unfinished.replace(self.folder / "seen.json")

    @classmethod
    def seen(cls, folder: Path) -> "Soaked":
        """What `keep` wrote last into the folder."""
        told = json.loads((folder / "seen.json").read_text())
        for name in ("began", "ended", "stopped"):
            told[name] = told[name] and datetime.fromisoformat(told[name])
        events = [Event(datetime.fromisoformat(event["at"]), event["words"]) for event in told["events"]]
        return cls(**told | {"folder": folder, "data": Path(told["data"]), "events": events})

    def left_at(self) -> datetime:
        """The market's time that nothing of this lies behind."""
        if self.stopped is not None:
            return self.stopped
        # Cut off between two looks: whoever went on meanwhile did so for less than this.
        return max([self.began, *(datetime.fromisoformat(row["at"]) for row in self.memory)]) + timedelta(hours=2)

    def troubles(self) -> list[datetime]:
        """When something was disturbed."""
        return [event.at for event in self.events if event.is_trouble]

    def missed(self) -> tuple[list[datetime], list[datetime]]:
        """Grid points that no cycle served: those beside a disturbance, and the others."""
        slots = [datetime.fromisoformat(slot) for slot in self.judged["cycles"]["missed"]]
        before, after = AROUND_TROUBLE
        hit = [slot for slot in slots if any(at - before <= slot <= at + after for at in self.troubles())]
        return hit, [slot for slot in slots if slot not in hit]

    def cycle_seconds(self) -> list[tuple[float, float]]:
        """Of each collection run that ended well, in order: when it began, and its real seconds besides collecting."""
        cycles = self.judged["cycles"]["seen"]
        collecting = {
            datetime.fromisoformat(c["event_time"]): (
                datetime.fromisoformat(c["known_at"]) - datetime.fromisoformat(c["event_time"])
            ).total_seconds() / self.speed
            for c in cycles
        }  # fmt: skip
        found = []
        for run in sorted(self.runs, key=lambda r: r["creationTime"]):
            if run["jobName"] != "collect" or run["status"] != "SUCCESS":
                continue
            first, last = (self._market_time(run[name]) for name in ("startTime", "endTime"))
            inside = [seconds for began, seconds in collecting.items() if first <= began <= last]
            if inside:
                found.append((run["startTime"] - self.real_start, run["endTime"] - run["startTime"] - sum(inside)))
        return found

    def _market_time(self, real: float) -> datetime:
        return self.began + timedelta(seconds=(real - self.real_start) * self.speed)

    def growth(self) -> dict[str, tuple[float, float]]:
        """MiB of each part that lives long, at the start and at the end of its longest life."""
        found = {}
        for part in LONG_LIVED:
            values = [row.get(part, 0.0) for row in self._longest_life(ANEW.get(part))]
            if len(values) >= 8:
                quarter = len(values) // 4
                found[part] = (median(values[:quarter]), median(values[-quarter:]))
        return found

    def _longest_life(self, anew: str | None) -> list[dict[str, Any]]:
        """The samples between two starts of a part, from five minutes after the first."""

        def is_start(event: Event) -> bool:
            return "killed and started" in event.words or (anew is not None and event.words.startswith(anew))

        starts = [self.began, *(event.at for event in self.events if is_start(event))]
        lives = [
            [
                row
                for row in self.memory
                if first + timedelta(minutes=5 * self.speed) <= datetime.fromisoformat(row["at"])
                and (after is None or datetime.fromisoformat(row["at"]) < after)
            ]
            for first, after in zip(starts, [*starts[1:], None], strict=True)
        ]
        return max(lives, key=len)

    def failures(self) -> dict[str, int]:
        """Runs that failed, by job; those that were tried again and ended well are among them."""
        found: dict[str, int] = {}
        for run in self.runs:
            if run["status"] != "SUCCESS":
                found[run["jobName"]] = found.get(run["jobName"], 0) + 1
        return found

    def faults(self) -> list[str]:
        """What is not as it must be, in words."""
        judged, (_, late) = self.judged, self.missed()
        n = judged["cycles"]["n_grid_points"]
        told = []
        if n and 1 - len(late) / n < ON_TIME:
            told.append(
                f"{len(late)} of {counted(n, 'grid point')} {'was' if len(late) == 1 else 'were'} served by nobody"
            )
        told += [f"run {run['runId'][:8]} of {run['jobName']} is {run['status']}" for run in self.under_way]
        told += [f"a slot of the pool {pool!r} is held" for pool in self.held]
        told += [f"behind: {judged['behind']}"] if judged["behind"] else []
        told += judged["tables"] + judged["predictions"]["faults"]
        told += [] if judged["audit"]["is_sound"] else ["the audit of promotion is not sound"]
        kept = judged["answers"]
        told += [
            counted(n, "answer lies in the journal", "answers lie in the journal")
            for n in [judged["n_in_journal"]]
            if n
        ]
        told += [counted(kept["n_lost"], "answer is lost", "answers are lost")] if self.lost_without_cause() else []
        told += [counted(n, "answer was kept twice", "answers were kept twice") for n in [kept["n_kept_twice"]] if n]
        told += [f"there are no {name} of the soak's own time" for name, n in judged["counts"].items() if not n]
        told += [f"processes are left: {self.left!r}"] if self.left else []
        told += [f"`up` stopped with exit status {self.exit_status}"] if self.exit_status else []
        told += [
            f"{part} grew from {before:.0f} to {after:.0f} MiB"
            for part, (before, after) in self.growth().items()
            if after > MOST_GROWTH * before
        ]
        return told

    def lost_without_cause(self) -> list[str]:
        """Answers that were served and are not there, though nobody was killed just then."""
        lost = [datetime.fromisoformat(at) for at in self.judged["answers"]["lost"]]
        before, after = AROUND_TROUBLE
        return [str(at) for at in lost if not any(t - before <= at <= t + after for t in self.troubles())]

    def is_sound(self) -> bool:
        """Whether everything is as it must be."""
        return not self.faults()


def body_of(soaked: Soaked) -> str:
    """What was found, as Markdown."""
    judged, (hit, late) = soaked.judged, soaked.missed()
    work = [seconds for _, seconds in soaked.cycle_seconds()] or [float("nan")]
    third = max(1, len(work) // 3)
    n, n_failed = judged["cycles"]["n_grid_points"], soaked.failures()
    seen = judged["cycles"]["seen"]
    ended = soaked.ended or soaked.began
    rows = [
        ("market's time", f"{(ended - soaked.began) / timedelta(hours=1):.1f} h at {soaked.speed:g} times the clock"),
        ("grid points", f"{n:,}; served by a cycle: {n - len(hit) - len(late):,}; missed beside a disturbance: "
                        f"{len(hit)}; missed otherwise: **{len(late)}**"),
        ("visits", f"{sum(c['n_observed'] for c in seen):,}, of them late "
                   f"{sum(c['n_observed_late'] for c in seen):,}; cycles with a gap {sum(c['is_gap'] for c in seen)}"),
        ("a cycle's seconds besides collecting",
         f"median {median(work):.1f}; first third {median(work[:third]):.1f}, last third {median(work[-third:]):.1f}"),
        ("answers", f"{judged['answers']['n_served']:,} served, {judged['answers']['n_kept']:,} kept, "
                    f"{judged['answers']['n_kept_twice']} twice, {judged['answers']['n_lost']} lost "
                    f"({len(soaked.lost_without_cause())} of them away from a disturbance)"),
        ("runs", f"{len(soaked.runs):,}; not successful: "
                 + (", ".join(f"{count} of {job}" for job, count in sorted(n_failed.items())) or "none")),
        ("left at the end", f"runs under way {len(soaked.under_way)}, slots held {len(soaked.held)}, "
                            f"hours behind {judged['behind'] or 'none'}, processes {len(soaked.left)}"),
        ("predictions", judged["predictions"]["words"].replace("\n", "; ")),
        ("who is in charge", "; ".join(f"{row['model_name']} {row['version']} {row['action']}"
                                       for row in judged["ledger"]) or "nobody"),
        ("audit of ledger, evidence, registry and files", "sound" if judged["audit"]["is_sound"] else "**broken**"),
        ("tables that are not as specified", "; ".join(judged["tables"]) or "none"),
    ]  # fmt: skip
    lines = ["| what | found |", "|---|---|", *(f"| {what} | {found} |" for what, found in rows), ""]
    lines += ["| part | MiB at first | MiB at last |", "|---|---|---|"]
    lines += [f"| {part} | {before:.0f} | {after:.0f} |" for part, (before, after) in soaked.growth().items()]
    lines += ["", "What was done, by the market's clock:", ""]
    lines += [f"- {event.at:%d %H:%M}: {event.words}" for event in soaked.events if not event.is_trouble]
    lines += ["", "What is not as it must be: " + ("; ".join(soaked.faults()) or "nothing") + ".", ""]
    return "\n".join(lines)


def draw(soaked: Soaked) -> None:
    """Memory of each part and the seconds of each cycle over the market's hours, with the disturbances, as a PNG."""
    from matplotlib.figure import Figure

    def hours(moment: datetime) -> float:
        return (moment - soaked.began) / timedelta(hours=1)

    drawing = Figure(figsize=(11, 6), layout="constrained")
    above, below = drawing.subplots(2, 1, sharex=True)
    at = [hours(datetime.fromisoformat(row["at"])) for row in soaked.memory]
    for part in LONG_LIVED:
        above.plot(at, [row.get(part, 0.0) for row in soaked.memory], label=part, linewidth=1)
    above.set(ylabel="MiB", title="Memory of each part", ylim=(0, None))
    above.legend(fontsize=8, ncols=6, frameon=False)
    work = soaked.cycle_seconds()
    below.plot([seconds * soaked.speed / 3600 for seconds, _ in work], [took for _, took in work], ".", markersize=3)
    below.set(xlabel="hours of the market", ylabel="seconds", title="A cycle besides collecting", ylim=(0, None))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        for moment in soaked.troubles():
            axes.axvline(hours(moment), color="tab:red", linewidth=0.8, linestyle=":")
    drawing.savefig(soaked.folder / "soak.png", dpi=110)
