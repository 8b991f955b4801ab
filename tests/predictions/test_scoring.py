from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, TransientError, UsageError
from pipeline.expectations.verdict import validate
from pipeline.predictions.scoring import Scored, score, skipped
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import FEATURES, OUTCOMES, POOL_TIME_KEY, PREDICTIONS, UNSCORED, UNSCORED_REASONS
from tests.predictions.prediction_rows import (
    AT,
    HOUR,
    NAMES,
    NOTHING_SAID,
    SPEC,
    a_role,
    a_row,
    flat,
    said_now,
    sure_of,
)


def scored(due: pl.DataFrame, *roles, already=NOTHING_SAID, spec=SPEC, **other) -> Scored:
    return score(due, roles or (a_role(**other),), already, spec)


def reason_of(done: Scored) -> dict[str, int]:
    return {reason: count for reason, count in skipped(done.unscored).items() if count}


def test_a_complete_row_is_scored_as_a_row_of_predictions_with_all_that_went_in():
    done = scored(said_now(a_row(), at=AT + timedelta(minutes=1)))
    assert done.predictions.schema == PREDICTIONS.schema
    row = done.predictions.row(0, named=True)
    assert (row["pool"], row["event_time"], row["known_at"]) == ("a", AT, AT + timedelta(minutes=1))
    assert (row["model_version"], row["role"], row["horizon_hours"], row["completeness"]) == (3, "champion", 24, 1.0)
    assert (row["signal_score"], row["is_signal"], row["latency_ms"]) == (None, None, None)
    assert row["inputs"] == (
        '{"age_hours":2.0,"reserve_usd":10.0,"price_change_1h_pct":1.0,"turnover_1h":0.5,"has_volume_spike":false}'
    )
    assert done.unscored.is_empty()
    assert validate(PREDICTIONS, done.predictions).is_passed


def test_the_model_sees_its_features_in_its_order_and_its_answer_keeps_the_rows():
    seen = []

    def by_reserve(inputs: pl.DataFrame) -> dict[int, np.ndarray]:
        seen.append(inputs.columns)
        p = np.zeros((inputs.height, 7))
        p[:, 0] = inputs["reserve_usd"].to_numpy() / 100
        p[:, 4] = 1 - p[:, 0]
        return {24: p}

    rows = [a_row(pool, reserve_usd=reserve) for pool, reserve in (("c", 30.0), ("a", 10.0), ("b", 20.0))]
    done = scored(said_now(*rows), predict=by_reserve, feature_names=NAMES[::-1])
    assert seen == [list(NAMES[::-1])]
    assert dict(done.predictions.select("pool", "p_RUG").iter_rows()) == pytest.approx({"a": 0.1, "b": 0.2, "c": 0.3})


def test_each_horizon_is_a_row_and_the_model_is_asked_once():
    calls = []

    def by_horizon(inputs: pl.DataFrame) -> dict[int, np.ndarray]:
        calls.append(inputs.height)
        return {h: np.eye(7)[[k] * inputs.height] for h, k in ((1, 0), (6, 1), (24, 2))}

    done = scored(said_now(a_row("a"), a_row("b")), predict=by_horizon, horizons_hours=(1, 6, 24))
    assert calls == [2]
    assert done.predictions.height == 6
    for hours, outcome in ((1, OUTCOMES[0]), (6, OUTCOMES[1]), (24, OUTCOMES[2])):
        assert done.predictions.filter(pl.col("horizon_hours") == hours)[f"p_{outcome}"].to_list() == [1.0, 1.0]


@given(
    st.permutations(range(5)),
    st.permutations(["champion", "shadow", "former"]),
    st.lists(st.sampled_from([0.5, 2.0, 17.0, 18.0, None]), min_size=5, max_size=5),
)
@settings(max_examples=30)
def test_all_roles_score_the_same_rows_whatever_their_order_and_that_of_the_rows(order, roles, ages):
    due = said_now(*(a_row(str(i), age_hours=age) for i, age in enumerate(ages)))
    answers = {"champion": flat, "shadow": sure_of("RUG"), "former": sure_of("MOON")}
    versions = {"champion": 3, "shadow": 4, "former": 2}
    served = [a_role(role, versions[role], answers[role], horizons_hours=(1, 24)) for role in roles]
    done = scored(due[list(order)], *served)
    rows = {
        role: done.predictions.filter(pl.col("role") == role).select(*POOL_TIME_KEY, "horizon_hours") for role in roles
    }
    assert rows["champion"].equals(rows["shadow"])
    assert rows["champion"].equals(rows["former"])
    plain = scored(due, *(a_role(role, versions[role], answers[role], horizons_hours=(1, 24)) for role in versions))
    assert done.predictions.sort(*PREDICTIONS.key).equals(plain.predictions.sort(*PREDICTIONS.key))
    assert done.predictions.height + done.unscored.height == 3 * 2 * due.height
    assert done.predictions.join(done.unscored, on=PREDICTIONS.key, how="semi").is_empty()


