"""Reads events out of what others wrote down: the ledger, the reports on drift and quality, ages, schedules, runs.

Belongs here: which row of which table somebody should know of, and the words for it. Pure: frames and plain values in,
events out. Stays out: reading them (the sensors and assets do), and whether they are told (`state`, `outbox`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from pipeline.calendars import EPOCH, MINUTE
from pipeline.monitoring.alerts.events import Event
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked
from pipeline.monitoring.drift.alarm import STANDS
from pipeline.monitoring.quality.floor import Low, confirmed_low
from pipeline.monitoring.quality.spec import QUALITY

_MOVES: Final = {
    "promote": "version {version} took charge{before}",
    "rollback": "the champion was thrown out, version {version} is in charge again",
    "challenge": "version {version} waits for its trial",
    "shadow": "the trial of version {version} began",
    "reject": "the trial of version {version} ended, the champion stays",
    "approve": "version {version} was approved",
    "veto": "version {version} was vetoed",
    "pin": "pinned at version {version}, nothing moves by itself",
    "unpin": "unpinned",
}
_MOST_FEATURES: Final = 5
_MOST_NAMED: Final = 5
_IN_A_ROW: Final = 2
_GRACE: Final = 2 * MINUTE
_UNASKED: Final = "The API was asked within the last days, and is not being asked now. See: poolcast status"
_UNFOLLOWED: Final = "The API was asked within the last days, and what should follow does not. See: poolcast status"


def moves(ledger: pl.DataFrame, now: datetime, spec: AlertsSpec) -> list[Event]:
    """What lately moved in the ledger (rows of `deployments`), and what a person said."""
    lately = ledger.filter(pl.col("known_at") > now - spec.told_late).sort("sequence")
    return [_move(row) for row in lately.iter_rows(named=True) if row["action"] in _MOVES]


def _move(row: Mapping[str, Any]) -> Event:
    before = row["previous_version"]
    words = _MOVES[row["action"]].format(
        version=row["version"], before="" if before is None else f" after version {before}"
    )
    return Event(
        kind=f"promotion.{row['action']}",
        subject=row["model_name"],
        title=f"{row['model_name']}: {words}",
        body=f"Row {row['sequence']} of the ledger. See: poolcast promotion history",
        event_time=row["known_at"],
        details=(f"by {row['actor']}: {row['reason']}",),
        mark=str(row["sequence"]),
    )


def drifted(reports: pl.DataFrame, now: datetime, spec: AlertsSpec) -> Looked:
    """Whether by the last report on each champion (rows of `drift_reports`) the alarm stands; one sight is none."""
    who = ("source", "model_name", "model_version")
    lately = reports.filter(pl.col("known_at") > now - spec.told_late)
    last = lately.filter(pl.col("known_at") == pl.col("known_at").max().over(who))
    is_standing = (pl.col("kind") == "alarm") & (pl.col("subject") == STANDS)
    alarms = last.filter(is_standing & pl.col("is_drifted").fill_null(value=False))
    found = tuple(_drift(row, last) for row in alarms.sort(who).iter_rows(named=True))
    return Looked(frozenset({"drift.harm"}) if lately.height else frozenset(), found)


def _drift(row: Mapping[str, Any], last: pl.DataFrame) -> Event:
    features = last.filter(
        (pl.col("kind") == "feature") & pl.col("is_drifted").fill_null(value=False),
        pl.col("model_name") == row["model_name"],
        pl.col("model_version") == row["model_version"],
        pl.col("source") == row["source"],
    ).sort("js", descending=True, nulls_last=True)
    named = [f"{f['subject']}: js {_figure(f['js'])}, q {_figure(f['q_value'])}" for f in features.to_dicts()]
    more = [f"and {len(named) - _MOST_FEATURES} more"] if len(named) > _MOST_FEATURES else []
    return Event(
        kind="drift.harm",
        subject=f"{row['model_name']} version {row['model_version']}",
        title=f"{row['model_name']}: the world moved, and version {row['model_version']} suffers from it",
        body="Training is asked for. See: poolcast status, and the asset drift_reports",
        event_time=row["known_at"],
        state="raised",
        details=(row["words"] or "", *named[:_MOST_FEATURES], *more),
    )


def below_floor(reports: pl.DataFrame, now: datetime) -> Looked:
    """The tables whose quality is confirmed to be below the floor, by rows of `quality_reports`."""
    known = reports.filter(pl.col("known_at") > now - timedelta(hours=QUALITY.max_age_hours))
    found = tuple(
        _low(low, str(source))
        for (source,), own in reports.sort("source").group_by("source", maintain_order=True)
        for low in confirmed_low(own, QUALITY.floor, now, QUALITY)
    )
    return Looked(frozenset({"quality.floor"}) if known.height else frozenset(), found)


def _low(low: Low, source: str) -> Event:
    return Event(
        kind="quality.floor",
        subject=f"{low.table} of {source}",
        title=f"{low.table}: quality is {low.score:.1f} of 100, the floor is {low.floor:g}",
        body=f"It was below the floor since {low.since:%Y-%m-%d %H:%M} UTC. Promotion may be held while it is. "
        "See: poolcast quality report",
        event_time=low.since,
        state="raised",
    )


def stale(ages: Mapping[str, timedelta | None], oldest: Mapping[str, timedelta], now: datetime) -> Looked:
    """The tables whose newest row is older than it may be; an age of None: there is none at all."""
    found = []
    for name, age in ages.items():
        if age is None or age > oldest[name]:
            words = "there is no row of the last days" if age is None else f"the newest is {age / MINUTE:.0f} min old"
            found.append(
                Event(
                    kind="freshness.stale",
                    subject=name,
                    title=f"{name}: {words}, {oldest[name] / MINUTE:.0f} min are allowed",
                    body=_UNASKED if name == "answers" else _UNFOLLOWED,
                    event_time=now if age is None else now - age + oldest[name],
                    state="raised",
                )
            )
    return Looked(frozenset({"freshness.stale"}), tuple(found))


@dataclass(frozen=True)
class Ticking:
    """A schedule that is switched on.

    Attributes:
        name: the schedule's.
        expected: the last moments at which it should have ticked, newest first.
        since: its last tick, or when it was switched on if it never ticked; None: nobody knows.
    """

    name: str
    expected: Sequence[datetime]
    since: datetime | None


def missed(schedules: Sequence[Ticking], now: datetime, watched_since: datetime = EPOCH) -> Looked:
    """The schedules of which two ticks in a row did not come, though the last was due for longer than `_GRACE`.

    What was due before `watched_since` begins nothing, for nothing ran then that could tick; and nothing is over by it.
    """
    found, still = [], set()
    for each in schedules:
        due = [moment for moment in each.expected if moment <= now - _GRACE]
        if each.since is None or len(due) < _IN_A_ROW or each.since >= due[1]:
            continue
        event = Event(
            kind="schedule.missed",
            subject=each.name,
            title=f"{each.name}: switched on, and did not tick since {each.since:%Y-%m-%d %H:%M} UTC",
            body=f"It was due at {due[1]:%Y-%m-%d %H:%M} and {due[0]:%Y-%m-%d %H:%M} UTC. Does the daemon run?",
            event_time=due[0],
            state="raised",
        )
        still.add(event.key)
        if watched_since <= due[1]:
            found.append(event)
    return Looked(frozenset({"schedule.missed"}), tuple(found), frozenset(still))


def registry_away(found: tuple[datetime, str] | None) -> Looked:
    """Whether the registry was away when it was asked last: since when, and what was said; None: it answered."""
    events = (
        []
        if found is None
        else [
            Event(
                kind="registry.away",
                subject="trial",
                title="the model registry does not answer, and trials wait for it",
                body="Predictions go on with the files that are kept here. Does MLflow run? See: poolcast status",
                event_time=found[0],
                state="raised",
                details=(found[1],),
            )
        ]
    )
    return Looked(frozenset({"registry.away"}), tuple(events))


@dataclass(frozen=True)
class FailedRun:
    """A run that failed: its job, when, its failed steps, its failed blocking checks with what they said."""

    run_id: str
    job: str
    ended: datetime
    steps: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    error: str = ""


def failed(run: FailedRun) -> list[Event]:
    """A failed run as events: one for each blocking check that failed, or else one for the run."""
    if run.checks:
        return [_failed_check(run, name, words) for name, words in run.checks]
    steps = f", in {', '.join(run.steps[:_MOST_NAMED])}" if run.steps else ""
    return [
        Event(
            kind="run.failed",
            subject=run.job,
            title=f"{run.job}: a run failed{steps}",
            body=f"Run {run.run_id[:8]}. It is over when a run of the same job succeeds.",
            event_time=run.ended,
            state="raised",
            details=(run.error,) if run.error else (),
            mark=run.run_id,
        )
    ]


def _failed_check(run: FailedRun, name: str, words: str) -> Event:
    return Event(
        kind="check.failed",
        subject=f"{run.job}/{name}",
        title=f"{name}: a blocking check failed in {run.job}",
        body=f"Run {run.run_id[:8]}; what depends on it waits. It is over when a run of the same job succeeds.",
        event_time=run.ended,
        state="raised",
        details=tuple(words.splitlines()[:_MOST_NAMED]),
        mark=f"{run.run_id} {name}",
    )


def job_of(subject: str) -> str:
    """The job that a failed run or check is about.

    >>> job_of("collect/answers answers_as_specified"), job_of("train")
    ('collect', 'train')
    """
    return subject.partition("/")[0]


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
