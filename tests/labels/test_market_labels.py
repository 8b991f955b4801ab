"""The market as a whole, looking forward: against plain sums, blind to how hours are cut, and nothing on a null."""

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from labelled_paths import BAR, NETWORK, SOURCE, START
from scipy import stats

from pipeline.calendars import HOUR, Span
from pipeline.errors import UsageError
from pipeline.labels.market import label_market
from pipeline.labels.market_index import base_tokens
from pipeline.labels.market_spec import MarketSpec
from pipeline.tables import CANDLES, MARKET_LABELS, POOLS, SNAPSHOTS

SPEC = MarketSpec()
N_POOLS, N_SLOTS = 8, 30 * 12
FIRST = 8
"""The hour of the first label: before it lies what the prices at its beginning are told by."""
FAR = START + timedelta(days=9)
POOLS_FRAME = pl.DataFrame(
    [
        {"source": SOURCE, "network": NETWORK, "pool": f"0x{i}", "created_at": START,
         "quote_token": "0xweth" if i < 6 else "0xusdc", "watched_until": START + timedelta(days=8)}
        for i in range(N_POOLS)
    ],
    schema=POOLS.schema,
)  # fmt: skip
UNVOUCHED = POOLS_FRAME.with_columns(watched_until=pl.lit(None, POOLS.schema["watched_until"]))


def walk(drift: float, spread: float, seed: int) -> np.ndarray:
    """Log prices, pools by slots."""
    return np.cumsum(drift + spread * np.random.default_rng(seed).standard_normal((N_POOLS, N_SLOTS)), axis=1)


def candles(logs: np.ndarray, start: datetime = START) -> pl.DataFrame:
    rows = [
        {
            "source": SOURCE, "network": NETWORK, "pool": f"0x{i}", "timeframe": "5min",
            "event_time": start + s * BAR, "known_at": start + (s + 1) * BAR, "close": math.exp(logs[i, s]),
        }
        for i in range(logs.shape[0])
        for s in range(logs.shape[1])
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=CANDLES.schema)


def snapshots(weth: np.ndarray, usdc: float = 1.0) -> pl.DataFrame:
    """Snapshots every five minutes; `weth` are USD prices of the base asset at each slot."""
    rows = [
        {
            "source": SOURCE, "network": NETWORK, "pool": f"0x{i}", "event_time": START + s * BAR,
            "known_at": START + s * BAR, "price_quote": 3.0, "price_usd": 3.0 * (worth if i < 6 else usdc),
        }
        for i in range(N_POOLS)
        for s, worth in enumerate(weth)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SNAPSHOTS.schema)


def labels(
    logs: np.ndarray,
    weth: np.ndarray | None = None,
    now: datetime = FAR,
    hours: tuple[int, int] = (FIRST, FIRST + 4),
    pools: pl.DataFrame = POOLS_FRAME,
) -> pl.DataFrame:
    seen = SNAPSHOTS.empty() if weth is None else snapshots(weth)
    span = Span(START + hours[0] * HOUR, START + hours[1] * HOUR)
    return label_market(candles(logs), seen, pools, span, now, SPEC)


def row(frame: pl.DataFrame, kind: str, hour: int = FIRST) -> dict[str, object]:
    return frame.filter(pl.col("kind") == kind, pl.col("event_time") == START + hour * HOUR).row(0, named=True)


def over(logs: np.ndarray, hour: int, length: int) -> np.ndarray:
    """What each pool did over the window: from the close of the last bar before it to that of its last."""
    return logs[:, (hour + length) * 12 - 1] - logs[:, hour * 12 - 1]


def midmean(values: np.ndarray) -> np.ndarray:
    """The mean of the middle half."""
    ordered = np.sort(values, axis=0)
    n = len(values)
    place = (np.arange(n) + 0.5) / n
    return ordered[(place >= 0.25) & (place <= 0.75)].mean(axis=0)


def confidence(values: np.ndarray) -> float:
    """Yuen's (1974) t of a trimmed mean, one sample, by the library's own test against a sample that is nothing."""
    ordered, n = np.sort(values), len(values)
    place = (np.arange(n) + 0.5) / n
    kept = ordered[(place >= 0.25) & (place <= 0.75)]
    drawn_in = np.clip(values, kept.min(), kept.max())
    error = drawn_in.std(ddof=1) * math.sqrt(n) / len(kept)
    return 1 - 2 * float(stats.t.sf(abs(kept.mean()) / error, len(kept) - 1))


