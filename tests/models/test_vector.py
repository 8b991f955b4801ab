"""The feature vector: numbers between 0 and 1, by rules that training rows alone made."""

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaky_market import ALL_KNOWN, BORN, NAMES, features_of, frozen, market
from sklearn.preprocessing import QuantileTransformer

from pipeline.errors import InputError, UsageError
from pipeline.models.canaries import training_splits
from pipeline.models.vector import N_KNOTS, VectorRules, fit_vector, scaled, vector_table
from pipeline.tables import POOL_TIME_KEY

ANY_FLOAT = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 5e-324, -5e-324, 1e308, -1.7e308]))
MAYBE = st.lists(st.one_of(st.none(), ANY_FLOAT), min_size=1, max_size=60)


def column(values: list[float | None], name: str = "x") -> pl.DataFrame:
    return pl.DataFrame({name: values}, schema={name: pl.Float64})


def ranks(train: list[float | None], values: list[float | None]) -> list[float | None]:
    return scaled(fit_vector(column(train), ["x"]), column(values))["x"].to_list()


@settings(max_examples=300, deadline=None)
@given(train=MAYBE, values=MAYBE)
def test_every_value_lies_between_0_and_1_and_only_missing_ones_are_null(train, values):
    found = ranks(train, values)
    is_learned = any(v is not None and np.isfinite(v) for v in train)
    for value, rank in zip(values, found, strict=True):
        if value is None or np.isnan(value) or not is_learned:
            assert rank is None
        else:
            assert rank is not None
            assert 0 <= rank <= 1


@settings(max_examples=300, deadline=None)
@given(train=MAYBE, values=st.lists(ANY_FLOAT.filter(lambda v: not np.isnan(v)), min_size=2, max_size=60))
def test_a_larger_value_never_has_a_smaller_rank(train, values):
    found = ranks([*train, 0.0], sorted(values))
    assert found == sorted(found)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 400),
    kind=st.sampled_from(["heavy", "counts", "half zero", "constant"]),
)
def test_the_ranks_are_those_of_scikit_learns_quantile_transformer(seed: int, n: int, kind: str):
    rng = np.random.default_rng(seed)
    made = {
        "heavy": lambda k: np.exp(rng.normal(0, 8, k)),
        "counts": lambda k: rng.poisson(2, k).astype(float),
        "half zero": lambda k: np.where(rng.random(k) < 0.5, 0.0, rng.gamma(1, 1, k)),
        "constant": lambda k: np.full(k, 3.25),
    }[kind]
    train, test = made(n), np.concatenate([made(50), [0.0, 3.25, -1.0, 1e9]])
    theirs = QuantileTransformer(n_quantiles=min(N_KNOTS, n), subsample=None).fit(train[:, None])
    knots = np.array(fit_vector(column(train.tolist()), ["x"]).features[0].knots)
    # Between two values eight orders of magnitude apart, the last bit of a knot's place is worth 1e-8 of the knot.
    assert knots == pytest.approx(theirs.quantiles_[:, 0], rel=1e-7, abs=1e-12)
    # Theirs round quantiles of equal values apart by the last bit, and so tell ties that are none.
    theirs.quantiles_ = knots[:, None]
    assert ranks(train.tolist(), test.tolist()) == pytest.approx(theirs.transform(test[:, None])[:, 0], abs=1e-9)


def test_ranks_of_training_rows_are_spread_evenly_however_heavy_the_tail():
    train = np.exp(np.random.default_rng(0).normal(0, 15, 5_000))
    found = np.array(ranks(train.tolist(), train.tolist()))
    shares = np.histogram(found, bins=10, range=(0, 1))[0] / len(found)
    assert np.abs(shares - 0.1).max() < 0.01


def test_infinite_values_lie_at_the_ends_and_do_not_move_the_rules():
    assert ranks([1.0, 2.0, 3.0], [float("-inf"), float("inf"), 2.0]) == [0.0, 1.0, 0.5]
    with_infinity = fit_vector(column([1.0, 2.0, 3.0, float("inf"), None, float("nan")]), ["x"])
    assert with_infinity == fit_vector(column([1.0, 2.0, 3.0]), ["x"])


def test_one_value_and_a_constant_know_below_from_above_and_all_null_knows_nothing():
    assert ranks([7.0], [6.0, 7.0, 8.0, None]) == [0.0, 0.0, 1.0, None]
    assert ranks([7.0] * 30, [6.0, 7.0, 8.0, None]) == [0.0, 0.0, 1.0, None]
    assert ranks([None, None], [1.0, None]) == [None, None]