def nan(inputs: pl.DataFrame) -> dict[int, np.ndarray]:
    return {24: np.full((inputs.height, 7), np.nan)}


def away(inputs: pl.DataFrame) -> dict[int, np.ndarray]:
    raise TransientError("the model's server is away")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"predict": nan}, "not finite"),
        ({"predict": away}, "is away"),
        ({"predict": lambda inputs: {24: np.full((1, 6), 1 / 6)}}, "it gave"),
        ({"predict": lambda inputs: {24: np.full((2, 7), 1 / 7 + 1e-6)}}, "misses 1"),
        ({"predict": lambda inputs: {24: np.tile([1.2, -0.2, 0, 0, 0, 0, 0], (2, 1))}}, "4 lie outside"),
        ({"predict": lambda inputs: {6: np.full((2, 7), 1 / 7)}}, "nothing of"),
        ({"feature_names": ("holders",)}, "no features any more"),
        ({"feature_names": ()}, "train it again"),
        ({"signal": lambda inputs: (np.array([0.5]), None)}, "it gave"),
        ({"signal": lambda inputs: (np.array([0.5, np.inf]), None)}, "1 of them infinite"),
        ({"signal": lambda inputs: (np.array([0.5, 0.5]), np.array([True]))}, "and 1 answers"),
    ],
)
def test_a_model_that_breaks_says_nothing_and_stops_no_other(broken, said):
    served = a_role("champion", 3), a_role("shadow", 4, **broken), a_role("former", 2)
    done = scored(said_now(a_row("a"), a_row("b"), a_row("c", age_hours=None)), *served)
    assert done.predictions["role"].value_counts().sort("role").rows() == [("champion", 2), ("former", 2)]
    failed = done.unscored.filter(pl.col("reason") == "model_failed")
    assert failed.select("pool", "role", "model_version").rows() == [("a", "shadow", 4), ("b", "shadow", 4)]
    assert said in failed["detail"][0]
    assert said in done.failures["shadow"]
    assert done.unscored.filter(pl.col("reason") == "age_unknown").height == 3
    assert validate(UNSCORED, done.unscored).is_passed


def test_a_signal_is_told_beside_and_abstaining_is_null():
    raising = a_role("champion", 3, signal=lambda inputs: (np.array([0.9, np.nan]), np.array([True, False])))
    silent = a_role("shadow", 4, signal=lambda inputs: (np.array([0.9, 0.1]), None))
    done = scored(said_now(a_row("a"), a_row("b")), raising, silent)
    told = done.predictions.select("role", "signal_score", "is_signal").rows()
    assert told == [("champion", 0.9, True), ("champion", None, False), ("shadow", 0.9, None), ("shadow", 0.1, None)]


def test_completeness_counts_what_the_model_needs_and_exactly_the_threshold_is_enough():
    four_of_five = a_row("a", turnover_1h=None)
    three_of_five = a_row("b", turnover_1h=None, has_volume_spike=None)
    done = scored(said_now(four_of_five, three_of_five))
    assert done.predictions.select("pool", "completeness").rows() == [("a", 0.8)]
    assert reason_of(done) == {"incomplete": 1}
    done = scored(said_now(four_of_five, three_of_five), needed=("age_hours", "reserve_usd"))
    assert done.predictions["completeness"].to_list() == [1.0, 1.0]
    assert reason_of(scored(said_now(a_row()), needed=("age_hours", "n_trades_24h"))) == {"incomplete": 1}


def test_pools_outside_the_trained_ages_are_told_and_not_scored():
    ages = {"a": 0.99, "b": 1.0, "c": 17.0, "d": 17.01, "e": None}
    done = scored(said_now(*(a_row(pool, age_hours=age) for pool, age in ages.items())))
    assert done.predictions["pool"].to_list() == ["b", "c"]
    assert reason_of(done) == {"age_unknown": 1, "age_outside_trained_range": 2}