@pytest.mark.parametrize("hour", [FIRST, FIRST + 3])
def test_the_regime_is_the_midmean_over_pools_of_what_each_did_over_the_twelve_hours_ahead(hour: int) -> None:
    logs = walk(0.001, 0.002, 1)
    moves = over(logs, hour, 12)
    found = row(labels(logs), "regime", hour)
    assert found["return_pct"] == pytest.approx((math.exp(midmean(moves)) - 1) * 100)
    assert found["confidence"] == pytest.approx(confidence(moves))
    assert (found["value"], found["label_known_at"]) == ("bull", START + (hour + 12) * HOUR)


@pytest.mark.parametrize(("drift", "value"), [(0.002, "bull"), (-0.002, "bear"), (0.0, "sideways")])
def test_a_drifting_market_is_a_bull_or_a_bear_and_sure_of_it(drift: float, value: str) -> None:
    found = row(labels(walk(drift, 0.001, 2)), "regime")
    assert found["value"] == value
    assert (found["confidence"] > 0.99) == (drift != 0)  # type: ignore[operator]


def test_what_happened_between_bars_that_lie_apart_is_part_of_the_return() -> None:
    # Every pool creeps up within its hour of trading and falls between two of them.
    logs = np.tile(np.concatenate([np.arange(12) * 0.01, np.full(12, np.nan)]), (N_POOLS, 15))
    logs -= np.arange(N_SLOTS) // 24 * 0.2
    bars = candles(logs).filter(pl.col("close").is_finite())
    span = Span(START + FIRST * HOUR, START + (FIRST + 1) * HOUR)
    found = label_market(bars, SNAPSHOTS.empty(), POOLS_FRAME, span, FAR, SPEC)
    assert row(found, "regime")["return_pct"] == pytest.approx((math.exp(-6 * 0.2) - 1) * 100)


def regimes(logs: np.ndarray, is_traded: np.ndarray, day: int = 0) -> dict[str, int]:
    """How often each regime is named in one market, of hours so far apart that their windows do not overlap."""
    n = len(logs)
    pools = pl.concat([POOLS_FRAME.head(1).with_columns(pool=pl.lit(f"0x{i}")) for i in range(n)])
    bars = candles(np.where(is_traded, logs, np.nan)).filter(pl.col("close").is_finite())
    found = label_market(bars, SNAPSHOTS.empty(), pools, Span(START, START + timedelta(days=4)), FAR, SPEC)
    apart = found.filter(
        pl.col("kind") == "regime", pl.col("event_time").dt.hour() % 12 == 0, pl.col("status") == "labelled"
    )
    return dict(apart["value"].value_counts().iter_rows())


def test_a_market_of_no_drift_is_no_bull_because_it_rises_slowly_and_crashes() -> None:
    rng, total = np.random.default_rng(20), {"bull": 0, "bear": 0, "sideways": 0}
    for _ in range(6):
        shape = (60, 4 * 288)
        steps = np.where(rng.random(shape) < 1 / 20, -0.095, 0.005)  # nothing on average
        for name, n in regimes(np.cumsum(steps, axis=1), np.ones(shape, bool)).items():
            total[name] += n
    assert sum(total.values()) >= 36
    assert total["bull"] <= 4, total


def test_a_market_of_no_drift_is_no_bull_because_people_trade_when_it_rises() -> None:
    rng, total = np.random.default_rng(21), {"bull": 0, "bear": 0, "sideways": 0}
    for _ in range(6):
        steps = rng.normal(0, 0.01, (60, 4 * 288))
        is_traded = rng.random(steps.shape) < np.where(steps > 0, 0.3, 0.1)
        for name, n in regimes(np.cumsum(steps, axis=1), is_traded).items():
            total[name] += n
    assert sum(total.values()) >= 36
    assert total["bull"] <= 3, total


def test_pools_that_move_by_chance_are_surely_moving_as_often_as_chance_has_it() -> None:
    found = [
        row(labels(walk(0.0, 0.01, seed), hours=(FIRST, FIRST + 1)), "regime")["confidence"] for seed in range(200, 320)
    ]
    assert np.mean(np.array(found) > 0.9) == pytest.approx(0.1, abs=0.07)  # type: ignore[operator]
    # What they have in common is the market's own and not chance, however it came about in time.
    common = walk(0.0, 0.001, 400) + np.concatenate([np.zeros(FIRST * 12), np.linspace(0, 0.5, N_SLOTS - FIRST * 12)])
    assert row(labels(common), "regime")["confidence"] > 0.99  # type: ignore[operator]
    assert row(labels(walk(0.0, 0.01, 1)[:3]), "regime")["confidence"] is None


