"""Bins: the same series for QLib."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import frame_metadata
from pipeline.bins.bars import hourly_bars
from pipeline.bins.export import export_all
from pipeline.bins.records import export_row
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import Clock
from pipeline.lake import Lake
from pipeline.tables import BIN_EXPORTS, CANDLES

SPEC = BinsSpec()


@dg.asset(deps=["candles"])
def qlib_bins(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    qlib: dg.ResourceParam[Path],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """Hourly bars of every pool as a QLib provider directory, one for each source, swapped in whole."""
    candles = lake.scan(CANDLES)
    exports = [BIN_EXPORTS.empty()]
    for source in candles.select(pl.col("source").unique().sort()).collect()["source"]:
        directory = qlib / source.replace(":", "-")
        export = export_all(hourly_bars(candles.filter(pl.col("source") == source), SPEC), directory, SPEC)
        context.log.info(f"{export.n_instruments:,} instruments of {source} in {directory}")
        exports.append(export_row(export, source, clock.now(), lake.version(CANDLES) or 0, SPEC))
    rows = pl.concat(exports)
    lake.append(BIN_EXPORTS, rows)
    n_bars = int(rows["n_bars"].sum())
    return dg.MaterializeResult(
        metadata={**frame_metadata(BIN_EXPORTS, rows), "dagster/row_count": n_bars, "bars": n_bars}
    )
