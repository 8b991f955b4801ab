"""`poolcast quality report`: how sound a table of the lake is, or a Parquet file of anybody's.

Belongs here: finding what is asked about, and showing what was found. Stays out: measuring. Names and values of a file
are anybody's text: shown, never interpreted.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.parquet import require_parquet
from pipeline.cli.rows import print_wide
from pipeline.cli.screen import (
    AsJson,
    DataDir,
    as_written,
    by_comma,
    err,
    lake_of,
    out,
    plain,
    print_json,
    settings_there,
)
from pipeline.errors import InputError, UsageError
from pipeline.tables import POOL, POOL_KEY, QUALITY_PARTS, QUALITY_REPORTS, TABLES

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.monitoring.quality.report import QualityReport

SHOWN: Final = 40
"""Warnings on the screen; JSON has every figure."""


def report(
    what: Annotated[
        str | None, typer.Argument(metavar="[TABLE|FILE.parquet]", help="Without it: the newest report of each table.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="A,B", help="Columns that name a row of the file.")] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Columns that name a pool of the file, the unit; `pool` where it has one."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column of outcomes of the file, for their balance.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say how sound data is: what is missing, implausible, doubled, late, unseen; with a score from 0 to 100.

    A table is looked at over its last day, and compared with what was usual in earlier reports. Of a file every column
    should be there. Nothing is written.
    """
    options = {"--key": key, "--group": group, "--label": label}
    if what is None or (what in TABLES and not Path(what).suffix):
        if given := [name for name, value in options.items() if value is not None]:
            raise UsageError(f"{', '.join(given)}: told of a Parquet file; a table's spec says it already")
        lake = lake_of(settings_there(data_dir))
        told = _newest(lake) if what is None else [_as_plain(*one) for one in _of_table(lake, what)]
        print_json(told) if as_json else _show_newest(told) if what is None else _show(told, what)
        return
    made = [_as_plain("", _of_file(Path(what), _columns(key), _columns(group), label))]
    print_json(made[0]) if as_json else _show(made, what)


def _columns(told: str | None) -> tuple[str, ...] | None:
    return None if told is None else by_comma(told)


def _of_file(
    path: Path, key: tuple[str, ...] | None, group: tuple[str, ...] | None, label: str | None
) -> "QualityReport":
    import polars as pl

    from pipeline.monitoring.quality.report import Asked, quality_report

    if not path.is_file():
        raise UsageError(
            f"{str(path)!r} is neither a table nor a file: name one of {sorted(TABLES)}, or a Parquet file"
        )
    require_parquet(path)
    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot read {str(path)!r}: {error}; give a Parquet file") from error
    unit = (
        group if group is not None else next((g for g in (POOL_KEY, (POOL.name,)) if set(g) <= set(frame.columns)), ())
    )
    try:
        return quality_report(frame, Asked(path.name, key=key or (), unit=tuple(unit), label=label))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{str(path)!r} holds values that cannot be measured: {error}") from error


def _of_table(lake: "Lake", name: str) -> "list[tuple[str, QualityReport]]":
    """A report on the last day of each source; of a table whose market has ended, on its own last day."""
    from assets.quality import WATCHED, report_of, sources_of
    from pipeline.calendars import SystemClock

    target, now = TABLES[name], SystemClock().now()
    newest = _last(lake, name)
    if newest is None:
        raise UsageError(f"table {name!r} holds no rows yet: there is nothing to report on")
    if name in WATCHED:
        at = now if sources_of(lake, now) else newest
        return [(source, report_of(lake, source, name, at)) for source in sources_of(lake, at)]
    return _of_any(lake, target, newest)


def _of_any(lake: "Lake", target: Any, newest: datetime) -> "list[tuple[str, QualityReport]]":
    from pipeline.calendars import DAY, MINUTE, Span
    from pipeline.monitoring.quality.report import Asked, quality_report
    from pipeline.monitoring.quality.spec import QUALITY

    span = Span(newest - QUALITY.days * DAY, newest + MINUTE) if target.time else None
    rows = lake.scan(target, span).collect()
    unit = POOL_KEY if set(POOL_KEY) <= set(rows.columns) else ()
    asked = Asked(target.name, target, target.key, unit)
    if "source" not in rows.columns:
        return [("", quality_report(rows, asked))]
    parts = rows.partition_by("source", as_dict=True)
    return [(str(source), quality_report(own, asked)) for (source,), own in sorted(parts.items())]