def test_rotation_is_the_base_asset_against_the_pools_both_in_usd() -> None:
    logs, rng = walk(-0.002, 0.001, 3), np.random.default_rng(4)
    weth = 300 * np.exp(np.cumsum(0.0005 + 0.0005 * rng.standard_normal(N_SLOTS)))
    # A snapshot on the hour is the last before it.
    quote = math.log(weth[(FIRST + 6) * 12] / weth[FIRST * 12])
    in_usd = over(logs, FIRST, 6)
    in_usd[:6] += quote
    found = row(labels(logs, weth), "rotation")
    assert found["return_pct"] == pytest.approx((math.exp(midmean(quote - in_usd)) - 1) * 100)
    assert found["confidence"] == pytest.approx(confidence(quote - in_usd))
    assert (found["value"], found["label_known_at"]) == ("into_base", START + (FIRST + 6) * HOUR)
    assert row(labels(-logs, weth), "rotation")["value"] == "into_pools"
    assert row(labels(logs * 0, weth * 0 + 300 + np.arange(N_SLOTS) * 1e-3), "rotation")["value"] == "none"


def test_of_what_lies_before_the_hour_only_the_last_price_enters() -> None:
    logs, weth = walk(0.0, 0.01, 5), 300 + np.random.default_rng(6).random(N_SLOTS)
    before_logs, before_weth = logs.copy(), weth.copy()
    before_logs[:, : FIRST * 12 - 1] += np.random.default_rng(7).standard_normal((N_POOLS, FIRST * 12 - 1))
    before_weth[: FIRST * 12] *= 7
    plain = labels(logs, weth, hours=(FIRST, FIRST + 1))
    assert plain.equals(labels(before_logs, before_weth, hours=(FIRST, FIRST + 1)))
    after = logs.copy()
    after[:, (FIRST + 12) * 12 :] += 1
    assert plain.equals(labels(after, weth, hours=(FIRST, FIRST + 1)))
    after[:3, (FIRST + 12) * 12 - 1] += 1
    assert not plain.equals(labels(after, weth, hours=(FIRST, FIRST + 1)))


def test_a_pool_counts_that_traded_in_the_look_back_whatever_it_does_afterwards() -> None:
    logs, hour = walk(0.0, 0.01, 13), 26
    bars = candles(np.pad(logs, ((0, 0), (0, 20 * 12)), mode="edge"))
    span = Span(START + hour * HOUR, START + (hour + 1) * HOUR)
    start = pl.col("event_time")
    fell_silent = (pl.col("pool") == "0x0") & (start >= span.start)
    # Silent since a bar that began 24 h before the hour, or just before that.
    gone = {n: (pl.col("pool") == f"0x{n}") & (start > START + timedelta(hours=2) - n * BAR) for n in (1, 2)}
    told = bars.filter(~fell_silent & ~gone[1] & ~gone[2])
    told = pl.concat([told, bars.filter(pl.col("pool") == "0x1", start == START + 2 * HOUR)])
    found = row(label_market(told, SNAPSHOTS.empty(), POOLS_FRAME, span, FAR, SPEC), "regime", hour)
    moves = np.pad(logs, ((0, 0), (0, 20 * 12)), mode="edge")[:, (hour + 12) * 12 - 1] - logs[:, hour * 12 - 1]
    moves[:2] = 0
    counted = np.delete(moves, 2)
    assert found["return_pct"] == pytest.approx((math.exp(midmean(counted)) - 1) * 100)


def test_spans_cut_anywhere_and_rows_in_any_order_give_the_same_labels() -> None:
    logs, weth = walk(0.0, 0.01, 8), 300 + np.random.default_rng(9).random(N_SLOTS)
    # One network more, whose first pool is born within the span, and a token nobody asked for before.
    late = POOLS_FRAME.head(1).with_columns(network=pl.lit("base"), created_at=START + 10.5 * HOUR)
    pools = pl.concat([POOLS_FRAME, late])
    bars, seen = candles(logs), snapshots(weth)
    whole = label_market(bars, seen, pools, Span(START, START + 14 * HOUR), FAR, SPEC)
    assert set(whole.filter(pl.col("network") == "base")["event_time"].dt.hour()) == {10, 11, 12, 13}
    at, parts = pl.col("event_time"), []
    for h in range(14):
        span = Span(START + h * HOUR, START + (h + 1) * HOUR)
        around = span.widened(back=SPEC.back, ahead=SPEC.ahead)
        near = [f.filter(at >= around.start, at < around.end) for f in (bars, seen)]
        parts.append(label_market(*near, pools, span, FAR, SPEC))
    assert pl.concat(parts).sort(MARKET_LABELS.key).equals(whole)
    shuffled = label_market(
        bars.sample(fraction=1, shuffle=True, seed=1),
        seen.sample(fraction=1, shuffle=True, seed=2),
        pools.sample(fraction=1, shuffle=True, seed=3),
        Span(START, START + 14 * HOUR),
        FAR,
        SPEC,
    )
    assert shuffled.equals(whole)


