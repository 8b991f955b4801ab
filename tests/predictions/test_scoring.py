from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, UsageError
from pipeline.predictions.scoring import REASONS, newest, score
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import FEATURES, OUTCOMES, PREDICTIONS

AT = datetime(2020, 10, 1, 12, tzinfo=UTC)
NAMES = ("age_hours", "reserve_usd", "price_change_1h_pct", "turnover_1h", "has_volume_spike")
SPEC = PredictionSpec(min_age_hours=1, max_age_hours=48)


def a_row(pool: str = "a", **other) -> dict[str, object]:
    row: dict[str, object] = {
        "source": "simulation:1", "network": "eth", "pool": pool, "event_time": AT, "known_at": AT, "age_hours": 2.0,
        "reserve_usd": 10.0, "price_change_1h_pct": 1.0, "turnover_1h": 0.5, "has_volume_spike": False,
    }  # fmt: skip
    return {**dict.fromkeys(FEATURES.schema.names()), **row, **other}


def some_features(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=FEATURES.schema)


def flat(inputs: pl.DataFrame) -> np.ndarray:
    return np.full((inputs.height, 7), 1 / 7, np.float32)


def scored(features: pl.DataFrame, predict=flat, at=AT, **other):
    told = {
        "model_name": "pool-outcome", "model_version": 3, "model_sha256": "ab", "feature_set": "fs",
        "feature_names": NAMES, "horizon_hours": 24, "scored_at": at, "spec": SPEC,
    }  # fmt: skip
    return score(features, predict, **{**told, **other})


def test_a_complete_row_is_scored_as_a_row_of_predictions():
    done = scored(some_features(a_row()), at=AT + timedelta(minutes=1))
    assert done.predictions.schema == PREDICTIONS.schema
    row = done.predictions.row(0, named=True)
    assert (row["pool"], row["event_time"], row["known_at"]) == ("a", AT, AT + timedelta(minutes=1))
    assert (row["model_version"], row["horizon_hours"], row["completeness"]) == (3, 24, 1.0)
    assert done.skipped == dict.fromkeys(REASONS, 0)


def test_the_model_sees_its_features_in_its_order_and_its_answer_keeps_the_rows():
    seen = []

    def by_reserve(inputs: pl.DataFrame) -> np.ndarray:
        seen.append(inputs.columns)
        p = np.zeros((inputs.height, 7))
        p[:, 0] = inputs["reserve_usd"].to_numpy() / 100
        p[:, 4] = 1 - p[:, 0]
        return p

    rows = [a_row(pool, reserve_usd=reserve) for pool, reserve in (("c", 30.0), ("a", 10.0), ("b", 20.0))]
    done = scored(some_features(*rows), by_reserve, feature_names=NAMES[::-1])
    assert seen == [list(NAMES[::-1])]
    assert dict(done.predictions.select("pool", "p_RUG").iter_rows()) == pytest.approx({"a": 0.1, "b": 0.2, "c": 0.3})


def test_completeness_of_exactly_the_threshold_is_enough_and_less_is_counted():
    four_of_five = a_row("a", turnover_1h=None)
    three_of_five = a_row("b", turnover_1h=None, has_volume_spike=None)
    done = scored(some_features(four_of_five, three_of_five))
    assert done.predictions.select("pool", "completeness").rows() == [("a", 0.8)]
    assert done.skipped["incomplete"] == 1


def test_only_the_models_own_features_count_for_completeness():
    done = scored(some_features(a_row()), feature_names=("age_hours", "n_trades_24h"))
    assert done.skipped["incomplete"] == 1


def test_pools_outside_the_trained_ages_are_counted_and_not_scored():
    ages = {"a": 0.99, "b": 1.0, "c": 48.0, "d": 48.01, "e": None}
    done = scored(some_features(*(a_row(pool, age_hours=age) for pool, age in ages.items())))
    assert done.predictions["pool"].to_list() == ["b", "c"]
    assert (done.skipped["age_outside_trained_range"], done.skipped["age_unknown"]) == (2, 1)


def test_what_is_said_after_the_horizon_is_no_prediction():
    features = some_features(a_row())
    assert scored(features, at=AT + timedelta(hours=24)).skipped["horizon_passed"] == 1
    assert scored(features, at=AT + timedelta(hours=24) - timedelta(seconds=1)).predictions.height == 1


