"""`poolcast status`: the health of everything on one screen.

Belongs here: reading what the picture is made from, and showing it. Stays out: what needs attention
(`pipeline.monitoring.status`).
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.alerts import STYLES, print_strictly
from pipeline.cli.lake import print_wide
from pipeline.cli.screen import AsJson, DataDir, as_written, lake_of, out, settings_of
from pipeline.errors import PoolcastError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from pipeline.lake import Lake
    from pipeline.monitoring.status import DriftHealth, ModelHealth, PartsHealth, Picture, RunsHealth, TableHealth
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

    settings = settings_of(data_dir)
    if _is_absent(settings.data_dir):
        # Else a mistyped folder, or another working directory, would be an installation that is new and well, for ever.
        raise UsageError(
            f"there is no data folder {str(settings.data_dir)!r}: name the one that poolcast writes to with --data-dir "
            "or POOLCAST_DATA_DIR; `make demo` makes one"
        )
    found = picture_of(settings, SystemClock().now())
    if expect_up and not found.parts.is_up:
        found = replace(found, attention=("`poolcast up` does not run: start it", *found.attention))
    if as_json:
        print_strictly(_plain(asdict(found)))
    else:
        _show(found)
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
    return PartsHealth(is_up=True, dead=tuple(roster.dead()), restarts=tuple(restarts))


def _is_absent(folder: "Path") -> bool:
    try:
        return not folder.exists()
    except OSError:  # it cannot be seen, which the picture tells
        return False


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
    """The picture as JSON holds it: ages in hours, times in ISO 8601."""
    from pipeline.cli.lake import plain

    if isinstance(value, timedelta):
        return round(value.total_seconds() / 3600, 3)
    if isinstance(value, dict):
        return {name if name != "age" else "age_hours": _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else plain(value)


def _show(found: "Picture") -> None:
    if found.tables:
        print_wide(_tables_shown(found))
    else:
        out.print("There is no table yet: run `make demo`, or switch the collection on.", markup=False)
    for line in (
        *_models_shown(found.models),
        *_drift_shown(found.drift),
        *_quality_shown(found),
        *_runs_shown(found.runs),
        *_parts_shown(found.parts),
    ):
        out.print(as_written(line))
    for alert in found.alerts:
        is_open = "open, acknowledged" if alert.is_acknowledged else "open"
        state = is_open if alert.is_open else "said"
        shown = as_written(f"Alert    {alert.event_time:%Y-%m-%d %H:%M} {alert.severity}, {state}: {alert.title}")
        shown.stylize(STYLES.get(alert.severity, "") if alert.is_open else "dim")
        out.print(shown)
    for need in found.attention:
        out.print(Text("Needs attention: ", style="bold red") + as_written(need))
    if not found.attention and found.runs.problem:
        out.print("Nothing that was looked at needs attention; runs and schedules were not.", style="yellow")
    elif not found.attention:
        out.print("All is well.", style="green")


def _tables_shown(found: "Picture") -> RichTable:
    from pipeline.monitoring.status import in_words

    shown = RichTable(box=None, pad_edge=False)
    for title in ("stage", "table", "rows", "lately", "newest", "age", "fresh"):
        shown.add_column(title, justify="left" if title in ("stage", "table", "fresh") else "right", no_wrap=True)
    for each in found.tables:
        counts = ["?" if n is None else f"{n:,}" for n in (each.n_rows, each.n_rows_lately)]
        moment = "" if each.newest is None else f"{each.newest:%Y-%m-%d %H:%M}"
        fresh = {None: Text(""), True: Text("yes", "green"), False: Text("NO", "bold red")}[each.is_fresh]
        cells = (each.stage, each.table, counts[0], counts[1] if each.newest else "", moment, in_words(each.age))
        shown.add_row(*map(as_written, cells), Text("unreadable", "bold red") if each.problem else fresh)
    return shown


def _models_shown(models: "tuple[ModelHealth, ...]") -> Iterator[str]:
    for each in models:
        who = "nobody" if each.champion is None else f"version {each.champion} since {each.since:%Y-%m-%d %H:%M}"
        more = "".join(f", {role} {v}" for role, v in (("shadow", each.shadow), ("former", each.former)) if v)
        yield f"Model    {each.model}: champion {who}{more}{', pinned' if each.is_pinned else ''}"
    if not models:
        yield "Model    nobody is in charge"


def _drift_shown(drift: "tuple[DriftHealth, ...]") -> Iterator[str]:
    for each in drift:
        top = ", ".join(f"{name} {js:.2f}" for name, js in each.features)
        said = "ALARM" if each.is_alarm else "no alarm"
        moved = f"; {each.n_drifted} features moved: js {top}" if each.n_drifted else ""
        yield f"Drift    {each.model} version {each.version}, {each.known_at:%Y-%m-%d %H:%M}: {said}{moved}"
    if not drift:
        yield "Drift    no report of the last week"


def _quality_shown(found: "Picture") -> Iterator[str]:
    for each in found.quality:
        low = ", BELOW THE FLOOR" if each.is_low else ""
        yield f"Quality  {each.table} of {each.source}, {each.known_at:%Y-%m-%d %H:%M}: {each.score:.0f} of 100{low}"
    if not found.quality:
        yield "Quality  no report of the last two weeks"


def _runs_shown(runs: "RunsHealth") -> Iterator[str]:
    if runs.problem:
        yield f"Runs     not looked at: {runs.problem}"
        return
    yield f"Runs     last day: {runs.n_succeeded} succeeded, {runs.n_failed} failed, {runs.n_under_way} under way"
    ticks = [f"{name} ({'never' if at is None else f'{at:%m-%d %H:%M}'})" for name, at in runs.schedules]
    yield f"On       {', '.join(ticks) or 'no schedule'}"


def _parts_shown(parts: "PartsHealth") -> Iterator[str]:
    if not parts.is_up:
        yield "Servers  `poolcast up` does not run"
        return
    last = f", the last at {parts.restarts[-1][0]:%m-%d %H:%M}: {parts.restarts[-1][2]}" if parts.restarts else ""
    yield f"Servers  `poolcast up` runs; started again in the last day: {len(parts.restarts) or 'none'}{last}"