def test_flags_are_zero_and_one_and_counts_are_numbers():
    frame = pl.DataFrame({"flag": [True, False, None], "n": [1, 5, 9]})
    found = scaled(fit_vector(frame, ["flag", "n"]), frame)
    assert found["flag"].to_list() == [1.0, 0.0, None]
    assert found["n"].to_list() == [0.0, 0.5, 1.0]


def test_changing_test_rows_changes_nothing_in_the_rules_and_changing_training_rows_does():
    made = market(3)
    training_set = frozen(made, features_of(made))
    split = training_splits(training_set)[0]
    rules = fit_vector(training_set.frame[split.train], NAMES)
    is_test = pl.Series(np.isin(np.arange(training_set.n_rows), split.test))
    doubled = training_set.frame.with_columns(
        pl.when(is_test).then(pl.col(n) * 2 + 1).otherwise(n).alias(n) for n in NAMES
    )
    assert fit_vector(doubled[split.train], NAMES) == rules
    assert fit_vector(training_set.frame, NAMES) != rules


def test_rules_survive_json_to_the_last_bit():
    made = features_of(market(1, 60)).with_columns(flag=pl.lit(value=True), empty=pl.lit(None, pl.Float64))
    rules = fit_vector(made, [*NAMES, "flag", "empty"])
    again = VectorRules.from_json(rules.as_json())
    assert again == rules
    assert scaled(again, made).equals(scaled(rules, made), null_equal=True)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"name": "a"}]', '[{"name": "a", "kind": "number", "knots": [2, 1]}]',
     '[{"name": "a", "kind": "number", "knots": [NaN]}]', '[{"name": "a", "kind": "colour", "knots": []}]',
     '[{"name": "a", "kind": "number", "knots": ["x"]}]', '[{"name": 1, "kind": "flag", "knots": []}]',
     '[{"name": "a", "kind": ["number"], "knots": []}]', '[{"name": "a", "kind": "number", "knots": "12"}]',
     '[{"name": "a", "kind": "number", "knots": ["1"]}]', '[{"name": "a", "kind": "number", "knots": [true]}]',
     '[{"name": "a", "kind": {}, "knots": []}]', "[]", "null", "[[]]", '"a"', '[{"name": "a", "kind": "flag"}]',
     '[{"name": "a", "kind": "flag", "knots": []}, {"name": "a", "kind": "flag", "knots": []}]', "[" * 100000],
)  # fmt: skip
def test_rules_that_are_none_are_refused(text: str):
    with pytest.raises(InputError):
        VectorRules.from_json(text)


def test_what_cannot_be_scaled_is_refused_in_words():
    frame = pl.DataFrame({"text": ["a"], "x": [1.0]})
    for names in (["text"], ["absent"], [], ["x", "x"]):
        with pytest.raises(UsageError):
            fit_vector(frame, names)
    with pytest.raises(UsageError, match="needs \\['x'\\]"):
        scaled(fit_vector(frame, ["x"]), frame.drop("x"))


def test_one_table_holds_the_vector_and_the_returns_as_fractions_where_they_are_known():
    made = market(2, 60)
    features = features_of(made)
    rules = fit_vector(features, NAMES)
    at_1h = made.labels.with_columns(horizon_hours=pl.lit(1, pl.Int32), return_end_pct=pl.lit(50.0))
    early = at_1h.with_columns(label_known_at=pl.col("event_time") + timedelta(hours=1))
    labels = pl.concat([made.labels, early]).lazy()
    known_by = BORN + timedelta(hours=40)
    found = vector_table(rules, features.lazy(), labels, known_by=known_by)
    assert found.columns == [*POOL_TIME_KEY, "known_at", *NAMES, "price_return_1h", "price_return_24h"]
    assert found.height == features.height
    assert found.select(pl.all_horizontal(pl.col(NAMES).is_between(0, 1).fill_null(value=True)).all()).item()
    is_over = pl.col("event_time") + timedelta(hours=24) <= known_by
    assert found.filter(~is_over)["price_return_24h"].null_count() == found.filter(~is_over).height > 0
    labelled = made.labels.filter(pl.col("status") == "labelled", is_over)
    both = found.join(labelled, on=list(POOL_TIME_KEY))
    assert both.filter(pl.col("label_known_at") <= known_by).height == both.height > 0
    assert both["price_return_24h"].to_list() == pytest.approx((both["return_end_pct"] / 100).to_list())
    assert found["price_return_1h"].drop_nulls().unique().to_list() == [0.5]
    whole = vector_table(rules, features.lazy(), labels, known_by=ALL_KNOWN)
    assert whole["price_return_24h"].null_count() < found["price_return_24h"].null_count()
    assert json.loads(rules.as_json())[0]["name"] == NAMES[0]
