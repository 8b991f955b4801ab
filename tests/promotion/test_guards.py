"""Guard rails: what happens to the champion alone throws it out; what happens to both does not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.promotion.guards import SNAPSHOT, breaches
from pipeline.promotion.trial_spec import GuardSpec

NOW = datetime(2024, 3, 2, tzinfo=UTC)
SINCE = NOW - timedelta(hours=12)
SPEC = GuardSpec()


def answers(seed: int, *, n_pools: int = 60, at: datetime = NOW, shift: float = 0.0, **fixed: float) -> pl.DataFrame:
    """One snapshot a pool and horizon, answered a moment before `at`; the same pools and levels for every seed."""
    level = np.random.default_rng(5).beta(2, 5, n_pools)
    rng = np.random.default_rng(seed)
    heads = []
    for hours in (1, 24):
        p = np.clip(level + rng.normal(0, 0.05, n_pools) + shift, 0, 1)
        heads.append(
            pl.DataFrame(
                {
                    "source": "geckoterminal",
                    "network": "eth",
                    "pool": [f"0x{i:03d}" for i in range(n_pools)],
                    "event_time": at - timedelta(minutes=10),
                    "horizon_hours": hours,
                    "known_at": at - timedelta(minutes=5),
                    "latency_ms": fixed.get("latency_ms", 1.0) * rng.lognormal(0, 0.3, n_pools),
                    "p_RUG": p,
                    "p_STABLE": 1 - p,
                }
            )
        )
    return pl.concat(heads)


BEFORE = SINCE - timedelta(hours=3)
NONE_FAILED = answers(0).select(*SNAPSHOT, "known_at").clear()


def broken(own: pl.DataFrame, other: pl.DataFrame, failed: pl.DataFrame = NONE_FAILED) -> list[str]:
    return [breach.guard for breach in breaches(own, other, failed, since=SINCE, now=NOW, spec=SPEC)]


def test_two_healthy_models_break_no_guard() -> None:
    own = pl.concat([answers(1, at=BEFORE), answers(2)])
    other = pl.concat([answers(3, at=BEFORE), answers(4)])
    assert broken(own, other) == []


def test_no_guard_cries_in_two_hundred_looks_at_healthy_models() -> None:
    cries = 0
    for seed in range(0, 800, 4):
        own = pl.concat([answers(seed, at=BEFORE), answers(seed + 1)])
        other = pl.concat([answers(seed + 2, at=BEFORE), answers(seed + 3)])
        cries += bool(broken(own, other))
    assert cries == 0


@pytest.mark.parametrize("world", [{"shift": 0.5}, {"latency_ms": 200.0}])
def test_what_happens_to_both_is_the_world_and_no_reason_to_go_back(world: dict[str, float]) -> None:
    own = pl.concat([answers(1, at=BEFORE), answers(2, **world)])
    other = pl.concat([answers(3, at=BEFORE), answers(4, **world)])
    assert broken(own, other) == []


@pytest.mark.parametrize(
    ("fault", "guards"),
    [
        ({"shift": 0.5}, ["class_rate", "class_rate"]),
        ({"latency_ms": 20.0}, ["latency"]),
    ],
)
def test_what_happens_to_the_champion_alone_is_told(fault: dict[str, float], guards: list[str]) -> None:
    own = pl.concat([answers(1, at=BEFORE), answers(2, **fault)])
    other = pl.concat([answers(3, at=BEFORE), answers(4)])
    assert broken(own, other) == guards


def test_one_head_that_breaks_does_not_hide_behind_another() -> None:
    day = pl.col("horizon_hours") == 24
    now = pl.concat([answers(2).filter(~day), answers(2, shift=0.5).filter(day)])
    own, other = pl.concat([answers(1, at=BEFORE), now]), pl.concat([answers(3, at=BEFORE), answers(4)])
    assert broken(own, other) == ["class_rate"]


def test_a_challenger_that_always_spoke_differently_is_not_thrown_out_for_it() -> None:
    own = pl.concat([answers(1, at=BEFORE, shift=0.4), answers(2, shift=0.4)])
    other = pl.concat([answers(3, at=BEFORE), answers(4)])
    assert broken(own, other) == []


def gone(seed: int, *, at: datetime = NOW, share: float = 1.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is left of the answers when a share of the pools could not be answered, and what could not."""
    said = answers(seed, at=at)
    n_lost = round(share * 60)
    is_lost = pl.col("pool").str.slice(2).cast(pl.Int64) < n_lost
    return said.filter(~is_lost), said.filter(is_lost).select(*SNAPSHOT, "known_at")


