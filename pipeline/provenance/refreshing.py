"""Computing the hours of a table that are stale, and no others.

Belongs here: one table's hours brought up to date, piece by piece, each durable before the next. Stays out: which hours
are stale (`recipe`), what their rows are (the stages).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import DAY, Span, spans_of
from pipeline.lake import Lake
from pipeline.provenance.on_record import VOID, record, recorded
from pipeline.provenance.recipe import Recipe, fingerprints, stale_among
from pipeline.tables import table

PIECE: Final = 30 * DAY
"""How much of a long range is computed and committed at once: bounds memory, and what a kill can cost."""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did: hours computed and left alone, and the rows that now lie in the asked span."""

    n_hours_computed: int
    n_hours_unchanged: int
    n_rows: int


def refresh(
    lake: Lake,
    recipe: Recipe,
    span: Span,
    compute: Callable[[Span], pl.DataFrame],
    *,
    progress: Callable[[Span, pl.DataFrame], None] = lambda _span, _rows: None,
    piece: timedelta = PIECE,
    stopped: Callable[[Span], Collection[datetime]] = lambda _span: (),
) -> Refreshed:
    """Bring the hours of `span` up to date: compute the stale ones, replace them atomically, put them on record.

    Hours that are expired, or that were computed from an hour that is, stay as they are.

    Args:
        compute: gives all rows of the recipe's table in a span of whole hours.
        progress: shown each piece after it is durable, with its rows.
        piece: how much is computed and committed at once.
        stopped: asked after a piece was computed, the hours of it of which nothing may be written: they stay stale.
    """
    target = table(recipe.table)
    # Of two at once, one could put old rows under the record of the other's new ones.
    with lake.locked(f"{target.name}.refresh"):
        wanted = fingerprints(lake, recipe, span)
        stale = stale_among(lake, recipe, span, wanted)
        for run in spans_of(stale):
            for part in run.pieces(piece):
                rows = compute(part)
                lake.replace(target, rows, part)
                unsound = set(stopped(part))
                record(lake, target, rows, {hour: VOID if hour in unsound else wanted[hour] for hour in part.hours()})
                progress(part, rows)
    rows_now = sum(n_rows for _, n_rows in recorded(lake, recipe.table, span).values())
    return Refreshed(len(stale), len(wanted) - len(stale), rows_now)
