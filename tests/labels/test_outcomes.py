"""The written rule, edge by edge."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from labelled_paths import (
    BAR,
    FAR,
    START,
    Bar,
    Case,
    candles_of,
    decisions_of,
    label,
    pools_of,
    stills_of,
)

from pipeline.errors import InputError, UsageError
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import LABELS

HOUR = timedelta(hours=1)


def flat(slot: int, price: int, reserve: int | None = 100) -> Bar:
    return Bar(slot, price, price, price, reserve)


def row_of(case: Case) -> dict[str, object]:
    return label(case).row(0, named=True)


@pytest.mark.parametrize(
    ("close", "outcome"),
    [
        (19, "RUG"),
        (20, "DECLINE"),
        (69, "DECLINE"),
        (70, "DIP"),
        (94, "DIP"),
        (95, "STABLE"),
        (105, "STABLE"),
        (106, "RISE"),
        (130, "RISE"),
        (131, "PUMP"),
        (200, "PUMP"),
        (201, "MOON"),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 0.1, 0.7e-12, 3.7e19])
def test_a_threshold_itself_belongs_to_the_milder_class(close: int, outcome: str, unit: float) -> None:
    assert row_of(Case(bars=[flat(4, close)], unit=unit))["outcome"] == outcome


def test_a_drained_reserve_is_a_rug_only_with_the_price_down_more_than_half_in_the_same_bar() -> None:
    assert row_of(Case(bars=[flat(2, 49, reserve=9)]))["outcome"] == "RUG"
    assert row_of(Case(bars=[flat(2, 50, reserve=9)]))["outcome"] == "DECLINE"
    assert row_of(Case(bars=[flat(2, 49, reserve=10)]))["outcome"] == "DECLINE"
    assert row_of(Case(bars=[flat(2, 90, reserve=9), flat(3, 49, reserve=50)]))["outcome"] == "DECLINE"


def test_a_rug_is_found_past_bars_that_meet_one_condition_each() -> None:
    singles = [flat(s, 40 if s % 2 else 90, reserve=100 if s % 2 else 5) for s in range(10)]
    found = row_of(Case(bars=[*singles, flat(10, 40, reserve=5), flat(11, 1, reserve=1)]))
    assert (found["outcome"], found["rug_at"]) == ("RUG", START + 11 * BAR)


def test_a_rug_that_recovers_is_still_a_rug_and_its_label_is_known_with_its_bar() -> None:
    found = row_of(Case(bars=[Bar(3, 10, 100, 90), flat(8, 300)]))
    assert (found["outcome"], found["rug_at"], found["label_known_at"]) == ("RUG", START + 4 * BAR, START + 4 * BAR)
    assert (found["return_end_pct"], found["peak_at"]) == (pytest.approx(200), START + 9 * BAR)


def test_a_pool_emptied_at_an_unmoved_price_is_a_rug_where_the_spec_says_so() -> None:
    emptied = Case(bars=[flat(2, 100, reserve=0), flat(3, 250, reserve=0)])
    assert row_of(emptied)["outcome"] == "MOON"
    drained = LabelsSpec(horizons_hours=(1,), rug_drained_pct=-99)
    assert row_of(replace(emptied, spec=drained))["rug_at"] == START + 3 * BAR
    assert row_of(Case(bars=[flat(2, 100, reserve=1)], spec=drained))["outcome"] == "STABLE"


def test_a_reserve_of_zero_at_the_decision_leaves_the_price_to_decide() -> None:
    assert row_of(Case(bars=[flat(2, 40, reserve=0)], reserve=0))["outcome"] == "DECLINE"


@pytest.mark.parametrize("watched_until", [FAR, None])
def test_a_pool_that_may_have_been_drained_unseen_is_never_called_stable(watched_until: datetime | None) -> None:
    seen = Case(bars=[flat(2, 100), flat(11, 100)], watched_until=watched_until)
    assert row_of(seen)["outcome"] == "STABLE"
    blind_bar = replace(seen, bars=[flat(2, 100, reserve=None), flat(11, 100)])
    for case in (blind_bar, replace(seen, reserve=None)):
        found = row_of(case)
        assert (found["status"], found["censor_reason"]) == ("censored", "reserve_not_observed")
        told = {"source", "network", "pool", "event_time", "horizon_hours", "status", "censor_reason"}
        assert {value for name, value in found.items() if name not in told} == {None}


def test_a_rug_among_what_was_not_seen_is_censored_like_all_else_there() -> None:
    by_price = Case(bars=[flat(2, 10, reserve=None), flat(11, 100)], watched_until=None)
    by_reserve = Case(bars=[flat(1, 40, reserve=None), flat(2, 40, reserve=9)])
    for case in (by_price, by_reserve, Case(bars=[flat(2, 10)], reserve=None)):
        assert row_of(case)["censor_reason"] == "reserve_not_observed"
    assert row_of(Case(bars=[flat(2, 10), flat(4, 10, reserve=None)]))["outcome"] == "RUG"


def test_a_bar_outside_the_window_need_not_know_its_reserve() -> None:
    around = [flat(4, 100, reserve=None), flat(5, 100), flat(16, 100), flat(17, 100, reserve=None)]
    assert row_of(Case(bars=around, slot=5))["outcome"] == "STABLE"
    for slot in (4, 6):
        assert row_of(Case(bars=around, slot=slot))["censor_reason"] == "reserve_not_observed"


def test_a_window_whose_reserve_was_not_seen_is_pending_until_it_is_over() -> None:
    case = Case(bars=[flat(2, 100, reserve=None), flat(11, 100)], now=START + HOUR - BAR)
    assert (row_of(case)["status"], row_of(case)["censor_reason"]) == ("pending", None)
    assert row_of(replace(case, now=START + HOUR))["censor_reason"] == "reserve_not_observed"
    unseen_end = replace(case, bars=case.bars[:1], watched_until=None, now=FAR)
    assert row_of(unseen_end)["censor_reason"] == "no_observation_at_horizon"


def test_no_bars_at_all_is_stable_where_the_source_vouches() -> None:
    found = row_of(Case())
    assert (found["outcome"], found["return_end_pct"], found["touch_resolution_s"]) == ("STABLE", 0, 300)
    assert (found["first_touch"], found["first_touch_at"]) == ("vertical", START + HOUR)
    assert found["peak_at"] == found["trough_at"] == START


def test_without_a_voucher_an_observation_near_the_horizon_is_needed() -> None:
    alone = Case(watched_until=None)
    assert row_of(alone)["censor_reason"] == "no_observation_at_horizon"
    assert row_of(replace(alone, bars=[flat(10, 100)]))["censor_reason"] == "no_observation_at_horizon"
    assert row_of(replace(alone, bars=[flat(11, 100)]))["outcome"] == "STABLE"
    assert row_of(replace(alone, bars=[flat(1, 10)]))["outcome"] == "RUG"
    assert row_of(replace(alone, bars=[flat(1, 10)]))["return_end_pct"] is None
    five_hours = replace(alone, spec=LabelsSpec(horizons_hours=(5,)))
    assert row_of(replace(five_hours, bars=[flat(54, 100)]))["outcome"] == "STABLE"
    assert row_of(replace(five_hours, bars=[flat(53, 100)]))["outcome"] is None


def test_the_window_holds_the_bar_that_starts_at_the_decision_and_not_the_one_that_starts_at_the_horizon() -> None:
    assert row_of(Case(bars=[flat(4, 1)], slot=5))["outcome"] == "STABLE"
    assert row_of(Case(bars=[flat(5, 1)], slot=5))["outcome"] == "RUG"
    assert row_of(Case(bars=[flat(16, 1)], slot=5))["outcome"] == "RUG"
    assert row_of(Case(bars=[flat(17, 1)], slot=5))["outcome"] == "STABLE"


def test_a_touch_in_the_last_bar_counts_and_is_seen_at_the_horizon() -> None:
    found = row_of(Case(bars=[Bar(11, 100, 130, 100)]))
    assert (found["first_touch"], found["first_touch_at"], found["outcome"]) == ("upper", START + HOUR, "STABLE")


def test_where_one_bar_meets_both_barriers_the_worse_one_counts() -> None:
    assert row_of(Case(bars=[Bar(2, 70, 130, 100)]))["first_touch"] == "lower"
    assert row_of(Case(bars=[Bar(1, 71, 130, 100), Bar(2, 70, 130, 100)]))["first_touch"] == "upper"


def test_a_huge_price_is_a_moon_with_a_finite_return() -> None:
    case = Case(bars=[flat(1, 10**9)], unit=1e-300)
    candles = candles_of(case).with_columns(pl.col("high", "close") * 1e300 * 1e290)
    found = label_outcomes(decisions_of(case), candles, pools_of(case), stills_of(case), FAR, case.spec)
    assert found["outcome"].to_list() == ["MOON"]
    assert found.select(pl.col("^return_(end|peak|trough)_pct$").is_finite().all()).row(0) == (True, True, True)


@pytest.mark.parametrize("price", [None, 0])
def test_without_a_price_at_the_decision_nothing_can_be_said(price: int | None) -> None:
    found = row_of(Case(bars=[flat(1, 1)], price=price, now=START))
    assert (found["status"], found["censor_reason"], found["outcome"]) == ("censored", "no_price_at_decision", None)


def test_a_clock_that_stood_still_after_the_window_hides_no_rug_whose_bar_was_told_later_still() -> None:
    dumped = Bar(1, 1, 1, 1, reserve_low=0, late_s=4000)
    others = [Bar(s, 1, 1, 1, reserve_low=None) for s in range(2, 12)]
    found = row_of(Case(bars=[dumped, *others], slot=0, price=100, reserve=100, stills=[3700]))
    assert (found["status"], found["outcome"], found["rug_at"]) == ("labelled", "RUG", dumped.known_at)


def test_a_rug_before_the_clock_stood_still_is_a_rug_and_one_after_it_is_censored() -> None:
    case = Case(bars=[flat(4, 10)])
    assert row_of(replace(case, stills=[1500]))["outcome"] == "RUG"
    assert row_of(replace(case, stills=[1499]))["censor_reason"] == "clock_stood_still"
    assert row_of(replace(case, stills=[0, 3601]))["outcome"] == "RUG"
    assert row_of(replace(case, bars=[], stills=[3600]))["censor_reason"] == "clock_stood_still"
    assert row_of(replace(case, bars=[], stills=[0]))["outcome"] == "STABLE"


def test_a_label_is_pending_until_its_window_is_over_unless_a_rug_was_seen() -> None:
    case = Case(bars=[flat(4, 10)], now=START + HOUR - BAR)
    assert (row_of(case)["outcome"], row_of(case)["return_end_pct"]) == ("RUG", None)
    assert row_of(replace(case, now=START + 4 * BAR))["status"] == "pending"
    assert row_of(replace(case, bars=[flat(4, 90)]))["status"] == "pending"
    assert row_of(replace(case, bars=[flat(4, 90)], now=START + HOUR))["outcome"] == "DIP"


def test_when_the_recording_ends_inside_the_window_the_label_waits_one_horizon_and_is_then_censored() -> None:
    assert row_of(Case(watched_until=START + HOUR, now=START + HOUR))["outcome"] == "STABLE"
    end = START + HOUR / 2
    case = Case(watched_until=end)
    assert [row_of(replace(case, now=n))["status"] for n in (end, START + HOUR, end + HOUR)] == ["pending"] * 3
    assert row_of(replace(case, now=end + HOUR + BAR))["censor_reason"] == "no_observation_at_horizon"


def test_a_bar_that_arrives_late_moves_the_moment_the_label_is_known() -> None:
    found = row_of(Case(bars=[Bar(3, 100, 100, 100, late_s=86_400), flat(11, 104)]))
    assert found["label_known_at"] == START + 4 * BAR + timedelta(days=1)


def test_labels_refuse_times_off_the_grid_bars_twice_prices_without_a_number_and_naive_times() -> None:
    case = Case(bars=[flat(1, 90)])
    decisions, candles, rest = decisions_of(case), candles_of(case), (pools_of(case), stills_of(case), FAR, case.spec)
    later = (pl.col("event_time") + timedelta(seconds=1)).alias("event_time")
    with pytest.raises(InputError, match="a decision at"):
        label_outcomes(decisions.with_columns(later), candles, *rest)
    with pytest.raises(InputError, match="a bar at"):
        label_outcomes(decisions, candles.with_columns(later), *rest)
    with pytest.raises(InputError, match="same bar twice"):
        label_outcomes(decisions, pl.concat([candles, candles]), *rest)
    with pytest.raises(InputError, match="finite bar prices, found 1 bars"):
        label_outcomes(decisions, candles.with_columns(low=pl.lit(float("nan"))), *rest)
    with pytest.raises(UsageError, match="timezone-aware UTC"):
        label_outcomes(decisions, candles, rest[0], rest[1], datetime(2020, 9, 9), case.spec)  # noqa: DTZ001  on purpose


def test_no_decisions_give_an_empty_table_and_every_frame_has_its_schema() -> None:
    case = Case(now=datetime(2020, 12, 1, tzinfo=UTC))
    empty = label_outcomes(
        decisions_of(case).clear(), candles_of(case), pools_of(case), stills_of(case), case.now, case.spec
    )
    assert empty.schema == label(case).schema == LABELS.schema
    assert (empty.height, label(case).height) == (0, 1)


def test_a_bar_that_is_told_a_day_later_is_waited_for_where_nobody_vouches() -> None:
    case = Case(watched_until=None, bars=[Bar(11, 100, 100, 104, late_s=86_400)], now=START + HOUR)
    for wait in (timedelta(0), timedelta(hours=23)):
        assert row_of(replace(case, now=START + HOUR + wait))["status"] == "pending"
    assert row_of(replace(case, now=FAR))["outcome"] == "STABLE"
    assert row_of(replace(case, bars=[], now=START + timedelta(hours=27)))["status"] == "pending"
    assert row_of(replace(case, bars=[], now=START + timedelta(hours=27) + BAR))["status"] == "censored"


def test_after_its_maturity_waiting_alone_changes_no_label() -> None:
    for watched_until in (None, START + HOUR - BAR, START + HOUR):
        case = Case(watched_until=watched_until)
        settled = row_of(replace(case, now=START + case.spec.maturity))
        assert (settled == row_of(case)) == (watched_until is not None)
        assert row_of(replace(case, now=START + BAR + case.spec.maturity)) == row_of(case)
    assert LabelsSpec().look_ahead == timedelta(hours=24, minutes=5)


def test_a_spec_with_horizons_off_the_grid_or_crossing_bands_is_refused() -> None:
    with pytest.raises(UsageError, match="whole hours"):
        LabelsSpec(horizons_hours=(0,))
    with pytest.raises(UsageError, match="must not overlap"):
        LabelsSpec(stable_pct=40)
