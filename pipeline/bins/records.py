"""An export as a row of `BIN_EXPORTS`."""

from dataclasses import asdict
from datetime import datetime

import polars as pl

from pipeline.bins.export import Export
from pipeline.bins.spec import BinsSpec
from pipeline.tables import BIN_EXPORTS


def export_row(export: Export, source: str, known_at: datetime, lake_version: int, spec: BinsSpec) -> pl.DataFrame:
    """One export on record.

    Args:
        export: what was exported.
        source: whose bars.
        known_at: when, UTC.
        lake_version: version of the candles table they came from.
        spec: what an export is.
    """
    row = {
        **asdict(export),
        "source": source,
        "known_at": known_at,
        "freq": spec.freq,
        "mode": "all",
        "lake_version": lake_version,
    }
    return pl.DataFrame([{name: row[name] for name in BIN_EXPORTS.schema}], schema=BIN_EXPORTS.schema)
