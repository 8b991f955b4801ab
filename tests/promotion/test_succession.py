"""Who may take over from whom."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.promotion.spec import PromotionSpec
from pipeline.promotion.standing import Deployed, Standing
from pipeline.promotion.succession import Incumbent, Judged, judge, why_tried

NOW = datetime(2024, 3, 1, tzinfo=UTC)
BASELINES = ("prior", "rule")
SPEC = PromotionSpec(n_resamples=200)


def said(confidence: float) -> pl.DataFrame:
    """Two hundred pools, of which every second is a rug; the right class gets `confidence`."""
    labels = ["RUG", "STABLE"] * 100
    return pl.DataFrame(
        {
            "pool": [f"p{i}" for i in range(200)],
            "time": [NOW + timedelta(minutes=5 * i) for i in range(200)],
            "horizon": [24] * 200,
            "label": labels,
            "p_RUG": [confidence if label == "RUG" else 1 - confidence for label in labels],
            "p_STABLE": [confidence if label == "STABLE" else 1 - confidence for label in labels],
        }
    )


def judged(
    source: str = "recording:a", incumbent: Incumbent | None = None, model: float = 0.9, n_reads: int = 1
) -> Judged:
    evaluations = {"model": said(model), "prior": said(0.5), "rule": said(0.6)}
    return judge(
        evaluations, baselines=BASELINES, version=3, source=source, incumbent=incumbent, known_at=NOW, spec=SPEC,
        n_reads=n_reads,
    )  # fmt: skip


def test_a_last_block_that_was_looked_at_before_is_told_in_the_verdict() -> None:
    assert "evaluated" not in judged().verdict.reason
    assert judged(n_reads=3).verdict.reason.endswith("; models were evaluated 3 times on these rows")
    assert "evaluated 3 times" in judged(model=0.55, n_reads=3).verdict.reason


def test_the_first_champion_beats_every_baseline() -> None:
    done = judged()
    assert done.verdict.is_promoted
    assert done.step == "promote"
    assert done.comparisons["opponent"].to_list() == ["baseline:prior", "baseline:rule"]


def test_a_model_that_loses_to_one_baseline_is_not_promoted() -> None:
    assert not judged(model=0.55).verdict.is_promoted


def test_a_baseline_that_is_missing_was_not_beaten() -> None:
    with pytest.raises(InputError, match="incomplete"):
        judge(
            {"model": said(0.9), "prior": said(0.5)}, baselines=BASELINES, version=3, source="recording:a",
            incumbent=None, known_at=NOW, spec=SPEC,
        )  # fmt: skip


def test_a_real_model_replaces_a_simulated_champion_and_says_so() -> None:
    verdict = judged(incumbent=Incumbent(1, "simulation:7")).verdict
    assert verdict.is_promoted
    told = "takes charge without a comparison with the champion, version 1: it learned from simulation:7"
    assert verdict.reason.endswith(told)


def test_a_model_of_the_live_market_replaces_one_that_knows_a_recording_alone() -> None:
    done = judged("geckoterminal", Incumbent(1, "recording:a"))
    assert (done.step, "learned from recording:a" in done.verdict.reason) == ("promote", True)


@pytest.mark.parametrize(
    ("source", "incumbent", "why"),
    [
        ("simulation:7", Incumbent(1, "recording:a"), "never replaces"),
        ("recording:a", Incumbent(1, "recording:a"), "shadow"),
        ("simulation:8", Incumbent(1, "simulation:7"), "shadow"),
        ("recording:a", Incumbent(3, "recording:a"), "in charge already"),
        ("recording:a", Incumbent(1, "unknown"), "shadow"),
        ("geckoterminal", Incumbent(1, "unknown"), "shadow"),
        ("geckoterminal", Incumbent(1, "geckoterminal"), "shadow"),
        ("recording:a", Incumbent(1, "geckoterminal"), "never replaces"),
    ],
)
def test_nobody_else_takes_over_however_good(source: str, incumbent: Incumbent, why: str) -> None:
    verdict = judged(source, incumbent, model=0.99).verdict
    assert not verdict.is_promoted
    assert why in verdict.reason


def test_who_beats_the_champion_and_every_baseline_may_run_in_its_shadow_and_no_more() -> None:
    done = judged(incumbent=Incumbent(1, "recording:a", said(0.7)))
    assert done.step == "challenge"
    assert not done.verdict.is_promoted
    assert done.comparisons["opponent"].to_list() == ["baseline:prior", "baseline:rule", "version:1"]
    assert done.comparisons["is_passed"].all()


@pytest.mark.parametrize(("champion", "model"), [(0.9, 0.9), (0.897, 0.9), (0.95, 0.9), (0.5, 0.55)])
def test_who_is_not_plainly_better_than_the_champion_or_a_baseline_stays(champion: float, model: float) -> None:
    done = judged(incumbent=Incumbent(1, "recording:a", said(champion)), model=model)
    assert done.step == "stay"
    assert "does not beat" in done.verdict.reason


def test_the_champion_is_met_only_on_rows_it_had_not_seen() -> None:
    later = said(0.7).tail(50)
    compared = judged(incumbent=Incumbent(1, "recording:a", later)).comparisons
    assert compared.filter(pl.col("opponent") == "version:1")["n_pools"].to_list() == [50]


def test_without_a_pool_that_is_new_to_both_nothing_is_decided() -> None:
    done = judged(incumbent=Incumbent(1, "recording:a", said(0.7).clear()))
    assert (done.step, done.verdict.is_promoted) == ("stay", False)
    assert "collect for longer" in done.verdict.reason


@pytest.mark.parametrize(("champion", "step"), [(0.7, "challenge"), (0.95, "stay")])
def test_a_champion_that_learned_other_thresholds_is_beaten_by_the_same_rule_and_the_verdict_says_so(
    champion: float, step: str
) -> None:
    learned = "rug_price_pct was -80.0, is -60.0"
    done = judged(incumbent=Incumbent(1, "recording:a", said(champion), learned=learned))
    assert done.step == step
    assert done.verdict.reason.endswith(f"; version 1 learned labels of other thresholds than these: {learned}")
    assert "thresholds" not in judged(incumbent=Incumbent(1, "recording:a", said(champion))).verdict.reason


def test_a_champion_that_can_no_longer_be_asked_gives_way_to_whoever_beats_the_baselines() -> None:
    mute = Incumbent(1, "recording:a", mute="a feature has changed")
    done, worse = judged(incumbent=mute), judged(incumbent=mute, model=0.55)
    why = "comparison with the champion, version 1: it cannot be asked any more: a feature has changed"
    assert (done.step, done.verdict.is_promoted) == ("promote", True)
    assert done.verdict.reason.endswith(f"takes charge without a {why}")
    assert (worse.step, worse.verdict.is_promoted) == ("stay", False)
    assert worse.verdict.reason.endswith(f"there was no {why}")


def test_who_was_tried_against_this_very_champion_is_not_tried_again_and_against_another_is() -> None:
    rejected = {"model_name": "m", "action": "reject", "version": 2, "sequence": 5}
    ledger = pl.DataFrame([rejected, {**rejected, "version": 3, "action": "veto"}, {**rejected, "model_name": "other"}])
    before, after = (Standing(champion=Deployed("m", 1, "a" * 64, row, NOW, "h")) for row in (4, 6))
    assert "has ended" in why_tried(ledger, "m", 2, before)
    assert why_tried(ledger, "m", 2, after) == why_tried(ledger, "m", 3, before) == ""
    assert why_tried(ledger, "m", 2, Standing()) == ""


def test_a_champion_that_answered_other_rows_is_refused() -> None:
    other = said(0.7).with_columns(pl.lit("RUG").alias("label"))
    with pytest.raises(InputError, match="same rows"):
        judged(incumbent=Incumbent(1, "recording:a", other))
