"""Two samples of pools: what is compared, what is refused, and what must not change an answer."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from drift_pools import draw
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, UsageError
from pipeline.monitoring.drift.comparison import SCHEMA, compare
from pipeline.monitoring.drift.spec import DriftSpec

QUICK = DriftSpec(n_permutations=299)


def told(reference, current, column="x", spec=QUICK, **arguments):
    return compare(reference, current, group=["pool"], spec=spec, **arguments).columns.row(
        by_predicate=pl.col("column") == column, named=True
    )


def sides(before, after, rows=3):
    """Pools with that many rows each of the value, text or missing that is given."""
    return tuple(
        pl.DataFrame({"pool": [f"{side}{i // rows}" for i in range(rows * len(values))], "x": np.repeat(values, rows)})
        for side, values in (("a", before), ("b", after))
    )


def small(seed=0, **arguments):
    rng = np.random.default_rng(seed)
    return draw(60, rng, features=3, snapshots=4), draw(40, rng, features=3, snapshots=4, **arguments)


def test_one_row_a_column_in_the_shape_that_is_promised():
    found = compare(*small(), group=["pool"], spec=QUICK)
    assert found.columns.schema == SCHEMA
    assert found.columns["column"].to_list() == ["f00", "f01", "f02"]
    assert (found.n_reference_pools, found.n_current_pools, found.n_shared_pools, found.left_out) == (60, 40, 0, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.arange(80.0), np.arange(80.0) * 30),
        (np.ones(80), np.full(80, 2.0)),
        (np.ones(80), np.full(80, 0.5)),
        (np.arange(80.0), np.where(np.arange(80) % 3, np.arange(80.0), np.nan)),
        (np.arange(80.0), np.where(np.arange(80) % 3, np.arange(80.0), 0)),
        (np.arange(80.0), np.where(np.arange(80) % 3, np.arange(80.0), np.inf)),
        (np.arange(80) - 40.0, (np.arange(80) - 40.0) / 10),
        (np.arange(80) % 4 == 0, np.arange(80) % 4 > 0),
        (np.array(list("aaab") * 20), np.array(list("abbb") * 20)),
        (np.array(list("aaab") * 20), np.array(list("ccab") * 20)),
        (np.arange(80) % 5, np.arange(80) % 5 + 2),
    ],
    ids=["scale", "up", "down", "missing", "zeros", "infinite", "narrow", "flags", "texts", "new text", "counts"],
)
def test_every_kind_of_change_is_found(before, after):
    found = told(*sides(before, after))
    assert found["is_drifted"]
    assert found["p_value"] == pytest.approx(1 / 300)
    assert found["js"] > 0.02


def test_a_pool_with_many_rows_weighs_as_much_as_any():
    before, after = sides(np.arange(50.0), np.arange(50.0))
    loud = pl.DataFrame({"pool": ["b0"] * 5_000, "x": [0.0] * 5_000})
    assert told(before, pl.concat([after, loud]))["js"] == pytest.approx(told(before, after)["js"], abs=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_pools_changes_nothing(seed):
    before, after = small()
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=seed + i) for i, frame in enumerate((before, after))]
    one = compare(before, after, group=["pool"], spec=QUICK)
    other = compare(*shuffled, group=["pool"], spec=QUICK)
    assert one.columns.drop("js_by_chance").equals(other.columns.drop("js_by_chance"))
    np.testing.assert_allclose(one.columns["js_by_chance"], other.columns["js_by_chance"])


@pytest.mark.parametrize("change", [np.log, np.sqrt, lambda x: x**3, lambda x: 7 + 2 * x, lambda x: -1 / x])
def test_an_increasing_function_of_a_column_changes_neither_divergence_nor_p_value(change):
    before, after = small()
    changed = [frame.with_columns(pl.Series("f00", change(frame["f00"].to_numpy()))) for frame in (before, after)]
    one, other = (told(*pair, column="f00") for pair in ((before, after), changed))
    figures = [[found[name] for name in ("js", "psi", "p_value")] for found in (one, other)]
    np.testing.assert_allclose(*figures, rtol=1e-9)


@settings(max_examples=25)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32) | st.none(), min_size=2, max_size=40))
def test_whatever_a_column_holds_the_figures_are_in_their_range(values):
    frame = pl.DataFrame({"pool": range(len(values)), "x": pl.Series(values, dtype=pl.Float32)})
    found = told(frame.head(len(values) // 2), frame.tail(len(values) - len(values) // 2))
    assert 0 < found["p_value"] <= found["q_value"] <= 1
    assert 0 <= found["js"] <= 1
    assert np.isfinite(found["psi"])
    assert 0 <= found["share_null_current"] <= 1


def test_a_column_without_a_single_value_is_compared_by_what_is_missing():
    before, after = sides(np.arange(40.0), np.arange(40.0))
    gone = after.with_columns(x=pl.lit(None))
    found = told(before, gone)
    assert found["is_drifted"]
    assert (found["share_null_reference"], found["share_null_current"]) == (0, 1)
    assert told(before.with_columns(x=pl.lit(None)), gone)["p_value"] == 1


def test_a_shift_that_nobody_would_act_on_is_significant_and_no_drift():
    rng = np.random.default_rng(0)
    before, after = sides(rng.normal(0, 1, 6_000), rng.normal(0.15, 1, 6_000), rows=1)
    found = told(before, after, spec=DriftSpec(n_permutations=999))
    assert found["q_value"] <= 0.01
    assert not found["is_drifted"]
    assert told(before, after, spec=DriftSpec(n_permutations=999, min_js=0))["is_drifted"]


def test_too_few_pools_have_figures_and_no_drift():
    before, after = sides(np.arange(80.0), np.full(9, 1e6))
    found = compare(before, after, group=["pool"], spec=QUICK)
    assert not found.is_judged
    assert not found.alarm
    assert found.columns["p_value"][0] < 0.01
    assert compare(before, pl.concat([after, after.with_columns(pool=pl.lit("b9"))]), group=["pool"], spec=QUICK).alarm


def test_one_pool_on_each_side_says_nothing_and_does_not_fail():
    assert told(*sides([1.0], [2.0]))["p_value"] == 1


def test_a_pool_on_both_sides_counts_on_each_and_is_told():
    before, _ = small()
    found = compare(before, before, group=["pool"], spec=QUICK)
    assert found.n_shared_pools == 60
    assert not found.alarm
    assert found.columns["js"].max() == 0


def test_the_same_pool_name_on_another_network_is_another_pool():
    before, after = small()
    frame = pl.concat([before, before]).with_columns(network=pl.Series(["x"] * len(before) + ["y"] * len(before)))
    found = compare(frame, after.with_columns(network=pl.lit("x")), group=["network", "pool"], spec=QUICK)
    assert found.n_reference_pools == 120
    assert "network" not in found.columns["column"].to_list()


def test_moments_are_left_out_unless_they_are_named():
    before, after = sides(np.arange(40.0), np.arange(40.0))
    first = datetime(2020, 1, 1, tzinfo=UTC)
    timed = [
        frame.with_columns(at=pl.lit(first + timedelta(days=day)), some=pl.lit([1]))
        for frame, day in ((before, 0), (after, 1))
    ]
    found = compare(*timed, group=["pool"], spec=QUICK)
    assert found.columns["column"].to_list() == ["x"]
    assert set(found.left_out) == {"at", "some"}
    assert told(*timed, column="at", columns=["at"])["is_drifted"]
    with pytest.raises(InputError, match=r"'some' holds List.*leave it out"):
        compare(*timed, group=["pool"], columns=["some"], spec=QUICK)


def test_integers_decimals_and_dates_are_numbers_and_categories_are_texts():
    before, after = sides(np.arange(40), np.arange(40) + 100)
    for dtype in (pl.Int8, pl.UInt64, pl.Decimal(10, 2), pl.Float32):
        assert told(*(f.with_columns(pl.col("x").cast(dtype, strict=False)) for f in (before, after)))["is_drifted"]
    days = [frame.with_columns(pl.col("x").cast(pl.Int32).cast(pl.Date)) for frame in (before, after)]
    assert told(*days, columns=["x"])["kind"] == "numeric"
    texts = [frame.with_columns(pl.col("x").cast(pl.String).cast(pl.Categorical)) for frame in (before, after)]
    assert told(*texts)["kind"] == "text"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(0), "current rows has no rows"),
        (lambda f: f.rename({"pool": "name"}), r"no columns \['pool'\]"),
        (lambda f: f.with_columns(pool=pl.lit(None, pl.String)), "120 rows of the current rows have no 'pool'"),
        (lambda f: f.with_columns(pool=pl.lit([1])), "which names no pool"),
        (lambda f: f.rename({"x": "y"}), r"no column \['x', 'y'\] on both sides"),
        (lambda f: f.with_columns(x=pl.lit("a")), "'x' holds Float64 in the reference and String"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(change, message):
    before, after = sides(np.arange(40.0), np.arange(40.0))
    with pytest.raises(InputError, match=message):
        compare(before, change(after), group=["pool"], spec=QUICK)


def test_nothing_to_compare_is_refused():
    before, after = sides(np.arange(40.0), np.arange(40.0))
    with pytest.raises(InputError, match="no column of numbers"):
        compare(before.select("pool"), after.select("pool"), group=["pool"], spec=QUICK)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"n_bins": 1}, {"n_permutations": 10}, {"min_js": 1}, {"seed": -1}])
def test_a_rule_that_cannot_be_applied_is_refused(wrong):
    with pytest.raises(UsageError, match="no drift can be judged"):
        DriftSpec(**wrong)


def test_many_pools_are_dealt_in_groups_and_a_change_is_still_named():
    rng = np.random.default_rng(1)
    before, after = draw(900, rng, features=3, snapshots=2), draw(800, rng, (2.0,), features=3, snapshots=2)
    found = compare(before, after, group=["pool"], spec=DriftSpec(n_permutations=999, max_units=100))
    assert found.columns["is_drifted"].to_list() == [True, False, False]


def test_the_same_seed_gives_the_same_answer():
    one, same, other = (
        compare(*small(), group=["pool"], spec=DriftSpec(n_permutations=299, seed=s)) for s in (1, 1, 2)
    )
    assert one.columns.equals(same.columns)
    assert not one.columns.equals(other.columns)


def test_of_pools_with_more_rows_on_one_side_the_same_ones_are_dealt_whatever_their_order():
    rng = np.random.default_rng(4)
    before, after = draw(60, rng, features=2, snapshots=7), draw(40, rng, features=2, snapshots=2)
    before = pl.concat([before, before.head(7)]).with_columns(f01=pl.col("f01").round(0))
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=5) for frame in (before, after)]
    first, second = (compare(*sides, group=["pool"], spec=QUICK).columns for sides in ((before, after), shuffled))
    for name in ("js", "js_by_chance", "p_value"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9)
