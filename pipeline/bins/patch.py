"""What a patch has to say beside the bars that are there: which are no longer.

Belongs here: the places of an export at which the lake holds nothing. Stays out: patching (`export`).
"""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from pipeline.bins.export import reading
from pipeline.bins.instruments import read_identities
from pipeline.bins.lake_bars import Bars
from pipeline.bins.manifest import manifest_path, read_manifest
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import EPOCH, Span
from pipeline.errors import UsageError
from pipeline.tables import UTC


def with_what_went(
    bars: Bars, directory: Path, spec: BinsSpec, span: Span | None, names: Collection[str] | None
) -> Bars:
    """The bars, and a row without any value at each other place of the span in the range of an instrument.

    Args:
        bars: what the lake holds of the instruments in the span.
        directory: the export that is patched.
        spec: bar length and fields.
        span: None: everywhere.
        names: of the instruments; None: all.

    Raises:
        UsageError: the directory holds nothing at this bar length.
    """
    if not directory.exists():
        raise UsageError(f"there is nothing to fix in {str(directory)!r}: export the bins with mode 'all' first")
    with reading(directory) as export:
        path = export / manifest_path(spec.freq)
        if not path.exists():
            raise UsageError(f"{str(directory)!r} holds no bars of {spec.freq}: export them with mode 'all' first")
        held, identities = read_manifest(path.read_bytes(), str(path)).rows, read_identities(export)
    if names is not None:
        held = held.filter(pl.col("name").is_in(list(names)))
    first, stop = pl.col("first"), pl.col("first") + pl.col("length")
    if span is not None:
        first = pl.max_horizontal(first, -((EPOCH - span.start) // spec.step))
        stop = pl.min_horizontal(stop, -((EPOCH - span.end) // spec.step))
    places = held.select(pl.col("name").alias("instrument"), pl.int_ranges(first, stop).alias("place")).explode("place")
    grid = places.drop_nulls().select(
        "instrument", (pl.lit(EPOCH, UTC) + pl.col("place") * pl.lit(spec.step)).cast(UTC).alias("event_time")
    )
    went = grid.join(bars.frame, on=["instrument", "event_time"], how="anti")
    # A place without a bar has no factor either, so it can no longer be left to the writer.
    there = bars.frame.with_columns(pl.lit(spec.factor).alias("factor"))
    return Bars(pl.concat([there, went], how="diagonal_relaxed"), {**identities, **bars.identities})
