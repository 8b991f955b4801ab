"""`poolcast quality docs`: Great Expectations' own pages of the tables' suites and of what their rows are like.

Belongs here: arguments, and which rows are judged. Stays out: building the pages (`pipeline.expectations.pages`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.screen import DataDir, err, lake_of, out, settings_there
from pipeline.tables import TABLES, Table, table

if TYPE_CHECKING:
    import polars as pl


def docs(
    folder: Annotated[Path, typer.Option("--out", help="An empty folder for the pages.")],
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="Tables; without any, all that hold rows.")
    ] = None,
    n_rows: Annotated[int, typer.Option("--rows", help="Judge so many of each table's newest rows.", min=1)] = 20_000,
    data_dir: DataDir = None,
) -> None:
    """Write pages to browse every expectation and what it says of the newest rows, with Great Expectations.

    No text that came from a chain stands on them, and a page runs and loads nothing.
    """
    from pipeline.expectations.bands import OutcomeBands
    from pipeline.expectations.pages import build_pages
    from pipeline.labels.spec import LabelsSpec

    lake = lake_of(settings_there(data_dir))
    chosen = [table(name) for name in tables] if tables else [t for t in TABLES.values() if lake.version(t) is not None]

    def newest(target: Table) -> "pl.DataFrame":
        rows = lake.scan(target)
        by = target.time or target.as_of
        found = rows.top_k(n_rows, by=by).collect()
        err.print(f"{target.name}: {found.height:,} rows", markup=False)
        return found

    first = build_pages(chosen, newest, folder, OutcomeBands.of(LabelsSpec()))
    out.print(f"{len(chosen)} tables: open {first}", markup=False, soft_wrap=True)