def test_a_model_that_cannot_answer_what_the_other_can_goes() -> None:
    left, failed = gone(2, share=0.5)
    assert broken(left, answers(4), failed) == ["answers"]
    left, failed = gone(2, share=0.05)
    assert broken(left, answers(4), failed) == []


def test_that_it_was_always_more_demanding_is_no_fault() -> None:
    (before, failed_before), (left, failed) = gone(1, at=BEFORE, share=0.3), gone(2, share=0.35)
    own, lost = pl.concat([before, left]), pl.concat([failed_before, failed])
    assert broken(own, pl.concat([answers(3, at=BEFORE), answers(4)]), lost) == []


def test_that_it_was_always_slower_is_no_fault_and_that_it_became_slower_still_is() -> None:
    other = pl.concat([answers(3, at=BEFORE), answers(4)])
    slow = answers(1, at=BEFORE, latency_ms=20.0)
    assert broken(pl.concat([slow, answers(2, latency_ms=20.0)]), other) == []
    assert broken(pl.concat([slow, answers(2, latency_ms=400.0)]), other) == ["latency"]
    assert broken(answers(2, latency_ms=20.0), answers(4)) == ["latency"], "nothing is known of it in health"


def test_what_it_answered_a_little_later_is_answered() -> None:
    said = answers(2)
    assert broken(said, answers(4), said.select(*SNAPSHOT, "known_at")) == []


def test_a_snapshot_counts_once_however_many_horizons_it_has() -> None:
    left, failed = gone(2, share=0.5)
    few = pl.col("pool").str.slice(2).cast(pl.Int64) < 10
    assert broken(left.filter(few), answers(4).filter(few), failed.filter(few)) == []


def test_what_neither_could_answer_speaks_against_nobody() -> None:
    nothing = answers(2).clear()
    assert broken(nothing, nothing, answers(2).select(*SNAPSHOT, "known_at")) == []


def test_a_jump_of_a_class_is_told_and_is_no_fault_by_itself() -> None:
    own = pl.concat([answers(1, at=BEFORE), answers(2, shift=0.5)])
    other = pl.concat([answers(3, at=BEFORE), answers(4)])
    found = breaches(own, other, NONE_FAILED, since=SINCE, now=NOW, spec=SPEC)
    assert [(breach.guard, breach.is_fault) for breach in found] == [("class_rate", False)] * 2


def test_what_was_before_it_took_charge_is_no_fault_of_its_reign() -> None:
    earlier = NOW - timedelta(hours=2)
    own, other = answers(2, at=earlier, latency_ms=500.0), answers(4, at=earlier)
    assert [b.guard for b in breaches(own, other, NONE_FAILED, since=SINCE, now=NOW, spec=SPEC)] == ["latency"]
    assert breaches(own, other, NONE_FAILED, since=NOW - timedelta(hours=1), now=NOW, spec=SPEC) == []


def test_few_snapshots_prove_nothing_and_old_ones_are_forgotten() -> None:
    few = answers(2, n_pools=8, latency_ms=500.0)
    assert broken(few, answers(4)) == []
    old = answers(2, at=NOW - timedelta(hours=8), latency_ms=500.0)
    assert broken(old, answers(4, at=NOW - timedelta(hours=8))) == []
