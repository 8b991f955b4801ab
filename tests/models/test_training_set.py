import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import BIRTH, NAMES, SOURCE, SPEC, frozen, tables, training_set, with_further

from pipeline.errors import InputError, UsageError
from pipeline.models.as_of import as_of
from pipeline.models.training_set import freeze


def test_there_is_one_row_a_pool_and_decision_age():
    made = training_set(10)
    assert made.n_rows == 50
    assert made.frame.group_by("pool", "decision_age_hours").len()["len"].unique().to_list() == [1]
    assert sum(made.class_counts.values()) == 50


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_id_does_not_depend_on_the_order_of_rows(seed: int):
    made = tables(12)
    shuffled = {n: f.collect().sample(fraction=1, shuffle=True, seed=seed).lazy() for n, f in made.items()}
    assert frozen(made).training_set_id == frozen(shuffled).training_set_id


def test_the_id_is_the_same_in_another_process():
    code = "from model_rows import training_set; print(training_set(12).training_set_id)"
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    run = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out.strip() == training_set(12).training_set_id


def test_any_change_of_a_value_a_null_the_spec_or_the_features_changes_the_id():
    made = tables(12)
    ids = [frozen(made).training_set_id]
    first = pl.int_range(pl.len()) == 0
    value = pl.when(~first).then("noise")
    nudged, zero, null = pl.when(first).then(pl.col("noise") + 1e-12).otherwise("noise"), value.otherwise(0.0), value
    for change in (nudged, zero, null):
        changed = made["features"].with_columns(change.alias("noise"))
        ids.append(frozen(made | {"features": changed}).training_set_id)
    ids.append(frozen(made, spec=replace(SPEC, seed=1)).training_set_id)
    whole = {"source": SOURCE, "known_by": BIRTH + timedelta(days=99), "spec": SPEC}
    ids.append(freeze(**made, **whole, feature_set="other", feature_names=NAMES).training_set_id)
    ids.append(freeze(**made, **whole, feature_set="made-up", feature_names=NAMES[::-1]).training_set_id)
    assert len(set(ids)) == len(ids)


def test_a_feature_known_after_its_decision_is_left_out():
    made = tables(10)
    is_late = pl.col("pool") == "0x0003"
    late = pl.col("known_at") + pl.when(is_late).then(timedelta(seconds=1)).otherwise(timedelta(0))
    assert frozen(made | {"features": made["features"].with_columns(known_at=late)}).n_pools == 9


def test_a_pool_that_was_not_known_at_the_decision_has_none():
    made = tables(10)
    late = pl.when(pl.col("pool") == "0x0003").then(pl.col("known_at") + timedelta(hours=3)).otherwise("known_at")
    found = frozen(made | {"pools": made["pools"].with_columns(late.alias("known_at"))})
    assert found.frame.filter(pl.col("pool") == "0x0003")["decision_age_hours"].to_list() == [4, 8, 16]
    assert found.n_pools == 10


def test_every_decision_is_kept_with_its_fate_and_the_labelled_ones_are_the_rows():
    made = tables(10)
    status = pl.when(pl.col("pool") == "0x0001").then(pl.lit("censored")).otherwise("status").alias("status")
    missing = made["labels"].with_columns(status).filter(pl.col("pool") != "0x0002")
    found = frozen(made | {"labels": missing}, known_by=BIRTH + timedelta(hours=40))
    fates = dict(found.decisions["fate"].value_counts().iter_rows())
    assert found.decisions.height == 50
    assert fates["labelled"] == found.n_rows
    assert fates["censored"] == 5
    assert fates["absent"] == 4  # the fifth is not over: it is pending
    assert fates["pending"] == 50 - 9 - found.n_rows


def test_labels_that_are_not_known_yet_are_left_out():
    known_by = BIRTH + timedelta(hours=27)
    found = frozen(tables(10), known_by=known_by).frame
    assert 0 < found.height < 50
    assert found["label_known_at"].max() <= known_by


def test_a_rug_known_early_waits_for_its_horizon_like_every_other_label():
    made = tables(10)
    early = made["labels"].with_columns(label_known_at=pl.col("event_time") + pl.duration(minutes=5))
    known_by = BIRTH + timedelta(hours=27)
    joined = as_of(made["features"], early, known_by=known_by, horizon_hours=24).collect()
    assert joined["event_time"].max() <= known_by - timedelta(hours=24)
    assert (joined["label_end"] == joined["event_time"] + timedelta(hours=24)).all()


def test_censored_and_pending_labels_and_other_horizons_are_left_out():
    made = tables(10)
    mixed = pl.concat(
        [
            made["labels"].with_columns(
                status=pl.when(pl.col("pool") == "0x0001").then(pl.lit("censored")).otherwise("status")
            ),
            made["labels"].with_columns(horizon_hours=pl.lit(6, pl.Int32)),
        ]
    )
    assert frozen(made | {"labels": mixed}).n_rows == 45


def test_the_snapshot_of_an_age_is_chosen_before_labels_are_looked_at():
    made = tables(10)
    later = made["features"].with_columns(pl.col("event_time", "known_at") + pl.duration(minutes=5))
    moved = made["labels"].with_columns(pl.col("event_time") + pl.duration(minutes=5))
    censored = made["labels"].with_columns(status=pl.lit("censored"))
    twice = {"features": pl.concat([made["features"], later]), "labels": pl.concat([censored, moved])}
    with pytest.raises(InputError, match="no row"):
        frozen(made | twice)