def test_a_base_price_that_is_a_constant_or_nowhere_is_censored_and_so_is_a_market_of_few() -> None:
    logs = walk(0.0, 0.01, 10)
    assert row(labels(logs, np.full(N_SLOTS, 375.0)), "rotation")["censor_reason"] == "base_price_constant"
    assert row(labels(logs), "rotation")["censor_reason"] == "base_price_not_observed"
    assert row(labels(logs[:2]), "regime")["censor_reason"] == "too_few_pools"
    assert row(labels(logs[:, : FIRST * 12 + 20]), "regime")["censor_reason"] == "too_few_bars"


def test_a_record_that_ends_before_the_window_does_tells_nothing_of_it() -> None:
    until = START + (FIRST + 12) * HOUR
    ends = POOLS_FRAME.with_columns(watched_until=pl.lit(until - BAR, POOLS.schema["watched_until"]))
    assert row(labels(walk(0.0, 0.01, 10), pools=ends), "regime")["censor_reason"] == "too_few_pools"
    ends = ends.with_columns(watched_until=pl.lit(until, POOLS.schema["watched_until"]))
    assert row(labels(walk(0.0, 0.01, 10), pools=ends), "regime")["status"] == "labelled"


def test_it_is_pending_until_the_horizon_and_where_nobody_vouches_until_patience_has_run_out() -> None:
    logs, end = walk(0.0, 0.01, 11), START + (FIRST + 12) * HOUR
    assert row(labels(logs, now=end - BAR), "regime")["status"] == "pending"
    assert row(labels(logs, now=end), "regime")["status"] == "labelled"
    patience = end + timedelta(hours=SPEC.patience_hours)
    for few, pools, status in ((logs[:2], POOLS_FRAME, "censored"), (logs, UNVOUCHED, "labelled")):
        assert row(labels(few, now=patience - BAR, pools=pools), "regime")["status"] == "pending"
        assert row(labels(few, now=patience, pools=pools), "regime")["status"] == status
    assert row(labels(logs, pools=UNVOUCHED), "regime")["label_known_at"] == patience
    assert SPEC.maturity == patience - START - FIRST * HOUR


def test_every_hour_kind_and_network_has_one_row_that_is_one_of_three() -> None:
    found = labels(walk(0.0, 0.01, 12), now=START + (FIRST + 14) * HOUR)
    assert found.schema == MARKET_LABELS.schema
    assert found.height == 8
    for status, value, reason in found.select("status", "value", "censor_reason").iter_rows():
        assert (value is not None, reason is not None) == (status == "labelled", status == "censored")


def test_no_pools_give_no_rows_and_a_spec_out_of_range_is_refused() -> None:
    nothing = label_market(CANDLES.empty(), SNAPSHOTS.empty(), POOLS.empty(), Span(START, START + HOUR), FAR, SPEC)
    assert nothing.equals(MARKET_LABELS.empty())
    with pytest.raises(UsageError, match="trim_share"):
        MarketSpec(trim_share=0.5)
    with pytest.raises(UsageError, match="whole hours"):
        MarketSpec(regime_pct=0)


def test_the_base_asset_is_the_quote_token_of_most_pools_seen_after_the_hour_and_of_equals_the_first() -> None:
    tokens = {0: "0xa", 1: "0xb", 2: "0xb", 3: "0xc"}
    pools = POOLS_FRAME.head(4).with_columns(quote_token=pl.Series([tokens[i] for i in range(4)]))

    def base(seen: list[tuple[int, int]]) -> dict[datetime, str]:
        rows = [
            {"source": SOURCE, "network": NETWORK, "pool": f"0x{i}", "event_time": START + s * BAR} for i, s in seen
        ]
        found = base_tokens(pl.DataFrame(rows, schema=SNAPSHOTS.schema), pools, 2)
        return dict(found.select("event_time", "base_token").iter_rows())

    assert base([(0, 6), (1, 7), (2, 8)])[START] == "0xb"
    assert base([(0, 6), (3, 7), (3, 8)])[START] == "0xa"
    # A snapshot on the hour was seen before it, and belongs to the hour that it ends.
    assert base([(0, 12), (1, 24), (2, 24)]) == {START - HOUR: "0xa", START: "0xb", START + HOUR: "0xb"}
