"""Which pools deserve a closer look, and which outcomes are short of pools."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError, UsageError
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.attention import boosts, interesting, running_outcome
from pipeline.pools.collecting_spec import SamplerSpec
from pipeline.tables import OUTCOMES

SPEC = SamplerSpec()
CALM = {"reserve_usd": 10_000.0, "volume_m5_usd": 100.0, "volume_h1_usd": 1_200.0, "n_buys_m5": 3, "n_sells_m5": 2}
SCHEMA = dict.fromkeys(CALM, pl.Float64()) | {"n_buys_m5": pl.Int64(), "n_sells_m5": pl.Int64()}


def reason(before: float | None = 10_000.0, **changes: Any) -> str | None:
    now = pl.DataFrame([CALM | changes], schema=SCHEMA)
    found: str | None = interesting(pl.DataFrame({"reserve_usd": [before]}, {"reserve_usd": pl.Float64()}), now, SPEC)[
        0
    ]
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"reserve_usd": 15_000.0}, "reserve_jump"),
        ({"reserve_usd": 14_999.0}, None),
        ({"reserve_usd": 5_000.0}, "reserve_jump"),
        ({"reserve_usd": 0.0}, "reserve_jump"),
        ({"volume_m5_usd": 500.0}, "volume_spike"),
        ({"volume_m5_usd": 499.0}, None),
        ({"volume_m5_usd": 0.0, "volume_h1_usd": 0.0}, None),
        ({"volume_m5_usd": 1_000.0, "volume_h1_usd": 12_000.0, "n_buys_m5": 1, "n_sells_m5": 1}, "whale"),
        ({"volume_m5_usd": 998.0, "volume_h1_usd": 12_000.0, "n_buys_m5": 1, "n_sells_m5": 1}, None),
        ({"n_buys_m5": 0, "n_sells_m5": 0}, None),
        ({"reserve_usd": 20_000.0, "volume_m5_usd": 9_000.0}, "reserve_jump"),
    ],
)
def test_a_jump_a_spike_or_a_whale_is_interesting(changes: dict[str, Any], expected: str | None) -> None:
    assert reason(**changes) == expected


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_what_is_missing_is_never_interesting(missing: float | None) -> None:
    assert reason(before=missing) is None
    for column in ("reserve_usd", "volume_m5_usd", "volume_h1_usd"):
        assert reason(**{column: missing}) is None
    assert reason(before=0.0) is None
    assert reason(n_buys_m5=None, volume_m5_usd=400.0, n_sells_m5=1, reserve_usd=9_000.0) is None


def test_each_pool_is_judged_by_its_own_row() -> None:
    now = pl.DataFrame([CALM, CALM | {"volume_m5_usd": 900.0}, CALM | {"reserve_usd": None}], schema=SCHEMA)
    before = pl.DataFrame({"reserve_usd": [1_000.0, 10_000.0, 10_000.0]})
    assert interesting(before, now, SPEC).to_list() == ["reserve_jump", "volume_spike", None]
    with pytest.raises(InputError, match="3 observations with 2"):
        interesting(before[:2], now, SPEC)


@pytest.mark.parametrize(
    ("price", "reserve", "expected"),
    [
        (2.01, 1.0, "MOON"), (2.0, 1.0, "PUMP"), (1.3, 1.0, "RISE"), (1.05, 1.0, "STABLE"), (0.95, 1.0, "STABLE"),
        (0.9, 1.0, "DIP"), (0.6, 1.0, "DECLINE"), (0.19, 1.0, "RUG"), (0.45, 0.09, "RUG"), (0.45, 0.11, "DECLINE"),
        (0.9, 0.01, "DIP"), (0.45, None, "DECLINE"), (None, 0.01, None), (float("nan"), 1.0, None),
    ],
)  # fmt: skip
def test_the_running_outcome_follows_the_bands_of_the_labels(
    price: float | None, reserve: float | None, expected: str | None
) -> None:
    rows = pl.DataFrame({"price": [price], "reserve": [reserve]}, {"price": pl.Float64(), "reserve": pl.Float64()})
    assert rows.select(running_outcome(pl.col("price"), pl.col("reserve"), LabelsSpec())).item() == expected
    assert expected is None or expected in OUTCOMES


@given(st.dictionaries(st.sampled_from(OUTCOMES), st.integers(0, 10**9)))
def test_rare_outcomes_are_boosted_and_common_ones_never_weighed_down(counts: dict[str, int]) -> None:
    given_boosts = boosts(counts, SPEC)
    assert set(given_boosts) == set(OUTCOMES)
    assert all(1.0 <= boost <= SPEC.max_boost for boost in given_boosts.values())
    ranked = sorted(OUTCOMES, key=lambda outcome: counts.get(outcome, 0))
    assert [given_boosts[o] for o in ranked] == sorted(given_boosts.values(), reverse=True)


@given(st.integers(0, 10**12))
def test_equal_counts_boost_nobody(count: int) -> None:
    assert set(boosts(dict.fromkeys(OUTCOMES, count), SPEC).values()) == {1.0}
    assert set(boosts({}, SPEC).values()) == {1.0}


def test_an_outcome_never_seen_is_boosted_most_and_nonsense_is_refused() -> None:
    assert boosts({"RUG": 7}, SPEC)["MOON"] == SPEC.max_boost
    for nonsense in ({"BOOM": 1}, {"RUG": -1}):
        with pytest.raises(UsageError, match="cannot balance"):
            boosts(nonsense, SPEC)
