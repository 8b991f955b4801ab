"""Forward returns over gaps, and the score made of them."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from returns_market import START
from scipy.stats import norm, rankdata

from pipeline.errors import InputError, UsageError
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import censored, scored, with_returns

UTC = pl.Datetime("us", "UTC")
SPEC = ReturnsSpec(horizons_hours=(1, 3), min_hour_pools=2)


def hours(*at: int) -> list[object]:
    return [START + timedelta(hours=h) for h in at]


def closes(name: str, prices: dict[int, float]) -> pl.DataFrame:
    frame = pl.DataFrame({"instrument": name, "known_at": hours(*prices), "close": list(prices.values())})
    return frame.with_columns(pl.col("known_at").cast(UTC))


def decisions(name: str, *at: int) -> pl.DataFrame:
    return pl.DataFrame({"instrument": name, "event_time": hours(*at)}).with_columns(pl.col("event_time").cast(UTC))


def test_a_return_is_entered_one_bar_after_the_decision() -> None:
    prices = closes("a", {1: 1.0, 2: 2.0, 3: 3.0, 4: 6.0, 5: 30.0})
    found = with_returns(decisions("a", 1), prices, SPEC, until=START + timedelta(hours=5))
    assert found["return_1h"].to_list() == [0.5]
    assert found["return_3h"].to_list() == [14.0]
    assert found["label_end_1h"].to_list() == hours(3)
    assert found["label_end_3h"].to_list() == hours(5)


def test_over_a_gap_the_price_is_what_the_last_trade_made_it() -> None:
    prices = closes("a", {1: 1.0, 4: 5.0})
    found = with_returns(decisions("a", 1), prices, SPEC, until=START + timedelta(hours=9))
    assert found["return_1h"].to_list() == [0.0]
    assert found["return_3h"].to_list() == [4.0]


def test_a_pool_that_stops_trading_keeps_its_last_price_and_does_not_vanish() -> None:
    found = with_returns(decisions("a", 1), closes("a", {1: 1.0}), SPEC, until=START + timedelta(hours=9))
    assert found["return_1h"].to_list() == [0.0]
    assert found["return_3h"].to_list() == [0.0]


def test_a_return_that_ends_after_the_calendar_is_pending() -> None:
    prices = closes("a", {1: 1.0, 2: 2.0, 3: 3.0})
    found = with_returns(decisions("a", 1), prices, SPEC, until=START + timedelta(hours=4))
    assert found["return_1h"].to_list() == [0.5]
    assert found["return_3h"].to_list() == [None]


def test_returns_are_those_of_a_slow_loop_over_random_gaps() -> None:
    rng = np.random.default_rng(5)
    prices, asked = [], []
    for name in "abc":
        at = np.flatnonzero(rng.random(40) < 0.4) + 1
        prices.append(closes(name, {int(h): float(p) for h, p in zip(at, rng.random(at.size) + 0.1, strict=True)}))
        asked.append(decisions(name, *at.tolist()))
    book, rows = pl.concat(prices), pl.concat(asked).sample(fraction=1.0, shuffle=True, seed=1)
    found = with_returns(rows, book, SPEC, until=START + timedelta(hours=38))

    def price(name: str, time: object) -> float:
        return book.filter(pl.col("instrument") == name, pl.col("known_at") <= time).sort("known_at")["close"][-1]

    for row in found.iter_rows(named=True):
        for h in SPEC.horizons_hours:
            out = row["event_time"] + timedelta(hours=1 + h)
            entry = price(row["instrument"], row["event_time"] + timedelta(hours=1))
            expected = price(row["instrument"], out) / entry - 1 if out <= START + timedelta(hours=38) else None
            assert row[f"return_{h}h"] == (expected if expected is None else pytest.approx(expected, abs=1e-12))


def test_the_target_is_the_normal_score_of_the_rank_within_the_hour() -> None:
    rng = np.random.default_rng(3)
    values = np.r_[rng.normal(size=7), 0.0, 0.0, 0.0]
    frame = pl.DataFrame({"event_time": hours(*([1] * 10)), "return_1h": values, "label_end_1h": hours(*([3] * 10))})
    expected = norm.ppf((rankdata(values) - 0.5) / 10)
    assert scored(frame, 1, SPEC)["target"].to_numpy() == pytest.approx(expected - expected.mean(), abs=1e-12)


def test_an_hour_says_nothing_about_another_and_small_ones_do_not_count() -> None:
    frame = pl.DataFrame(
        {
            "event_time": hours(1, 1, 2, 3, 3),
            "return_1h": [0.1, 0.2, 9.0, 5.0, None],
            "label_end_1h": hours(3, 3, 4, 5, 5),
        }
    )
    found = scored(frame, 1, SPEC)
    assert found["event_time"].to_list() == hours(1, 1)
    assert found["target"].to_list() == pytest.approx([norm.ppf(0.25), norm.ppf(0.75)])
    assert found["forward_return"].to_list() == [0.1, 0.2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizons_hours": ()}, {"entry_lag_bars": 0}, {"kinds": ("linear", "linear")}, {"kinds": ("forest",)},
        {"seeds": ()}, {"quantile": 0.6}, {"bag_share": 0.0}, {"n_folds": 0},
    ],
)  # fmt: skip
def test_a_spec_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ReturnsSpec(**wrong)  # type: ignore[arg-type]


def unwatched(network: str, *at: int) -> pl.DataFrame:
    return pl.DataFrame({"network": network, "hour": hours(*at)}).with_columns(pl.col("hour").cast(UTC))


@pytest.mark.parametrize(
    ("hour", "is_known"),
    [
        (3, (True, True)),
        (4, (False, False)),
        (6, (False, False)),
        (7, (True, False)),
        (8, (True, False)),
        (9, (True, True)),
    ],
)
def test_a_return_whose_window_meets_an_hour_that_nobody_watched_is_not_known(
    hour: int, is_known: tuple[bool, bool]
) -> None:
    """Decided at 5 on the bar from 4; the returns end at 7 and at 9."""
    found = with_returns(decisions("a", 5), closes("a", {1: 1.0}), SPEC, until=START + timedelta(hours=20))
    found = censored(found.with_columns(pl.lit("eth").alias("network")), unwatched("eth", hour), SPEC)
    assert tuple(value is not None for value in found.select("return_1h", "return_3h").row(0)) == is_known
    assert found["label_end_3h"].to_list() == hours(9)


def test_what_nobody_watched_of_one_network_says_nothing_of_another_and_order_is_kept() -> None:
    found = with_returns(decisions("a", 9, 5), closes("a", {1: 1.0}), SPEC, until=START + timedelta(hours=20))
    found = found.with_columns(pl.lit("eth").alias("network"))
    assert censored(found, unwatched("base", 6), SPEC).equals(found)
    assert censored(found, unwatched("eth", 6), SPEC)["return_1h"].to_list() == [0.0, None]
    assert censored(found, unwatched("eth", 6).clear(), SPEC).equals(found)
    with pytest.raises(InputError, match="unwatched"):
        censored(found, unwatched("eth", 6).rename({"hour": "time"}), SPEC)
