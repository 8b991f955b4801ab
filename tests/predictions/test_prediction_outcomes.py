"""What became of predictions: as of a moment, once each, and nothing from later."""

from datetime import datetime, timedelta
from math import log

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.expectations.verdict import validate
from pipeline.predictions.outcomes import reconcile, renewed, roles_held, settle
from pipeline.predictions.scoring import score
from pipeline.tables import DEPLOYMENTS, LABELS, OUTCOMES, PREDICTION_OUTCOMES, PREDICTIONS
from tests.predictions.prediction_rows import (
    AT,
    HOUR,
    NOTHING_SAID,
    SPEC,
    a_label,
    a_role,
    a_row,
    said_now,
    some_labels,
    sure_of,
)

SINCE = AT - 5 * HOUR
MOVES = ("model_name", "version", "alias", "known_at", "previous_version")
HELD = roles_held(
    pl.DataFrame(
        [
            {"model_name": "pool-outcome", "version": 2, "alias": "champion", "known_at": SINCE - HOUR},
            {"model_name": "pool-outcome", "version": 3, "alias": "champion", "known_at": SINCE, "previous_version": 2},
            {"model_name": "pool-outcome", "version": 4, "alias": "shadow", "known_at": SINCE},
            {"model_name": "pool-outcome", "version": 5, "alias": "challenger", "known_at": SINCE},
        ],
        schema={
            name: DEPLOYMENTS.schema[name]
            for name in ("model_name", "version", "alias", "known_at", "previous_version")
        },
    )
)
DAY_LATER = AT + 24 * HOUR


def said(*pools: str, at: datetime = AT, predict=None, **other) -> pl.DataFrame:
    rows = [a_row(pool) for pool in pools]
    served = a_role("champion", 3, predict or sure_of("STABLE", 0.4), **other)
    return score(said_now(*rows, at=at), [served], NOTHING_SAID, SPEC).predictions


def settled(predictions: pl.DataFrame, *labels, now: datetime = DAY_LATER, held: pl.DataFrame = HELD) -> pl.DataFrame:
    return settle(predictions, some_labels(*labels), held, now, SPEC)


def test_a_labelled_prediction_says_how_right_it_was_and_what_came():
    labels = (a_label("a"), a_label("b", outcome="RUG", label_known_at=AT + HOUR), a_label("c", outcome=None))
    told = settled(said("a", "b", "c", "d"), *labels)
    rows = told.select("pool", "status", "outcome", "p_outcome", "log_loss", "is_correct", "is_evidence").rows()
    assert rows == [
        ("a", "labelled", "STABLE", pytest.approx(0.4), pytest.approx(-log(0.4)), True, True),
        ("b", "labelled", "RUG", pytest.approx(0.1), pytest.approx(-log(0.1)), False, True),
        ("c", "censored", None, None, None, None, True),
    ]
    assert told["known_at"].to_list() == [DAY_LATER] * 3
    assert told["return_end_pct"].to_list() == [1.0, 1.0, None]
    assert validate(PREDICTION_OUTCOMES, told).is_passed


def test_what_was_called_impossible_costs_a_bounded_loss():
    told = settled(said("a", predict=sure_of("RUG", 1.0)), a_label("a"))
    assert told["log_loss"].item() == pytest.approx(34.5, abs=0.1)
    sure = settled(said("a", predict=sure_of("STABLE", 1.0)), a_label("a"))
    assert 0 < sure["log_loss"].item() < 1e-14


def test_a_rug_that_is_known_early_waits_for_its_horizon_like_its_siblings():
    label = a_label("a", outcome="RUG", label_known_at=AT + HOUR)
    assert settled(said("a"), label, now=DAY_LATER - timedelta(seconds=1)).is_empty()
    assert settled(said("a"), label).height == 1


