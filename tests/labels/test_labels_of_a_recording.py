"""A recording tells every reserve, so the rule about reserves that were not seen must not touch it."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.calendars import Span
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.candles import candles
from pipeline.pools.recording import read_recording
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOL_KEY

MARKET = SimulationSpec(n_pools=40)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Snapshots, candles and pools of a small simulated recording."""
    folder: Path = tmp_path_factory.mktemp("market") / "market"
    recording = write_recording(simulate(MARKET, 7), folder, MARKET, 7)
    frames = read_recording(recording, PoolsSpec(), MARKET.end_at + timedelta(days=400))
    snapshots = take_snapshots(frames.reserves, frames.pools, Span(MARKET.start_at, MARKET.end_at), SnapshotsSpec())
    return snapshots, candles(frames.reserves, frames.pools, PoolsSpec()), frames.pools


def labelled(snapshots: pl.DataFrame, bars: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    stills = snapshots.select("source", "network", "event_time").clear()
    return label_outcomes(snapshots, bars, pools, stills, MARKET.end_at + timedelta(days=3), LabelsSpec())


def test_no_label_of_a_recording_is_censored_for_an_unseen_reserve(
    recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> None:
    labels = labelled(*recorded)
    assert "reserve_not_observed" not in labels["censor_reason"]
    assert set(labels["outcome"].drop_nulls()) >= {"RUG", "STABLE"}


def test_without_reserves_nothing_is_labelled(recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    snapshots, bars, pools = recorded
    blind = labelled(snapshots, bars.with_columns(quote_reserve_low=pl.lit(None, pl.Float64)), pools)
    # Windows without any bar stay: nothing happened there, and the recording vouches for that.
    with_bars = labelled(*recorded).filter(pl.col("outcome") == "RUG").height
    assert with_bars > 0
    assert blind.filter(pl.col("outcome") == "RUG").is_empty()
    assert "reserve_not_observed" in blind["censor_reason"]


def test_what_a_position_brings_is_never_above_the_labels_own_return_from_its_entry_less_two_fees(
    recorded: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
) -> None:
    snapshots, bars, pools = recorded
    stills = snapshots.select("source", "network", "event_time").clear()
    seen = Observed(snapshots, lambda usd: np.full(len(usd), 5))
    found = label_outcomes(snapshots, bars, pools, stills, MARKET.end_at + timedelta(days=3), LabelsSpec(), seen)
    price = snapshots.select(*POOL_KEY, "event_time", "price_quote")
    rows = (
        found.filter(pl.col("return_executable_pct").is_not_null())
        .join(price, on=[*POOL_KEY, "event_time"])
        .join(
            price.rename({"event_time": "executable_entry_at", "price_quote": "paid"}),
            on=[*POOL_KEY, "executable_entry_at"],
        )
    )
    gross = (1 + pl.col("return_end_pct") / 100) * pl.col("price_quote") / pl.col("paid") * 0.997**2
    assert rows.height > 1_000
    above = (pl.col("return_executable_pct") / 100 + 1) - gross
    assert rows.filter(above > 1e-9 * (1 + gross)).is_empty()
    assert found.filter(pl.col("path_known_at") < pl.col("label_known_at")).is_empty()
