"""Reports on simulated worlds: quiet where nothing changes, and an alarm only where a change does harm."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from pipeline.monitoring.drift.alarm import Look
from pipeline.monitoring.drift.evidence import looks_of
from pipeline.monitoring.drift.report import report
from tests.monitoring.drift_world import CHANGED, FAST, HOUR, World, with_fewer, world


def looked_at(seen: World, hours: Sequence[int]) -> Iterator[tuple[pl.DataFrame, Look]]:
    """Reports so many hours after the change, one after the other, and what each saw."""
    past: list[Look] = []
    for hour in hours:
        now: datetime = CHANGED + hour * HOUR
        found = report(seen.evidence(now), past, now, FAST)
        past += looks_of(found)
        yield found, past[-1]


def moved(found: pl.DataFrame, kind: str) -> set[str]:
    return set(found.filter(pl.col("kind") == kind, pl.col("is_drifted"))["subject"])


def test_where_nothing_changes_nothing_is_asked_and_hardly_anything_is_seen() -> None:
    looks = [look for _, look in looked_at(world(1), range(0, 192, 36))]
    assert len(looks) == 6
    assert not any(look.is_seen or look.is_asking for look in looks)


def test_days_that_differ_by_their_mood_are_no_news() -> None:
    """By permuting pools alone, nearly every one of these days has drifted features."""
    (found, look), *_ = looked_at(world(5, mood=1.0), [0])
    features = found.filter(pl.col("kind") == "feature")
    assert features.filter(pl.col("q_value") <= FAST.drift.alpha).height >= 3
    assert len(moved(found, "feature")) <= 1
    assert look.is_seen is False


def test_a_shift_that_does_no_harm_is_told_and_asks_for_nothing() -> None:
    told = list(looked_at(world(3, changed=4.0, pools_a_day=60), [24, 36, 48]))
    assert all(moved(found, "feature") == {"feature_0"} for found, _ in told)
    assert not any(look.is_seen or look.is_asking for _, look in told)
    assert told[0][0].filter(pl.col("kind") == "alarm")["words"][0].startswith("drift without harm: feature_0 js ")


def test_a_model_that_is_unsure_of_the_new_pools_asks_within_a_day_before_any_label_is_out() -> None:
    told = list(looked_at(world(4, changed=4.0, is_unsure=True, pools_a_day=60), [0, 12, 18, 24]))
    assert not told[0][1].is_seen
    assert moved(told[-1][0], "performance") == {"estimated"}
    assert any(look.is_asking for _, look in told)


def test_a_concept_that_changed_is_seen_by_labels_alone() -> None:
    """The same features mean the opposite: the model expects no loss, and has it."""
    told = list(looked_at(world(6, changed=4.0, is_wrong=True, pools_a_day=60), [24, 48, 54, 96]))
    assert moved(told[0][0], "performance") == set(), (
        "no label of the changed world is out, and the estimate sees nothing"
    )
    assert moved(told[1][0], "performance") == {"observed"}
    assert moved(told[3][0], "concept") == {"loss"}
    assert [look.is_asking for _, look in told] == [False, False, True, False]


def test_too_few_pools_are_told_kind_by_kind_and_count_for_nothing() -> None:
    now = CHANGED
    whole = world(1).evidence(now)
    few = with_fewer(whole, FAST.min_pools - 1)
    nothing = few.said.head(0)
    found = report(replace(few, said=nothing, judged=nothing, labelled=few.labelled.head(0)), [], now, FAST)
    assert found.filter(pl.col("kind") == "feature").is_empty()
    assert found.filter(pl.col("kind") == "multivariate")["is_drifted"].to_list() == [None]
    assert looks_of(found)[0].is_seen is None
    words = found.filter(pl.col("kind") == "alarm")["words"][0]
    assert words == "too few pools to tell"


def test_the_same_evidence_gives_the_same_report_with_every_figure_of_every_feature() -> None:
    told = world(1).evidence(CHANGED)
    found = report(told, [], CHANGED, FAST)
    assert report(told, [], CHANGED, FAST).equals(found)
    features = found.filter(pl.col("kind") == "feature")
    assert features.height == 8
    assert features.select("js", "psi", "p_value", "q_value", "usual").null_count().row(0) == (0,) * 5
