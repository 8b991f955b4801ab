"""`poolcast lake`: look at the tables, and keep their files in order.

Belongs here: arguments, and which tables are meant. Stays out: how rows are printed (`rows`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from pipeline.cli.rows import print_csv, print_rows_as_json, print_wide, show_rows, size
from pipeline.cli.screen import AsJson, DataDir, err, lake_of, out, print_json, settings_there
from pipeline.tables import TABLES, Table, table

if TYPE_CHECKING:
    from rich.progress import Progress

lake = typer.Typer(no_args_is_help=True, help="Lake: the tables, in a folder or on an object store.")

_NAMES = Annotated[list[str] | None, typer.Argument(metavar="[TABLE]...", help="Tables; without any, all of them.")]


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@lake.command("sql")
def sql_command(
    statement: Annotated[str, typer.Argument(help="One statement that reads: SELECT, WITH, DESCRIBE, EXPLAIN ...")],
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = Format.TABLE,
    limit: Annotated[int | None, typer.Option(help="Print at most so many rows.", min=0)] = None,
    data_dir: DataDir = None,
) -> None:
    """Ask the tables with SQL, as DuckDB speaks it. Nothing can be changed, and no other file can be read.

    In CSV, a text that a spreadsheet would take for a formula has an apostrophe before it. Bytes show as their length.
    """
    from pipeline.lake.query import query

    rows = query(lake_of(settings_there(data_dir)), statement, limit=limit)
    {Format.TABLE: show_rows, Format.CSV: print_csv, Format.JSON: print_rows_as_json}[form](rows)


@lake.command("status")
def status_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say what each table holds and what its files are like. Reads the tables' logs, not their rows."""
    found = lake_of(settings_there(data_dir))
    told = [told for target in TABLES.values() if (told := found.status(target)) is not None]
    if as_json:
        print_json([asdict(status) for status in told])
        return
    if not told:
        out.print("no table yet", markup=False)
        return
    shown = RichTable(box=None, pad_edge=False)
    for title in ("table", "rows", "files", "to merge", "size", "days", "from", "until", "version"):
        shown.add_column(title, justify="left" if title == "table" else "right", no_wrap=True)
    for status in told:
        shown.add_row(
            status.table,
            "?" if status.n_rows is None else f"{status.n_rows:,}",
            f"{status.n_files:,}",
            f"{status.n_mergeable:,}",
            size(status.n_bytes),
            "" if status.n_days is None else f"{status.n_days:,}",
            *("" if moment is None else f"{moment:%Y-%m-%d %H:%M}" for moment in (status.first, status.last)),
            f"{status.version:,}",
        )
    print_wide(shown)


@lake.command("compact")
def compact_command(tables: _NAMES = None, data_dir: DataDir = None) -> None:
    """Merge small files, so that reading opens few. The rows stay as they are, and everybody may go on working."""
    from resources.alone import beside

    settings = settings_there(data_dir)
    found = lake_of(settings)
    with beside(settings), progress() as bars:
        for target in _chosen(tables):
            bar = bars.add_task(target.name, total=1.0)
            found.compact(target, progress=lambda share, bar=bar: bars.update(bar, completed=share))  # type: ignore[misc]
            bars.update(bar, completed=1.0)


@lake.command("vacuum")
def vacuum_command(
    tables: _NAMES = None,
    retention_hours: Annotated[
        float, typer.Option(help="Leave alone what was in use within so many hours: the longest read.", min=0)
    ] = 24.0,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete files that no version needs which is still in use. Versions that training sets were read from stay."""
    from pipeline.calendars import SystemClock
    from pipeline.retention import pinned_versions
    from resources.alone import beside

    settings = settings_there(data_dir)
    found, now = lake_of(settings), SystemClock().now()
    n_files = n_bytes = 0
    with beside(settings), progress() as bars:
        for target in bars.track(_chosen(tables), description="vacuum"):
            kept, retention = pinned_versions(found, target), timedelta(hours=retention_hours)
            with_sizes = found.vacuum(target, now=now, retention=retention, keep_versions=kept, is_dry=True)
            n_files, n_bytes = n_files + len(with_sizes), n_bytes + sum(file.n_bytes for file in with_sizes)
            if not is_dry:
                found.vacuum(target, now=now, retention=retention, keep_versions=kept)
    out.print(f"{n_files:,} files, {size(n_bytes)}, {'would be ' if is_dry else ''}deleted", markup=False)


@contextmanager
def progress() -> "Iterator[Progress]":
    """Bars on standard error; nothing where that is no terminal."""
    from rich.progress import Progress

    with Progress(console=err, disable=not err.is_terminal, transient=True) as bars:
        yield bars


def _chosen(names: Iterable[str] | None) -> list[Table]:
    return [table(name) for name in names] if names else list(TABLES.values())
