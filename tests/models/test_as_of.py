"""The point-in-time join, and that there is no other."""

import ast
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import BIRTH, SOURCE, tables

from pipeline.errors import UsageError
from pipeline.models.as_of import as_of, fates, returns_as_of, unlike

ROOT = Path(__file__).parents[2]
ROW = st.tuples(
    st.integers(0, 2),  # pool
    st.integers(0, 6),  # decision, hours
    st.integers(0, 2),  # features known so much later
    st.sampled_from(["labelled", "censored", "pending", "none"]),
    st.integers(0, 30),  # label known so much later
)


def made_of(rows: list[tuple[int, int, int, str, int]]) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    unique = {(pool, hour): rest for pool, hour, *rest in rows}
    head = [{"source": SOURCE, "network": "eth", "pool": str(pool), "event_time": at(hour)} for pool, hour in unique]
    features = [
        h | {"known_at": h["event_time"] + hours(late), "x": 1.0}
        for h, (late, *_) in zip(head, unique.values(), strict=True)
    ]
    labels = [
        h | {"horizon_hours": 24, "status": status, "outcome": "MOON" if status == "labelled" else None,
             "return_end_pct": 200.0 if status == "labelled" else None,
             "return_executable_pct": 180.0 if status == "labelled" else None,
             "label_known_at": h["event_time"] + hours(later) if status == "labelled" else None}
        for h, (_, status, later) in zip(head, unique.values(), strict=True) if status != "none"
    ]  # fmt: skip
    schema = {"source": pl.String, "network": pl.String, "pool": pl.String, "event_time": pl.Datetime("us", "UTC"),
              "horizon_hours": pl.Int32, "status": pl.String, "outcome": pl.String, "return_end_pct": pl.Float64,
              "return_executable_pct": pl.Float64,
              "label_known_at": pl.Datetime("us", "UTC")}  # fmt: skip
    return pl.LazyFrame(features), pl.LazyFrame(labels, schema=schema)


def hours(n: int) -> timedelta:
    return timedelta(hours=n)


def at(hour: int) -> datetime:
    return BIRTH + hours(hour)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), by=st.integers(0, 40))
def test_every_row_was_known_at_its_decision_and_every_label_by_the_moment(rows, by: int):
    features, labels = made_of(rows)
    joined = as_of(features, labels, known_by=at(by), horizon_hours=24).collect()
    expected = {
        (pool, hour)
        for (pool, hour), (late, status, later) in {(p, h): rest for p, h, *rest in rows}.items()
        if late == 0 and status == "labelled" and hour + max(24, later) <= by
    }
    assert {(int(r["pool"]), (r["event_time"] - BIRTH) // hours(1)) for r in joined.iter_rows(named=True)} == expected
    assert joined.height == len(expected)
    assert (joined["label_end"] <= at(by)).all()
    assert (joined["known_at"] <= joined["event_time"]).all()


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), by=st.integers(0, 40))
def test_every_decision_ends_in_exactly_one_fate_and_the_labelled_are_those_that_are_joined(rows, by: int):
    features, labels = made_of(rows)
    asked = {"known_by": at(by), "horizon_hours": 24}
    ended = fates(features, labels, **asked).collect()
    known = features.filter(pl.col("known_at") == pl.col("event_time")).collect()
    assert ended.height == known.height
    assert set(ended["fate"]) <= {"labelled", "censored", "pending", "absent"}
    key = ["pool", "event_time"]
    joined = as_of(features, labels, **asked).select(key).collect().sort(key)
    assert joined.equals(ended.filter(pl.col("fate") == "labelled").select(key).sort(key))
    is_over = pl.col("event_time") + hours(24) <= at(by)
    forgotten = known.filter(is_over).select(key).join(labels.collect(), on=key, how="anti").sort(key)
    assert ended.filter(pl.col("fate") == "absent").select(key).sort(key).equals(forgotten)


@pytest.mark.parametrize(("by", "n"), [(23, 0), (24, 1), (29, 1), (30, 2)])
def test_a_label_whose_last_bar_came_late_waits_for_it_and_one_known_early_for_its_horizon(by: int, n: int):
    features, labels = made_of([(0, 0, 0, "labelled", 30), (1, 0, 0, "labelled", 2)])
    assert as_of(features, labels, known_by=at(by), horizon_hours=24).collect().height == n


def test_returns_are_fractions_one_column_a_horizon_and_null_where_they_are_not_known():
    features, labels = made_of([(0, 0, 0, "labelled", 24), (0, 5, 0, "labelled", 24), (1, 0, 1, "labelled", 24)])
    found = returns_as_of(features, labels, known_by=at(24), horizons_hours=(1, 24)).sort("event_time").collect()
    assert found["price_return_24h"].to_list() == [2.0, None]
    assert found["price_return_1h"].to_list() == [None, None]


