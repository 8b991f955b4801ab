"""What follows from a trial's evidence, and from a reign's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.promotion.guards import Breach
from pipeline.promotion.sequential import harm_verdict, sequential_verdict
from pipeline.promotion.spec import OUTCOME, PromotionSpec
from pipeline.promotion.standing import Deployed, Standing
from pipeline.promotion.trial import Proofs, Shadowed, decide_trial, decide_watch
from pipeline.promotion.trial_spec import TrialSpec

NOW = datetime(2024, 3, 9, tzinfo=UTC)
BEGAN = NOW - timedelta(days=7)
SPEC = TrialSpec()
LONG = Shadowed(BEGAN, n_matured=900, n_asked=1_000, coverage=0.99)


def deployed(version: int) -> Deployed:
    return Deployed("pool-outcome", version, "a" * 64, version, BEGAN, "b" * 64)


STANDS = Standing(champion=deployed(1), shadow=deployed(2))


def pairs(gain: float, n_pools: int = 400, seed: int = 1) -> pl.DataFrame:
    """Pools in which the challenger's loss is lower by `gain` on average."""
    rng = np.random.default_rng(seed)
    champion = rng.normal(1.0, 0.3, n_pools)
    return pl.DataFrame(
        {
            "pool": [f"eth:0x{i:04d}" for i in range(n_pools)],
            "matured_at": [BEGAN + timedelta(hours=48, minutes=5 * i) for i in range(n_pools)],
            "loss_champion": champion,
            "loss_challenger": champion - gain + rng.normal(0, 0.2, n_pools),
        }
    )


def proof(gain: float, n_pools: int = 400, *, by_hours: float | None = None, at_1_h: float = 0.0) -> Proofs:
    """Bets on a gain; by hours it may be another, and at 1 h."""
    hours = pairs(gain if by_hours is None else by_hours, n_pools)
    further = sequential_verdict(pairs(at_1_h, n_pools), alpha=0.01)
    by_pools, by_hours_ = sequential_verdict(pairs(gain, n_pools), alpha=0.01), sequential_verdict(hours, alpha=0.01)
    return Proofs(by_pools, by_hours_, gain, {1: further})


def decided(
    proofs: Proofs | None,
    shadowed: Shadowed = LONG,
    stands: Standing = STANDS,
    rule: PromotionSpec = OUTCOME,
) -> tuple[str, str]:
    done = decide_trial(proofs, shadowed, stands, now=NOW, rule=rule, spec=SPEC)
    return done.move, done.reason


def test_a_challenger_that_can_no_longer_be_asked_goes_whatever_was_proven() -> None:
    mute = "version 2 cannot be asked any more: a feature of it is gone"
    done = decide_trial(proof(0.1), LONG, STANDS, now=NOW, rule=OUTCOME, spec=SPEC, void=mute)
    assert (done.move, done.reason) == ("reject", mute)


def test_a_proof_promotes_and_the_mirrored_one_rejects() -> None:
    assert decided(proof(0.1))[0] == "promote"
    assert decided(proof(-0.1))[0] == "reject"
    assert decided(proof(0.0, 30))[0] == "wait"


@pytest.mark.parametrize(
    ("shadowed", "told"),
    [
        (replace(LONG, started_at=NOW - timedelta(hours=23)), "23 of 24 h"),
        (replace(LONG, n_matured=99), "99 of 100 predictions"),
    ],
)
def test_a_proof_waits_until_the_trial_was_long_enough(shadowed: Shadowed, told: str) -> None:
    move, reason = decided(proof(0.1), shadowed)
    assert move == "wait"
    assert told in reason


def test_a_proof_by_pools_waits_for_the_proof_by_hours() -> None:
    move, reason = decided(Proofs(proof(0.1).pools, None, 0.1))
    assert (move, "no hour is over" in reason) == ("wait", True)
    assert decided(Proofs(proof(0.1).pools, proof(0.0, 30).pools, 0.1))[0] == "wait"


def test_what_is_proven_by_pools_and_never_by_hours_ends_all_the_same() -> None:
    old = replace(LONG, started_at=NOW - timedelta(days=29))
    assert decided(Proofs(proof(0.1).pools, proof(0.0, 30).pools, 0.1), old)[0] == "reject"
    assert decided(proof(0.1, by_hours=-0.1))[0] == "reject"


