"""Over a whole recording of real pools: every decision and horizon ends in exactly one of three."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import HOUR, Span, floor
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.candles import candles
from pipeline.pools.recording import open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.schedule import interval_when_grown
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import LABELS, POOL_TIME_KEY

RECORDING = Path(__file__).parents[3] / "shared/data/recordings/uniswap_v2_2020"
SAMPLER, SPEC = SnapshotsSpec(), LabelsSpec()

pytestmark = [
    pytest.mark.skipif(not RECORDING.is_dir(), reason="the recording is not beside this checkout"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame, datetime]:
    read = read_recording(open_recording(RECORDING), PoolsSpec(), datetime(2026, 1, 1, tzinfo=UTC))
    first, end = read.reserves["event_time"].min(), read.pools["watched_until"].max()
    assert isinstance(first, datetime)
    assert isinstance(end, datetime)
    taken = take_snapshots(read.reserves, read.pools, Span(floor(first, HOUR), end + HOUR), SAMPLER)
    stills = read.quarantine.filter(pl.col("reason") == "clock_stood_still").select("source", "network", "event_time")
    return taken, candles(read.reserves, read.pools, PoolsSpec()), read.pools, stills, end


@pytest.mark.parametrize("moment", [None, datetime(2020, 10, 10, 12, tzinfo=UTC)])
def test_every_decision_and_horizon_ends_in_exactly_one_of_labelled_censored_and_pending(
    frames: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame, datetime], moment: datetime | None
) -> None:
    taken, bars, pools, stills, end = frames
    now = moment or end
    decisions = taken.filter(pl.col("event_time") <= now)
    asked = Observed(taken, interval_when_grown(SAMPLER))
    labels = label_outcomes(decisions, bars, pools, stills, now, SPEC, asked)
    assert labels.height == decisions.height * len(SPEC.horizons_hours) > 300_000
    assert labels.select(LABELS.key).is_duplicated().sum() == 0
    assert labels.select(POOL_TIME_KEY).unique().height == decisions.height
    outcome, reason = pl.col("outcome").is_not_null(), pl.col("censor_reason").is_not_null()
    status = pl.col("status")
    exactly = (status == "labelled") == outcome, (status == "censored") == reason
    whole = labels.select(*(e.all().alias(str(i)) for i, e in enumerate(exactly)), n=status.is_null().sum())
    assert whole.row(0) == (True, True, 0)
    counts = dict(labels["status"].value_counts().iter_rows())
    assert sum(counts.values()) == labels.height
    assert ("pending" in counts) == (moment is not None)
    told = labels.filter(status == "labelled")
    known = pl.col("label_known_at")
    assert told.filter((known > now) | (known <= pl.col("event_time"))).is_empty()
    assert told.filter((pl.col("outcome") == "RUG") != pl.col("rug_kind").is_not_null()).is_empty()
    assert told.filter(~pl.col("average_uniqueness").is_between(0, 1, closed="right")).is_empty()
    assert told.filter(pl.col("return_executable_pct") < -100).is_empty()
