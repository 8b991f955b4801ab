"""The market family: against a slow oracle, over history, over a piece of it, and bar by bar."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.features.engine import POOL_RUN, Bar, micros
from pipeline.features.engines.market_bars import CALCULATOR
from pipeline.features.engines.market_terms import FIELDS
from pipeline.features.families import market
from pipeline.features.feature import Feature
from pipeline.features.spec import FeaturesSpec
from pipeline.pools.candles import candles
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import FAMILY_COLUMNS

SPEC = FeaturesSpec()
START = datetime(2020, 9, 8, 12, tzinfo=UTC)
STEP = 5 * MINUTE
RECORDING = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
FEATURES = {
    one.name: one
    for value in vars(market).values()
    for one in (value.values() if isinstance(value, dict) else [value])
    if isinstance(one, Feature)
}


def bars_of(seed: int, n_pools: int = 3, scale: float = 1.0, n_bars: int = 400) -> pl.DataFrame:
    """Bars of a few pools with gaps, quiet bars, unknown volumes, unknown opens, and a price that fell to zero."""
    rng = np.random.default_rng(seed)
    pools = []
    for run in range(n_pools):
        n = int(rng.integers(1, n_bars))
        gaps = rng.choice([1, 2, 11, 12, 13, 70, 300], size=n, p=[0.9, 0.04, 0.01, 0.01, 0.02, 0.015, 0.005])
        close = scale * np.exp(np.cumsum(rng.normal(0, rng.choice([0, 1e-6, 0.05, 2]), n)))
        opened = close * np.exp(rng.normal(0, 0.03, n) * (rng.random(n) > 0.2))
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.03, n)) * (rng.random(n) > 0.2))
        low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.03, n)))
        volume = np.exp(rng.normal(4, 6, n)) * (rng.random(n) > 0.2)
        is_flat = rng.random(n) < rng.choice([0.0, 0.3, 1.0])
        opened, high, low = (np.where(is_flat, close, price) for price in (opened, high, low))
        pools.append(
            pl.DataFrame({
                POOL_RUN: np.full(n, run, np.uint32), "event_time": [START + int(g) * STEP for g in np.cumsum(gaps)],
                "open": opened, "high": high, "low": low * (rng.random(n) > 0.003), "close": close, "volume": volume,
                "is_odd": rng.random(n) < 0.004,
            })
        )  # fmt: skip
    frame = pl.concat(pools).with_columns(
        pl.col("event_time").cast(pl.Datetime("us", "UTC")),
        *(pl.when(~pl.col("is_odd")).then(name).alias(name) for name in ("open", "volume")),
    )
    return frame.with_columns(closed_at=pl.col("event_time") + STEP).drop("is_odd")


def online(bars: pl.DataFrame) -> pl.DataFrame:
    """FIELDS of every bar, each pool's bars pushed one by one."""
    rows = []
    for pool in bars.partition_by(POOL_RUN, maintain_order=True):
        stream = CALCULATOR.online(5, SPEC)
        for bar in pool.iter_rows(named=True):
            prices = {name: bar[name] for name in ("open", "high", "low", "close", "volume")}
            rows.append(stream.push(Bar(micros(bar["event_time"]), micros(bar["closed_at"]), **prices)))
    return pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.Float64))


def history(bars: pl.DataFrame) -> pl.DataFrame:
    found = CALCULATOR.over_history(bars, 5, SPEC)
    assert found.drop(FIELDS).equals(bars)
    return found.select(FIELDS)


def assert_same(found: pl.DataFrame, expected: pl.DataFrame, rel: float = 1e-9, near: float = 0.0) -> None:
    assert found.height == expected.height
    for name in found.columns:
        for row, (a, b) in enumerate(zip(found[name].to_list(), expected[name].to_list(), strict=True)):
            is_same = a is b is None or (
                a is not None and b is not None and math.isclose(a, b, rel_tol=rel, abs_tol=near)
            )
            assert is_same, f"{name} of row {row} is {a!r}, expected {b!r}"