def test_a_replay_may_score_after_the_horizon_and_known_at_says_so():
    spec = PredictionSpec(min_age_hours=1, max_age_hours=48, is_hindsight_allowed=True)
    done = scored(some_features(a_row()), at=AT + timedelta(days=300), spec=spec)
    assert done.predictions["known_at"].to_list() == [AT + timedelta(days=300)]
    assert done.skipped["horizon_passed"] == 0


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 0.5, 2.0, 60.0]), st.sampled_from([None, 1.0]), st.integers(0, 48)),
        max_size=20,
    )
)
@settings(max_examples=50, deadline=None)
def test_every_row_is_scored_or_counted_exactly_once(rows):
    features = some_features(
        *(
            a_row(str(i), age_hours=age, turnover_1h=value, reserve_usd=value, event_time=AT - timedelta(hours=back))
            for i, (age, value, back) in enumerate(rows)
        )
    )
    done = scored(features)
    assert done.predictions.height + sum(done.skipped.values()) == len(rows)


def test_no_row_to_score_asks_the_model_nothing():
    def never(inputs: pl.DataFrame) -> np.ndarray:
        raise AssertionError("asked")

    for features in (some_features(), some_features(a_row(age_hours=99.0))):
        done = scored(features, never)
        assert done.predictions.schema == PREDICTIONS.schema
        assert done.predictions.height == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.full((1, 7), np.nan), "not finite"),
        (np.full((1, 7), np.inf), "not finite"),
        (np.full((1, 7), 1 / 7 + 1e-6), "misses 1"),
        (np.array([[1.2, -0.2, 0, 0, 0, 0, 0]]), "2 lie outside"),
        (np.full((1, 6), 1 / 6), "it gave"),
        (np.full((2, 7), 1 / 7), "it gave"),
        (np.array([1.0]), "it gave"),
    ],
)
def test_an_answer_that_is_no_distribution_is_refused(answer, said):
    with pytest.raises(InputError, match=said):
        scored(some_features(a_row()), lambda inputs: answer)


def test_single_precision_answers_sum_to_one_within_the_tolerance():
    rng = np.random.default_rng(0)
    z = np.exp(rng.normal(0, 4, (5_000, 7)).astype(np.float32))
    done = scored(
        some_features(*(a_row(str(i)) for i in range(5_000))), lambda inputs: z / z.sum(axis=1, keepdims=True)
    )
    assert done.predictions.height == 5_000
    assert set(OUTCOMES) == {c[2:] for c in done.predictions.columns if c.startswith("p_")}


def test_rows_from_the_future_twice_or_with_nan_are_refused():
    with pytest.raises(InputError, match="not known by then"):
        scored(some_features(a_row(known_at=AT + timedelta(seconds=1))))
    with pytest.raises(InputError, match="twice"):
        scored(some_features(a_row(), a_row()))
    with pytest.raises(InputError, match="reserve_usd"):
        scored(some_features(a_row(reserve_usd=float("nan"))))


def test_a_feature_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="holders"):
        scored(some_features(a_row()), feature_names=("holders",))
    with pytest.raises(UsageError):
        scored(some_features(a_row()), feature_names=())


def test_newest_gives_each_pool_once_as_of_the_moment():
    hour = timedelta(hours=1)
    features = some_features(
        a_row("a", event_time=AT - hour, reserve_usd=1.0),
        a_row("a", event_time=AT, known_at=AT + hour, reserve_usd=2.0),
        a_row("b", event_time=AT, reserve_usd=3.0),
        a_row("b", event_time=AT + hour, known_at=AT + hour, reserve_usd=4.0),
        a_row("c", event_time=AT + hour),  # dated ahead of when it was told
    )
    assert newest(features, AT).select("pool", "reserve_usd").rows() == [("a", 1.0), ("b", 3.0)]
    assert newest(features, AT + hour)["reserve_usd"].to_list() == [2.0, 4.0, 10.0]


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_changes_neither_newest_nor_scores(order):
    features = some_features(*(a_row(f"{i % 3}", event_time=AT - timedelta(hours=i)) for i in range(6)))
    assert newest(features[order], AT).equals(newest(features, AT))
    assert scored(features[order]).predictions.equals(scored(features).predictions)


@pytest.mark.parametrize("wrong", [{"min_age_hours": 5, "max_age_hours": 1}, {"min_completeness": 1.1}])
def test_conditions_that_no_row_can_meet_are_refused(wrong):
    with pytest.raises(UsageError, match="nothing can be scored"):
        PredictionSpec(**{"min_age_hours": 0, "max_age_hours": 1, **wrong})
