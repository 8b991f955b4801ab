"""What a position would have brought, against arithmetic by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_paths import BAR, START, Bar, Case, Sight, label

from pipeline.errors import UsageError
from pipeline.labels.executable import round_trip_pct
from pipeline.labels.spec import LabelsSpec

AMOUNTS = st.floats(1e-6, 1e12)
FEES = st.sampled_from([0.0, 0.3, 1.0])


def one(*, position: float, price: float, quote: float, price_then: float, quote_then: float, fee: float) -> float:
    def array(value: float) -> np.ndarray:
        return np.array([value])

    entry, leave = (array(price), array(quote)), (array(price_then), array(quote_then))
    return float(round_trip_pct(array(position), entry, leave, fee)[0])


def test_ten_tokens_into_a_pool_of_a_hundred_and_out_of_it_untouched_by_hand() -> None:
    # 100 quote and 100 base: 10 buys 100 * 10 / 110 = 9.0909 base, which sells for 100 * 9.0909 / 109.0909 = 8.3333.
    found = one(position=10, price=1, quote=100, price_then=1, quote_then=100, fee=0)
    assert found == pytest.approx(-100 / 6)
    # With 0.3 %: 9.97 reach the pool and buy 9.06611; 9.03891 of them count and sell for 8.28962.
    assert one(position=10, price=1, quote=100, price_then=1, quote_then=100, fee=0.3) == pytest.approx(
        -17.1038, abs=1e-4
    )


@given(position=AMOUNTS, price=AMOUNTS, quote=AMOUNTS, price_then=AMOUNTS, quote_then=AMOUNTS, fee=FEES)
def test_it_is_never_above_the_gross_return_less_two_fees(**case: float) -> None:
    gross = case["price_then"] / case["price"] * (1 - case["fee"] / 100) ** 2
    found = one(**case)  # type: ignore[arg-type]
    assert -100 <= found <= (gross - 1) * 100 + 1e-9 * (1 + gross) * 100


@given(position=AMOUNTS, more=st.floats(1.0, 1e6), price=AMOUNTS, quote=AMOUNTS, price_then=AMOUNTS, quote_then=AMOUNTS)
def test_a_larger_position_brings_no_more_a_token(more: float, **case: float) -> None:
    small, large = one(**case, fee=0.3), one(**case | {"position": case["position"] * more}, fee=0.3)  # type: ignore[arg-type]
    assert large <= small + 1e-9 * (100 + abs(small))


def test_a_tiny_position_pays_two_fees_only() -> None:
    found = one(position=1e-9, price=2, quote=1e6, price_then=3, quote_then=2e6, fee=0.3)
    assert found == pytest.approx((1.5 * 0.997**2 - 1) * 100)


def test_what_is_gone_brings_nothing_and_what_is_not_known_is_not_told() -> None:
    known = {"position": 10.0, "price": 1.0, "quote": 100.0, "price_then": 1.0, "quote_then": 100.0, "fee": 0.3}
    assert one(**known | {"quote_then": 0.0}) == one(**known | {"price_then": 0.0}) == -100
    for name in ("position", "price", "quote", "price_then", "quote_then"):
        assert np.isnan(one(**known | {name: np.nan}))
    assert np.isnan(one(**known | {"quote": 0.0}))


def of_window(case: Case) -> tuple[object, object]:
    return label(case).select("return_executable_pct", "executable_entry_at").row(0)


def test_the_position_is_bought_at_the_first_snapshot_after_the_decision_and_sold_at_the_horizon() -> None:
    case = Case(bars=[Bar(1, 100, 200, 200, 400), Bar(9, 100, 300, 300, 900)], sights=[Sight(2, 200, 400)], unit=10.0)
    # 1,000 USD are 500 tokens; the pool holds 4,000 quote and 2 base when they come, 9,000 and 3 when they go.
    got = 2 * 498.5 / 4498.5 * 0.997
    assert of_window(case) == (pytest.approx((9000 * got / (3 + got) / 500 - 1) * 100), START + 2 * BAR)


def test_a_snapshot_that_comes_too_late_or_does_not_know_the_reserve_is_no_entry() -> None:
    case = Case(bars=[Bar(1, 100, 100, 100)], sights=[Sight(3)])
    assert of_window(case)[1] == START + 3 * BAR
    for first in (Sight(4), Sight(1, 100, None), Sight(1, None, 100), Sight(1, 100, 0)):
        assert of_window(replace(case, sights=[first, Sight(5)])) == (None, None)


def test_where_nothing_happened_after_the_entry_the_pool_is_as_it_was_and_a_drained_one_is_worth_nothing() -> None:
    still = of_window(Case(sights=[Sight(1)], quote_usd=1000.0))[0]
    assert still == pytest.approx(one(position=1, price=100, quote=100, price_then=100, quote_then=100, fee=0.3))
    assert of_window(Case(bars=[Bar(5, 100, 100, 100, 0)], sights=[Sight(1)]))[0] == -100


def test_the_entry_tells_nothing_of_the_decision_itself() -> None:
    case = Case(bars=[Bar(5, 100, 100, 100)], sights=[Sight(0, 1, 1), Sight(2)])
    assert label(case).equals(label(replace(case, sights=[Sight(2)])))


def test_a_position_of_nothing_or_a_fee_of_everything_is_refused() -> None:
    for wrong in ({"position_usd": 0.0}, {"fee_pct": 100.0}, {"direction_bars": 1}):
        with pytest.raises(UsageError, match="a position is above 0"):
            LabelsSpec(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="shares of a horizon"):
        LabelsSpec(gap_share=0)


def test_rows_not_labelled_have_no_executable_return() -> None:
    pending = label(Case(bars=[Bar(1, 100, 100, 100)], sights=[Sight(1)], now=START + 3 * BAR))
    assert pending.select(pl.col("^.*executable.*$").is_null().all()).row(0) == (True, True)


def test_an_update_at_the_very_horizon_is_not_sold_at_where_the_label_does_not_see_it() -> None:
    case = Case(bars=[Bar(2, 100, 100, 100)], sights=[Sight(1), Sight(12, 300, 100)], quote_usd=1000.0)
    still = one(position=1, price=100, quote=100, price_then=100, quote_then=100, fee=0.3)
    assert of_window(case)[0] == pytest.approx(still)
    found = label(case).row(0, named=True)
    assert (found["return_end_pct"], found["path_known_at"]) == (0, START + 12 * BAR)
    seen = [Sight(1), Sight(7), Sight(12, 300, 100)]
    assert of_window(replace(case, sights=seen, watched_until=None))[0] > 0  # type: ignore[operator]