@pytest.mark.parametrize(
    ("at", "known", "version", "is_evidence"),
    [
        (AT, AT + 24 * HOUR, 3, True),
        (AT + 2.4 * HOUR, AT + 24 * HOUR, 3, True),
        (AT + 2.5 * HOUR, AT + 24 * HOUR, 3, False),  # too late after the snapshot: who is left has survived so far
        (AT + 2 * HOUR, AT + 2 * HOUR, 3, False),  # the outcome was known
        (AT + 2 * HOUR, AT + 2 * HOUR + timedelta(seconds=1), 3, True),
        (AT, AT + 24 * HOUR, 9, False),  # the ledger knows no such role
    ],
)
def test_evidence_is_said_in_the_role_promptly_and_before_the_outcome_is_known(at, known, version, is_evidence):
    predictions = said("a", at=at).with_columns(pl.lit(version, pl.Int64).alias("model_version"))
    told = settled(predictions, a_label("a", outcome="RUG", label_known_at=known))
    assert told["is_evidence"].to_list() == [is_evidence]


def test_what_was_said_before_the_role_began_is_no_evidence():
    later = HELD.with_columns(pl.col("role_since") + 6 * HOUR)
    assert settled(said("a"), a_label("a"), held=later)["is_evidence"].to_list() == [False]


def test_the_ledger_tells_since_when_a_version_had_a_role_and_who_yields_is_former():
    told = {(r["model_version"], r["role"]): r["role_since"] for r in HELD.iter_rows(named=True)}
    assert told == {(2, "champion"): SINCE - HOUR, (3, "champion"): SINCE, (2, "former"): SINCE, (4, "shadow"): SINCE}


def test_hindsight_is_never_evidence():
    due = said_now(a_row("a"), at=AT + 300 * HOUR, is_hindsight=True)
    predictions = score(due, [a_role()], NOTHING_SAID, SPEC).predictions
    told = settled(predictions, a_label("a"), now=AT + 300 * HOUR)
    assert told["is_evidence"].to_list() == [False]


def test_what_was_not_said_yet_has_no_outcome_yet():
    due = said_now(a_row("a"), at=AT + 300 * HOUR, is_hindsight=True)
    predictions = score(due, [a_role()], NOTHING_SAID, SPEC).predictions
    assert settled(predictions, a_label("a"), now=AT + 299 * HOUR).is_empty()


def test_an_outcome_is_refined_until_its_path_is_known_and_then_stays():
    predictions, now = said("a"), DAY_LATER
    early = a_label("a", outcome="RUG", label_known_at=AT + HOUR, path_known_at=None, return_end_pct=None)
    first = renewed(PREDICTION_OUTCOMES.empty(), settled(predictions, early, now=now))
    assert first["path_known_at"].to_list() == [None]
    assert renewed(first, settled(predictions, early, now=now + HOUR)).is_empty()
    told_late = a_label(
        "a", outcome="RUG", label_known_at=AT + HOUR, path_known_at=now + 2 * HOUR, return_end_pct=-99.0
    )
    assert renewed(first, settled(predictions, told_late, now=now + HOUR)).is_empty(), "its path is known later"
    second = renewed(first, settled(predictions, told_late, now=now + 2 * HOUR))
    assert second.select("known_at", "return_end_pct").rows() == [(now, -99.0)], "the end is known since before"
    changed = a_label("a", outcome="MOON")
    assert renewed(second, settled(predictions, changed, now=now + 9 * HOUR)).is_empty(), "a final outcome stays"
    other_end = renewed(first, settled(predictions, changed, now=now + 9 * HOUR))
    assert other_end.select("outcome", "known_at").rows() == [("MOON", now + 9 * HOUR)]


def test_a_censored_outcome_is_final():
    first = settled(said("a"), a_label("a", outcome=None))
    assert renewed(first, settled(said("a"), a_label("a"), now=DAY_LATER + HOUR)).is_empty()


FATES = st.tuples(
    st.sampled_from(["STABLE", "RUG", None, "pending", "absent"]),
    st.integers(0, 60),  # hours until the label is known
    st.sampled_from([1, 6, 24]),
    st.integers(0, 5),  # hours until it was said
)


