"""The health of everything as one picture: tables, models, drift, quality, runs, alerts, and what needs attention.

Belongs here: what is worth a line, and what needs a person. Pure: frames and plain values in, a picture out. Stays out:
reading them, and how it is shown (the command line does both).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from pipeline.calendars import DAY, EPOCH, HOUR
from pipeline.monitoring.alerts.state import newest
from pipeline.monitoring.drift.alarm import STANDS
from pipeline.monitoring.freshness import OLDEST
from pipeline.monitoring.quality.floor import Low, confirmed_low
from pipeline.monitoring.quality.spec import QUALITY

LATELY: Final = DAY
_MOST_FEATURES: Final = 5
_MOST_ALERTS: Final = 5
_MANY_RESTARTS: Final = 3


@dataclass(frozen=True)
class TableHealth:
    """One table: what it holds, how old its newest row is, whether that is as it should be (None: nobody says).

    `n_rows_lately` counts the rows of every file that holds one of the last day; a file holds one day at most.
    `problem` says why it could not be read.
    """

    table: str
    stage: str
    n_rows: int | None
    n_rows_lately: int | None
    newest: datetime | None
    age: timedelta | None
    is_fresh: bool | None
    problem: str | None = None


@dataclass(frozen=True)
class ModelHealth:
    """One registered model: who is in charge since when, who is on trial, whether a person pinned it."""

    model: str
    champion: int | None
    since: datetime | None
    shadow: int | None
    former: int | None
    is_pinned: bool


@dataclass(frozen=True)
class DriftHealth:
    """The last report on one champion: whether the alarm stands, and the features that moved most."""

    model: str
    version: int
    source: str
    known_at: datetime
    is_alarm: bool
    n_drifted: int
    features: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class QualityHealth:
    """The last score of one table; `is_low`: it is confirmed to be below the floor."""

    table: str
    source: str
    known_at: datetime
    score: float
    is_low: bool


@dataclass(frozen=True)
class RunsHealth:
    """What Dagster's database says of the last day; `problem`: why it was not asked, or did not answer (`is_silent`).

    `failed` are the jobs whose last run failed, with the moment; `schedules` those switched on, with their last tick.
    """

    n_succeeded: int = 0
    n_failed: int = 0
    n_under_way: int = 0
    failed: tuple[tuple[str, datetime], ...] = ()
    schedules: tuple[tuple[str, datetime | None], ...] = ()
    problem: str | None = None
    is_silent: bool = False


@dataclass(frozen=True)
class AlertHealth:
    """One alert that is open, or one of the last."""

    alert_id: str
    event_time: datetime
    severity: str
    title: str
    is_open: bool
    is_acknowledged: bool


@dataclass(frozen=True)
class PartsHealth:
    """The servers `poolcast up` keeps running; `is_starting`: they have not all answered yet.

    `left` are those noted by an `up` that is gone without having stopped them; `restarts` are those of the last day:
    the moment, the part, why.
    """

    is_up: bool = False
    is_starting: bool = False
    dead: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    restarts: tuple[tuple[datetime, str, str], ...] = ()


@dataclass(frozen=True)
class Picture:
    """Everything on one screen; `attention` holds what needs a person, in words, and is empty where all is well."""

    at: datetime
    tables: tuple[TableHealth, ...]
    models: tuple[ModelHealth, ...]
    drift: tuple[DriftHealth, ...]
    quality: tuple[QualityHealth, ...]
    runs: RunsHealth
    alerts: tuple[AlertHealth, ...]
    attention: tuple[str, ...]
    parts: PartsHealth = PartsHealth()


def drift_health(reports: pl.DataFrame) -> tuple[DriftHealth, ...]:
    """The last report on each champion, from rows of `drift_reports`."""
    who = ["model_name", "model_version", "source"]
    last = reports.filter(pl.col("known_at") == pl.col("known_at").max().over("model_name", "source"))
    found = []
    for (model, version, source), rows in last.sort(who).group_by(who, maintain_order=True):
        is_so = pl.col("is_drifted").fill_null(value=False)
        moved = rows.filter((pl.col("kind") == "feature") & is_so & pl.col("js").is_not_null())
        top = moved.sort("js", descending=True).head(_MOST_FEATURES).select("subject", "js").rows()
        is_alarm = rows.filter((pl.col("kind") == "alarm") & (pl.col("subject") == STANDS) & is_so).height > 0
        known_at = rows["known_at"][0]
        found.append(DriftHealth(str(model), int(version), str(source), known_at, is_alarm, moved.height, tuple(top)))
    return tuple(found)


def quality_health(reports: pl.DataFrame, now: datetime) -> tuple[QualityHealth, ...]:
    """The last score of each table, from rows of `quality_reports`."""
    scores = reports.filter((pl.col("part") == "score") & pl.col("score").is_not_null()).sort("known_at")
    low: set[tuple[str, str]] = set()
    for (source,), own in scores.sort("source", "known_at").group_by("source", maintain_order=True):
        lows: Sequence[Low] = confirmed_low(own, QUALITY.floor, now, QUALITY)
        low |= {(str(source), each.table) for each in lows}
    last = scores.group_by("source", "table_name").last().sort("source", "table_name")
    return tuple(
        QualityHealth(
            table=row["table_name"],
            source=row["source"],
            known_at=row["known_at"],
            score=row["score"],
            is_low=(row["source"], row["table_name"]) in low,
        )
        for row in last.iter_rows(named=True)
    )


def alert_health(alerts: pl.DataFrame, acknowledged: set[str]) -> tuple[AlertHealth, ...]:
    """What is open, and the last few besides, newest first.

    Open is what began and is not over. What is critical and has no end, such as a rollback, is open until somebody
    acknowledged it.
    """
    is_open = {row["alert_id"] for row in newest(alerts).values() if row["state"] == "raised"}
    has_no_end = alerts.filter(pl.col("state") == "told", pl.col("severity") == "critical")["alert_id"]
    is_open |= set(has_no_end) - acknowledged
    ordered = alerts.sort("known_at", "event_time", "alert_id", descending=True).to_dicts()
    last = [row["alert_id"] for row in ordered[:_MOST_ALERTS]]
    return tuple(
        AlertHealth(
            alert_id=row["alert_id"],
            event_time=row["event_time"],
            severity=row["severity"],
            title=row["title"],
            is_open=row["alert_id"] in is_open,
            is_acknowledged=row["alert_id"] in acknowledged,
        )
        for row in ordered
        if row["alert_id"] in is_open or row["alert_id"] in last
    )


def table_health(
    name: str,
    stage: str,
    files: pl.DataFrame | None,
    now: datetime,
    ages: Mapping[str, timedelta | None],
) -> TableHealth:
    """One table, from the listing of its files (None: there is no such table), and its age where that is watched."""
    if files is None or files.is_empty():
        return TableHealth(name, stage, 0, 0, None, None, False if name in ages else None)
    last = files["last"].max()
    moment = last if isinstance(last, datetime) else None
    age = ages.get(name) if name in ages else None if moment is None else now - moment
    counted = files["n_rows"]
    lately = files.filter(pl.col("last") > now - LATELY)["n_rows"] if moment else None
    is_fresh = None if name not in ages else age is not None and age <= OLDEST[name]
    n_rows = None if counted.null_count() else int(counted.sum())
    n_lately = None if lately is None or lately.null_count() else int(lately.sum())
    return TableHealth(name, stage, n_rows, n_lately, moment, age, is_fresh)


def attention(
    tables: Sequence[TableHealth],
    drift: Sequence[DriftHealth],
    quality: Sequence[QualityHealth],
    runs: RunsHealth,
    alerts: Sequence[AlertHealth],
    problems: Sequence[str],
    parts: PartsHealth = PartsHealth(),
) -> tuple[str, ...]:
    """What needs a person, in words: the worst first."""
    found = [*problems, *_parts_need(parts)]
    found += [f"{each.table} cannot be read: {each.problem}" for each in tables if each.problem]
    found += [f"{each.table} is older than it may be" for each in tables if each.is_fresh is False]
    found += [f"{d.model} version {d.version} suffers from drift" for d in drift if d.is_alarm]
    found += [f"quality of {q.table} of {q.source} is below its floor" for q in quality if q.is_low]
    found += [f"runs and schedules are unknown: {runs.problem}"] if runs.is_silent else []
    found += [f"the last run of {job} failed" for job, _ in runs.failed]
    found += [
        f"nobody acknowledged: {alert.title}"
        for alert in alerts
        if alert.is_open and not alert.is_acknowledged and alert.severity != "info"
    ]
    return tuple(dict.fromkeys(found))


def _parts_need(parts: PartsHealth) -> list[str]:
    often = Counter(name for _, name, _ in parts.restarts)
    return [
        *(f"{name} does not run" for name in parts.dead),
        *([f"`poolcast up` was killed and left {', '.join(parts.left)} behind: start it again"] if parts.left else []),
        *(f"{name} was started again {n} times in the last day" for name, n in often.items() if n >= _MANY_RESTARTS),
    ]


def runs_health(
    runs: Sequence[tuple[str, str, float | None]], schedules: Sequence[tuple[str, float | None]], now: datetime
) -> RunsHealth:
    """Runs (job, status, end or start as seconds since 1970; newest first) and schedules that are switched on."""
    ended = [(job, status, _moment(at)) for job, status, at in runs]
    lately = [(job, status) for job, status, at in ended if at is None or at > now - LATELY]
    last: dict[str, tuple[str, Any]] = {}
    for job, status, at in ended:
        if status in ("SUCCESS", "FAILURE"):
            last.setdefault(job, (status, at))
    return RunsHealth(
        n_succeeded=sum(status == "SUCCESS" for _, status in lately),
        n_failed=sum(status == "FAILURE" for _, status in lately),
        n_under_way=sum(status in ("QUEUED", "NOT_STARTED", "STARTING", "STARTED") for _, status in lately),
        failed=tuple((job, at) for job, (status, at) in sorted(last.items()) if status == "FAILURE"),
        schedules=tuple((name, _moment(at)) for name, at in sorted(schedules)),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else EPOCH + timedelta(seconds=seconds)


def in_words(age: timedelta | None) -> str:
    """An age to read.

    >>> [in_words(timedelta(minutes=n)) for n in (0, 95, 60 * 47, 60 * 24 * 900)], in_words(None)
    (['0 min', '95 min', '47 h', '900 d'], '')
    """
    if age is None:
        return ""
    if age < 2 * HOUR:
        return f"{age.total_seconds() / 60:.0f} min"
    return f"{age / HOUR:.0f} h" if age < 2 * DAY else f"{age.days} d"
