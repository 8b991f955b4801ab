"""Days on which nothing is wrong pass untouched: every table of a simulated recording, and a stretch of a real one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import Span
from pipeline.expectations.meaning import column_rules, frame_rules, rules_of
from pipeline.expectations.rule import broken_rules
from pipeline.expectations.triage import triage
from pipeline.features.compute import compute_features
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.candles import candles
from pipeline.pools.recording import Recording, open_recording, read_recording
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import CANDLES, LABELS, POOL_KEY, POOLS, QUARANTINE, RESERVES, SNAPSHOTS, TABLES

MARKET = SimulationSpec(n_pools=40)
LONG_AFTER = datetime(2025, 1, 1, tzinfo=UTC)
REAL = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"


def made_of(recording: Recording, n_pools: int) -> dict[str, pl.DataFrame]:
    """Every table that a recording gives, of its first pools."""
    frames = read_recording(recording, PoolsSpec(), LONG_AFTER)
    born = frames.pools.sort("created_at").head(n_pools)
    told = frames.reserves.join(born, on=POOL_KEY, how="semi")
    first, last = told["event_time"].min(), told["event_time"].max()
    span = Span(first, min(last, first + timedelta(days=6)))  # type: ignore[type-var, arg-type, operator]
    told = told.filter(pl.col("event_time") < span.end)
    bars = candles(told, born, PoolsSpec())
    seen = take_snapshots(told, born, span, SnapshotsSpec())
    stills = seen.select("source", "network", "event_time").clear()
    return {
        RESERVES.name: told,
        POOLS.name: born,
        QUARANTINE.name: frames.quarantine,
        CANDLES.name: bars,
        SNAPSHOTS.name: seen,
        "features": compute_features(
            Sources(snapshots=seen.lazy(), candles=bars.lazy(), pools=born.lazy()), span, FeaturesSpec()
        ),
        LABELS.name: label_outcomes(seen, bars, born, stills, span.end + timedelta(days=3), LabelsSpec()),
    }


def require_clean(tables: dict[str, pl.DataFrame]) -> None:
    for name, frame in tables.items():
        target = TABLES[name]
        assert frame.height > 0 or name == "quarantine"
        rules = (*column_rules(target), *rules_of(target), *frame_rules(target))
        broken = {rule.in_words for rule in broken_rules(frame, rules)}
        assert not broken, f"{name}: {broken}"
        if target.time:
            assert triage(target, frame).sound is frame


def test_a_simulated_recording_breaks_nothing(tmp_path: Path) -> None:
    require_clean(made_of(write_recording(simulate(MARKET, 7), tmp_path / "market", MARKET, 7), 40))


def test_a_real_recording_breaks_nothing_once_it_is_imported() -> None:
    if not REAL.is_dir():
        pytest.skip(f"there is no recording at {str(REAL)!r}: it is shared beside the repository, not in it")
    require_clean(made_of(open_recording(REAL), 60))