def slowly(bars: list[dict]) -> dict[str, float | None]:
    """FIELDS of the last of one pool's bars, by the definitions and nothing else."""
    last = bars[-1]
    end = {b["event_time"]: b["event_time"] + STEP for b in bars}
    found: dict[str, float | None] = {}
    for name, ago in {"15m": 15 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "24h": DAY}.items():
        then = end[last["event_time"]] - ago
        ended = [b for b in bars if end[b["event_time"]] <= then]
        is_fresh = bool(ended) and then - end[ended[-1]["event_time"]] <= ago / 2
        found[f"close_{name}_before"] = ended[-1]["close"] if is_fresh else None
    for window, least in ((HOUR, 3), (DAY, SPEC.min_returns)):
        within = [i for i, b in enumerate(bars) if end[b["event_time"]] > end[last["event_time"]] - window]
        whole = [bars[i] for i in within if bars[i]["low"] > 0]
        pairs = [
            (bars[i - 1], bars[i])
            for i in within
            if i and bars[i - 1]["event_time"] + STEP == bars[i]["event_time"]
        ]  # fmt: skip
        suffix = "1h" if window == HOUR else "24h"
        sets = {
            "parkinson": [math.log(b["high"] / b["low"]) ** 2 / 4 / math.log(2) for b in whole],
            "garman_klass": [
                math.log(b["high"] / b["low"]) ** 2 / 2 - (2 * math.log(2) - 1) * math.log(b["close"] / b["open"]) ** 2
                for b in whole
                if b["open"] is not None
            ],
            "realised": [math.log(b["close"] / a["close"]) ** 2 for a, b in pairs],
        }
        for name, terms in sets.items():
            found[f"{name}_{suffix}"] = math.sqrt(fmean(terms)) if len(terms) >= least else None
    spreads = [corwin_schultz(a, b) for a, b in pairs if a["low"] > 0 and b["low"] > 0]
    found["spread_corwin_schultz_24h"] = fmean(spreads) if len(spreads) >= SPEC.min_returns else None
    volumes = [bars[i]["volume"] for i in within]
    near = [
        bars[i]["volume"]
        for i in within
        if abs(sum(bars[i][p] for p in ("high", "low", "close")) / 3 - last["close"]) <= 0.05 * last["close"]
    ]
    is_known = None not in volumes and sum(volumes) > 0
    found["volume_share_near_24h"] = math.fsum(near) / math.fsum(volumes) if is_known else None
    return found


def corwin_schultz(a: dict, b: dict) -> float:
    beta = math.log(a["high"] / a["low"]) ** 2 + math.log(b["high"] / b["low"]) ** 2
    gamma = math.log(max(a["high"], b["high"]) / min(a["low"], b["low"])) ** 2
    k = 3 - 2 * math.sqrt(2)
    alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / k - math.sqrt(gamma / k)
    return max(0.0, 2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-12, 1.0, 1e12]))
@example(0, 1e-12)
def test_every_field_is_what_its_definition_says(seed: int, scale: float) -> None:
    bars = bars_of(seed, n_pools=1, scale=scale)
    rows = bars.to_dicts()
    expected = pl.DataFrame(
        [slowly(rows[: i + 1]) for i in range(0, len(rows), 7)], schema=dict.fromkeys(FIELDS, pl.Float64)
    )
    # The oracle takes the rounding of a spread of zero for one.
    assert_same(history(bars).gather_every(7), expected, near=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-12, 1.0, 1e12]))
