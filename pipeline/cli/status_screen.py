"""The picture of an installation's health, as a person reads it on one screen.

Belongs here: a table of tables, a line for each thing beside it, what needs attention last. Stays out: what the picture
is made from (`status`), and what needs attention.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.alerts import STYLES
from pipeline.cli.rows import print_wide
from pipeline.cli.screen import as_written, out

if TYPE_CHECKING:
    from pipeline.monitoring.status import ModelHealth, PartsHealth, Picture, RunsHealth


def show(found: "Picture") -> None:
    """The picture, and whether all is well."""
    if found.tables:
        print_wide(_tables_shown(found))
    else:
        out.print("There is no table yet: run `make demo`, or switch the collection on.", markup=False)
    for line in (
        *_models_shown(found.models),
        *_drift_shown(found),
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
    if not found.attention and found.parts.is_starting:
        out.print("Nothing needs attention so far: `poolcast up` is starting, look again soon.", style="yellow")
    elif not found.attention and found.runs.problem:
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


def _drift_shown(found: "Picture") -> Iterator[str]:
    for each in found.drift:
        top = ", ".join(f"{name} {js:.2f}" for name, js in each.features)
        said = "ALARM" if each.is_alarm else "no alarm"
        moved = f"; {each.n_drifted} features moved: js {top}" if each.n_drifted else ""
        yield f"Drift    {each.model} version {each.version}, {each.known_at:%Y-%m-%d %H:%M}: {said}{moved}"
    if not found.drift:
        yield f"Drift    no report of the last week{_newest_of(found, 'drift_reports')}"


def _quality_shown(found: "Picture") -> Iterator[str]:
    for each in found.quality:
        low = ", BELOW THE FLOOR" if each.is_low else ""
        yield f"Quality  {each.table} of {each.source}, {each.known_at:%Y-%m-%d %H:%M}: {each.score:.0f} of 100{low}"
    if not found.quality:
        yield f"Quality  no report of the last two weeks{_newest_of(found, 'quality_reports')}"


def _newest_of(found: "Picture", table: str) -> str:
    """When the newest row of a table is of: after a replay, of the recording's own time."""
    newest = next((each.newest for each in found.tables if each.table == table), None)
    return "" if newest is None else f"; the newest is of {newest:%Y-%m-%d %H:%M}"


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
    if parts.is_starting:
        yield "Servers  `poolcast up` is starting"
        return
    last = f", the last at {parts.restarts[-1][0]:%m-%d %H:%M}: {parts.restarts[-1][2]}" if parts.restarts else ""
    yield f"Servers  `poolcast up` runs; started again in the last day: {len(parts.restarts) or 'none'}{last}"