def test_what_is_said_after_the_horizon_is_no_prediction_unless_it_is_hindsight_which_only_the_champion_has():
    late = said_now(a_row(), at=AT + 24 * HOUR)
    assert reason_of(scored(late)) == {"horizon_passed": 1}
    assert scored(said_now(a_row(), at=AT + 24 * HOUR - timedelta(seconds=1))).predictions.height == 1
    hindsight = said_now(a_row(), at=AT + 300 * HOUR, is_hindsight=True)
    done = scored(hindsight, a_role("champion", 3), a_role("shadow", 4))
    assert done.predictions.select("role", "known_at").rows() == [("champion", AT + 300 * HOUR)]
    assert done.unscored.is_empty()


def test_nobody_speaks_of_what_came_before_the_role_or_of_what_was_learned_from():
    due = said_now(a_row())
    assert scored(due, since=AT + HOUR).predictions.is_empty()
    assert scored(due, since=AT).predictions.height == 1
    assert reason_of(scored(due, learned_until=AT)) == {"learned_past_it": 1}
    assert scored(due, learned_until=AT - timedelta(seconds=1)).predictions.height == 1


def test_what_was_said_is_not_said_again_by_the_same_version_in_any_role():
    due = said_now(a_row("a"), a_row("b"))
    first = scored(due, a_role("shadow", 4, horizons_hours=(1, 24)))
    already = first.predictions.filter(pl.col("pool") == "a", pl.col("horizon_hours") == 1).select(PREDICTIONS.key)
    again = scored(due, a_role("champion", 4, horizons_hours=(1, 24)), a_role("former", 3), already=already)
    assert again.predictions.join(already, on=PREDICTIONS.key, how="semi").is_empty()
    assert again.predictions.filter(pl.col("model_version") == 4).height == 3
    assert again.predictions.filter(pl.col("model_version") == 3).height == 2


def test_no_row_to_score_asks_the_model_nothing():
    def never(inputs: pl.DataFrame) -> dict[int, np.ndarray]:
        raise AssertionError("asked")

    for due in (said_now(), said_now(a_row(age_hours=99.0))):
        done = scored(due, predict=never)
        assert done.predictions.schema == PREDICTIONS.schema
        assert done.predictions.height == 0


def test_time_is_told_a_row_where_there_is_a_timer():
    ticks = iter([10.0, 10.5])
    done = score(said_now(a_row("a"), a_row("b")), [a_role()], NOTHING_SAID, SPEC, lambda: next(ticks))
    assert done.predictions["latency_ms"].to_list() == [250.0, 250.0]


def test_rows_from_the_future_twice_or_with_nan_are_refused():
    with pytest.raises(InputError, match="not known when"):
        scored(said_now(a_row(known_at=AT + timedelta(seconds=1))))
    with pytest.raises(InputError, match="twice"):
        scored(said_now(a_row(), a_row()))
    with pytest.raises(InputError, match="reserve_usd"):
        scored(said_now(a_row(reserve_usd=float("nan"))))
    with pytest.raises(UsageError, match="one version"):
        scored(said_now(a_row()), a_role(), a_role())
    with pytest.raises(UsageError, match="said_at"):
        scored(said_now(a_row()).drop("said_at"))


VALUES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(VALUES, VALUES, st.sampled_from([None, True, False])), min_size=1, max_size=5))
@settings(max_examples=50)
def test_inputs_are_read_back_to_the_last_bit(rows):
    due = said_now(
        *(a_row(str(i), price_change_1h_pct=a, turnover_1h=b, has_volume_spike=c) for i, (a, b, c) in enumerate(rows))
    )
    done = scored(due, spec=PredictionSpec(1, 17, min_completeness=0.0))
    told = pl.Struct({name: FEATURES.schema[name] for name in NAMES})
    read = done.predictions.select(pl.col("inputs").str.json_decode(told)).unnest("inputs")
    assert read.equals(due.sort("pool").select(NAMES))


def test_every_reason_is_one_of_the_tables():
    assert tuple(skipped(UNSCORED.empty())) == UNSCORED_REASONS


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_age_hours": 5, "max_age_hours": 1}, {"min_completeness": 1.1}, {"every_minutes": 0}, {"prompt_share": 0},
        {"due_hours": 0},
    ],
)  # fmt: skip
def test_conditions_that_no_row_can_meet_are_refused(wrong):
    with pytest.raises(UsageError, match="under"):
        PredictionSpec(**{"min_age_hours": 0, "max_age_hours": 1, **wrong})
