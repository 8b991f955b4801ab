"""Bins: the same series for QLib."""

from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import dagster as dg
import polars as pl
from pydantic import Field

from assets.metadata import table_value
from pipeline.bins.from_lake import export_from_lake, sources_in
from pipeline.bins.spec import BinsSpec, Freq
from pipeline.calendars import Clock, Span
from pipeline.errors import PoolcastError
from pipeline.lake import Lake
from pipeline.tables import BIN_EXPORTS

SPEC = BinsSpec()
SHOWN = (
    "source", "freq", "mode", "reason", "n_days", "n_instruments", "n_instruments_changed", "n_bars", "n_bars_held",
    "n_bytes", "n_files_written", "seconds",
)  # fmt: skip


class BinsConfig(dg.Config):
    """What a run exports."""

    freq: Freq = Field(default=SPEC.freq, description="Length of the bars; a directory may hold several.")
    mode: Literal["update", "all"] = Field(
        default="update",
        description="update: read the days that changed since the export before; all: read everything.",
    )
    fields: list[str] = Field(
        default=list(SPEC.fields), description="Of a bar, `factor`, and any columns of the features table."
    )


@dg.asset(deps=["candles"])
def qlib_bins(
    context: dg.AssetExecutionContext,
    config: BinsConfig,
    lake: dg.ResourceParam[Lake],
    qlib: dg.ResourceParam[Path],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """Bars of every pool as QLib provider directories, one a source, brought up to date and swapped in whole.

    A source that fails keeps its directory as it was and does not keep the others from being exported; the run fails.
    """
    spec = BinsSpec(freq=config.freq, fields=tuple(config.fields))

    def progress(read: Span, n_bars: int) -> None:
        context.log.info(f"{n_bars:,} bars of {read.start:%Y-%m-%d %H:%M} to {read.end:%Y-%m-%d %H:%M}")

    exports, failed = [BIN_EXPORTS.empty()], dict[str, PoolcastError]()
    for source in sources_in(lake):
        began, directory = perf_counter(), qlib / source.replace(":", "-")
        try:
            done = export_from_lake(
                lake, directory, source, spec, mode=config.mode, known_at=clock.now(), progress=progress
            )
        except PoolcastError as error:
            context.log.error(f"{source}: {error}")
            failed[source] = error
            continue
        exports.append(done.row(perf_counter() - began))
        lake.append(BIN_EXPORTS, exports[-1])
        context.log.info(f"{source}: {done.in_words()}; {directory}")
    if failed:
        told = "; ".join(f"{source}: {error}" for source, error in failed.items())
        raise dg.Failure(f"{len(failed)} of {len(failed) + len(exports) - 1} exports failed: {told}",
                         metadata=told_of(pl.concat(exports))) from next(iter(failed.values()))  # fmt: skip
    return dg.MaterializeResult(metadata=told_of(pl.concat(exports)))


def told_of(rows: pl.DataFrame) -> dict[str, Any]:
    """The exports of a run: sums, and a table of them."""
    n_bars = int(rows.select(pl.coalesce("n_bars_held", "n_bars").sum()).item())
    return {
        "dagster/row_count": n_bars,
        "bars": n_bars,
        "bars_read": int(rows["n_bars"].sum()),
        "instruments": int(rows["n_instruments"].sum()),
        "instruments_changed": int(rows["n_instruments_changed"].sum()),
        "bytes": int(rows["n_bytes"].sum()),
        "files_written": int(rows["n_files_written"].sum()),
        "days_read": int(rows["n_days"].sum()),
        "seconds": round(float(rows["seconds"].sum()), 3),
        "exports": table_value(rows.select(SHOWN)),
    }
