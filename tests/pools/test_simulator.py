import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.pools.constant_product import Reserves
from pipeline.pools.recording import open_recording, read_recording
from pipeline.pools.simulator import SimulatedMarket, simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec

SMALL = SimulationSpec(n_pools=120)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(SMALL, 11)


def test_the_same_seed_gives_the_same_market_and_another_seed_another(market: SimulatedMarket) -> None:
    again, other = simulate(SMALL, 11), simulate(SMALL, 12)
    assert again.pools.equals(market.pools)
    assert again.reserves.equals(market.reserves)
    assert again.truth.equals(market.truth)
    assert not other.reserves.equals(market.reserves)


def test_a_pools_life_does_not_depend_on_how_many_others_there_are(market: SimulatedMarket) -> None:
    fewer = simulate(SimulationSpec(n_pools=30), 11)
    kept = market.reserves.filter(pl.col("pool").is_in(fewer.pools["pool"].implode()))
    assert fewer.reserves.height > 100
    assert kept.equals(fewer.reserves)
    assert market.truth.filter(pl.col("pool").is_in(fewer.pools["pool"].implode())).equals(fewer.truth)


def test_nothing_of_a_simulated_recording_is_quarantined(market: SimulatedMarket, tmp_path: Path) -> None:
    recording = write_recording(market, tmp_path / "sim", SMALL, 11)
    frames = read_recording(recording, PoolsSpec(), datetime(2024, 3, 11, tzinfo=UTC))
    assert recording.source == "simulation:11"
    assert frames.quarantine.is_empty()
    assert (frames.pools.height, frames.reserves.height) == (120, market.reserves.height)


def test_every_pool_is_born_with_its_first_update_and_blocks_never_share_an_instant(market: SimulatedMarket) -> None:
    first = market.reserves.group_by("pool").agg(pl.col("time").min())
    born = market.pools.join(first, on="pool", validate="1:1")
    assert born.filter(pl.col("created_at") != pl.col("time")).is_empty()
    blocks = market.reserves.select("block", "time").unique().sort("block")
    assert blocks["block"].n_unique() == blocks.height
    assert (blocks["time"].diff().drop_nulls().dt.total_seconds() >= SMALL.block_seconds).all()
    assert market.reserves["time"].max() < SMALL.end_at  # type: ignore[operator]


def test_a_planted_rug_is_a_rug_by_the_rule_of_the_labels_at_the_moment_it_was_planted() -> None:
    market = simulate(SimulationSpec(n_pools=400), 5)
    price = pl.col("quote_reserve") / pl.col("base_reserve")
    rugs = market.truth.filter(pl.col("fate") == "rug_pull").select("pool", "fate_at")
    lives = market.reserves.with_columns(price.alias("price")).join(rugs, on="pool")
    state = (pl.col("price").last(), pl.col("quote_reserve").last())
    before = lives.filter(pl.col("time") < pl.col("fate_at")).group_by("pool").agg(state)
    at = lives.filter(pl.col("time") <= pl.col("fate_at")).group_by("pool").agg(state)
    both = before.join(at, on="pool", suffix="_at")
    fell, left = pl.col("price_at") / pl.col("price"), pl.col("quote_reserve_at") / pl.col("quote_reserve")
    is_rug = (fell < 0.2) | ((left < 0.1) & (fell < 0.5))
    assert both.height == rugs.height > 20
    assert both.select(is_rug.all()).item()
    assert both.select((left < 0.1).all()).item()


def test_the_fates_differ_in_what_they_were_planted_for() -> None:
    market = simulate(SimulationSpec(n_pools=400), 5)
    lives = market.reserves.with_columns(price=pl.col("quote_reserve") / pl.col("base_reserve")).join(
        market.truth, on="pool"
    )
    ends = lives.group_by("fate", "pool").agg(
        pl.len().alias("n"),
        (pl.col("price").last() / pl.col("price").first()).alias("end"),
        (pl.col("price").max() / pl.col("price").first()).alias("peak"),
    )
    median = {row["fate"]: row for row in ends.drop("pool").group_by("fate").median().to_dicts()}
    assert set(median) == {"rug_pull", "slow_bleed", "pump", "healthy", "dud"}
    assert median["rug_pull"]["end"] < 0.3
    assert median["slow_bleed"]["end"] < 0.5
    assert median["pump"]["peak"] > 2.5
    assert 0.4 < median["healthy"]["end"] < 2.5
    assert median["dud"]["n"] < 15 < median["healthy"]["n"]


def test_the_share_of_rugs_after_the_first_hour_resembles_recorded_pools() -> None:
    market = simulate(SimulationSpec(), 1)
    price = (pl.col("quote_reserve") / pl.col("base_reserve")).alias("price")
    aged = market.reserves.with_columns(price).join(market.pools.select("pool", "created_at"), on="pool")
    aged = aged.with_columns(hours=(pl.col("time") - pl.col("created_at")).dt.total_seconds() / 3600)
    decided = aged.filter(pl.col("hours") <= 1).group_by("pool").agg(pl.col("price").last().alias("decided"))
    later = aged.filter(pl.col("hours").is_between(1, 25, closed="right")).join(decided, on="pool")
    fell = later.group_by("pool").agg((pl.col("price") / pl.col("decided")).min() < 0.2)
    assert 0.06 < fell["price"].sum() / market.pools.height < 0.16


def test_a_recording_is_written_whole_and_the_same_bytes_every_time(market: SimulatedMarket, tmp_path: Path) -> None:
    one, two = (write_recording(market, tmp_path / name, SMALL, 11) for name in ("one", "two"))
    assert one.sha256 == two.sha256
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]
    said = json.loads((tmp_path / "one" / "simulation.json").read_text())
    assert (said["seed"], said["spec"]["n_pools"]) == (11, 120)
    assert pl.read_parquet(tmp_path / "one" / "truth.parquet").equals(market.truth)


def test_writing_again_changes_nothing_and_never_replaces_something_else(
    market: SimulatedMarket, tmp_path: Path
) -> None:
    recording = write_recording(market, tmp_path / "sim", SMALL, 11)
    assert write_recording(market, tmp_path / "sim", SMALL, 11) == recording
    with pytest.raises(UsageError, match="something else"):
        write_recording(market, tmp_path / "sim", SMALL, 12)
    assert open_recording(tmp_path / "sim") == recording


def test_a_write_that_fails_leaves_nothing_behind(market: SimulatedMarket, tmp_path: Path) -> None:
    broken = SimulatedMarket(market.pools, market.reserves, None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_recording(broken, tmp_path / "sim", SMALL, 11)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"n_pools": 0}, {"birth_days": 9}, {"birth_days": 0}, {"fate_shares": (("dud", 0.5),)}],
)
def test_a_market_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SimulationSpec(**wrong)  # type: ignore[arg-type]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed"):
        simulate(SMALL, -1)


sizes = st.floats(1e-6, 0.4)


@settings(deadline=None)  # the machine may be busy; what counts is the answer
@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e6), st.lists(st.tuples(st.booleans(), sizes), max_size=30))
def test_trading_never_takes_from_the_product_of_the_reserves(
    base: float, quote: float, trades: list[tuple[bool, float]]
) -> None:
    pool = Reserves(base, quote, 0.003)
    for is_buy, size in trades:
        product = pool.base * pool.quote
        pool.buy(pool.quote * size) if is_buy else pool.sell(pool.base * size)
        assert pool.base * pool.quote >= product * (1 - 1e-12)
        assert pool.base > 0
        assert pool.quote > 0