def _last(lake: "Lake", name: str) -> datetime | None:
    import polars as pl

    target = TABLES[name]
    if target.time is None:
        from pipeline.calendars import EPOCH

        return EPOCH if lake.scan(target).select(pl.len()).collect().item() else None
    found = lake.scan(target).select(pl.col(target.time).max()).collect().item()
    return found if isinstance(found, datetime) else None


def _newest(lake: "Lake") -> list[dict[str, Any]]:
    """The newest report of each source and table, its parts, how much of it is beyond a bound, and what it holds."""
    import polars as pl

    kept = lake.scan(QUALITY_REPORTS).filter(pl.col("part") != "distribution")
    rows = kept.filter(pl.col("known_at") == pl.col("known_at").max().over("source", "table_name")).collect()
    found = []
    for (source, name), own in rows.sort("source", "table_name").group_by("source", "table_name", maintain_order=True):
        whole = own.filter(pl.col("part") == "score").row(0, named=True)
        parts = dict(
            own.filter(pl.col("subject") == "all", pl.col("part") != "score").select("part", "score").iter_rows()
        )
        found.append(
            {
                "source": source, "table": name, "known_at": whole["known_at"].isoformat(), "score": whole["score"],
                "parts": {part: parts.get(part) for part in QUALITY_PARTS}, "n_rows": whole["n_rows"],
                "n_pools": whole["n_pools"], "n_warnings": own.filter("is_warning").height,
            }
        )  # fmt: skip
    return found


def _as_plain(source: str, made: "QualityReport") -> dict[str, Any]:
    figures = [{name: plain(cell) for name, cell in row.items()} for row in made.figures.iter_rows(named=True)]
    for row in figures:
        if row["part"] == "distribution":
            row["detail"] = json.loads(row["detail"])
    return {
        **({"source": source} if source else {}),
        "name": made.name, "score": made.score, "parts": dict(made.parts), "n_rows": made.n_rows,
        "n_pools": made.n_pools, "n_warnings": made.warnings.height, "figures": figures,
    }  # fmt: skip


def _points(points: float | None) -> Text:
    """Points as they are read: a dash where they do not apply, red below the floor."""
    from pipeline.monitoring.quality.spec import QUALITY

    if points is None:
        return Text("-", style="dim")
    style = "bold red" if points < QUALITY.floor else "yellow" if points < QUALITY.warn_floor else "green"
    return Text(f"{points:.0f}", style=style)


def _show_newest(told: list[dict[str, Any]]) -> None:
    if not told:
        out.print("no report yet: materialise `quality_reports`, or switch the schedule `every_hour_watch` on")
        return
    shown = RichTable("source", "table", "as of", "score", *QUALITY_PARTS, "warnings", box=None, pad_edge=False)
    for one in told:
        shown.add_row(
            as_written(one["source"]), one["table"], one["known_at"][:16].replace("T", " "), _points(one["score"]),
            *(_points(one["parts"][part]) for part in QUALITY_PARTS), f"{one['n_warnings']:,}",
        )  # fmt: skip
    print_wide(shown)
    if any(None in (one["score"], *one["parts"].values()) for one in told):
        out.print("Of 100. A part shown as - does not apply to that table, and counts for nothing; docs/quality.md.")


def _show(told: list[dict[str, Any]], what: str) -> None:
    for one in told:
        whole = _points(one["score"])
        of = f" of {one['source']}" if one.get("source") else ""
        rows = f": {one['n_rows']:,} rows of {one['n_pools']:,} pools, score "
        out.print(as_written(what) + as_written(of) + Text(rows) + whole)
        parts = Text("; ").join(
            Text(f"{part} ") + _points(points) for part, points in one["parts"].items() if points is not None
        )
        out.print(parts if parts.plain else Text("nothing could be judged, so there is no score"))
        warned = [row for row in one["figures"] if row["is_warning"] and row["part"] != "score"]
        warned.sort(key=lambda row: str(row["detail"]).startswith("usually"))  # what is as always comes last
        if warned:
            out.print(_warnings(warned[:SHOWN]))
        if len(warned) > SHOWN:
            err.print(f"{len(warned) - SHOWN:,} further warnings: --json shows them", markup=False)


def _warnings(rows: list[dict[str, Any]]) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, title="Beyond their bounds", title_justify="left")
    for title in ("part", "subject", "value", "bound", "in words"):
        shown.add_column(title, justify="right" if title in ("value", "bound") else "left", overflow="fold")
    for row in rows:
        figures = ("" if row[name] is None else f"{row[name]:.3g}" for name in ("value", "bound"))
        shown.add_row(row["part"], as_written(row["subject"]), *figures, as_written(row["detail"]))
    return shown