def test_bar_by_bar_says_the_same_as_over_history(seed: int, scale: float) -> None:
    bars = bars_of(seed, scale=scale, n_bars=1200)
    assert_same(online(bars), history(bars))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_no_field_changes_when_the_future_is_cut(seed: int, where: float) -> None:
    bars = bars_of(seed)
    is_past = bars["event_time"] <= bars["event_time"].sort()[int(where * (bars.height - 1))]
    assert_same(history(bars.filter(is_past)), history(bars).filter(is_past), rel=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_day_and_a_half_of_the_past_is_enough(seed: int, where: float) -> None:
    bars = bars_of(seed, n_bars=900)
    since = bars["event_time"].sort()[int(where * (bars.height - 1))]
    piece = bars.filter(pl.col("event_time") >= since - 36 * HOUR)
    found = history(piece).filter(piece["event_time"] >= since)
    assert_same(found, history(bars).filter(bars["event_time"] >= since))


def test_no_field_changes_with_other_pools() -> None:
    bars = bars_of(3, n_pools=4)
    for run in range(4):
        is_its = bars[POOL_RUN] == run
        assert_same(history(bars.filter(is_its)), history(bars).filter(is_its), rel=0)


def test_a_market_of_no_bars_has_no_fields() -> None:
    assert history(bars_of(1).clear()).is_empty()


def test_small_moves_behind_a_large_one_are_not_lost() -> None:
    """A running sum of squares would still carry the crash's rounding when the crash has left the window."""
    close = np.concatenate([[1e12, 1e-12], 1e-12 * np.exp(np.cumsum(np.tile([1e-7, -1e-7], 300)))])
    bars = still_bars(len(close)).with_columns(**dict.fromkeys(("open", "high", "low", "close"), pl.Series(close)))
    expected = np.std(np.diff(np.log(close[-289:])))
    for found in (history(bars), online(bars)):
        assert found["realised_24h"][-1] == pytest.approx(expected, rel=1e-8)
        assert found["realised_24h"][5] is None
        assert found["realised_24h"][100] > 1


def still_bars(n: int) -> pl.DataFrame:
    """Bars of one pool in which the price stands and 100 USD are traded each."""
    times = pl.Series([START + i * STEP for i in range(n)], dtype=pl.Datetime("us", "UTC"))
    flat = dict.fromkeys(("open", "high", "low", "close"), [2.0] * n)
    return pl.DataFrame({POOL_RUN: [0] * n, "event_time": times, "closed_at": times + STEP, **flat}).with_columns(
        volume=pl.lit(100.0)
    )


def test_a_price_that_stands_has_no_volatility_and_no_spread() -> None:
    found = history(still_bars(300)).row(-1, named=True)
    assert {found[name] for name in FIELDS if "garman" in name or "realised" in name or "spread" in name} == {0.0}
    assert found["volume_share_near_24h"] == 1.0
    assert found["close_24h_before"] == 2.0


def test_a_bar_that_stood_still_in_anothers_range_has_no_spread_and_not_its_rounding() -> None:
    rng = np.random.default_rng(0)
    high = np.where(np.arange(300) % 2, 2.0, 2.0 * np.exp(rng.uniform(0, 0.3, 300)))
    bars = still_bars(300).with_columns(high=pl.Series(high))
    assert history(bars)["spread_corwin_schultz_24h"][-1] == 0.0
    assert online(bars)["spread_corwin_schultz_24h"][-1] == 0.0


def test_nothing_is_said_of_the_move_across_a_gap() -> None:
    bars = still_bars(40).with_columns(close=pl.Series([2.0] * 20 + [9.0] * 20))
    held = bars.filter(pl.int_range(pl.len()) != 20)
    assert history(bars)["realised_24h"][-1] > 0.2
    assert history(held)["realised_24h"][-1] == 0.0


def test_a_close_from_too_long_before_is_no_momentum() -> None:
    bars = still_bars(60)
    silent = bars.filter((pl.int_range(pl.len()) == 0) | (pl.int_range(pl.len()) >= 19))
    found = history(silent)
    # Bar 19 ends 95 min after the start of bar 0, which ended 35 min before the hour ago: more than half an hour.
    assert found["close_1h_before"][1] is None
    assert history(bars.filter((pl.int_range(pl.len()) == 0) | (pl.int_range(pl.len()) >= 18)))["close_1h_before"][1]


def test_a_bar_online_costs_the_same_after_many() -> None:
    from time import perf_counter

    stream = CALCULATOR.online(5, SPEC)
    took = []
    for i in range(6_000):
        bar = Bar(i * 300_000_000, (i + 1) * 300_000_000, 1.0, 1.0 + i % 7, 0.9, 1.0, 5.0)
        start = perf_counter()
        stream.push(bar)
        took.append(perf_counter() - start)
    assert np.median(took[-1000:]) < 3 * np.median(took[300:1300])
    assert np.quantile(took[300:], 0.9) < 1e-3


@pytest.mark.parametrize("name", FEATURES)
def test_the_example_gives_what_it_says_in_both_ways(name: str) -> None:
    one = FEATURES[name]
    as_column = one.worked().select(one.expr(SPEC)).item()
    assert one.value(one.example.given, SPEC) == pytest.approx(one.example.gives, rel=1e-12)
    assert as_column == pytest.approx(one.example.gives, rel=1e-12)


def test_the_family_defines_every_column_of_its_table() -> None:
    assert {column.name for column in FAMILY_COLUMNS["market"]} == set(FEATURES)


@pytest.mark.parametrize("nothing", [None, 0.0])
@pytest.mark.parametrize("usd", [100, 1000, 10000])
def test_a_pool_without_reserve_has_no_depth(usd: int, nothing: float | None) -> None:
    one = FEATURES[f"liquidity_depth_{usd}_usd_pct"]
    assert one.value({"reserve_usd": nothing}, SPEC) is None
    assert (
        pl.DataFrame({"reserve_usd": [nothing]}, schema={"reserve_usd": pl.Float64}).select(one.expr(SPEC)).item()
        is None
    )


def test_a_small_trade_in_a_deep_pool_keeps_its_digits() -> None:
    found = FEATURES["liquidity_depth_100_usd_pct"].value({"reserve_usd": 2e15}, SPEC)
    assert found == pytest.approx(100 * (2e-13 + 1e-26), rel=1e-14)


@pytest.fixture(scope="module")
def recorded() -> pl.DataFrame:
    """Bars of forty recorded pools, as their sequence."""
    if not RECORDING.exists():
        pytest.skip("no recording beside the project")
    source = pl.lit("recording:uniswap_v2_2020").alias("source")
    pools = pl.read_parquet(RECORDING / "pools.parquet").sort("created_at").slice(300, 40)
    pools = pools.with_columns(source, quote_price_usd=pl.lit(375.0))
    before = [pl.col(f"{s}_reserve").shift(1).over("pool").alias(f"{s}_reserve_before") for s in ("base", "quote")]
    updates = (
        pl.scan_parquet(RECORDING / "reserves.parquet")
        .join(pools.lazy().select("pool", "network"), on="pool")
        .sort("pool", "block", "tx_index", "log_index")
        .with_columns(source, *before)
        .rename({"time": "event_time"})
        .collect()
    )
    bars = candles(updates, pools, PoolsSpec()).sort("pool", "event_time")
    return bars.select(
        pl.col("pool").rle_id().alias(POOL_RUN), "event_time", pl.col("known_at").alias("closed_at"), "open", "high",
        "low", "close", pl.col("volume_usd").alias("volume"),
    )  # fmt: skip


def test_recorded_pools_are_the_same_in_both_ways_and_fill_every_field(recorded: pl.DataFrame) -> None:
    whole = history(recorded)
    some = recorded.filter(pl.col(POOL_RUN) < 12)
    assert_same(online(some), history(some))
    assert [name for name in FIELDS if whole[name].n_unique() < 10] == []
    rows = some.filter(pl.col(POOL_RUN) == 5).to_dicts()[:600]
    expected = pl.DataFrame([slowly(rows[: i + 1]) for i in range(0, len(rows), 13)], schema=whole.schema)
    its = history(recorded.filter(pl.col(POOL_RUN) == 5)).head(len(rows)).gather_every(13)
    assert_same(its, expected, near=1e-13)


def test_longer_bars_would_be_adjacent_at_their_own_length() -> None:
    bars = still_bars(40).with_columns(
        pl.col("event_time") + pl.int_range(pl.len()) * (timedelta(hours=1) - STEP), close=pl.Series([2.0, 3.0] * 20)
    )
    assert CALCULATOR.over_history(bars, 60, SPEC)["realised_24h"][-1] == pytest.approx(math.log(1.5))
    assert CALCULATOR.over_history(bars, 5, SPEC)["realised_24h"][-1] is None
