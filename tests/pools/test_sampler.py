"""When a pool is due, whom a plan takes, and how likely that was."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calendars import EPOCH, MINUTE
from pipeline.errors import InputError, UsageError
from pipeline.pools.answer import POOLS_A_CALL
from pipeline.pools.collecting_spec import SampledTier, SamplerSpec
from pipeline.pools.sampler import (
    Design,
    design_visits,
    intervals_of,
    n_missed,
    next_due,
    plan_visits,
    tiers_of,
)
from pipeline.snapshots.schedule import interval_of
from pipeline.snapshots.spec import SnapshotsSpec

SPEC = SamplerSpec()
SLOT = datetime(2024, 3, 1, 12, tzinfo=UTC)
RESERVES = (250_000.0, 30_000.0, 3_000.0, 30.0)
SCHEMA = {
    "network": pl.String(), "pool": pl.String(), "due_at": pl.Datetime("us", "UTC"), "interval_minutes": pl.Int64(),
    "reserve_usd": pl.Float64(), "is_lifted": pl.Boolean(), "boost": pl.Float64(),
}  # fmt: skip


def pool(network: str, name: str, tier: int = 3, overdue: int = 0, **changes: Any) -> dict[str, Any]:
    """One due pool of the given tier, `overdue` minutes late."""
    return {
        "network": network, "pool": name, "due_at": SLOT - overdue * MINUTE,
        "interval_minutes": SPEC.tiers[tier].interval_minutes, "reserve_usd": RESERVES[tier], "is_lifted": False,
        "boost": 1.0,
    } | changes  # fmt: skip


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def crowd(network: str, n: int, tier: int = 3, **changes: Any) -> list[dict[str, Any]]:
    return [pool(network, f"{network}-{tier}-{i}", tier, **changes) for i in range(n)]


MIXED = frame(
    *crowd("big", 90), *crowd("big", 40, 2, overdue=60), *crowd("big", 4, 0), *crowd("mid", 45, 1, overdue=15),
    *crowd("mid", 20, boost=3.0), *crowd("mid", 25, 2, interval_minutes=5, overdue=5),
    *crowd("tiny", 2), *crowd("tiny", 1, 0, overdue=25),
)  # fmt: skip
"""More than five calls can serve: 227 pools of three networks, each with tiers of its own."""


def design_of(watched: pl.DataFrame, n_calls: int, spec: SamplerSpec = SPEC) -> tuple[Design, pl.DataFrame]:
    """What `plan_visits` draws from, and the pools in its order."""
    tiers = tiers_of(watched["reserve_usd"].fill_null(np.nan).to_numpy(), watched["is_lifted"].to_numpy(), spec)
    usual = np.array([tier.interval_minutes for tier in spec.tiers])[tiers]
    overdue = (SLOT - watched["due_at"]).dt.total_minutes() / watched["interval_minutes"]
    ordered = watched.with_columns(
        stratum=np.where(watched["interval_minutes"].to_numpy() < usual, len(spec.tiers), tiers),
        weight=watched["boost"] * (1 + overdue),
    ).sort("network", "stratum", "pool")
    numbers = ordered["network"].rank("dense").to_numpy().astype(np.int64) - 1
    design = design_visits(numbers, ordered["stratum"].to_numpy(), ordered["weight"].to_numpy(), n_calls, spec)
    return design, ordered


def test_the_sampler_asks_for_the_same_interval_as_the_snapshots_of_a_replay() -> None:
    bounds = [tier.reserve_usd for tier in SnapshotsSpec().tiers]
    near = [np.nextafter(b, to) for b in bounds for to in (0.0, np.inf)]
    reserve = np.array([0.0, np.nan, np.inf, 5.0, 3e8, *bounds, *near])
    for age in (0.0, 55.0, 59.99, 60.0, 65.0, 10_000.0):
        newborn = np.full(reserve.shape, age < SnapshotsSpec().newborn_minutes)
        asked = intervals_of(reserve, np.full(reserve.shape, age), np.zeros(reserve.shape, bool), SPEC)
        assert asked.tolist() == interval_of(reserve, newborn, SnapshotsSpec()).tolist()
    assert (SPEC.grid_minutes, SPEC.newborn_minutes, SPEC.follow_days) == (
        SnapshotsSpec().grid_minutes, SnapshotsSpec().newborn_minutes, SnapshotsSpec().follow_days,
    )  # fmt: skip


def test_an_unknown_reserve_is_in_the_last_tier_and_a_lifted_pool_in_the_first() -> None:
    reserve, is_lifted = np.array([np.nan, np.nan, 12.0, 12.0]), np.array([False, True, True, False])
    assert tiers_of(reserve, is_lifted, SPEC).tolist() == [3, 0, 0, 3]
    age_minutes = np.array([1440.0, 1440.0, 1440.0, -3.0])
    assert intervals_of(reserve, age_minutes, is_lifted, SPEC).tolist() == [240, 5, 5, 5]


@given(st.integers(0, 10**6), st.sampled_from([5, 15, 60, 240]))
def test_the_next_visit_is_due_at_the_first_multiple_after_the_last(tick: int, interval: int) -> None:
    grid_point = EPOCH + tick * 5 * MINUTE
    due = next_due(grid_point, interval)
    assert grid_point < due <= grid_point + interval * MINUTE
    assert (due - EPOCH) % (interval * MINUTE) == timedelta(0)
    assert n_missed(due, due, interval) == 0
    assert n_missed(due, due + (3 * interval - 5) * MINUTE, interval) == 2
    assert n_missed(due, due + 3 * interval * MINUTE, interval) == 3


def test_when_all_due_pools_fit_all_are_taken_with_certainty_and_the_others_are_left_alone() -> None:
    early = pool("mid", "not yet", overdue=-5)
    never = pool("mid", "weightless", boost=0.0)
    watched = pl.concat([MIXED, frame(early, never)])
    plan = plan_visits(watched, 9, SLOT, SPEC, seed=1)
    assert sorted(plan.sampled["pool"]) == sorted(MIXED["pool"])
    assert plan.sampled["inclusion_probability"].to_list() == [1.0] * MIXED.height
    assert Counter(network for network, _ in plan.calls) == {"big": 5, "mid": 3, "tiny": 1}
    assert plan_visits(watched, 500, SLOT, SPEC, seed=1).calls == plan.calls


def test_a_plan_says_how_many_visits_were_missed() -> None:
    watched = frame(pool("a", "on time", 1), pool("a", "late", 1, overdue=40), pool("a", "once", 1, overdue=15))
    missed = dict(plan_visits(watched, 1, SLOT, SPEC, 0).sampled.select("pool", "n_missed").iter_rows())
    assert missed == {"on time": 0, "late": 2, "once": 1}


@pytest.mark.parametrize("n_calls", [1, 3, 5, 7, 8])
def test_every_pool_is_taken_as_often_as_its_inclusion_probability_says(n_calls: int) -> None:
    design, _ = design_of(MIXED, n_calls)
    n = 4_000
    taken = np.zeros(MIXED.height)
    for seed in range(n):
        taken[np.concatenate(design.draw(np.random.default_rng(seed)))] += 1
    chance = design.probability
    # A binomial count of n leaves this band once in more than 10^6 times; there are some 1,000 counts.
    band = 5 * np.sqrt(chance * (1 - chance) / n) + 5 / n
    assert (np.abs(taken / n - chance) <= band).all()
    assert (taken[chance == 1] == n).all()


def test_the_plan_carries_the_probabilities_of_the_design_it_was_drawn_from() -> None:
    design, ordered = design_of(MIXED, 5)
    said = ordered.select("network", "pool", inclusion_probability=design.probability)
    for seed in range(50):
        sampled = plan_visits(MIXED, 5, SLOT, SPEC, seed).sampled
        both = sampled.join(said, on=["network", "pool"], how="left", maintain_order="left")
        assert both["inclusion_probability"].to_list() == pytest.approx(both["inclusion_probability_right"].to_list())


CROWDS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.integers(1, 70), st.integers(0, 50), st.floats(0.1, 9)),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[:2],
)


def crowded(rows: list[tuple[str, int, int, int, float]]) -> pl.DataFrame:
    pools = [crowd(net, n, tier, overdue=5 * late, boost=boost) for net, tier, n, late, boost in rows]
    return frame(*(row for group in pools for row in group))


@settings(max_examples=60)
@given(CROWDS, st.integers(0, 20), st.integers(0, 10**6))
def test_a_plan_keeps_its_budget_and_takes_no_pool_twice(rows: Any, n_calls: int, seed: int) -> None:
    watched = crowded(rows)
    plan = plan_visits(watched, n_calls, SLOT, SPEC, seed)
    home = dict(watched.select("pool", "network").iter_rows())
    taken = [name for _, pools in plan.calls for name in pools]
    assert len(plan.calls) <= n_calls
    assert all(1 <= len(pools) <= POOLS_A_CALL for _, pools in plan.calls)
    assert len(set(taken)) == len(taken)
    assert taken == plan.sampled["pool"].to_list()
    assert all(home[name] == network for network, pools in plan.calls for name in pools)
    shuffled = watched.sample(fraction=1, shuffle=True, seed=seed)
    assert plan_visits(shuffled, n_calls, SLOT, SPEC, seed).calls == plan.calls
    full = sum(-(-n // POOLS_A_CALL) for n in Counter(home.values()).values())
    assert len(taken) == watched.height if n_calls >= full else len(plan.calls) == n_calls


@settings(max_examples=100)
@given(CROWDS, st.integers(1, 20))
def test_probabilities_add_up_to_what_is_taken_and_no_due_pool_is_without_a_chance(rows: Any, n_calls: int) -> None:
    watched = crowded(rows)
    design, _ = design_of(watched, n_calls)
    chance = design.probability
    assert ((chance > 0) & (chance <= 1 + 1e-9)).all()
    held = np.bincount(design.network).astype(float)
    rounded_up = design.calls % 1
    places = [np.minimum(held, POOLS_A_CALL * rounded(design.calls)) for rounded in (np.floor, np.ceil)]
    assert chance.sum() == pytest.approx(((1 - rounded_up) * places[0] + rounded_up * places[1]).sum())
    for seed in range(5):
        taken = np.concatenate(design.draw(np.random.default_rng(seed)))
        drawn = np.bincount(design.network[taken], minlength=held.size)
        assert all(n in {int(places[0][k]), int(places[1][k])} for k, n in enumerate(drawn))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(30, 300), st.integers(0, 20)), min_size=1, max_size=4,
                unique_by=lambda row: row[0]),
       st.integers(1, 10))  # fmt: skip
def test_each_tier_is_given_its_floor_of_the_places(rows: list[tuple[int, int, int]], n_calls: int) -> None:
    watched = crowded([("only", tier, n, late, 1.0) for tier, n, late in rows])
    design, ordered = design_of(watched, n_calls)
    expected = ordered.with_columns(chance=design.probability).group_by("stratum").agg(pl.len(), pl.col("chance").sum())
    capacity = min(n_calls * POOLS_A_CALL, watched.height)
    for _, n, chance in expected.iter_rows():
        assert chance >= min(n, SPEC.floor_share * capacity) - 1e-9


def test_rich_pools_are_served_first_even_where_the_dead_outnumber_them() -> None:
    watched = frame(*crowd("a", 60, 0), *crowd("a", 3_000, 3, overdue=480))
    design, ordered = design_of(watched, 10)
    chance = ordered.with_columns(chance=design.probability).group_by("stratum").agg(pl.col("chance").mean())
    by_tier = dict(chance.iter_rows())
    assert by_tier[0] == 1.0
    assert by_tier[3] == pytest.approx(240 / 3_000)


def test_newborn_pools_are_a_tier_of_their_own_beside_the_others() -> None:
    watched = frame(*crowd("a", 400), *(pool("a", f"new {i}", interval_minutes=5) for i in range(200)))
    design, ordered = design_of(watched, 4)
    chances = ordered.with_columns(chance=design.probability).group_by("stratum").agg(pl.col("chance").sum())
    newborn = SPEC.floor_share + (1 - 2 * SPEC.floor_share) * 75 / (75 + 10)
    assert dict(chances.iter_rows()) == {4: pytest.approx(120 * newborn), 3: pytest.approx(120 * (1 - newborn))}
    shared = dict(zip(ordered["pool"], design.probability, strict=True))
    taken = plan_visits(watched, 4, SLOT, SPEC, seed=0).sampled
    assert taken["inclusion_probability"].to_list() == pytest.approx([shared[name] for name in taken["pool"]])


def test_boosted_and_overdue_pools_are_likelier_and_lifted_ones_rank_with_the_richest() -> None:
    watched = frame(
        *crowd("a", 300), pool("a", "boosted", boost=2.0), pool("a", "late", overdue=240),
        pool("a", "lifted", is_lifted=True, interval_minutes=5), pool("a", "unknown", reserve_usd=None),
        *crowd("b", 90),
    )  # fmt: skip
    design, ordered = design_of(watched, 3)
    chance = dict(zip(ordered["pool"], design.probability, strict=True))
    assert chance["boosted"] == pytest.approx(2 * chance["a-3-0"])
    assert chance["late"] == pytest.approx(2 * chance["a-3-0"])
    assert chance["unknown"] == pytest.approx(chance["a-3-0"])
    assert chance["lifted"] == 1.0
    assert max(chance[name] for name in chance if name != "lifted") < 1.0


def test_the_weighted_mean_of_what_was_taken_is_unbiased_and_the_plain_mean_is_not() -> None:
    design, ordered = design_of(MIXED, 4)
    value, chance, n = ordered["reserve_usd"].to_numpy(), design.probability, 4_000
    weighted, plain = np.empty(n), np.empty(n)
    for seed in range(n):
        taken = np.concatenate(design.draw(np.random.default_rng(seed)))
        weighted[seed] = (value[taken] / chance[taken]).sum() / MIXED.height
        plain[seed] = value[taken].mean()
    truth = value.mean()
    assert abs(weighted.mean() - truth) < 4 * weighted.std() / np.sqrt(n)
    assert abs(plain.mean() - truth) > 20 * plain.std() / np.sqrt(n)


def test_nobody_starves_under_a_permanent_overload() -> None:
    """Far more falls due than two calls can serve: all are seen all the same, rich or poor, here or there."""
    rng = random.Random(3)
    crowds = (("big", 400, 3), ("big", 60, 2), ("big", 50, 1), ("big", 30, 0), ("mid", 80, 3), ("mid", 30, 0),
              ("tiny", 1, 3), ("far", 2, 2))  # fmt: skip
    watched = {(r["network"], r["pool"]): r for net, n, tier in crowds for r in crowd(net, n, tier)}
    for row in watched.values():
        row["due_at"] = next_due(SLOT + 5 * rng.randrange(48) * MINUTE, row["interval_minutes"])
    never = set(watched)
    overdue_cycles = 0
    for cycle in range(500):
        slot = SLOT + cycle * SPEC.grid
        due = frame(*(row for row in watched.values() if row["due_at"] <= slot))
        overdue_cycles += due.height > 2 * POOLS_A_CALL
        for key in plan_visits(due, 2, slot, SPEC, seed=7).sampled.select("network", "pool").iter_rows():
            never.discard(key)
            watched[key]["due_at"] = next_due(slot, watched[key]["interval_minutes"])
    assert overdue_cycles > 450
    assert never == set()


def test_a_plan_is_repeatable_and_another_seed_or_slot_gives_another() -> None:
    plan = plan_visits(MIXED, 3, SLOT, SPEC, seed=1)
    assert plan.calls == plan_visits(MIXED, 3, SLOT, SPEC, seed=1).calls
    assert plan.calls != plan_visits(MIXED, 3, SLOT, SPEC, seed=2).calls
    later = MIXED.with_columns(pl.col("due_at") + SPEC.grid)
    assert plan.calls != plan_visits(later, 3, SLOT + SPEC.grid, SPEC, seed=1).calls


@pytest.mark.parametrize("n_calls", [0, 4])
def test_no_pools_or_no_calls_make_an_empty_plan(n_calls: int) -> None:
    plan = plan_visits(frame() if n_calls else MIXED, n_calls, SLOT, SPEC, 0)
    assert plan.calls == ()
    assert plan.sampled.is_empty()
    assert plan.sampled.columns == ["network", "pool", "inclusion_probability", "n_missed"]


@pytest.mark.parametrize(
    "rows",
    [
        [pool("a", "x"), pool("a", "x")],
        [pool("a", "x", boost=-1.0)],
        [pool("a", "x", boost=float("nan"))],
        [pool("a", "x", boost=None)],
        [pool("a", "x", interval_minutes=0)],
    ],
)
def test_a_watch_list_that_makes_no_sense_is_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="mend the watch list"):
        plan_visits(frame(*rows, pool("a", "y")), 4, SLOT, SPEC, 0)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(UsageError, match="-1"):
        plan_visits(MIXED, -1, SLOT, SPEC, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tiers": ()},
        {"tiers": SPEC.tiers[::-1]},
        {"tiers": (SampledTier(0.0, 7, 1.0),)},
        {"tiers": (SampledTier(0.0, 5, 0.0),)},
        {"newborn_priority": 0.0},
        {"floor_share": 0.3},
        {"floor_share": 0.0},
    ],
)
def test_a_sampler_that_would_starve_a_tier_or_leave_the_grid_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SamplerSpec(**wrong)
