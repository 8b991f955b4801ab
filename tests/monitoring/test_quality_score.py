"""The score: made of its parts, never better for worse data, and the same however many pools there are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.monitoring.quality.columns import Measured
from pipeline.monitoring.quality.report import Asked, QualityReport, quality_report
from pipeline.monitoring.quality.score import UNKNOWN, Usual, balance, completeness, score_of, timeliness, validity
from pipeline.monitoring.quality.spec import QUALITY, QualitySpec
from pipeline.monitoring.quality.usual import usual_of
from pipeline.tables import FEATURES, QUALITY_PARTS, QUALITY_REPORTS
from tests.builders import valid_frame

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
NO_FOREST = QualitySpec(min_forest_pools=10**9)
POINTS = st.one_of(st.none(), st.floats(0, 100))
SHARES = st.floats(0, 1)


def market(n_pools: int = 60, n_rows: int = 5, seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_pools * n_rows
    level = np.repeat(rng.normal(0, 1.5, n_pools), n_rows)
    return pl.DataFrame(
        {
            "pool": np.repeat([f"p{i:04}" for i in range(n_pools)], n_rows),
            "at": list(range(n_rows)) * n_pools,
            **{f"x{i}": np.exp(level + rng.normal(0, 0.4, n)) for i in range(20)},
            "outcome": rng.choice(["RUG", "STABLE", "MOON"], n, p=[0.3, 0.5, 0.2]),
        }
    )


def asked(**other: Any) -> Asked:
    return Asked("market", key=("pool", "at"), unit=("pool",), label="outcome", **other)


def looked_at(frame: pl.DataFrame, **other: Any) -> QualityReport:
    return quality_report(frame, asked(**other), spec=NO_FOREST)


def plan(n_seen: int) -> pl.DataFrame:
    return pl.DataFrame({"pool": ["a", "b"], "n_due": [10, 10], "n_seen": [10, n_seen]})


def test_sound_data_has_nearly_every_point() -> None:
    made = looked_at(market(), age=timedelta(0), allowed_age=timedelta(hours=1), plan=plan(10))
    assert made.score is not None
    assert made.score > 98
    assert set(made.parts) == set(QUALITY_PARTS)
    assert made.warnings.is_empty()


def test_the_score_is_half_the_weighted_mean_and_half_the_worst_part() -> None:
    parts: dict[str, float | None] = {"completeness": 40.0, "uniqueness": 100.0, "balance": None}
    assert score_of(parts, QUALITY) == pytest.approx(((25 * 40 + 20 * 100) / 45 + 40) / 2)
    quiet: dict[str, float | None] = {"completeness": 90.0, "balance": 0.0}
    assert score_of(quiet, QUALITY) == pytest.approx((25 * 90 / 30 + 90) / 2), "a quiet market is no fault"
    assert score_of({"balance": 40.0}, QUALITY) == 40
    assert score_of(dict.fromkeys(QUALITY_PARTS), QUALITY) is None
    assert score_of(dict.fromkeys(QUALITY_PARTS, 100.0), QUALITY) == 100


@given(st.fixed_dictionaries(dict.fromkeys(QUALITY_PARTS, POINTS)), st.sampled_from(QUALITY_PARTS), SHARES)
def test_a_worse_part_never_makes_a_better_score(parts: dict[str, Any], part: str, share: float) -> None:
    before = score_of(parts, QUALITY)
    after = score_of(parts | {part: None if parts[part] is None else parts[part] * share}, QUALITY)
    if before is None or after is None:
        assert before == after
    else:
        assert 0 <= after <= before + 1e-9 <= 100 + 1e-9


def a_column(name: str, null: float, invalid: float, outlying: float) -> Measured:
    return Measured(name, "number", null, invalid, outlying, {"raw": outlying}, 99, {})


@settings(max_examples=40)
@given(
    st.lists(st.tuples(SHARES, SHARES, SHARES), min_size=1, max_size=30),
    st.lists(st.tuples(SHARES, SHARES), min_size=30, max_size=30),
    st.data(),
)
def test_more_that_is_missing_or_implausible_never_earns_points(told: Any, usual_shares: Any, data: Any) -> None:
    usual = Usual(
        {f"c{i}": null for i, (null, _) in enumerate(usual_shares)},
        {f"c{i}": outlying for i, (_, outlying) in enumerate(usual_shares)},
    )
    before = [a_column(f"c{i}", *shares) for i, shares in enumerate(told)]
    worse = data.draw(st.integers(0, len(told) - 1))
    more = [min(1.0, share + data.draw(SHARES)) for share in told[worse]]
    after = [a_column(c.column, *more) if i == worse else c for i, c in enumerate(before)]
    for known in (usual, UNKNOWN):
        for required in ([], ["c0"]):
            a, b = (completeness(c, known, required, QUALITY) for c in (before, after))
            assert (a is None and b is None) or (b or 0.0) <= (a or 0.0) + 1e-9
        for is_anybodys in (True, False):
            a, b = (validity(c, known, QUALITY, is_anybodys=is_anybodys) for c in (before, after))
            assert (b or 0.0) <= (a or 0.0) + 1e-9


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_what_is_older_is_never_timelier(hours: float, more: float) -> None:
    allowed = timedelta(hours=2)
    before, after = (timeliness(timedelta(hours=h), allowed, QUALITY) for h in (hours, hours + more))
    assert after is not None
    assert before is not None
    assert 0 <= after <= before <= 100
    assert timeliness(None, allowed, QUALITY) == 0
    assert timeliness(None, None, QUALITY) is None


@given(st.floats(0.5, 1), st.floats(0, 0.5))
def test_the_more_one_outcome_outweighs_the_others_the_fewer_points(share: float, more: float) -> None:
    def points(of_one: float) -> float:
        return balance({"a": of_one, "b": 1 - of_one}, ("a", "b"), QUALITY) or 0.0

    assert points(min(1.0, share + more)) <= points(share) + 1e-9
    assert points(10 / 11) == pytest.approx(100)
    assert points(0.95) < 70


Fault = Callable[[pl.DataFrame, int], pl.DataFrame]
"""Spoils the first so many pools."""


def spoilt(change: Callable[[], list[pl.Expr]]) -> Fault:
    def spoil(frame: pl.DataFrame, n: int) -> pl.DataFrame:
        is_bad = pl.col("pool") < f"p{n:04}"
        return frame.with_columns(pl.when(is_bad).then(e).otherwise(pl.col(e.meta.output_name())) for e in change())

    return spoil


def doubled(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    return pl.concat([frame, frame.filter(pl.col("pool") < f"p{n:04}")])


FAULTS: dict[str, Fault] = {
    "a family of columns is gone": spoilt(lambda: [pl.lit(None, pl.Float64).alias(f"x{i}") for i in range(4)]),
    "a unit is wrong": spoilt(lambda: [pl.col(f"x{i}") * 1e9 for i in range(4)]),
    "numbers are infinite": spoilt(lambda: [pl.lit(float("inf")).alias(f"x{i}") for i in range(4)]),
    "rows are there twice": doubled,
    "one outcome swallows the others": spoilt(lambda: [pl.lit("STABLE").alias("outcome")]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_more_pools_a_fault_meets_the_lower_the_score(name: str) -> None:
    frame, most = market(), 60 if name == "one outcome swallows the others" else 27
    scores = [looked_at(FAULTS[name](frame, n)).score or 0.0 for n in range(0, most + 1, 9 if most == 60 else 3)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0] - (1 if most == 60 else 10)


@settings(max_examples=10)
@given(st.sampled_from(sorted(FAULTS)), st.integers(0, 10), st.sampled_from(sorted(FAULTS)), st.integers(1, 15))
def test_a_second_fault_never_helps(first: str, n: int, second: str, more: int) -> None:
    others = {f"x{i}": f"x{i + 10}" for i in range(4)} | {f"x{i + 10}": f"x{i}" for i in range(4)}
    before = FAULTS[first](market(30, 4), n)
    after = FAULTS[second](before.rename(others), more).rename(others)
    assert (looked_at(after).score or 0.0) <= (looked_at(before).score or 0.0) + 0.5


@pytest.mark.parametrize("name", [None, *FAULTS])
def test_twice_as_many_pools_of_the_same_kind_have_the_same_score(name: str | None) -> None:
    frame = market() if name is None else FAULTS[name](market(), 12)
    twice = pl.concat([frame, frame.with_columns(pool="q" + pl.col("pool"))])
    assert looked_at(twice).score == pytest.approx(looked_at(frame).score, abs=0.01)
    often = pl.concat([frame, *(frame.filter(pl.col("pool") == "p0059").with_columns(at=100 * k + pl.col("at"))
                                for k in range(1, 50))])  # fmt: skip
    assert looked_at(often).score == pytest.approx(looked_at(frame).score, abs=2)


def test_one_column_of_many_that_is_gone_warns_and_a_tenth_of_them_is_below_the_floor() -> None:
    frame = pl.concat(
        [market().with_row_index("row"), market(seed=4).select(pl.col("^x.*$").name.prefix("y"))], how="horizontal"
    )
    usual = Usual(dict.fromkeys(frame.columns, 0.0), {})
    one = quality_report(frame.with_columns(x0=pl.lit(None, pl.Float64)), asked(), usual)
    family = quality_report(
        frame.with_columns(pl.lit(None, pl.Float64).alias(f"x{i}") for i in range(5)), asked(), usual
    )
    assert (one.score or 0) > QUALITY.floor > (family.score or 0)
    assert "x0, beyond usual" in one.warnings["subject"].to_list()


def reports(n: int, score: float, null: float) -> pl.DataFrame:
    rows = []
    for i in range(n):
        common = {"source": "s", "known_at": NOW - timedelta(hours=1 + i), "table_name": "features", "n_rows": 1,
                  "n_pools": 1, "is_warning": False, "bound": None, "detail": None}  # fmt: skip
        rows.append({**common, "part": "score", "subject": "all", "value": score, "score": score})
        rows.append({**common, "part": "completeness", "subject": "n_holders", "value": null, "score": None})
    return pl.DataFrame(rows, QUALITY_REPORTS.schema)


def test_what_is_usual_is_the_median_of_good_reports_and_takes_some() -> None:
    assert usual_of(reports(2, 95, 0.5), NOW, QUALITY) == UNKNOWN
    assert usual_of(reports(3, 95, 0.5), NOW, QUALITY).null == {"n_holders": 0.5}
    assert usual_of(reports(9, 60, 0.5), NOW, QUALITY) == UNKNOWN
    straying = pl.concat([reports(9, 95, null).with_columns(known_at=pl.col("known_at") - timedelta(days=k))
                          for k, null in enumerate((0.3, 0.4, 0.5, 0.6, 0.7))])  # fmt: skip
    told = usual_of(straying, NOW, QUALITY)
    assert (told.null["n_holders"], told.null_spread["n_holders"]) == pytest.approx((0.5, 3 * 0.1 / 0.6745))
    assert told.allowed_null("n_holders", 0.1) == pytest.approx(0.75), "a total loss is never usual"
    later = reports(9, 95, 0.5).with_columns(known_at=pl.col("known_at") + timedelta(days=1))
    assert usual_of(later, NOW, QUALITY) == UNKNOWN
    long_ago = reports(9, 95, 0.5).with_columns(known_at=pl.col("known_at") - timedelta(days=40))
    assert usual_of(long_ago, NOW, QUALITY) == UNKNOWN


def test_what_is_missing_by_nature_costs_nothing_but_is_told() -> None:
    rows = valid_frame(FEATURES, 60).with_columns(n_holders=pl.lit(None, pl.Int64))
    usual = Usual({c: 1.0 if c == "n_holders" else 0.0 for c in rows.columns}, {})
    made = quality_report(rows, Asked("features", FEATURES, FEATURES.key, ("pool",)), usual)
    assert (made.parts["completeness"] or 0) > 99
    (told,) = made.warnings.filter(pl.col("subject") == "n_holders").to_dicts()
    assert (told["value"], told["detail"]) == (1.0, "usually 100%")


def test_figures_beyond_their_bounds_are_warnings() -> None:
    frame = doubled(market(), 2).with_columns(
        x0=pl.when(pl.col("pool") < "p0008").then(pl.col("x0")), outcome=pl.lit("RUG")
    )
    made = looked_at(frame, age=timedelta(hours=3), allowed_age=timedelta(hours=1), plan=plan(1))
    warned = set(made.warnings.select("part", "subject").iter_rows())
    assert warned >= {
        ("completeness", "x0"), ("uniqueness", "repeated key"), ("timeliness", "age_hours"), ("coverage", "seen"),
        ("balance", "outcome"),
    }  # fmt: skip
    kept = made.rows("s", NOW)
    assert kept.schema == QUALITY_REPORTS.schema
    assert not kept.select(QUALITY_REPORTS.key).is_duplicated().any()


def test_a_spec_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="weights"):
        QualitySpec(weights={"completeness": 1.0})
    with pytest.raises(UsageError, match="confirm"):
        QualitySpec(confirm=0)
