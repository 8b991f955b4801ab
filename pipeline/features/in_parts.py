"""A family's features made in parts, each of its own pools, wherever the parts are computed.

Belongs here: cutting pools into parts, what a part reads, and putting the parts together. Stays out: formulas, engines
(`compute` runs both), and who computes a part (`pipeline.workers`).

Most inputs of a pool depend on its own rows alone; those are computed part by part, each part holding the pools whose
names lie in a range, so that a part reads a stretch of every table and no name need be sent. Some inputs compare a pool
with all others, or follow wallets through all pools (`engine_list`): they are computed once, beside the parts, over
every pool. The formulas come last, row by row. No sum runs over two parts, so the rows are those of one machine, bit
for bit, whatever the cuts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from pipeline.calendars import Span
from pipeline.features.compute import Inputs, compute_columns, formulas, input_rows, inputs_of
from pipeline.features.engine_list import ENGINES
from pipeline.features.feature import Feature
from pipeline.features.registry import features_of
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_TABLES, POOL_TIME_KEY
from pipeline.workers import Workers


@dataclass(frozen=True)
class _Asked:
    """What every part needs."""

    sources: Sources
    span: Span
    spec: FeaturesSpec


@dataclass(frozen=True)
class _Part:
    """Inputs of the pools with `first` <= name < `before`; None: no bound."""

    inputs: Inputs
    first: str | None = None
    before: str | None = None


ROWS_A_PART: Final = 50_000
"""Snapshots below which a part is not worth its way to another machine: about a second of work."""


def compute_family_in_parts(
    family: str,
    sources: Sources,
    span: Span,
    spec: FeaturesSpec,
    workers: Workers,
    *,
    rows_a_part: int = ROWS_A_PART,
) -> pl.DataFrame:
    """The rows of `compute.compute_family`, its parts computed by the workers.

    Args:
        family: which one. sources, span, spec: as there.
        workers: they are not asked where there is less than two parts' work.
        rows_a_part: how many snapshots a part has at least.
    """
    frame = compute_columns_in_parts(sources, span, spec, features_of(family), workers, rows_a_part=rows_a_part)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FAMILY_TABLES[family].schema.items())


def compute_columns_in_parts(
    sources: Sources,
    span: Span,
    spec: FeaturesSpec,
    features: Iterable[Feature],
    workers: Workers,
    *,
    rows_a_part: int = ROWS_A_PART,
) -> pl.DataFrame:
    """The rows of `compute.compute_columns`, its parts computed by the workers."""
    chosen = list(features)
    n_parts = _rows(sources.snapshots, span) // rows_a_part
    n_parts = min(workers.count, n_parts) if n_parts > 1 else 1
    if n_parts < 2:
        return compute_columns(sources, span, spec, chosen)
    of_pool, of_market = _apart(inputs_of(chosen))
    edges = cuts(sources.snapshots, span, n_parts)
    parts = [_Part(of_pool, low, high) for low, high in zip([None, *edges], [*edges, None], strict=True)]
    # What looks across pools goes first: it takes longest.
    across = [_Part(of_market)] if of_market else []
    found = workers.each(_computed, _Asked(sources, span, spec), [*across, *parts])
    rows = pl.concat(found[len(across) :]).sort(POOL_TIME_KEY)
    for beside in found[: len(across)]:
        rows = rows.join(beside.drop("known_at"), on=list(POOL_TIME_KEY), how="left", maintain_order="left")
    return rows.select(formulas(chosen, spec))


def cuts(snapshots: pl.LazyFrame, span: Span, n_parts: int) -> list[str]:
    """Pools' names that cut the span's snapshots into at most `n_parts` parts of about as many rows, ascending.

    >>> from datetime import datetime, timedelta, UTC
    >>> at = datetime(2020, 9, 8, tzinfo=UTC)
    >>> rows = pl.LazyFrame({"pool": ["a", "b", "b", "c", "d"], "event_time": [at] * 5})
    >>> cuts(rows, Span(at, at + timedelta(hours=1)), 2), cuts(rows, Span(at, at + timedelta(hours=1)), 1)
    (['c'], [])
    """
    if n_parts < 2:
        return []
    time = pl.col("event_time")
    counts = (
        snapshots.filter(time >= span.start, time < span.end).group_by("pool").len().sort("pool").collect()
    ).with_columns(before=pl.col("len").cum_sum() - pl.col("len"))
    total = counts["len"].sum()
    found = (counts.filter(pl.col("before") * n_parts >= total * k)["pool"].head(1) for k in range(1, n_parts))
    return sorted({name for first in found for name in first} - set(counts["pool"].head(1)))


def _rows(snapshots: pl.LazyFrame, span: Span) -> int:
    time = pl.col("event_time")
    return int(snapshots.filter(time >= span.start, time < span.end).select(pl.len()).collect().item())


def _apart(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """Inputs that a pool's own rows give, and those that all pools do."""
    of_market = {
        engine: kept for engine, wanted in inputs.items() if (kept := [r for r in wanted if ENGINES[engine].across(r)])
    }
    of_pool = {engine: [r for r in wanted if not ENGINES[engine].across(r)] for engine, wanted in inputs.items()}
    return {engine: wanted for engine, wanted in of_pool.items() if wanted}, of_market


def _computed(asked: _Asked, part: _Part) -> pl.DataFrame:
    """A part's rows with its inputs."""
    sources = _within(asked.sources, part)
    names = [read.name for wanted in part.inputs.values() for read in wanted]
    return input_rows(sources, asked.span, asked.spec, part.inputs).select(*POOL_TIME_KEY, "known_at", *names)


def _within(sources: Sources, part: _Part) -> Sources:
    """The rows of the part's pools; what is told of a token belongs to every pool that trades it."""
    name = pl.col("pool")
    bounds: Sequence[pl.Expr] = [
        *([] if part.first is None else [name >= part.first]),
        *([] if part.before is None else [name < part.before]),
    ]
    if not bounds:
        return sources
    kept = {table: getattr(sources, table).filter(bounds) for table in ("snapshots", "pools", "candles", "trades")}
    return replace(sources, **kept)