def world(fates) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions and labels of as many pools."""
    frames, labels = [PREDICTIONS.empty()], []
    for i, (fate, hours, horizon, late) in enumerate(fates):
        frames.append(said(str(i), at=AT + late * HOUR, horizons_hours=(horizon,)))
        known = AT + hours * HOUR
        if fate == "pending":
            labels.append(
                a_label(str(i), hours=horizon) | dict.fromkeys(("outcome", "label_known_at")) | {"status": "pending"}
            )
        elif fate != "absent":
            labels.append(
                a_label(str(i), hours=horizon, outcome=fate, **({} if fate is None else {"label_known_at": known}))
            )
    return pl.concat(frames), some_labels(*labels)


@given(st.lists(FATES, max_size=8), st.integers(0, 50))
@settings(max_examples=30)
def test_every_prediction_ends_in_exactly_one_of_three_and_the_counts_add_up(fates, hours):
    predictions, labels = world(fates)
    now = AT + hours * HOUR
    told = settle(predictions, labels, HELD, now, SPEC)
    found = reconcile(predictions, told, labels, now)
    assert found.faults == ()
    assert found.n_predictions == predictions.height
    assert found.n_labelled + sum(found.censored.values()) + found.n_pending == predictions.height
    by_hand = {"labelled": 0, "censored": 0}
    said_at = dict(predictions.select("pool", "known_at").iter_rows())
    for i, (fate, known, horizon, _) in enumerate(fates):
        is_over = max(horizon, known if fate in OUTCOMES else 0) <= hours and said_at.get(str(i), now + HOUR) <= now
        if fate in OUTCOMES and is_over:
            by_hand["labelled"] += 1
        elif fate is None and is_over:
            by_hand["censored"] += 1
    assert (found.n_labelled, sum(found.censored.values())) == tuple(by_hand.values())


@given(st.lists(FATES, max_size=8), st.integers(0, 50), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_labels_from_after_the_moment_change_no_outcome(fates, hours, random):
    predictions, labels = world(fates)
    now = AT + hours * HOUR
    told = settle(predictions, labels, HELD, now, SPEC)
    known = labels.filter(
        (pl.col("label_known_at") <= now) | (pl.col("status") == "censored"),
        pl.col("event_time") + pl.duration(hours=pl.col("horizon_hours")) <= now,
    )
    assert settle(predictions, known, HELD, now, SPEC).equals(told)
    changed = labels.with_columns(
        outcome=pl.when(pl.col("label_known_at") > now).then(pl.lit("MOON")).otherwise("outcome")
    )
    order = random.sample(range(labels.height), labels.height)
    assert settle(predictions[::-1], changed[order], HELD, now, SPEC).equals(told)
    assert (told["label_known_at"].drop_nulls() <= now).all()
    assert (told["path_known_at"].drop_nulls() <= now).all()


def test_what_does_not_add_up_is_told():
    predictions, labels = said("a", "b", "c"), some_labels(*(a_label(pool) for pool in "abc"))
    told = settle(predictions, labels, HELD, DAY_LATER, SPEC)
    assert reconcile(predictions, told, labels, DAY_LATER).faults == ()
    for wrong, words in (
        (told.head(2), "1 predictions wait for a label that is known"),
        (pl.concat([told, told.head(1)]), "1 predictions do not add up"),
        (told.with_columns(known_at=pl.lit(AT)), "3 outcomes were told before"),
    ):
        assert any(words.split(" ", 1)[1] in fault for fault in reconcile(predictions, wrong, labels, DAY_LATER).faults)
    lost = reconcile(predictions.head(2), told, labels, DAY_LATER)
    assert "1 outcomes are of no prediction" in lost.faults
    assert "3 predictions" in reconcile(predictions, told, labels, DAY_LATER).in_words()


def test_twice_the_same_prediction_or_label_is_refused():
    with pytest.raises(InputError, match="predictions are there twice"):
        settled(pl.concat([said("a"), said("a")]), a_label("a"))
    with pytest.raises(InputError, match="labels are there twice"):
        settled(said("a"), a_label("a"), a_label("a"))
    assert settled(said("a")).schema == PREDICTION_OUTCOMES.schema
    assert LABELS.schema["horizon_hours"] == pl.Int32