def test_a_challenger_that_is_worse_at_another_horizon_goes() -> None:
    move, reason = decided(proof(0.1, at_1_h=-0.2))
    assert (move, "at 1 h" in reason) == ("reject", True)


def test_a_shadow_that_abstains_goes_however_good_what_it_says_is() -> None:
    move, reason = decided(proof(0.1), replace(LONG, coverage=0.6))
    assert move == "reject"
    assert "60.0%" in reason
    assert decided(None, replace(LONG, coverage=0.0))[0] == "reject"
    assert decided(proof(0.1), replace(LONG, coverage=0.6, n_asked=50))[0] == "promote"


def test_a_trial_that_proves_nothing_ends() -> None:
    old = replace(LONG, started_at=NOW - timedelta(days=29))
    assert decided(proof(0.0, 30), old)[0] == "reject"
    assert decided(None, old)[0] == "reject"
    assert decided(proof(0.1), old)[0] == "promote"
    spent = sequential_verdict(pairs(0.0), alpha=0.01, max_pools=400)
    assert decided(Proofs(spent, None, 0.0))[0] == "reject"


@pytest.mark.parametrize(
    ("stands", "told"),
    [
        (replace(STANDS, pinned=True), "pinned"),
        (replace(STANDS, cooling_since=NOW - timedelta(hours=71)), "thrown out lately"),
    ],
)
def test_what_is_proven_may_still_be_hindered(stands: Standing, told: str) -> None:
    move, reason = decided(proof(0.1), stands=stands)
    assert move == "wait"
    assert told in reason


def test_the_cool_down_ends() -> None:
    assert decided(proof(0.1), stands=replace(STANDS, cooling_since=NOW - timedelta(hours=72)))[0] == "promote"


def test_where_approval_is_required_nothing_moves_without_it() -> None:
    rule = replace(OUTCOME, approval="required")
    assert decided(proof(0.1), rule=rule) == ("wait", decided(proof(0.1), rule=rule)[1])
    assert "approve" in decided(proof(0.1), rule=rule)[1]
    assert decided(proof(0.1), stands=replace(STANDS, approved=frozenset({2})), rule=rule)[0] == "promote"
    assert decided(proof(0.1), stands=replace(STANDS, approved=frozenset({7})), rule=rule)[0] == "wait"


def test_a_veto_ends_a_trial() -> None:
    assert decided(proof(0.1), stands=replace(STANDS, vetoed=frozenset({2})))[0] == "reject"


REIGNS = Standing(champion=deployed(2), former=deployed(1))
BROKEN = [Breach("answers", "it could not answer 40 of 50 snapshots")]


def test_a_broken_guard_or_proven_harm_throws_the_champion_out() -> None:
    assert decide_watch(BROKEN, None, REIGNS).move == "reject"
    harm, none = (harm_verdict(pairs(gain), alpha=0.01) for gain in (0.3, 0.0))
    assert decide_watch([], Proofs(harm, harm, 0.3), REIGNS).move == "reject"
    assert decide_watch([], Proofs(none, none, 0.3), REIGNS).move == "wait"
    assert decide_watch([], Proofs(harm, none, 0.3), REIGNS).move == "wait"
    assert decide_watch([], Proofs(harm, None, 0.3), REIGNS).move == "wait"
    assert decide_watch([], None, REIGNS).move == "wait"


def test_nobody_is_thrown_out_where_there_is_none_to_go_back_to_or_a_person_pinned_it() -> None:
    alone = decide_watch(BROKEN, None, replace(REIGNS, former=None))
    assert (alone.move, "no champion to go back to" in alone.reason) == ("wait", True)
    pinned = decide_watch(BROKEN, None, replace(REIGNS, pinned=True))
    assert (pinned.move, "is pinned" in pinned.reason) == ("wait", True)


def test_what_may_be_the_worlds_doing_throws_nobody_out() -> None:
    jump = [Breach("class_rate", "its probability of RUG moved by +0.43", is_fault=False)]
    assert decide_watch(jump, None, REIGNS).move == "wait"
