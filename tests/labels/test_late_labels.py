"""What comes late changes what it is part of, and nothing else."""

from dataclasses import replace
from datetime import timedelta

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
