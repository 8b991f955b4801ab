"""One look after the other at a trial and at a reign: what is found is kept, moves are made once, killed or not."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.errors import RegistryError
from pipeline.lake import Lake
from pipeline.promotion.alpha import alpha_of
from pipeline.promotion.guards import Breach
from pipeline.promotion.looks import Looks, cohorts
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.sequential import SequentialVerdict, sequential_verdict
from pipeline.promotion.spec import OUTCOME
from pipeline.promotion.trial import Shadowed
from pipeline.promotion.trial_spec import TRIAL
from pipeline.tables import COMPARISONS

NOW = datetime(2024, 3, 9, tzinfo=UTC)
LONG = Shadowed(NOW - timedelta(days=7), n_matured=900, n_asked=1_000, coverage=0.99)
NAME = OUTCOME.model_name
PASSED = '[{"comparison_id":"c1"}]'
LABEL_RULE = {"rug_price_pct": -80.0, "rug_drained_pct": None}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def looks(lake: Lake, label_rule: Mapping[str, float | None] = LABEL_RULE) -> Looks:
    return Looks(lake, Moves(lake, None), OUTCOME, TRIAL, label_rule)


def move(lake: Lake, action: str, version: int, *, evidence: str = PASSED, actor: str = "gate") -> None:
    made = Move(NAME, action, version, f"{version:064x}", actor, "a test says so", evidence)  # type: ignore[arg-type]
    Moves(lake, None).move(made, at=NOW)


def pairs(gain: float, n_pools: int = 600) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    champion = rng.normal(1.0, 0.3, n_pools)
    return pl.DataFrame(
        {
            "pool": [f"eth:0x{i:04d}" for i in range(n_pools)],
            "matured_at": [NOW - timedelta(minutes=20 * (600 - i) + 60) for i in range(n_pools)],
            "loss_champion": champion,
            "loss_challenger": champion - gain + rng.normal(0, 0.2, n_pools),
        }
    )


def on_trial(lake: Lake) -> Looks:
    move(lake, "promote", 1)
    move(lake, "challenge", 2)
    one = looks(lake)
    one.begin(NOW)
    return one


def actions(lake: Lake) -> list[tuple[str, int]]:
    return [(row["action"], row["version"]) for row in Moves(lake, None).ledger().iter_rows(named=True)]


def test_a_challenger_that_waits_is_let_into_its_trial_with_its_share_of_the_budget(lake: Lake) -> None:
    one = on_trial(lake)
    stands = Moves(lake, None).standing(NAME)
    assert (stands.shadow.version, stands.challenger) == (2, None)  # type: ignore[union-attr]
    assert one.alpha(stands.shadow) == alpha_of(1)  # type: ignore[arg-type]
    told = json.loads(Moves(lake, None).ledger()["evidence"][-1])
    assert told == {
        "alpha": alpha_of(1), "k": 1, "comparisons": [{"comparison_id": "c1"}], "label_rule": LABEL_RULE,
    }  # fmt: skip


def test_beginning_again_changes_nothing_and_one_trial_runs_at_a_time(lake: Lake) -> None:
    one = on_trial(lake)
    move(lake, "challenge", 3)
    one.begin(NOW)
    assert actions(lake) == [("promote", 1), ("challenge", 2), ("shadow", 2), ("challenge", 3)]


def test_nobody_is_tried_without_a_champion_or_while_the_model_is_pinned(lake: Lake) -> None:
    looks(lake).begin(NOW)
    move(lake, "promote", 1)
    move(lake, "challenge", 2)
    move(lake, "pin", 1, actor="person:somebody")
    looks(lake).begin(NOW)
    assert "shadow" not in dict(actions(lake))


def test_each_further_trial_of_the_year_costs_its_own_share(lake: Lake) -> None:
    one = on_trial(lake)
    move(lake, "reject", 2)
    move(lake, "challenge", 3)
    stands = one.begin(NOW)
    assert json.loads(Moves(lake, None).ledger()["evidence"][-1])["k"] == 2
    assert one.alpha(stands.shadow) == alpha_of(2)  # type: ignore[arg-type]


def test_a_new_year_is_a_new_budget(lake: Lake) -> None:
    one = on_trial(lake)
    move(lake, "reject", 2)
    move(lake, "challenge", 3)
    stands = one.begin(NOW.replace(year=NOW.year + 1))
    assert json.loads(Moves(lake, None).ledger()["evidence"][-1])["k"] == 1
    assert one.alpha(stands.shadow) == alpha_of(1)  # type: ignore[arg-type]


def test_a_proven_challenger_takes_charge_and_the_row_that_proves_it_stands_before_the_move(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    look = one.at_trial(stands, pairs(0.2), LONG, NOW)
    assert look.is_moved
    assert (look.standing.champion.version, look.standing.former.version) == (2, 1)  # type: ignore[union-attr]
    kept = lake.scan(COMPARISONS).collect()
    row = kept.row(0, named=True)
    assert (row["procedure"], row["opponent"], row["is_passed"]) == ("trial", "version:1", True)
    assert row["wealth"] >= row["wealth_needed"] == pytest.approx(1 / alpha_of(1))
    assert json.loads(Moves(lake, None).ledger()["evidence"][-1])[0]["comparison_id"] == row["comparison_id"]


def test_a_move_tells_the_proof_by_hours_beside_the_one_by_pools(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    one.at_trial(stands, pairs(0.2), LONG, NOW)
    row = Moves(lake, None).ledger().row(-1, named=True)
    (told,) = json.loads(row["evidence"])
    by_hours = told["by_hours"]
    verdict = sequential_verdict(cohorts(pairs(0.2), NOW), alpha=alpha_of(1))
    assert by_hours == {
        "n_hours": verdict.n_pools, "wealth": verdict.wealth, "wealth_needed": verdict.bound, "is_passed": True,
    }  # fmt: skip
    assert by_hours["wealth"] >= by_hours["wealth_needed"] == told["wealth_needed"]
    assert row["reason"].endswith(f"; by hours {verdict.wealth:.1f} after {verdict.n_pools} hours")
    one.at_reign(Moves(lake, None).standing(NAME), pairs(0.3), [], NOW)
    (told,) = json.loads(Moves(lake, None).ledger()["evidence"][-1])
    assert (told["procedure"], told["by_hours"]["is_passed"]) == ("harm", True)


def test_a_trial_ends_where_labels_are_made_by_other_thresholds_than_when_it_began(lake: Lake) -> None:
    on_trial(lake)
    stands, other = Moves(lake, None).standing(NAME), {**LABEL_RULE, "rug_price_pct": -60.0}
    assert not looks(lake).at_trial(stands, pairs(0.0), LONG, NOW).is_moved
    look = looks(lake, other).at_trial(stands, pairs(0.2), LONG, NOW)
    assert (look.is_moved, actions(lake)[-1]) == (True, ("reject", 2))
    assert "rug_price_pct was -80.0, is -60.0" in look.decision.reason
    assert "of two questions" in look.decision.reason


def test_a_trial_that_began_without_telling_its_thresholds_is_judged_as_it_was(lake: Lake) -> None:
    move(lake, "promote", 1)
    move(lake, "challenge", 2)
    stands = looks(lake, {}).begin(NOW)
    assert "label_rule" not in Moves(lake, None).ledger()["evidence"][-1]
    assert looks(lake).at_trial(stands, pairs(0.2), LONG, NOW).standing.champion.version == 2  # type: ignore[union-attr]


def test_the_figures_of_a_look_are_means_over_the_pools_that_counted(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    paired = pairs(0.01, 40)
    twice = pl.concat([paired, paired.head(1).with_columns(pl.col("loss_champion") + 4)])
    row = one.at_trial(stands, twice, LONG, NOW).found.row(0, named=True)
    by_pool = twice.group_by("pool").mean()
    assert row["n_pools"] == 40
    assert row["loss_opponent"] == pytest.approx(by_pool["loss_champion"].mean(), abs=1e-12)
    assert row["loss_challenger"] == pytest.approx(by_pool["loss_challenger"].mean(), abs=1e-12)
    assert row["gain_pct"] == pytest.approx(100 * (1 - row["loss_challenger"] / row["loss_opponent"]))


def test_a_look_that_was_killed_before_its_move_is_repeated_and_found_once(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    lake.append(COMPARISONS, one.at_trial(replace(stands, pinned=True), pairs(0.2), LONG, NOW).found)
    assert one.at_trial(stands, pairs(0.2), LONG, NOW).is_moved
    assert lake.scan(COMPARISONS).collect().height == 1


def test_somebody_who_moved_meanwhile_makes_the_look_void(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    move(lake, "veto", 2, actor="person:somebody")
    look = one.at_trial(stands, pairs(0.2), LONG, NOW)
    assert not look.is_moved
    assert actions(lake)[-1] == ("veto", 2)


def test_a_worse_challenger_goes_and_the_next_may_come(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    move(lake, "challenge", 3)
    stands = Moves(lake, None).standing(NAME)
    assert one.at_trial(stands, pairs(-0.2), LONG, NOW).is_moved
    one.begin(NOW)
    assert actions(lake)[-2:] == [("reject", 2), ("shadow", 3)]


def test_before_a_pool_has_matured_nothing_is_found_and_nothing_moves(lake: Lake) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    look = one.at_trial(stands, pairs(0.2).clear(), LONG, NOW)
    assert (look.verdict, look.is_moved, look.found.height) == (None, False, 0)


def promoted(lake: Lake) -> Looks:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    one.at_trial(stands, pairs(0.2), LONG, NOW)
    return one


def test_harm_gives_the_office_back_and_bars_who_did_it(lake: Lake) -> None:
    one = promoted(lake)
    look = one.at_reign(Moves(lake, None).standing(NAME), pairs(0.3), [], NOW)
    assert look.is_moved
    assert look.standing.champion.version == 1  # type: ignore[union-attr]
    assert look.standing.barred == {2}
    assert look.standing.cooling_since == NOW
    row = lake.scan(COMPARISONS).filter(pl.col("procedure") == "harm").collect().row(0, named=True)
    assert (row["challenger_version"], row["opponent"]) == (2, "version:1")
    assert row["loss_challenger"] > row["loss_opponent"]


def test_a_broken_guard_needs_no_outcome(lake: Lake) -> None:
    one = promoted(lake)
    broken = [Breach("answers", "it could not answer 40 of 50 snapshots")]
    look = one.at_reign(Moves(lake, None).standing(NAME), pairs(0.3).clear(), broken, NOW)
    assert (look.is_moved, look.standing.champion.version) == (True, 1)  # type: ignore[union-attr]
    assert "answers" in Moves(lake, None).ledger()["reason"][-1]


def test_a_healthy_champion_stays(lake: Lake) -> None:
    one = promoted(lake)
    assert not one.at_reign(Moves(lake, None).standing(NAME), pairs(-0.1), [], NOW).is_moved
    assert not one.at_reign(Moves(lake, None).standing(NAME), pairs(0.0), [], NOW).is_moved


def test_a_ledger_that_does_not_tell_its_alpha_is_refused(lake: Lake) -> None:
    one = on_trial(lake)
    shadow = Moves(lake, None).standing(NAME).shadow
    assert shadow is not None
    with pytest.raises(RegistryError, match="alpha"):
        one.alpha(replace(shadow, sequence=1))


def test_a_cohort_is_the_mean_of_its_pools_whatever_their_rows_and_only_when_its_hour_is_over() -> None:
    paired = pl.DataFrame(
        {
            "pool": ["a", "a", "a", "b", "c"],
            "matured_at": [NOW, NOW, NOW, NOW + timedelta(minutes=59), NOW + timedelta(minutes=60)],
            "loss_champion": [1.0, 1.0, 4.0, 4.0, 7.0],
            "loss_challenger": [0.0, 0.0, 0.0, 1.0, 7.0],
        }
    )
    later = paired.head(1).with_columns(pl.lit("d").alias("pool"), matured_at=NOW + timedelta(hours=5))
    first = (NOW, 3.0, 0.5)
    for hours, told in ((2, [first, (NOW + timedelta(hours=1), 7.0, 7.0)]), (1.9, [first]), (1, [first]), (0.9, [])):
        found = cohorts(pl.concat([paired, later]), NOW + timedelta(hours=hours))
        assert found.select("matured_at", "loss_champion", "loss_challenger").rows() == told


def test_an_hour_whose_pools_are_held_back_is_no_cohort_yet() -> None:
    """A pool that is pending holds back those after it, also in an hour that is long over: what is told stays told."""
    paired = pairs(0.2, 60)
    whole = cohorts(paired, NOW).rows()
    for n in range(1, 60):
        told = cohorts(paired.head(n), NOW).rows()
        assert told == whole[: len(told)]


def test_half_an_hour_that_flatters_promotes_nobody(lake: Lake) -> None:
    """By pools it is proven, by hours not quite; the last hour is over, and of its pools only the first has come."""
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    whole = pairs(0.2)
    proven = next(n for n in range(6, 600, 3) if by_hours(whole.head(n)).decision == "promote")
    early = whole.head(proven - 6)
    many = [early.with_columns(pl.col("pool") + f"-{twin}") for twin in range(5)]
    last = pl.DataFrame(
        {
            "pool": [f"z:{i}" for i in range(20)],
            "matured_at": [early["matured_at"].max() + timedelta(hours=1, seconds=i) for i in range(20)],  # type: ignore[operator]
            "loss_champion": [2.0] + [0.0] * 19,
            "loss_challenger": [0.0] + [2.0] * 19,
        }
    )
    assert not one.at_trial(stands, pl.concat([*many, last]), LONG, NOW).is_moved
    look = one.at_trial(stands, pl.concat([*many, last.head(1)]), LONG, NOW)
    assert look.verdict is not None
    assert (look.verdict.decision, look.is_moved) == ("promote", False)


def absurd(gain: float) -> pl.DataFrame:
    """A pool an hour: the challenger is better by `gain`, and calls impossible what becomes of every fifteenth."""
    at, loss = pl.int_range(pl.len()), pl.col("loss_challenger")
    return pairs(gain).with_columns(
        (pl.lit(NOW) - pl.duration(hours=pl.len() - at)).cast(COMPARISONS.schema["known_at"]).alias("matured_at"),
        pl.when(at % 15 == 7).then(34.5).otherwise(loss).alias("loss_challenger"),
    )


def test_a_challenger_that_is_absurd_now_and_then_takes_no_charge_though_no_pool_weighs_more_than_one_nat(
    lake: Lake,
) -> None:
    one, stands = on_trial(lake), Moves(lake, None).standing(NAME)
    look = one.at_trial(stands, absurd(0.4), LONG, NOW)
    assert look.verdict is not None
    assert (look.verdict.decision, by_hours(absurd(0.4)).decision) == ("promote", "promote")
    assert (look.is_moved, look.decision.move) == (False, "wait")
    assert "the mean loss itself speaks against it: 1.85 higher" in look.decision.reason
    late = replace(LONG, started_at=NOW - timedelta(days=29))
    assert one.at_trial(stands, absurd(0.4), late, NOW).decision.move == "reject"


def test_a_former_champion_that_is_absurd_now_and_then_does_not_get_the_office_back(lake: Lake) -> None:
    one = promoted(lake)
    look = one.at_reign(Moves(lake, None).standing(NAME), absurd(0.4), [], NOW)
    assert look.verdict is not None
    assert (look.verdict.decision, look.is_moved) == ("promote", False)


def by_hours(paired: pl.DataFrame) -> SequentialVerdict:
    return sequential_verdict(cohorts(paired, NOW), alpha=alpha_of(1))


def test_a_shock_that_all_pools_of_an_hour_share_promotes_by_pools_and_not_by_hours() -> None:
    """Equal models, twenty pools an hour, half of the variance of their difference common to the hour."""
    by_pools = by_hours = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shock = np.repeat(rng.normal(0, 0.3, 60), 20)
        paired = pl.DataFrame(
            {
                "pool": [f"{i:05d}" for i in range(1_200)],
                "matured_at": [NOW + timedelta(minutes=3 * i) for i in range(1_200)],
                "loss_champion": 1.0 + shock + rng.normal(0, 0.3, 1_200),
                "loss_challenger": np.ones(1_200),
            }
        )
        by_pools += sequential_verdict(paired, alpha=0.05).decision == "promote"
        by_hours += sequential_verdict(cohorts(paired, NOW + timedelta(days=9)), alpha=0.05).decision == "promote"
    assert by_pools > 10
    assert by_hours <= 5


def test_a_clock_that_was_set_back_does_not_spend_a_share_twice(lake: Lake) -> None:
    one = on_trial(lake)
    move(lake, "reject", 2)
    move(lake, "challenge", 3)
    one.begin(NOW - timedelta(days=3))
    assert json.loads(Moves(lake, None).ledger()["evidence"][-1])["k"] == 2