@pytest.mark.parametrize(
    ("outcome", "came_to", "is_right"),
    [("PUMP", 1.0, True), ("MOON", 1.0, True), ("PUMP", 0.0, False), ("MOON", -100.0, False), ("PUMP", None, False),
     ("RISE", 1.0, False), ("RUG", 1.0, False)],
)  # fmt: skip
def test_a_rise_paid_where_the_position_is_known_to_have_gained(outcome: str, came_to: float | None, is_right: bool):
    made = tables(4)
    told = {"outcome": pl.lit(outcome), "return_executable_pct": pl.lit(came_to, pl.Float64)}
    assert set(frozen(made | {"labels": made["labels"].with_columns(**told)}).paid) == {is_right}


def test_sources_are_not_mixed_and_simulations_need_permission():
    made = tables(10)
    other = made["labels"].with_columns(source=pl.lit("geckoterminal"))
    with pytest.raises(UsageError, match="expected 'recording:made_up' alone"):
        frozen(made | {"labels": pl.concat([made["labels"], other])})
    simulated = {n: f.with_columns(source=pl.lit("simulation:7")) for n, f in made.items()}
    whole = {
        "source": "simulation:7",
        "known_by": BIRTH + timedelta(days=9),
        "feature_set": "x",
        "feature_names": NAMES,
    }
    with pytest.raises(UsageError, match="is_simulation_allowed"):
        freeze(**simulated, **whole, spec=SPEC)
    assert freeze(**simulated, **whole, spec=replace(SPEC, is_simulation_allowed=True)).n_pools == 10


@pytest.mark.parametrize(
    "name",
    [
        "return_end_pct",
        "return_executable_pct",
        "label_known_at",
        "outcome",
        "event_time",
        "known_at",
        "rug_at",
        "value",
        "confidence",
        "return_pct",
        "kind",
    ],
)
def test_a_column_that_knows_the_future_cannot_be_a_feature(name: str):
    with pytest.raises(UsageError, match="cannot be a feature"):
        freeze(**tables(10), source=SOURCE, known_by=BIRTH, feature_set="x", feature_names=[name], spec=SPEC)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_not_missing_values(value: float):
    made = tables(10)
    with pytest.raises(InputError, match="'noise' holds NaN"):
        frozen(made | {"features": made["features"].with_columns(noise=pl.lit(value))})


def test_duplicates_are_refused():
    made = tables(10)
    with pytest.raises(InputError, match="duplicates"):
        frozen(made | {"features": pl.concat([made["features"], made["features"]])})


def test_the_row_of_the_table_holds_the_spec_and_counts():
    row = training_set(10).row({"features": 3})
    assert (row["n_rows"], row["n_pools"], row["lake_versions"]) == (50, 10, '{"features": 3}')
    assert row["first_time"] < row["last_time"]


def test_the_rows_id_is_that_of_the_decisions_and_their_outcomes_whatever_the_features_and_learners():
    made = training_set(10)
    other = replace(SPEC, competition=replace(SPEC.competition, n_trials=3))
    fewer = freeze(
        **tables(10),
        source=SOURCE,
        known_by=BIRTH + timedelta(days=99),
        feature_set="x",
        feature_names=NAMES[:1],
        spec=other,
    )
    assert made.training_set_id != fewer.training_set_id
    assert made.rows_id == fewer.rows_id
    for spec in (replace(SPEC, last_block_share=0.2), replace(SPEC, decision_ages_hours=(1, 2, 4, 8))):
        assert frozen(tables(10), spec=spec).rows_id != made.rows_id
    relabelled = tables(10)["labels"].with_columns(outcome=pl.lit("RUG"))
    assert frozen(tables(10) | {"labels": relabelled}).rows_id != made.rows_id


def test_labels_at_further_horizons_stand_beside_the_row_and_never_add_or_take_one():
    made = with_further(tables(10))
    gone = made["labels"].filter(~((pl.col("horizon_hours") == 6) & (pl.col("pool") == "0x0003")))
    found = frozen(made | {"labels": gone})
    assert found.frame.select(training_set(10).frame.columns[:7]).equals(training_set(10).frame[:, :7])
    assert found.frame["outcome_6h"].null_count() == 5
    assert found.horizons_hours == (1, 6, 24)
    head = found.head(6)
    assert (head.n_rows, head.spec.horizon_hours) == (45, 6)
    assert (head.frame["label_end"] == head.frame["event_time"] + timedelta(hours=6)).all()
    # A label of 6 h overlaps its pool's others for less of its life than one of 24 h, so it says more.
    assert head.frame["weight"].mean() > found.frame["weight"].mean()
    assert found.head(24) is found
    with pytest.raises(UsageError, match="asked for 3 h"):
        found.head(3)


def test_a_further_label_that_is_not_known_yet_is_null():
    known_by = BIRTH + timedelta(hours=30)
    made = with_further(tables(10))
    late = pl.when(pl.col("horizon_hours") == 1).then(pl.col("label_known_at") + timedelta(days=9))
    labels = made["labels"].with_columns(late.otherwise("label_known_at").alias("label_known_at"))
    found = frozen(made | {"labels": labels}, known_by=known_by).frame
    assert found["outcome_1h"].null_count() == found.height > 0
    assert found["outcome_6h"].null_count() == 0


@pytest.mark.parametrize("name", ["outcome_1h", "label_end_6h", "return_end_pct_1h", "return_executable_pct_6h"])
def test_a_label_of_a_further_horizon_cannot_be_a_feature(name: str):
    with pytest.raises(UsageError, match="cannot be a feature"):
        freeze(**tables(10), source=SOURCE, known_by=BIRTH, feature_set="x", feature_names=[name], spec=SPEC)
