"""The same market through the API and through bulk import gives the same snapshots."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from market_under_test import MINUTES_5, Market, lake_of, market, served, setup_of, simulated

from pipeline.calendars import Span
from pipeline.pools.drain import drain
from pipeline.pools.parse import parse_pools
from pipeline.pools.recording import RecordedFrames, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.snapshots.observed import observed_snapshots
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import ANSWERS, SNAPSHOTS

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "recordings" / "uniswap_v2_2020"
SPEC = SnapshotsSpec()
EVERY_POINT = SnapshotsSpec(tiers=(), idle_minutes=5)
KEY = list(SNAPSHOTS.key)


def of_simulation(folder: Path) -> tuple[Market, datetime]:
    told = simulated(folder, 40)
    return told, told.start + timedelta(hours=8)


def of_real_pools(folder: Path) -> tuple[Market, datetime]:
    if not RECORDING.exists():
        pytest.skip(f"the recording {RECORDING.name} is not here")
    whole = read_recording(open_recording(RECORDING), PoolsSpec(), datetime(2026, 1, 1, tzinfo=UTC))
    busiest = whole.reserves.group_by("pool").len().sort("len", "pool", descending=True)["pool"][:400].sort()
    start = datetime(2020, 10, 1, tzinfo=UTC)
    born = whole.pools.filter(
        pl.col("pool").is_in(busiest.implode()), pl.col("created_at") >= start - timedelta(days=2)
    )
    reserves = whole.reserves.filter(pl.col("pool").is_in(born["pool"].implode()))
    told = market(RecordedFrames(reserves, born, whole.quarantine), folder, "recording:part", start)
    return told, start + timedelta(hours=8)


@pytest.mark.slow
@pytest.mark.parametrize("of", [of_simulation, of_real_pools])
def test_the_sandbox_and_the_import_agree_on_every_snapshot(of: object, tmp_path: Path) -> None:
    told, end = of(tmp_path)  # type: ignore[operator]
    lake = lake_of(tmp_path)
    # Nothing is scarce and time stands still while a cycle asks: what is left is what the two ways make of a state.
    with served(told, calls_per_minute=1_000_000) as sandbox:
        setup = setup_of(told, sandbox, tmp_path / "collector", calls_per_minute=100_000)
        with setup.open() as desk:
            while (slot := desk.timer.now()) <= end:
                desk.cycle(slot)
                desk.timer.sleep(MINUTES_5.total_seconds())
            drain(desk.journal, lake)
    span = Span(told.start, end + MINUTES_5)
    records = parse_pools(lake.scan(ANSWERS).collect(), PoolsSpec())
    assert records.quarantine.is_empty(), records.quarantine.group_by("reason").len()
    observed = observed_snapshots(records.raw_pools, span, end, SPEC)
    _no_due_visit_was_missed(observed)
    # Whoever is on a list of new pools is seen more often than its tier asks: the import is made to look everywhere.
    pools = told.frames.pools.with_columns(source=pl.lit(told.source))
    reserves = told.frames.reserves.with_columns(source=pl.lit(told.source))
    taken = take_snapshots(reserves, pools, span, EVERY_POINT)
    born = pools.filter(pl.col("created_at") >= told.start)["pool"]
    assert set(taken.filter(pl.col("pool").is_in(born.implode()))["pool"]) <= set(observed["pool"])
    taken = taken.join(observed.select(KEY), on=KEY, how="semi").sort(KEY)
    observed = observed.sort(KEY)
    assert observed.height > 200
    assert observed.select(KEY).equals(taken.select(KEY))
    for name in SNAPSHOTS.schema.names():
        if name == "interval_minutes":
            continue
        same = _same(observed[name], taken[name])
        if name in ("base_reserve", "quote_reserve"):  # a list of new pools does not tell them
            assert observed[name].count() > 100
            same |= observed[name].is_null()
        assert same.all(), (name, observed.filter(~same).head(3), taken.filter(~same).head(3))
    both = take_snapshots(reserves, pools, span, SPEC).join(observed, on=KEY)
    assert both.height > 200
    assert both["interval_minutes"].equals(both["interval_minutes_right"], null_equal=True)


def _no_due_visit_was_missed(observed: pl.DataFrame) -> None:
    """Nothing was scarce: each pool was seen again at the latest when its state before had asked for it."""
    rows = observed.sort("pool", "event_time").with_columns(
        pl.col("event_time").shift(-1).over("pool").alias("next_at"),
        (pl.col("event_time").dt.epoch("s") // 60 // pl.col("interval_minutes") + 1).alias("due"),
    )
    due = pl.col("due") * pl.col("interval_minutes")
    late = rows.filter(pl.col("next_at").dt.epoch("s") // 60 > due)
    assert late.is_empty(), late
    assert observed["n_missed"].sum() == 0
    assert observed["inclusion_probability"].unique().to_list() == [1.0]


def _same(found: pl.Series, wanted: pl.Series) -> pl.Series:
    if not found.dtype.is_float():
        return found.eq_missing(wanted)
    # A price told in USD and the quote token's, divided, may differ in the last digit from the price itself.
    close = (found - wanted).abs() <= 1e-9 * wanted.abs() + 1e-9
    return close.fill_null(value=False) | (found.is_null() & wanted.is_null())