@pytest.mark.parametrize(("path", "by", "told"), [(30, 29, None), (30, 30, 2.0), (None, 40, None), (24, 24, 2.0)])
def test_the_return_of_a_rug_that_is_known_waits_for_the_whole_path(path: int | None, by: int, told: float | None):
    features, labels = made_of([(0, 0, 0, "labelled", 2)])
    known = labels.with_columns(path_known_at=pl.lit(None if path is None else at(path), pl.Datetime("us", "UTC")))
    found = returns_as_of(features, known, known_by=at(by), horizons_hours=(24,)).collect()
    assert found["price_return_24h"].to_list() == [told]
    joined = as_of(features, known, known_by=at(by), horizon_hours=24).collect()
    assert joined["outcome"].to_list() == ["MOON"]
    assert joined["return_end_pct"].to_list() == [told and 100 * told]
    assert joined["return_executable_pct"].to_list() == [told and 90 * told]
    assert unlike(joined, known, 24, at(by)).is_empty()


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(UsageError, match="timezone-aware"):
        as_of(*made_of([(0, 0, 0, "labelled", 24)]), known_by=datetime(2020, 1, 1), horizon_hours=24)  # noqa: DTZ001


def test_a_label_that_is_not_on_record_to_the_last_bit_is_told():
    made = tables(4)
    rows = made["labels"].collect()
    late = at(100_000)
    assert unlike(rows, made["labels"], 24, late).is_empty()
    nudged = rows.with_columns(pl.col("return_end_pct") + 1e-12)
    assert unlike(nudged, made["labels"], 24, late).height == rows.height
    paid = rows.with_columns(pl.col("return_executable_pct") + 1)
    assert unlike(paid, made["labels"], 24, late).height == rows.height
    assert unlike(rows, made["labels"], 6, late).height == rows.height
    unknown = rows.with_columns(return_end_pct=pl.lit(None, pl.Float64))
    assert unlike(unknown, unknown.lazy(), 24, late).is_empty()


# There is no other place in the code where features and labels are put side by side.

JOINS = {"join", "join_asof", "join_where", "hstack", "merge_sorted", "concat", "concat_list", "align_frames"}


def modules() -> Iterator[Path]:
    for folder in ("pipeline", "assets", "resources", "sensors"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def side_by_side(tree: ast.AST) -> list[int]:
    """Lines of joins among whose parts something is called features and something labels."""
    found = []
    for node in ast.walk(tree):
        is_join = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in JOINS
        if is_join and {"features", "labels"} <= named_in(node):
            found.append(node.lineno)
    return found


def named_in(tree: ast.AST) -> set[str]:
    """Which of the two tables a piece of code speaks of: by its object, by a variable, by its name in the lake."""
    words = set()
    for node in ast.walk(tree):
        word = (
            node.id if isinstance(node, ast.Name)
            else node.attr if isinstance(node, ast.Attribute)
            else node.value if isinstance(node, ast.Constant) and isinstance(node.value, str)
            else node.name.rpartition(".")[2] if isinstance(node, ast.alias)
            else ""
        ).lower().strip("_")  # fmt: skip
        words |= {table for table in ("features", "labels") if word == table}
    return words


def joins_of_one(tree: ast.AST, table: str) -> list[int]:
    """Lines of joins that have the table as a part, however it was cut before."""
    calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute))
    return [n.lineno for n in calls if n.func.attr in JOINS and table in named_in(n)]  # type: ignore[attr-defined]


def test_features_and_labels_are_put_side_by_side_in_one_module_alone():
    guilty = {}
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text())
        lines = side_by_side(tree)
        if {"features", "labels"} <= named_in(tree):
            # Who speaks of both may join neither with anything that was labels before it had another name.
            lines += joins_of_one(tree, "labels")
        if lines and name != "pipeline/models/as_of.py":
            guilty[name] = lines
    assert not guilty, f"join features with labels through `pipeline.models.as_of` alone: {guilty}"


@pytest.mark.parametrize(
    "code",
    [
        "features.join(labels, on=KEY)",
        "lake.scan(FEATURES).join(lake.scan(LABELS).filter(x), on=KEY)",
        "both = lake.scan(FEATURES)\nboth.join(lake.scan(table('labels')), on=KEY)",
        "pl.concat([features, labels.drop(KEY)], how='horizontal')",
        "from pipeline.tables import FEATURES\nrows.join_asof(LABELS_OF.labels, on='event_time')",
    ],
)
def test_the_search_for_such_joins_sees_them(code: str):
    tree = ast.parse(code)
    assert side_by_side(tree) or ({"features", "labels"} <= named_in(tree) and joins_of_one(tree, "labels"))


def test_the_search_leaves_other_joins_in_peace():
    tree = ast.parse("features.join(pools, on=KEY)\nchosen = freeze(features, labels, pools)")
    assert not side_by_side(tree)
    assert not joins_of_one(tree, "labels")


def test_the_join_is_where_the_search_looks():
    tree = ast.parse((ROOT / "pipeline/models/as_of.py").read_text())
    assert {"features", "labels"} <= named_in(tree)
    assert joins_of_one(tree, "labels")
