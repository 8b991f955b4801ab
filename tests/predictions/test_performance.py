"""Reports of how good predictions were: by day, tier, version and horizon, evidence apart from hindsight."""

from datetime import timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.expectations.verdict import validate
from pipeline.models.metrics import figures
from pipeline.predictions.outcomes import settle
from pipeline.predictions.performance import performance, rug_lift, tier
from pipeline.predictions.plots import performance_plot
from pipeline.predictions.scoring import score
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import PERFORMANCE_REPORTS, TIERS
from pipeline.tables.served import TIER_EDGES
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
from tests.predictions.test_prediction_outcomes import HELD

COUNT = partial(figures, n_bins=10)
NOW = AT + 40 * HOUR


def reports(*rows: tuple[str, float | None, str | None], **other) -> pl.DataFrame:
    """Of pools with their reserve and outcome, all said at AT by a model that says STABLE at 0.4."""
    due = said_now(*(a_row(pool, reserve_usd=reserve) for pool, reserve, _ in rows), **other)
    served = a_role(predict=sure_of("STABLE", 0.4), needed=("age_hours",))
    predictions = score(due, [served], NOTHING_SAID, SPEC).predictions
    outcomes = settle(predictions, some_labels(*(a_label(p, outcome=o) for p, _, o in rows)), HELD, NOW, SPEC)
    return performance(predictions, outcomes, COUNT, NOW)


def test_a_report_counts_each_tier_and_all_of_them_together() -> None:
    told = reports(("a", 2e5, "STABLE"), ("b", 2e5, "RUG"), ("c", 5.0, "STABLE"), ("d", None, "RUG"), ("e", 2e5, None))
    assert validate(PERFORMANCE_REPORTS, told).is_passed
    shown = told.sort("tier").select("tier", "n_rows", "n_pools", "accuracy", "rug_share", "is_evidence").rows()
    assert shown == [
        ("above 100k", 2, 2, 0.5, 0.5, True),
        ("all", 4, 4, 0.5, 0.5, True),
        ("below 1k", 1, 1, 1.0, 0.0, True),
        ("unknown", 1, 1, 0.0, 1.0, True),
    ]
    whole = told.row(by_predicate=pl.col("tier") == "all", named=True)
    assert whole["log_loss"] == pytest.approx(-(np.log(0.4) + np.log(0.1)) / 2)
    assert whole["brier"] == pytest.approx((0.36 + 6 * 0.01 + 0.81 + 0.16 + 5 * 0.01) / 2)
    assert whole["ece"] == pytest.approx((0.4 + 0.1) / 2)
    assert whole["day_start"] == AT.replace(hour=0)
    assert whole["rug_lift"] is None


def test_hindsight_is_reported_apart() -> None:
    told = reports(("a", 2e5, "STABLE"), at=AT + 30 * HOUR, is_hindsight=True)
    assert told["is_evidence"].to_list() == [False, False]


def test_nothing_labelled_is_no_report() -> None:
    assert reports(("a", 2e5, None)).is_empty()
    assert reports(("a", 2e5, None)).schema == PERFORMANCE_REPORTS.schema


def test_the_tiers_are_those_of_the_sampler() -> None:
    assert [(t.reserve_usd, t.is_exclusive) for t in SnapshotsSpec().tiers] == list(TIER_EDGES)
    edges = pl.DataFrame({"reserve_usd": [100_000.1, 100_000.0, 10_000.0, 9_999.9, 1_000.0, 999.9, None]})
    told = edges.select(tier()).to_series().to_list()
    assert told == [TIERS[0], TIERS[1], TIERS[1], TIERS[2], TIERS[2], TIERS[3], TIERS[4]]


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9])), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_lift_does_not_depend_on_the_order_of_rows_and_is_one_for_whoever_knows_nothing(rows, random) -> None:
    is_rug, p = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    order = random.sample(range(len(rows)), len(rows))
    lift = rug_lift(is_rug, p)
    if len(rows) < 10 or not is_rug.any():
        assert lift is None
        return
    assert lift == pytest.approx(rug_lift(is_rug[order], p[order]))
    assert 0 <= lift <= min(10, 1 / is_rug.mean()) + 1e-9
    assert rug_lift(is_rug, np.full(len(rows), 0.3)) == pytest.approx(1)


def test_the_picture_is_the_same_bytes_for_the_same_reports() -> None:
    told = reports(("a", 2e5, "STABLE"), ("b", 2e5, "RUG"))
    later = told.with_columns(day_start=pl.col("day_start") + timedelta(days=1), is_evidence=pl.lit(value=False))
    both = pl.concat([told, later])
    assert performance_plot(both) == performance_plot(both)
    assert performance_plot(both).startswith(b"\x89PNG")
