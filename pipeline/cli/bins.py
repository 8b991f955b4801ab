"""`poolcast bins`: the same series for QLib, from the lake or from anybody's Parquet file.

Belongs here: arguments, and how an export is told. Stays out: bars, bytes and files (`pipeline.bins`).
"""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.bins_check import check, describe
from pipeline.cli.moments import is_day, moment
from pipeline.cli.screen import AsJson, DataDir, by_comma, err, lake_of, out, print_json, settings_there
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.bins.export import Export
    from pipeline.bins.spec import BinsSpec
    from pipeline.calendars import Span

Freq = Literal["5min", "15min", "60min", "day"]
Mode = Literal["all", "update", "fix"]
OF_A_FILE: Final = "file"
"""Whose bars a directory holds that was made of plain files; one of the lake's holds those of one source."""

bins = typer.Typer(no_args_is_help=True, help="Bins: the same series as a QLib provider directory.")
bins.command("check")(check)
bins.command("describe")(describe)


@bins.command("export")
def export_bins(
    source: Annotated[
        Path | None, typer.Argument(metavar="[SOURCE.parquet]", help="Bars; without it, the lake's.")
    ] = None,
    qlib_dir: Annotated[
        Path | None, typer.Option("--qlib-dir", help="The provider directory; without SOURCE, DATA_DIR/qlib/NAME.")
    ] = None,
    freq: Annotated[Freq, typer.Option(help="Length of the bars.")] = "60min",
    mode: Annotated[
        Mode, typer.Option(help="all: these bars and no others; update: add what is new; fix: patch what is there.")
    ] = "all",
    start_date: Annotated[str | None, typer.Option(help="First day or moment, UTC.")] = None,
    end_date: Annotated[str | None, typer.Option(help="Last day or moment, UTC, included.")] = None,
    instruments: Annotated[
        str, typer.Option(help="Only these, by comma: symbols of SOURCE, or names or addresses of the lake's pools.")
    ] = "",
    fields: Annotated[str, typer.Option(help="Fields to write, by comma, features among them; else all.")] = "",
    calendar_start: Annotated[
        str | None, typer.Option(help="Where the calendar begins; else at the first bar, as in QLib's own dump.")
    ] = None,
    drop_damaged: Annotated[
        bool, typer.Option("--drop-damaged", help="With --mode all: leave other, damaged bar lengths out.")
    ] = False,
    lake_source: Annotated[str | None, typer.Option("--source", help="Of the lake: whose bars.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write bars as a QLib provider directory, swapped in whole.

    SOURCE is one Parquet file: `symbol`, `date` or `time` (the bar's start, UTC), one column a field. Without it the
    bars come from the lake, and `--mode update` reads only the days that changed since the last export.
    """
    from pipeline.bins.spec import BinsSpec

    span, chosen, wanted = _span(start_date, end_date), by_comma(instruments), by_comma(fields.lower())
    if mode == "fix" and not (source or chosen or span):
        raise UsageError(
            "a fix patches named bars: give SOURCE.parquet, or --instruments or --start-date and --end-date"
        )
    if drop_damaged and mode != "all":
        raise UsageError("--drop-damaged goes with --mode all: the other modes build on what is there")
    begins = _moment(calendar_start, "--calendar-start") if calendar_start else None
    spec = BinsSpec(freq=freq, calendar_start=begins)
    spec = replace(spec, fields=wanted) if wanted else spec
    if source is None:
        told = _from_lake(spec, qlib_dir, mode, span, chosen, lake_source, data_dir, drop_damaged=drop_damaged)
    else:
        if qlib_dir is None:
            raise UsageError("say where the bins of a file go: --qlib-dir DIR")
        told = _from_file(spec, source, qlib_dir, mode, span, chosen, wanted, drop_damaged=drop_damaged)
    _show(*told, as_json=as_json)


type _Told = tuple["Export", Path, float, str]


def _from_file(
    spec: "BinsSpec", source: Path, directory: Path, mode: Mode, span: "Span | None", symbols: tuple[str, ...],
    fields: tuple[str, ...], *, drop_damaged: bool,
) -> _Told:  # fmt: skip
    from pipeline.bins.export import export_all, fix, update
    from pipeline.cli.plain_bins import read_bars, reading_file

    began = perf_counter()
    plain = read_bars(source, fields=fields, span=span, symbols=symbols)
    whole = partial(export_all, drop_damaged=drop_damaged)
    writers: dict[Mode, Callable[..., Export]] = {"all": whole, "update": update, "fix": fix}
    spec = replace(spec, fields=plain.fields)
    with err.status(f"{mode}: {len(plain.identities):,} instruments"), reading_file(source):
        done = writers[mode](plain.bars, plain.identities, directory, spec, origin=OF_A_FILE)
    return done, directory, perf_counter() - began, ""


def _from_lake(
    spec: "BinsSpec", directory: Path | None, mode: Mode, span: "Span | None", instruments: tuple[str, ...],
    source: str | None, data_dir: Path | None, *, drop_damaged: bool,
) -> _Told:  # fmt: skip
    from pipeline.bins.from_lake import export_from_lake, sources_in
    from pipeline.calendars import SystemClock
    from pipeline.tables import BIN_EXPORTS

    began = perf_counter()
    settings = settings_there(data_dir)
    lake = lake_of(settings)
    found = sources_in(lake)
    if source is None and len(found) != 1:
        raise UsageError(f"the lake holds bars of {found!r}: say whose with --source, or collect or import some first")
    chosen = source or found[0]
    if chosen not in found:
        raise UsageError(f"the lake holds no bars of {chosen!r}, it has {found!r}")
    target = directory or settings.qlib / chosen.replace(":", "-")
    with err.status(f"{mode}: {chosen}"):
        done = export_from_lake(
            lake,
            target,
            chosen,
            spec,
            mode=mode,
            span=span,
            instruments=instruments,
            known_at=SystemClock().now(),
            drop_damaged=drop_damaged,
        )
    seconds = perf_counter() - began
    lake.append(BIN_EXPORTS, done.row(seconds))
    return done.export, target, seconds, done.reason


def _span(first: str | None, last: str | None) -> "Span | None":
    from pipeline.calendars import END_OF_TIME, EPOCH, Span

    if first is None and last is None:
        return None
    start, end = _moment(first, "--start-date") if first else EPOCH, END_OF_TIME
    # A day is meant whole; of a moment, the bar that starts there.
    if last:
        end = _moment(last, "--end-date", timedelta(days=1) if is_day(last) else timedelta(microseconds=1))
    if start >= end:
        raise UsageError(f"--start-date {first!r} lies after --end-date {last!r}")
    return Span(start, end)


def _moment(told: str, option: str, after: timedelta = timedelta(0)) -> datetime:
    """The moment in UTC, or so long after it; a day at either end of the calendar is left for what counts from it."""
    found, last = moment(told, option), datetime(9999, 12, 30, tzinfo=UTC)
    if not datetime(1, 1, 2, tzinfo=UTC) <= found <= last - after:
        raise UsageError(f"{option} is too early or too late for a calendar: found {told!r}")
    return found + after


def _show(export: "Export", directory: Path, seconds: float, reason: str, *, as_json: bool) -> None:
    told: dict[str, Any] = {"directory": str(directory), **asdict(export), "seconds": round(seconds, 3)}
    if reason:
        told["reason"] = reason
    if as_json:
        print_json(told)
        return
    table = RichTable(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in told.items():
        table.add_row(key, Text(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)))
    out.print(table)
