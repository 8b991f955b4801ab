"""What a pool was like at any moment."""

import math
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_market import SOURCE, START, Update, at, frames, market

from pipeline.errors import InputError
from pipeline.sandbox.market import WINDOW_MINUTES, Market, Window

POOL = ("eth", "0xaa")
DAY_S = 86_400

amounts = st.sampled_from([0.0, 1e-9, 1.0, 2.0, 3.0, 100.0, 1e18, math.nan, math.inf, -1.0])
befores = st.one_of(st.none(), st.none(), st.none(), st.tuples(amounts, amounts))
moments = st.integers(0, 2 * DAY_S // 150).map(lambda step: step * 150.0)
lives = st.lists(st.tuples(moments, amounts, amounts, befores), min_size=1, max_size=30).map(
    lambda rows: [Update(*row) for row in sorted(rows, key=lambda row: row[0])]
)


def is_amount(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def price_after(update: Update) -> float:
    if not (is_amount(update.base) and is_amount(update.quote)) or update.base == 0:
        return math.nan
    price = update.quote / update.base
    return price if math.isfinite(price) else math.nan


def naive_window(life: list[Update], now: float, length_s: float) -> tuple[float, float, int | None, int | None]:
    """Change, volume, purchases and sales of the updates in (now - length, now], one after the other."""
    volume, n_buys, n_sells, is_known = 0.0, 0, 0, True
    before: tuple[float, float] | None = None
    past, first_price = math.nan, math.nan
    has_past = False
    for update in (u for u in life if u.seconds <= now):
        was = before if update.before is None else update.before
        before = (update.base, update.quote)
        if update.seconds <= now - length_s:
            past, has_past = price_after(update), True
        if math.isnan(first_price) and price_after(update) > 0:
            first_price = price_after(update)
        if update.seconds > now - length_s and was is not None:
            if not all(map(is_amount, (*was, update.base, update.quote))):
                is_known = False
                continue
            gained, given_up = update.quote - was[1], update.base - was[0]
            if gained > 0 > given_up:
                n_buys, volume = n_buys + 1, volume + gained
            elif gained < 0 < given_up:
                n_sells, volume = n_sells + 1, volume - gained
    last = price_after([u for u in life if u.seconds <= now][-1])
    reference = past if has_past else first_price
    change = (last / reference - 1) * 100 if reference else math.nan
    return (change, volume, n_buys, n_sells) if is_known else (change, math.nan, None, None)


def same(ours: float, theirs: float) -> bool:
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return math.isfinite(ours) == math.isfinite(theirs)
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)


def assert_same_window(ours: Window, theirs: tuple[float, float, int | None, int | None]) -> None:
    assert same(ours.change_pct, theirs[0])
    assert same(ours.volume_quote, theirs[1])
    assert (ours.n_buys, ours.n_sells) == theirs[2:]


@given(life=lives, step=st.integers(0, 3 * DAY_S // 150))
def test_state_and_windows_are_those_of_a_naive_walk_through_the_updates(life: list[Update], step: int) -> None:
    now = step * 150.0
    made = market({POOL: life, ("eth", "0xbb"): life[::2], ("bsc", "0xaa"): life[:1]})
    pool = made.pool(*POOL, at(now))
    seen = [update for update in life if update.seconds <= now]
    if not seen:
        assert pool is None
        return
    assert pool is not None
    state = made.state(pool, at(now))
    assert same(state.base, seen[-1].base if is_amount(seen[-1].base) else math.nan)
    assert same(state.quote, seen[-1].quote if is_amount(seen[-1].quote) else math.nan)
    assert same(state.price, price_after(seen[-1]))
    for name, minutes in WINDOW_MINUTES.items():
        assert_same_window(state.windows[name], naive_window(life, now, minutes * 60))


@given(life=lives, step=st.integers(0, 2 * DAY_S // 150))
def test_what_is_told_at_a_moment_does_not_change_when_the_future_is_cut(life: list[Update], step: int) -> None:
    now = step * 150.0
    whole, cut = market({POOL: life}), [update for update in life if update.seconds <= now]
    pool = whole.pool(*POOL, at(now))
    if pool is None:
        assert not cut
        return
    past = market({POOL: cut})
    again = past.pool(*POOL, at(now))
    assert again is not None
    assert repr(whole.state(pool, at(now))) == repr(past.state(again, at(now)))


def test_an_update_counts_at_its_own_moment_and_leaves_the_window_a_window_later() -> None:
    made = market({POOL: [Update(0, 100, 10), Update(60, 90, 12)]})
    pool = made.pool(*POOL, at(60))
    assert pool is not None
    assert made.state(pool, at(59)).windows["m5"].n_buys == 0
    assert made.state(pool, at(60)).windows["m5"].n_buys == 1
    assert made.state(pool, at(359)).windows["m5"].n_buys == 1
    assert made.state(pool, at(360)).windows["m5"].n_buys == 0
    assert made.state(pool, at(360)).windows["m15"].n_buys == 1


def test_windows_longer_than_the_pools_life_repeat_the_shorter_ones() -> None:
    made = market({POOL: [Update(0, 100, 10), Update(60, 90, 12), Update(120, 95, 11.5)]})
    pool = made.pool(*POOL, at(200))
    assert pool is not None
    windows = list(made.state(pool, at(200)).windows.values())
    assert len(set(windows)) == 1
    assert windows[0].change_pct == pytest.approx((11.5 / 95 / 0.1 - 1) * 100)


def test_a_first_price_that_comes_later_is_no_reference_yet() -> None:
    made = market({POOL: [Update(0, 1, 0), Update(100, 1, 1)]})
    pool = made.pool(*POOL, at(50))
    assert pool is not None
    assert math.isnan(made.state(pool, at(50)).windows["h1"].change_pct)
    assert made.state(pool, at(100)).windows["h1"].change_pct == 0.0


def test_liquidity_that_is_added_or_removed_is_no_trade() -> None:
    made = market({POOL: [Update(0, 100, 10), Update(1, 200, 20), Update(2, 50, 5), Update(3, 50, 6)]})
    pool = made.pool(*POOL, at(5))
    assert pool is not None
    assert made.state(pool, at(5)).windows["h24"] == Window(pytest.approx(20.0), 0.0, 0, 0)


def test_a_pool_is_listed_from_its_creation_on_once_it_has_an_update() -> None:
    made = market({POOL: [Update(0, 1, 1), Update(100, 1, 1)], ("eth", "0xbb"): []}, created=timedelta(seconds=50))
    assert made.pool(*POOL, at(99)) is None
    assert made.pool(*POOL, at(100)) is not None
    assert [pool.address for pool in made.newest("eth", at(200))] == ["0xaa"]
    assert list(made.newest(None, at(99))) == []


def test_the_newest_pools_come_first_and_of_the_network_that_was_asked_for() -> None:
    reserves, pools = frames(
        {("eth", f"0x{i}"): [Update(i, 1, 1)] for i in range(5)} | {("bsc", "0x9"): [Update(9, 1, 1)]}
    )
    born = pl.col("pool").str.slice(2).cast(pl.Int64)
    made = Market.of(reserves, pools.with_columns(created_at=START + pl.duration(seconds=born)), SOURCE)
    assert [pool.address for pool in made.newest("eth", at(3))] == ["0x3", "0x2", "0x1", "0x0"]
    assert [pool.address for pool in made.newest(None, at(100))][:2] == ["0x9", "0x4"]


def test_the_order_of_rows_and_repeated_rows_change_nothing() -> None:
    life = [Update(0, 100, 10), Update(60, 90, 12), Update(60, 80, 14), Update(400, 85, 13)]
    reserves, pools = frames({POOL: life, ("eth", "0xbb"): life})
    shuffled = pl.concat([reserves, reserves]).sample(fraction=1.0, shuffle=True, seed=3)
    told, again = Market.of(reserves, pools, SOURCE), Market.of(shuffled, pools.reverse(), SOURCE)
    for now in (0, 60, 500):
        states = [made.state(made._by_key[POOL], at(now)) for made in (told, again)]
        assert states[0] == states[1]


def test_frames_without_a_column_without_pools_or_with_one_pool_twice_are_refused() -> None:
    reserves, pools = frames({POOL: [Update(0, 1, 1)]})
    with pytest.raises(InputError, match="quote_reserve"):
        Market.of(reserves.drop("quote_reserve"), pools, SOURCE)
    for bad in (pools.clear(), pl.concat([pools, pools])):
        with pytest.raises(InputError, match="each told once"):
            Market.of(reserves, bad, SOURCE)
