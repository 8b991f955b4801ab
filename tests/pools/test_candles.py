from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pools.candles import candles, trade_columns
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import CANDLES, POOLS, RESERVES

START = datetime(2024, 3, 1, tzinfo=UTC)
SPEC = PoolsSpec()


def told(updates: list[tuple[int, float, float]], pool: str = "0xaa") -> pl.DataFrame:
    """RESERVES rows from (seconds since start, base, quote)."""
    n = len(updates)
    seconds, base, quote = zip(*updates, strict=True)
    times = [START + timedelta(seconds=s) for s in seconds]
    return pl.DataFrame(
        {
            "source": "recording:x", "network": "eth", "pool": pool, "event_time": times, "known_at": times,
            "block": seconds, "tx_index": [0] * n, "log_index": range(n), "base_reserve": base, "quote_reserve": quote,
            "base_reserve_before": [None, *base[:-1]], "quote_reserve_before": [None, *quote[:-1]],
        },
        schema=RESERVES.schema,
    )  # fmt: skip


def pools(price: float | None = 375.0) -> pl.DataFrame:
    row = {"source": "recording:x", "network": "eth", "pool": "0xaa", "quote_price_usd": price}
    return pl.DataFrame([{name: row.get(name) for name in POOLS.schema}], schema=POOLS.schema)


BIRTH, BUY, SELL, ADD, REMOVE = (
    (0, 100.0, 10.0),
    (10, 80.0, 12.5),
    (20, 100.0, 10.5),
    (30, 200.0, 21.0),
    (400, 20.0, 2.1),
)


def test_a_bar_holds_prices_after_each_update_and_volume_from_trades_alone() -> None:
    bars = candles(told([BIRTH, BUY, SELL, ADD, REMOVE]), pools(), SPEC)
    assert bars.schema == CANDLES.schema
    first, second = bars.to_dicts()
    assert (first["open"], first["high"], first["low"], first["close"]) == (0.1, 12.5 / 80, 0.1, 0.105)
    assert (first["volume_quote"], first["volume_usd"], first["n_buys"], first["n_sells"]) == (4.5, 4.5 * 375, 1, 1)
    assert (first["quote_reserve_low"], first["quote_reserve_close"]) == (10.0, 21.0)
    assert (first["event_time"], first["known_at"]) == (START, START + timedelta(minutes=5))
    assert (first["built_from"], first["is_backfilled"]) == ("reserves", False)
    assert (second["volume_quote"], second["n_buys"], second["n_sells"]) == (0.0, 0, 0)


def test_no_candle_is_invented_where_nothing_happened() -> None:
    bars = candles(told([BIRTH, (7200, 80.0, 12.5)]), pools(), SPEC)
    assert bars["event_time"].to_list() == [START, START + timedelta(hours=2)]


def test_without_a_usd_price_the_usd_volume_is_null() -> None:
    assert candles(told([BIRTH, BUY]), pools(None), SPEC)["volume_usd"].to_list() == [None]
    assert candles(told([BIRTH, BUY]), POOLS.empty(), SPEC)["volume_usd"].to_list() == [None]


def test_no_updates_give_no_candles() -> None:
    assert candles(RESERVES.empty(), pools(), SPEC).schema == CANDLES.schema


@pytest.mark.parametrize(
    ("before", "after", "kind", "traded"),
    [
        ((None, None), (100.0, 10.0), None, None),
        ((100.0, 10.0), (80.0, 12.5), "buy", 2.5),
        ((80.0, 12.5), (100.0, 10.0), "sell", 2.5),
        ((100.0, 10.0), (200.0, 20.0), "add", None),
        ((100.0, 10.0), (50.0, 5.0), "remove", None),
        ((100.0, 10.0), (100.0, 10.0), None, None),
        ((100.0, 10.0), (90.0, 10.0), None, None),
        ((100.0, 10.0), (100.0, 12.0), None, None),
    ],
)
def test_an_update_is_what_its_two_reserves_did(
    before: tuple[float | None, float | None], after: tuple[float, float], kind: str | None, traded: float | None
) -> None:
    names = ("base_reserve_before", "quote_reserve_before", "base_reserve", "quote_reserve")
    row = pl.DataFrame([(*before, *after)], schema=dict.fromkeys(names, pl.Float64), orient="row")
    assert row.select(trade_columns()).rows() == [(kind, traded)]


reserves = st.floats(1e-3, 1e6)
histories = st.lists(st.tuples(st.integers(0, 3000), reserves, reserves), min_size=1, max_size=40).map(sorted)


@settings(deadline=None)  # the machine may be busy; what counts is the answer
@given(histories, st.integers(0, 5))
def test_candles_do_not_depend_on_the_order_of_rows_and_one_hour_does_not_need_another(
    history: list[tuple[int, float, float]], seed: int
) -> None:
    updates = told(history)
    whole = candles(updates, pools(), SPEC)
    assert candles(updates.sample(fraction=1, shuffle=True, seed=seed), pools(), SPEC).equals(whole)
    cut = START + timedelta(minutes=25)
    halves = [candles(updates.filter(side), pools(), SPEC) for side in
              (pl.col("event_time") < cut, pl.col("event_time") >= cut)]  # fmt: skip
    assert pl.concat(halves).equals(whole)


@settings(deadline=None)  # the machine may be busy; what counts is the answer
@given(histories)
def test_a_bar_contains_its_own_ends(history: list[tuple[int, float, float]]) -> None:
    bars = candles(told(history), pools(), SPEC)
    inside = (pl.col("low") <= pl.min_horizontal("open", "close")) & (
        pl.col("high") >= pl.max_horizontal("open", "close")
    )
    assert bars.select(inside.all()).item()
    assert bars["n_buys"].sum() + bars["n_sells"].sum() <= len(history) - 1


def test_many_candles_are_the_same_to_the_last_bit_every_time() -> None:
    rng = np.random.default_rng(3)
    seconds = np.sort(rng.integers(0, 3600, 40_000)).tolist()
    base, quote = rng.lognormal(5, 1, (2, 40_000))
    updates = pl.concat(told(list(zip(seconds, base * k, quote, strict=True)), pool=f"0x{k}") for k in range(1, 5))
    first = candles(updates, pools(), SPEC)
    assert all(candles(updates, pools(), SPEC).equals(first) for _ in range(4))
