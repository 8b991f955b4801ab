"""`poolcast status`: the health of everything on one screen.

Belongs here: reading what the picture is made from. Stays out: what needs attention (`pipeline.monitoring.status`), how
it looks (`status_screen`).
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.screen import AsJson, DataDir, lake_of, print_json, settings_there
from pipeline.cli.status_screen import show
from pipeline.errors import PoolcastError

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from pipeline.lake import Lake
    from pipeline.monitoring.status import ModelHealth, PartsHealth, Picture, TableHealth
    from pipeline.tables import Table
    from resources.settings import Settings

_READERS = 8


ExpectUp = Annotated[bool, typer.Option("--expect-up", help="`poolcast up` must run: else that needs attention.")]


def status(data_dir: DataDir = None, expect_up: ExpectUp = False, as_json: AsJson = False) -> None:
    """Show the health of everything on one screen: stages, models, drift, quality, runs and schedules, last alerts.

    Nothing is started for it: where PostgreSQL does not run, runs and schedules are left out.

    Exit status: 0 all is well; 1 something needs attention, and the last lines say what; 2 no such data folder.
    """
    from pipeline.calendars import SystemClock

    settings = settings_there(data_dir, is_lake_enough=False)
    found = picture_of(settings, SystemClock().now())
    if expect_up and not found.parts.is_up:
        found = replace(found, attention=("`poolcast up` does not run: start it", *found.attention))
    if as_json:
        print_json(_plain(asdict(found)))
    else:
        show(found)
    sys.exit(1 if found.attention else 0)


def picture_of(settings: "Settings", now: datetime) -> "Picture":
    """The picture of an installation; what cannot be read becomes a line of it, never an end of it."""
    from pipeline.cli.status_runs import seen_runs
    from pipeline.monitoring.alerts.lookout import SCORES_BACK
    from pipeline.monitoring.status import (
        LATELY,
        Picture,
        alert_health,
        attention,
        drift_health,
        quality_health,
    )
    from pipeline.tables import ALERT_ACKS, ALERTS, DRIFT_REPORTS, QUALITY_REPORTS

    lake = lake_of(settings)
    problems = list(_no_folders(settings.data_dir, settings.lake))
    tables = _tables(lake, now, problems)
    models = _models(lake, problems)
    drift = drift_health(_read(lake, DRIFT_REPORTS, now, 7 * LATELY, problems))
    quality = quality_health(_read(lake, QUALITY_REPORTS, now, SCORES_BACK, problems), now)
    acknowledged = set(_read(lake, ALERT_ACKS, now, 30 * LATELY, problems)["alert_id"])
    alerts = alert_health(_read(lake, ALERTS, now, 30 * LATELY, problems), acknowledged)
    runs = seen_runs(settings, now)
    parts = _parts(settings, now)
    told = attention(tables, drift, quality, runs, alerts, problems, parts)
    return Picture(now, tables, models, drift, quality, runs, alerts, told, parts)


def _parts(settings: "Settings", now: datetime) -> "PartsHealth":
    """What `poolcast up` noted of the servers it keeps running."""
    from pipeline.monitoring.status import LATELY, PartsHealth
    from resources.roster import Roster

    roster = Roster(settings.data_dir / "up.json")
    if roster.running() is None:
        return PartsHealth(left=tuple(roster.left_behind()))
    restarts = [(each.at, each.name, each.why) for each in roster.restarts() if each.at > now - LATELY]
    return PartsHealth(
        is_up=True, is_starting=roster.is_starting(), dead=tuple(roster.dead()), restarts=tuple(restarts)
    )


def _no_folders(*folders: "Path") -> Iterator[str]:
    """What stands where a folder should, and cannot be one or cannot be seen."""
    for folder in folders:
        try:
            if folder.exists() and not folder.is_dir():
                yield f"{str(folder)!r} is no folder"
        except OSError as error:
            yield f"{str(folder)!r} cannot be read: {error.strerror}"


def _tables(lake: "Lake", now: datetime, problems: list[str]) -> "tuple[TableHealth, ...]":
    from pipeline.lake.disk import reporting
    from pipeline.monitoring.freshness import ages
    from pipeline.monitoring.status import TableHealth, table_health
    from pipeline.tables import TABLES

    known: dict[str, timedelta | None] = {}
    try:
        with reporting("read how old the tables are"):
            known = ages(lake, now)
    except PoolcastError as error:
        problems.append(str(error))

    def one(target: "Table") -> "TableHealth | None":
        try:
            found = lake.listing(target)
        except PoolcastError as error:
            return TableHealth(target.name, target.stage, None, None, None, None, None, str(error))
        if found is None and target.name not in known:
            return None
        return table_health(target.name, target.stage, None if found is None else found.files, now, known)

    with ThreadPoolExecutor(_READERS) as pool:
        return tuple(each for each in pool.map(one, TABLES.values()) if each is not None)


def _models(lake: "Lake", problems: list[str]) -> "tuple[ModelHealth, ...]":
    from pipeline.lake.disk import reporting
    from pipeline.monitoring.status import ModelHealth
    from pipeline.promotion.standing import standing
    from pipeline.tables import DEPLOYMENTS

    found = []
    try:
        with reporting("read the ledger"):
            ledger = lake.scan(DEPLOYMENTS).collect()
        for name in sorted(set(ledger["model_name"])):
            stands = standing(ledger, name)
            first = stands.champion
            shadow, former = (None if who is None else who.version for who in (stands.shadow, stands.former))
            champion, since = (None, None) if first is None else (first.version, first.known_at)
            found.append(ModelHealth(name, champion, since, shadow, former, stands.pinned))
    except PoolcastError as error:
        problems.append(str(error))
    return tuple(found)


def _read(lake: "Lake", target: "Table", now: datetime, back: timedelta, problems: list[str]) -> "pl.DataFrame":
    """The rows of lately; none where they cannot be read."""
    from pipeline.calendars import HOUR, Span
    from pipeline.lake.disk import reporting

    try:
        with reporting(f"read {target.name!r}"):
            return lake.scan(target, Span(now - back, now + HOUR)).collect()
    except PoolcastError as error:
        problems.append(str(error))
        return target.empty()


def _plain(value: Any) -> Any:
    """The picture with ages in hours."""
    if isinstance(value, timedelta):
        return round(value.total_seconds() / 3600, 3)
    if isinstance(value, dict):
        return {name if name != "age" else "age_hours": _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
