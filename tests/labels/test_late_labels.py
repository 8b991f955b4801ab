"""What comes late changes what it is part of, and nothing else."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_paths import BAR, START, Bar, Case, Sight, label

from pipeline.labels.spec import LabelsSpec

SPEC = LabelsSpec(horizons_hours=(1, 3))
POOLS = ("0xa", "0xb", "0xc")


def market(late: Bar | None = None, late_sight: Sight | None = None) -> pl.DataFrame:
    """Labels of three pools, decided at several times, each call with the late arrivals of the first pool alone."""
    found = []
    for slot in range(0, 48, 4):
        cases = [
            Case(
                bars=[Bar(s, 98, 102, 100 + s % 3, 100 if pool != "0xb" else None) for s in range(n, 60, 5)],
                slot=slot,
                watched_until=START + timedelta(days=1) if pool != "0xb" else None,
                sights=[Sight(s) for s in range(2, 60, 2)],
                pool=pool,
                spec=SPEC,
            )
            for n, pool in enumerate(POOLS)
        ]
        if late:
            cases[0] = replace(cases[0], bars=[*cases[0].bars, late])
        if late_sight:
            cases[1] = replace(cases[1], sights=[*(cases[1].sights or ()), late_sight])
        found.append(label(*cases))
    return pl.concat(found)


def changed(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    return after.join(before, on=before.columns, how="anti", nulls_equal=True)


@settings(max_examples=25)
@given(place=st.integers(0, 11), price=st.sampled_from([1, 50, 90, 300]))
def test_a_late_bar_reopens_its_own_pools_windows_around_it_and_no_others(place: int, price: int) -> None:
    # Bars of the first pool lie at multiples of five, so this place is free.
    late = Bar(place * 5 + 1, price, price, price, late_s=3_000)
    moved = changed(market(), market(late))
    at = START + late.slot * BAR
    assert set(moved["pool"]) == {"0xa"}
    end = pl.col("event_time") + pl.duration(hours="horizon_hours")
    assert moved.filter(~((pl.col("event_time") <= at) & (at < end))).is_empty()


@settings(max_examples=15)
@given(place=st.integers(1, 28))
def test_a_late_observation_reopens_its_own_pools_labels_alone(place: int) -> None:
    slot = 2 * place + 1
    moved = changed(market(), market(late_sight=Sight(slot, 20, 5)))
    assert set(moved["pool"]) <= {"0xb"}
    ahead, back = SPEC.observed_ahead, SPEC.observed_back
    at = START + slot * BAR
    assert moved.filter(~pl.col("event_time").is_between(at - ahead, at + back)).is_empty()
    assert not moved.is_empty()


BARS = st.lists(
    st.builds(
        Bar,
        slot=st.integers(0, 35),
        low=st.sampled_from([5, 40, 98]),
        high=st.sampled_from([102, 160]),
        close=st.sampled_from([99, 100]),
        reserve_low=st.sampled_from([None, 5, 100]),
        late_s=st.sampled_from([0, 3_000, 40_000, 86_400]),
    ),
    max_size=8,
    unique_by=lambda bar: bar.slot,
)


@settings(max_examples=60, deadline=None)
@given(bars=BARS, asks=st.sampled_from([15, 60, 240]), step=st.sampled_from([1, 3, 48]), first=st.integers(0, 60))
def test_a_label_of_a_pool_nobody_vouches_for_is_never_withdrawn_by_bars_that_come_late(
    bars: list[Bar], asks: int, step: int, first: int
) -> None:
    case = Case(bars=bars, watched_until=None, asks=asks, sights=[Sight(s) for s in range(step, 60, step)], spec=SPEC)
    moments = [START + first * BAR + timedelta(hours=h) for h in (0, 1, 3, 12, 25, 30, 60)]
    told = [label(replace(case, now=now)) for now in moments]
    for before, after in pairwise(told):
        given = (before["status"] == "labelled").to_list()
        assert all(status == "labelled" for status, was in zip(after["status"], given, strict=True) if was)
        # Nor is given up what may still come.
        gone = (before["status"] == "censored").to_list()
        assert all(status == "censored" for status, was in zip(after["status"], gone, strict=True) if was)


def test_bars_that_came_by_chance_do_not_settle_what_nobody_would_have_looked_at() -> None:
    never = Case(watched_until=None, asks=240, sights=[Sight(12)], spec=LabelsSpec(horizons_hours=(1,)))
    for bars in ([], [Bar(11, 99, 101, 100)], [Bar(3, 5, 6, 5)], [Bar(3, 5, 6, 5, late_s=86_400)]):
        assert label(replace(never, bars=bars))["censor_reason"].to_list() == ["seen_too_rarely"]


def test_what_was_told_of_a_rug_stays_and_its_path_is_known_when_its_last_bar_is() -> None:
    seen = [Sight(s, 100 if s < 3 else 10, 100 if s < 3 else 5) for s in range(13)]
    late = Bar(1, 10, 100, 100, None, late_s=86_400)
    case = Case(watched_until=None, asks=5, sights=seen, bars=[late], spec=LabelsSpec(horizons_hours=(1,)))
    hour, said = timedelta(hours=1), ["outcome", "rug_at", "rug_kind", "label_known_at"]
    early, soon, later = (label(replace(case, now=START + wait)) for wait in (hour / 2, 2 * hour, 72 * hour))
    assert early.select(said).row(0) == ("RUG", START + 3 * BAR, "both", START + 3 * BAR)
    assert early.select(said).equals(soon.select(said))
    assert soon.select(said).equals(later.select(said))
    assert [f["path_known_at"].item() for f in (early, soon, later)] == [None, START + hour, late.known_at]
    assert early.select(pl.col("^(return|direction|executable)_.*$").is_null().all()).row(0) == (True,) * 6
