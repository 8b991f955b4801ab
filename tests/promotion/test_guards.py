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
                    "completeness": fixed.get("completeness", 0.95) + rng.normal(0, 0.01, n_pools),
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


@pytest.mark.parametrize("world", [{"shift": 0.5}, {"latency_ms": 200.0}, {"completeness": 0.3}])
def test_what_happens_to_both_is_the_world_and_no_reason_to_go_back(world: dict[str, float]) -> None:
    own = pl.concat([answers(1, at=BEFORE), answers(2, **world)])
    other = pl.concat([answers(3, at=BEFORE), answers(4, **world)])
    assert broken(own, other) == []


@pytest.mark.parametrize(
    ("fault", "guards"),
    [
        ({"shift": 0.5}, ["class_rate", "class_rate"]),
        ({"latency_ms": 20.0}, ["latency"]),
        ({"completeness": 0.5}, ["completeness"]),
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


def test_a_model_that_cannot_answer_what_the_other_can_goes() -> None:
    failed = answers(2).select(*SNAPSHOT, "known_at")
    assert broken(NONE_FAILED.join(answers(2), on=[*SNAPSHOT, "known_at"]), answers(4), failed) == ["answers"]
    assert broken(answers(2), answers(4), failed.head(3)) == []


def test_what_neither_could_answer_speaks_against_nobody() -> None:
    nothing = answers(2).clear()
    assert broken(nothing, nothing, answers(2).select(*SNAPSHOT, "known_at")) == []


def test_few_snapshots_prove_nothing_and_old_ones_are_forgotten() -> None:
    few = answers(2, n_pools=8, latency_ms=500.0)
    assert broken(few, answers(4)) == []
    old = answers(2, at=NOW - timedelta(hours=8), latency_ms=500.0)
    assert broken(old, answers(4, at=NOW - timedelta(hours=8))) == []
