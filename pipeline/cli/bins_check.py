"""`poolcast bins check` and `bins describe`: look at a QLib provider directory, whoever wrote it.

Belongs here: arguments, how a report is shown, and the exit status. Stays out: what is looked for. Names come from
folders of strangers: they are shown, never interpreted.
"""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.rows import as_cell
from pipeline.cli.screen import AsJson, err, out, print_json
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from pipeline.bins.describe import Described
    from pipeline.bins.health.check import HealthReport
    from pipeline.bins.health.spec import Severity

EXIT_STATUSES: Final = {None: 0, "info": 0, "warning": 3, "error": 4}
"""By the worst that was found; 1 and 2 say that the check itself failed or was called wrongly."""
_STYLES: Final = {"error": "bold red", "warning": "yellow", "info": "dim"}

QlibDir = Annotated[Path, typer.Option("--qlib-dir", metavar="DIR", help="A provider directory: ours or any other.")]


def check(
    qlib_dir: QlibDir,
    freq: Annotated[str, typer.Option(help="Length of the bars, as in the names of the files.")] = "60min",
    max_price_step: Annotated[
        float, typer.Option(help="Largest |x_t / x_(t-1) - 1| of a price from bar to bar that is no large step.")
    ] = 0.5,
    max_volume_step: Annotated[float, typer.Option(help="The same of the volume.")] = 3.0,
    severity: Annotated[
        list[str] | None,
        typer.Option(metavar="PROBLEM=LEVEL", help="Take a problem for an error, a warning or info; may be repeated."),
    ] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Hash every file of an export of ours, too.")] = False,
    limit: Annotated[int, typer.Option(help="Findings to print at most; JSON has them all.", min=0)] = 40,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a QLib provider directory: its calendar, lists, files and values.

    Exit status: 0 sound, or only what is natural for pools (gaps, large steps); 3 warnings: readable, but suspicious; 4
    errors: a reader gets wrong numbers, misses what is promised, or crashes. (1 the check failed, 2 wrong use.)
    """
    from pipeline.bins.health.check import check_bins
    from pipeline.bins.health.spec import HealthSpec
    from pipeline.bins.store import reading

    spec = HealthSpec(
        price_step=max_price_step,
        volume_step=max_volume_step,
        is_thorough=thorough,
        severities=dict(map(_severity, severity or ())),
    )
    # An export of ours is a link: held, it stays whole even if exports go on meanwhile.
    with reading(qlib_dir) if qlib_dir.is_symlink() else nullcontext(qlib_dir) as held:
        report = check_bins(held, freq, spec)
    if as_json:
        print_json(_as_json(report, qlib_dir))
    else:
        _show(report, limit)
    raise typer.Exit(EXIT_STATUSES[report.worst])


def describe(
    qlib_dir: QlibDir,
    freq: Annotated[str | None, typer.Option(help="Only this length of bars; else all there are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a QLib provider directory holds: freqs, fields, instruments, ranges, bars, and how much is missing."""
    from pipeline.bins.describe import describe_bins

    found = describe_bins(qlib_dir, freq)
    if as_json:
        print_json({"directory": str(qlib_dir), **asdict(found)})
        return
    if found.export_id:
        out.print(f"export {found.export_id}", markup=False)
    lists = RichTable("list", "names")
    for name, n in found.lists.items():
        lists.add_row(as_cell(name), f"{n:,}")
    out.print(lists)
    for one in found.freqs:
        out.print(_table_of(one))


def _severity(told: str) -> "tuple[str, Severity]":
    problem, is_given, level = told.partition("=")
    if not is_given:
        raise UsageError(f"--severity takes PROBLEM=LEVEL, such as gap=warning; found {told!r}")
    return problem, level  # type: ignore[return-value]  # HealthSpec says what is wrong with it


def _as_json(report: "HealthReport", directory: Path) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "freq": report.freq,
        "worst": report.worst,
        "n_instruments": report.n_instruments,
        "n_files": report.n_files,
        "n_bytes": report.n_bytes,
        "counts": report.counts().to_dicts(),
        "problems": report.problems.to_dicts(),
    }


def _show(report: "HealthReport", limit: int) -> None:
    from pipeline.bins.health.spec import PROBLEMS

    counts = report.counts()
    if counts.height:
        out.print(_counted(counts, {name: problem.meaning for name, problem in PROBLEMS.items()}))
    told = report.problems.filter(report.problems["severity"] != "info") if not report.is_healthy else report.problems
    if told.height and limit:
        out.print(_findings(told.head(limit)))
    if told.height > limit:
        err.print(f"{told.height - limit:,} further findings: --limit or --json shows them", markup=False)
    verdict = {"error": "errors", "warning": "warnings", "info": "sound; what is above is natural", None: "sound"}
    out.print(
        f"{verdict[report.worst]}: {report.n_files:,} files of {report.n_instruments:,} instruments at {report.freq},"
        f" {report.n_bytes / 1e6:,.1f} MB",
        markup=False,
    )


def _counted(counts: "pl.DataFrame", meanings: dict[str, str]) -> RichTable:
    table = RichTable("severity", "problem", title="What was found", title_justify="left")
    table.add_column("instruments", justify="right")
    table.add_column("times", justify="right")
    table.add_column("meaning", overflow="fold")
    for row in counts.iter_rows(named=True):
        level, name = row["severity"], row["problem"]
        table.add_row(
            Text(level, style=_STYLES[level]), name, f"{row['instruments']:,}", f"{row['n']:,}", meanings[name]
        )
    return table


def _findings(problems: "pl.DataFrame") -> RichTable:
    table = RichTable(title="Where", title_justify="left")
    for column in ("problem", "instrument", "field", "first time", "n", "found"):
        table.add_column(column, overflow="fold", justify="right" if column == "n" else "left")
    for row in problems.iter_rows(named=True):
        time = _moment(row["time"])
        table.add_row(
            Text(row["problem"], style=_STYLES[row["severity"]]),
            *(as_cell(cell) for cell in (row["instrument"], row["field"], time, f"{row['n']:,}", row["found"])),
        )
    return table


def _table_of(one: "Described") -> RichTable:
    table = RichTable(show_header=False, title=one.freq, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    ranges = [
        f"{_moment(first)} to {_moment(last)}: {name}"
        for name, first, last in filter(None, (one.first_range, one.last_range))
    ]
    for key, value in (
        ("calendar", f"{_moment(one.calendar_first)} to {_moment(one.calendar_last)}, {one.n_times:,} bars"),
        ("instruments", f"{one.n_instruments:,}"),
        ("bars with a value", f"{one.n_bars:,}"),
        ("files", f"{one.n_files:,}, {one.n_bytes:,} bytes"),
        *zip(("begins first", "ends last"), ranges, strict=False),
        *((f"missing {field}", f"{share:.1%}") for field, share in one.missing_shares.items()),
    ):
        table.add_row(as_cell(key), as_cell(value))
    return table


def _moment(time: "datetime | None") -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else ""
