"""A lake of three days of three pools, exported and put on record, and what a full export of it leaves."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pipeline.bins.bars import bars_of, identities_of
from pipeline.bins.export import export_all
from pipeline.bins.from_lake import export_from_lake
from pipeline.bins.records import Exported
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import HOUR, MINUTE
from pipeline.lake import Lake
from pipeline.tables import BIN_EXPORTS, CANDLES, FEATURES
from tests.bins.bins_history import tree
from tests.bins.bins_market import candle, candles

SOURCE = "recording:test"
START = datetime(2020, 9, 8, tzinfo=UTC)
NOW = datetime(2021, 1, 1, tzinfo=UTC)
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)
POOLS = ("0xAbC", "0xabc", "nan")
SPEC = BinsSpec()
FEATURED = BinsSpec(fields=(*SPEC.fields, "reserve_usd"))


def lake_in(folder: Path) -> Lake:
    return Lake(folder / "lake", sync=lambda _path: None)


def three_days_in(folder: Path) -> Lake:
    """A bar every hour."""
    lake = lake_in(folder)
    rows = [
        candle(START + n * HOUR, pool=pool, open=1.0 + n, high=3.0 + n, low=0.5, close=2.0 + n)
        for pool in POOLS
        for n in range(3 * 24)
    ]
    lake.append(CANDLES, candles(*rows))
    return lake


def exported(
    lake: Lake, directory: Path, spec: BinsSpec = SPEC, mode: str = "update", at: datetime = NOW, **chosen: object
) -> Exported:
    """Export and put it on record, as every caller does."""
    moment = at + MINUTE * lake.scan(BIN_EXPORTS).select(pl.len()).collect().item()
    done = export_from_lake(lake, directory, SOURCE, spec, mode=mode, known_at=moment, **chosen)  # type: ignore[arg-type]
    assert lake.append(BIN_EXPORTS, done.row(0.5)).n_rows == 1
    return done


def in_full(lake: Lake, spec: BinsSpec, version: int | None = None, until: datetime = NOW) -> dict[str, bytes]:
    """The files of a full export of all that the lake holds, read in one piece into a directory of its own."""
    rows = lake.scan(CANDLES, version=version).filter(pl.col("source") == SOURCE)
    bars = bars_of(rows, spec, lake.scan(FEATURES).filter(pl.col("source") == SOURCE))
    bars = bars.filter(pl.col("event_time") + spec.step <= until)
    with tempfile.TemporaryDirectory() as folder:
        export_all(bars, identities_of(bars), Path(folder) / "qlib", spec, origin=SOURCE)
        return tree(Path(folder) / "qlib")


def reserve_told(at: datetime, pool: str, usd: float) -> pl.DataFrame:
    """A row of FEATURES that knows a pool's reserve and nothing else."""
    row = dict.fromkeys(FEATURES.schema) | {"source": SOURCE, "network": "eth", "pool": pool, "reserve_usd": usd}
    return pl.DataFrame([row | {"event_time": at, "known_at": at}], schema=FEATURES.schema)
