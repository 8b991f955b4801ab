"""`poolcast drift report`: what the watch would say of the champion now, and a page to read.

Belongs here: arguments, the figures on the screen. Stays out: gathering and judging; nothing is written to the lake, so
that asking does not count as a report of the watch.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.moments import moment
from pipeline.cli.screen import AsJson, DataDir, as_written, err, lake_of, out, print_json, settings_there
from pipeline.errors import InputError, TransientError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from pipeline.lake import Lake
    from pipeline.monitoring.drift.evidence import Evidence

_LEGEND = """
js: how far apart, from 0 (alike) to 1. q: how often chance shows as much, over
all that was compared together. reference, now: of a feature the median over
pools, in its own unit; else means over pools: of performance the log loss, of
multivariate the AUC (0.5: nothing tells new pools from old).
pools: how many were looked at. A dash: not judged, or no such figure. The rest
is in docs/drift.md."""
_SHOWN = 20
"""Rows that a screen holds; JSON has them all."""
_FIRST_YEAR, _LAST_YEAR = 1971, 9998
"""Windows around a moment must be moments as well."""


def report_now(
    page: Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="Write the page here.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="As of this moment, UTC; now unless set.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare the pools of the last day with what the champion learned from, and say what moved.

    Of a replayed recording, say with --at when it is looked at. The page is Evidently's, with our figures and verdict.
    """
    now, settings = _moment(at), settings_there(data_dir)

    from assets.drift import past_looks
    from assets.drift_evidence import SPEC, evidence
    from pipeline.cli.promotion import reached
    from pipeline.monitoring.drift.report import report

    lake = lake_of(settings)
    with reached(settings) as (registry, why_not):
        if registry is None:
            raise TransientError(f"looked for the champion: the registry cannot be reached: {why_not}")
        told = evidence(lake, registry, settings.model_cache, now)
    if isinstance(told, str):
        raise InputError(f"report on drift: {told}")
    found = report(told, past_looks(lake, told.learned, now), now, SPEC)
    words = found.filter(found["kind"] == "alarm")["words"][0]
    if page is not None:
        from pipeline.monitoring.drift.evidently_report import drift_page

        page.write_text(drift_page(told.reference.rows, told.current, found, words), encoding="utf-8")
        err.print(f"The page is in {page}", markup=False)
    if as_json:
        print_json({"verdict": words, "rows": found.to_dicts()})
        return
    out.print(as_written(words), _table(found, told), Text(_LEGEND, style="dim"))
    if (elsewhere := _where_to_look(lake, told)) is not None:
        err.print(as_written(elsewhere), soft_wrap=True)


def _where_to_look(lake: "Lake", told: "Evidence") -> str | None:
    """Of a market that has ended: when there was something to see. None where some pool was looked at, or never was."""
    import polars as pl

    from assets.drift_evidence import FIRST_HOURS
    from pipeline.calendars import HOUR, ceil
    from pipeline.tables import POOLS

    if not told.current.is_empty():
        return None
    born = lake.scan(POOLS, sources=[told.source]).select(pl.col("created_at").max()).collect().item()
    if born is None or not told.learned.learned_until < born <= told.lately.after:
        return None
    after, until, at = told.lately.after, told.lately.until, ceil(born + FIRST_HOURS.settled, HOUR)
    return (
        f"No pool of {told.source} was born from {after:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC; the newest was "
        f"born at {born:%Y-%m-%d %H:%M}. To see it, say when to look: --at {at:%Y-%m-%dT%H:%MZ}"
    )


def _table(found: "pl.DataFrame", told: "Evidence") -> RichTable:
    """What moved most, first what is called drift."""
    shown = found.filter(found["kind"] != "alarm").sort("is_drifted", "js", descending=True, nulls_last=True)
    table = RichTable("what", "which", "js", "q", "reference", "now", "pools", "drift", box=None, pad_edge=False)
    for row in shown.head(_SHOWN).iter_rows(named=True):
        means = (row["mean_reference"], row["mean_current"])
        if row["kind"] == "feature":  # a mean of features would be that of the few pools that are large
            means = (_median(told.reference.rows, row["subject"]), _median(told.current, row["subject"]))
        figures = (row["js"], row["q_value"], *means)
        cells = ("-" if value is None else f"{value:.4g}" for value in figures)
        drifted = {True: "yes", False: "no", None: "-"}[row["is_drifted"]]
        table.add_row(row["kind"], as_written(row["subject"]), *cells, f"{row['n_current_pools']:,}", drifted)
    return table


def _median(rows: "pl.DataFrame", name: str) -> float | None:
    """The median of a column, each pool counting once with its own; None where it holds no number."""
    import polars as pl

    from pipeline.monitoring.drift.windows import GROUP

    by_pool = rows.group_by(GROUP).agg(pl.col(name).cast(pl.Float64, strict=False).median())
    found = by_pool.select(pl.col(name).median()).item()
    return None if found is None else float(found)


def _moment(told: str | None) -> datetime:
    """What is asked about; now, unless somebody said when."""
    if told is None:
        from pipeline.calendars import SystemClock

        return SystemClock().now()
    found = moment(told, "--at")
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise UsageError(f"--at takes a time in the years {_FIRST_YEAR} to {_LAST_YEAR}, found {told!r}")
    return found
