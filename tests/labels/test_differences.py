"""What is said of pools on which two verdicts differ."""

from datetime import timedelta

import polars as pl
import pytest
from labelled_paths import START, Bar, Case, candles_of, decisions_of

from pipeline.labels.differences import HAPPENED, classified
from pipeline.labels.spec import LabelsSpec

SPEC = LabelsSpec(horizons_hours=(1,))


def bar(slot: int, price: int, reserve: int) -> Bar:
    return Bar(slot, price, price, price, reserve)


OPENING = bar(0, 100, 100)


@pytest.mark.parametrize(
    ("bars", "is_rug", "happened"),
    [
        ([OPENING], None, "not_judged"),
        ([OPENING], False, "no_update_after"),
        ([OPENING, bar(2, 10, 100), bar(20, 100, 100)], False, "rug_before"),
        ([OPENING, bar(2, 100, 5)], False, "drained_before"),
        ([OPENING, bar(30, 100, 100), bar(40, 10, 100)], False, "rug_later"),
        ([OPENING, bar(30, 100, 100), bar(40, 100, 5)], False, "drained_later"),
        ([OPENING, bar(15, 90, 5)], False, "drained_at_unmoved_price"),
        ([OPENING, bar(15, 10, 60)], True, "price_fell_with_reserve_left"),
        ([OPENING, bar(15, 40, 5)], True, "drained_and_down"),
        ([OPENING, bar(15, 40, 60)], False, "price_fell_short"),
        ([OPENING, bar(15, 90, 90)], False, "nothing_of_the_kind"),
        ([OPENING, bar(15, 90, 90), bar(40, 90, 90)], False, "nothing_of_the_kind"),
    ],
)
def test_each_pool_gets_what_happened_to_it(bars: list[Bar], is_rug: bool | None, happened: str) -> None:
    case = Case(bars=bars, slot=12)
    candles = candles_of(case).with_columns(open="close")
    paired = pl.DataFrame({"pool": [case.pool], "is_rug": [is_rug], "is_rug_theirs": [not is_rug]})
    paired = paired.with_columns(pl.col("is_rug").cast(pl.Boolean))
    assert classified(paired, decisions_of(case), candles, SPEC)["happened"].to_list() == [happened]
    assert happened in HAPPENED


def test_the_lowest_price_and_reserve_are_those_within_the_horizon() -> None:
    case = Case(bars=[OPENING, bar(13, 80, 70), bar(40, 1, 1)], slot=12)
    candles = candles_of(case).with_columns(open="close")
    paired = pl.DataFrame({"pool": [case.pool], "is_rug": [False], "is_rug_theirs": [True]})
    found = classified(paired, decisions_of(case), candles, SPEC)
    assert found.select("price_low_pct", "reserve_low_pct").row(0) == (pytest.approx(-20), pytest.approx(-30))
    assert START + timedelta(hours=1) == case.time
