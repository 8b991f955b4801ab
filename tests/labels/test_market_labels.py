"""The market as a whole, looking forward: against plain sums, and blind to what lies before."""

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
N_POOLS, N_SLOTS = 8, 20 * 12
FAR = START + timedelta(days=9)
POOLS_FRAME = pl.DataFrame(
    [
        {"source": SOURCE, "network": NETWORK, "pool": f"0x{i}", "quote_token": "0xweth" if i < 6 else "0xusdc"}
        for i in range(N_POOLS)
    ],
    schema=POOLS.schema,
)


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
    logs: np.ndarray, weth: np.ndarray | None = None, now: datetime = FAR, hours: tuple[int, int] = (0, 4)
) -> pl.DataFrame:
    seen = SNAPSHOTS.empty() if weth is None else snapshots(weth)
    span = Span(START + hours[0] * HOUR, START + hours[1] * HOUR)
    return label_market(candles(logs), seen, POOLS_FRAME, span, now, SPEC)


def row(frame: pl.DataFrame, kind: str, hour: int = 0) -> dict[str, object]:
    return frame.filter(pl.col("kind") == kind, pl.col("event_time") == START + hour * HOUR).row(0, named=True)


def midmean(values: np.ndarray) -> np.ndarray:
    """The mean of the middle half, slot by slot."""
    ordered = np.sort(values, axis=0)
    n = len(values)
    place = (np.arange(n) + 0.5) / n
    return ordered[(place >= 0.25) & (place <= 0.75)].mean(axis=0)


@pytest.mark.parametrize("hour", [0, 3])
def test_the_regime_is_the_sum_of_the_midmeans_of_the_twelve_hours_ahead(hour: int) -> None:
    logs = walk(0.001, 0.002, 1)
    moves = midmean(np.diff(logs, axis=1))[hour * 12 : hour * 12 + 143]
    found = row(labels(logs), "regime", hour)
    assert found["return_pct"] == pytest.approx((math.exp(moves.sum()) - 1) * 100)
    assert found["confidence"] == pytest.approx(1 - stats.ttest_1samp(moves, 0).pvalue)
    assert (found["value"], found["label_known_at"]) == ("bull", START + (hour + 12) * HOUR)


@pytest.mark.parametrize(("drift", "value"), [(0.002, "bull"), (-0.002, "bear"), (0.0, "sideways")])
def test_a_drifting_market_is_a_bull_or_a_bear_and_sure_of_it(drift: float, value: str) -> None:
    found = row(labels(walk(drift, 0.001, 2)), "regime")
    assert found["value"] == value
    assert (found["confidence"] > 0.99) == (drift != 0)  # type: ignore[operator]


def test_rotation_is_the_base_asset_against_the_pools_both_in_usd() -> None:
    logs, rng = walk(-0.002, 0.001, 3), np.random.default_rng(4)
    weth = 300 * np.exp(np.cumsum(0.0005 + 0.0005 * rng.standard_normal(N_SLOTS)))
    # A bar that starts at slot s ends at s + 1: there its quote token's price is told.
    quote = np.diff(np.log(weth))
    in_usd = np.diff(logs, axis=1)[:, :71]
    in_usd[:6] += quote[1:72]
    moves = quote[1:72] - midmean(in_usd)
    found = row(labels(logs, weth), "rotation")
    assert found["return_pct"] == pytest.approx((math.exp(moves.sum()) - 1) * 100)
    assert (found["value"], found["label_known_at"]) == ("into_base", START + 6 * HOUR)
    assert row(labels(-logs, weth), "rotation")["value"] == "into_pools"
    assert row(labels(logs * 0, weth * 0 + 300 + np.arange(N_SLOTS) * 1e-3), "rotation")["value"] == "none"


def test_nothing_from_before_the_hour_enters() -> None:
    logs, weth = walk(0.0, 0.01, 5), 300 + np.random.default_rng(6).random(N_SLOTS)
    hour = 2
    # The bar that starts with the hour is the first of its window, so only what lies before it may change.
    before_logs, before_weth = logs.copy(), weth.copy()
    before_logs[:, : hour * 12] += np.random.default_rng(7).standard_normal((N_POOLS, hour * 12))
    before_weth[: hour * 12 + 1] *= 7
    plain = labels(logs, weth, hours=(hour, hour + 1))
    assert plain.equals(labels(before_logs, before_weth, hours=(hour, hour + 1)))
    after = logs.copy()
    after[:, hour * 12 + 30] += 1
    assert not plain.equals(labels(after + np.arange(N_SLOTS) * 1e-3, weth, hours=(hour, hour + 1)))


def test_spans_cut_anywhere_and_rows_in_any_order_give_the_same_labels() -> None:
    logs, weth = walk(0.0, 0.01, 8), 300 + np.random.default_rng(9).random(N_SLOTS)
    whole = labels(logs, weth)
    parts = [labels(logs, weth, hours=(h, h + 1)) for h in range(4)]
    assert pl.concat(parts).sort(MARKET_LABELS.key).equals(whole)
    shuffled = label_market(
        candles(logs).sample(fraction=1, shuffle=True, seed=1),
        snapshots(weth).sample(fraction=1, shuffle=True, seed=2),
        POOLS_FRAME,
        Span(START, START + 4 * HOUR),
        FAR,
        SPEC,
    )
    assert shuffled.equals(whole)


def test_a_base_price_that_is_a_constant_or_nowhere_is_censored_and_so_is_a_market_of_few() -> None:
    logs = walk(0.0, 0.01, 10)
    assert row(labels(logs, np.full(N_SLOTS, 375.0)), "rotation")["censor_reason"] == "base_price_constant"
    assert row(labels(logs), "rotation")["censor_reason"] == "base_price_not_observed"
    assert row(labels(logs[:2]), "regime")["censor_reason"] == "too_few_pools"
    assert row(labels(logs[:, :20]), "regime")["censor_reason"] == "too_few_bars"


def test_it_is_pending_until_the_horizon_and_then_waits_for_what_is_missing() -> None:
    logs = walk(0.0, 0.01, 11)
    assert row(labels(logs, now=START + 12 * HOUR - BAR), "regime")["status"] == "pending"
    assert row(labels(logs, now=START + 12 * HOUR), "regime")["status"] == "labelled"
    patience = START + timedelta(hours=12 + SPEC.patience_hours)
    assert row(labels(logs[:2], now=patience), "regime")["status"] == "pending"
    assert row(labels(logs[:2], now=patience + BAR), "regime")["status"] == "censored"
    assert SPEC.maturity == patience - START


def test_every_hour_kind_and_network_has_one_row_that_is_one_of_three() -> None:
    found = labels(walk(0.0, 0.01, 12), now=START + 14 * HOUR)
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
