"""What a report measures: missing, impossible and outlying values, doubled rows, visits that were due, outcomes."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.calendars import HOUR, MINUTE, Span
from pipeline.errors import UsageError
from pipeline.monitoring.quality.columns import OF_EACH, Measured, measured
from pipeline.monitoring.quality.coverage import latest, never_seen, rows_of_rows, share_seen, unanswered, visits
from pipeline.monitoring.quality.outliers import outlying_vectors
from pipeline.monitoring.quality.report import Asked, QualityReport, quality_report
from pipeline.monitoring.quality.rows import copied, repeated, spread
from pipeline.monitoring.quality.spec import QUALITY
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOLS, RESERVES, SNAPSHOTS

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
RNG = np.random.default_rng(7)


def column(values: Any, unit: list[str] | None = None, **other: Any) -> Measured:
    return measured(pl.DataFrame({"x": values, **other}), unit or [], QUALITY)[0]


def scales(told: Measured) -> list[str]:
    """The scale that counts, and the other one."""
    assert told.share_outlying == min(told.by_scale.values())
    return list(told.by_scale)


def value_of(report: QualityReport, part: str, subject: str) -> Any:
    (row,) = report.figures.filter(pl.col("part") == part, pl.col("subject") == subject).to_dicts()
    return row["value"]


def test_a_share_is_a_mean_over_pools_and_no_pool_counts_for_more_because_it_is_seen_more_often() -> None:
    pools = ["often"] * 96 + ["rarely"] * 4
    told = column([1.0] * 96 + [None] * 4, ["pool"], pool=pools)
    assert told.share_null == pytest.approx(0.5)


def test_nan_is_missing_and_infinity_is_impossible() -> None:
    told = column([float("nan"), float("inf"), -float("inf"), 1.0, None])
    assert (told.share_null, told.share_invalid) == (0.4, 0.4)


def test_of_a_normal_distribution_almost_nothing_is_outlying() -> None:
    told = column(RNG.normal(5, 2, 20_000))
    assert scales(told) == ["raw", "signed_log"]
    assert told.share_outlying == pytest.approx(0.0027, abs=0.0015)


@pytest.mark.parametrize("log_sd", [1.0, 2.0, 4.0])
def test_heavy_tailed_amounts_are_judged_by_their_logarithm(log_sd: float) -> None:
    told = column(np.exp(RNG.normal(0, log_sd, 20_000)))
    assert scales(told) == ["log", "raw"]
    assert told.by_scale["log"] < 0.005
    assert told.by_scale["raw"] > 0.05


def test_heavy_tails_on_both_sides_are_judged_by_signed_logarithms() -> None:
    told = column(RNG.standard_t(1, 20_000))
    assert scales(told) == ["signed_log", "raw"]
    assert (told.by_scale["signed_log"] < 0.06, told.by_scale["raw"] > 0.12) == (True, True)


@pytest.mark.parametrize("values", [RNG.normal(100, 5, 1000), np.exp(RNG.normal(0, 3, 1000))])
@pytest.mark.parametrize("factor", [1e9, 1e-9])
def test_values_of_the_wrong_unit_are_outlying_on_any_scale(values: np.ndarray, factor: float) -> None:
    wrong = values.copy()
    wrong[:100] *= factor
    assert column(wrong).share_outlying == pytest.approx(0.1, abs=0.02)


def test_where_most_values_are_equal_the_mean_deviation_stands_in() -> None:
    told = column([0.0] * 900 + [1.0] * 90 + [1000.0] * 10)
    assert told.share_outlying == pytest.approx(0.01)
    assert column([3.3] * 50).share_outlying == 0.0


def test_zeros_among_positive_amounts_are_no_outliers() -> None:
    told = column(np.concatenate([np.zeros(200), np.exp(RNG.normal(0, 3, 800))]))
    assert scales(told) == ["log", "raw"]
    assert told.by_scale["log"] < 0.01


def test_fences_hear_every_pool_alike() -> None:
    rich, poor = RNG.normal(1e6, 1e4, 960), RNG.normal(10, 1, 8 * OF_EACH)
    pools = ["rich"] * 960 + [f"poor {i // OF_EACH}" for i in range(8 * OF_EACH)]
    assert column(np.concatenate([rich, poor])).share_outlying == pytest.approx(48 / 1008, abs=0.01)
    by_pool = column(np.concatenate([rich, poor]), ["pool"], pool=pools)
    assert by_pool.share_outlying == pytest.approx(1 / 9, abs=0.01)


def test_an_isolation_forest_finds_rows_that_no_single_column_betrays() -> None:
    names = [f"c{i}" for i in range(12)]
    rows = pl.DataFrame(RNG.normal(size=(1000, 12)), schema=names, orient="row")
    far = RNG.choice([-1, 1], size=(50, 12)) * RNG.uniform(2.0, 2.9, size=(50, 12))
    odd = pl.concat([pl.DataFrame(far, schema=names, orient="row"), rows[50:]])
    sound = outlying_vectors(rows, names, [], QUALITY)
    assert sound is not None
    assert sound < 0.01
    assert outlying_vectors(odd, names, [], QUALITY) == pytest.approx(0.05, abs=0.015)
    assert all((column(odd[name]).share_outlying or 0.0) < 0.01 for name in names)
    assert outlying_vectors(rows, names, [], QUALITY) == sound
    assert outlying_vectors(rows.head(5), names, [], QUALITY) is None


def test_rows_that_repeat_a_key_or_are_another_pools_are_counted() -> None:
    rows = pl.DataFrame(
        {"pool": ["a", "a", "a", "b"], "t": [1, 1, 2, 1], "x": [1.0, 2, 3, 3], "y": [1.0, 2, 9, 9], "z": [4.0, 4, 8, 8]}
    )
    assert repeated(rows, ["pool", "t"], ["pool"]) == pytest.approx(1 / 6)
    assert copied(rows, ["pool", "t"], ["pool"]) == pytest.approx((1 / 3 + 1) / 2)
    quiet = rows.with_columns(x=0.0, y=0.0)
    assert copied(quiet, ["pool", "t"], ["pool"]) == 0.0


def test_nested_values_are_compared_by_what_they_say() -> None:
    rows = pl.DataFrame({"l": [[1], [1], [2]], "s": [{"a": 1}, {"a": 1}, {"a": 1}]})
    assert repeated(rows, ["l", "s"], []) == pytest.approx(1 / 3)


def test_an_outcome_is_as_frequent_as_it_is_among_pools() -> None:
    rows = pl.DataFrame({"pool": ["a"] * 9 + ["b"], "outcome": ["RUG"] * 9 + ["STABLE"]})
    assert spread(rows, "outcome", ["pool"]) == {"RUG": 0.5, "STABLE": 0.5}
    assert spread(rows, "outcome", []) == {"RUG": 0.9, "STABLE": 0.1}


def market(n_pools: int = 30, hours: int = 30) -> pl.DataFrame:
    """Snapshots as the sampler takes them, of pools of every tier."""
    updates, pools = [], []
    for i in range(n_pools):
        born = NOON - timedelta(hours=hours) + i * 20 * MINUTE
        common = {"source": "recording:t", "network": "eth", "pool": f"0x{i:02}"}
        pools.append({**common, "known_at": born, "created_at": born, "dex": "d", "base_token": "b", "quote_token": "q",
                      "quote_price_usd": 1.0, "is_quote_price_nominal": True, "watched_until": NOON})  # fmt: skip
        for k in range(40):
            at = born + k * 31 * MINUTE
            reserve = float(10 ** RNG.uniform(2, 6))
            updates.append({**common, "event_time": at, "known_at": at, "block": i * 100 + k, "tx_index": 0,
                            "log_index": 0, "base_reserve": reserve, "quote_reserve": reserve})  # fmt: skip
    spec = SnapshotsSpec()
    empty = dict.fromkeys((*POOLS.schema, *RESERVES.schema))
    told = pl.DataFrame([{**empty, **u} for u in updates]).select(pl.col(n).cast(t) for n, t in RESERVES.schema.items())
    known = pl.DataFrame([{**empty, **p} for p in pools]).select(pl.col(n).cast(t) for n, t in POOLS.schema.items())
    return take_snapshots(told, known, Span(NOON - timedelta(hours=hours), NOON), spec)


DAY_OF_IT = Span(NOON - timedelta(hours=20), NOON)
FOLLOW = SnapshotsSpec().follow


def test_of_what_the_sampler_took_nothing_is_missing_and_what_is_taken_away_is() -> None:
    seen = market()
    assert seen["interval_minutes"].n_unique() > 3
    whole = visits(seen, DAY_OF_IT, FOLLOW)
    assert share_seen(whole) == 1.0
    assert whole["n_due"].sum() == seen.filter(pl.col("event_time") >= DAY_OF_IT.start).height
    # A visit that is gone is missed once, wherever it lies; those that asked for the next five minutes are the telling.
    often = (pl.col("interval_minutes") == 5) & (pl.col("interval_minutes").shift(1).over("pool") == 5)
    inside = pl.col("event_time") > DAY_OF_IT.start + HOUR
    gone = seen.filter(often & inside).gather_every(7)
    less = visits(seen.join(gone, on=SNAPSHOTS.key, how="anti"), DAY_OF_IT, FOLLOW)
    assert gone.height > 20
    assert (less["n_due"] - less["n_seen"]).sum() == gone.height


def test_a_collector_that_died_is_missed_to_the_end() -> None:
    seen = market().filter(pl.col("event_time") < NOON - 6 * HOUR)
    share = share_seen(visits(seen, DAY_OF_IT, FOLLOW))
    assert share is not None
    assert 0.4 < share < 0.85


def test_a_visit_that_came_late_stands_for_the_one_that_was_due() -> None:
    at = [NOON - 60 * MINUTE, NOON - 43 * MINUTE, NOON - 25 * MINUTE]
    seen = pl.DataFrame(
        {"source": "s", "network": "n", "pool": "p", "event_time": at, "interval_minutes": 15}
    ).with_columns(created_at=pl.lit(NOON - 5 * HOUR), inclusion_probability=1.0)
    told = visits(seen, Span(NOON - 2 * HOUR, NOON - 20 * MINUTE), FOLLOW)
    assert told.row(0, named=True)["n_due"] == 3


def test_where_more_was_due_than_could_be_asked_for_the_plan_says_what_was_to_be_seen() -> None:
    rng, p = np.random.default_rng(2), 0.4
    rows = [
        {"source": "s", "network": "n", "pool": f"{i:03}", "event_time": NOON - k * 5 * MINUTE}
        for i in range(200)
        for k in range(4, 288)
        if rng.random() < p
    ]
    seen = pl.DataFrame(rows).with_columns(
        created_at=pl.lit(NOON - 30 * HOUR), interval_minutes=5, inclusion_probability=p
    )
    span = Span(NOON - 20 * HOUR, NOON - 20 * MINUTE)
    assert share_seen(visits(seen, span, FOLLOW)) == pytest.approx(1, abs=0.02)
    assert share_seen(visits(seen.filter(pl.col("event_time") < NOON - 10 * HOUR), span, FOLLOW)) < 0.6  # type: ignore[operator]
    assert share_seen(visits(seen.with_columns(inclusion_probability=1.0), span, FOLLOW)) == pytest.approx(p, abs=0.02)


def test_rows_that_were_to_be_made_of_rows_are_counted_by_pool() -> None:
    asked = pl.DataFrame({"source": "s", "network": "n", "pool": ["a", "a", "b"]})
    plan = rows_of_rows(asked, asked.head(1), each=2)
    assert share_seen(plan) == pytest.approx(0.125)
    assert share_seen(plan.clear()) is None


def test_pools_that_nobody_saw_and_visits_left_waiting_are_told() -> None:
    born = pl.DataFrame({"source": "s", "network": "n", "pool": ["a", "b"], "created_at": [NOON, NOON]})
    assert never_seen(born, born.head(1), Span(NOON, NOON + HOUR)) == 0.5
    assert never_seen(born, born, Span(NOON + HOUR, NOON + 2 * HOUR)) is None
    cycles = pl.DataFrame({"network": ["eth", "eth", "ton"], "n_observed": [9, 0, 0], "n_waiting": [1, 5, 0]})
    assert unanswered(cycles) == {"eth": 0.55}


def test_what_is_of_the_future_makes_nothing_fresh() -> None:
    moments = pl.Series([NOON, NOON + HOUR])
    assert latest(moments, NOON + MINUTE) == NOON
    assert latest(moments, NOON - MINUTE) is None


def test_any_dtype_survives_and_hostile_names_mean_nothing() -> None:
    n = 40
    rows = pl.DataFrame(
        {
            "*": RNG.normal(size=n), "^c.*$": [1] * n, "c0": [None] * n, "decimal": [Decimal("1.5")] * n,
            "date": [date(2020, 1, 1)] * n, "time": [time(1)] * n, "list": [[1, None], None] * (n // 2),
            "struct": [{"a": 1}] * n, "bytes": [b"\xff"] * n, "huge": [1e308, -1e308] * (n // 2),
            "large": pl.Series([2**64 - 1] * n, dtype=pl.UInt64), "flag": [True, None] * (n // 2),
            "span": [timedelta(1)] * n, "array": pl.Series([[1.0, 2.0]] * n, dtype=pl.Array(pl.Float64, 2)),
            "kind": pl.Series(["a", "b"] * (n // 2), dtype=pl.Categorical),
        }
    )  # fmt: skip
    report = quality_report(rows, Asked("a file", label="kind"))
    nulls = report.figures.filter(pl.col("part") == "completeness", pl.col("subject") != "all")
    assert nulls["subject"].to_list() == rows.columns
    assert dict(nulls.select("subject", "value").iter_rows())["c0"] == 1.0
    assert value_of(report, "balance", "kind") == 1.0
    for empty in (rows.clear(), pl.DataFrame(), pl.DataFrame({"a": [None]})):
        made = quality_report(empty, Asked("nothing"))
        assert (made.score is None) == empty.is_empty()


def test_what_cannot_name_a_row_or_a_pool_is_refused_in_words() -> None:
    rows = pl.DataFrame({"a": [[1]], "b": [b"x"]})
    for asked in (Asked("f", key=("a",)), Asked("f", unit=("b",)), Asked("f", label="c")):
        with pytest.raises(UsageError, match="looked at 'f'"):
            quality_report(rows, asked)
