"""Outliers of files of few pools: the share that is told is the true one, and of too little none is told."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.monitoring.quality.report import Asked, QualityReport, quality_report

type Draw = Callable[[np.random.Generator, int], np.ndarray]

DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(5, 2, n),
    "log-normal": lambda rng, n: rng.lognormal(3, 1, n),
    "wide log-normal": lambda rng, n: rng.lognormal(0, 3, n),
    "heavy tails": lambda rng, n: rng.standard_t(2, n),
    "Cauchy": lambda rng, n: rng.standard_t(1, n),
}
SEEDS = range(5)
N_ROWS = 1_000
WORDS = re.compile(r"outliers on the (raw|log|signed log) scale; ([0-9.]+)% on the (raw|log|signed log) one")


def by_formula(values: np.ndarray) -> float:
    """The share that docs/quality.md tells of, of every value, on the scale on which it is less."""
    unit = np.median(np.abs(values - np.median(values))) / 0.6745
    is_positive = bool((values > 0).all())
    logs = np.log(values) if is_positive else np.sign(values) * np.log1p(np.abs(values) / unit)
    shares = []
    for scale in (values, logs):
        away = np.abs(scale - np.median(scale))
        shares.append(float((0.6745 * away / np.median(away) > 3).mean()))
    return min(shares)


def told_of(values: Any, pools: Any) -> tuple[QualityReport, dict[str, Any]]:
    frame = pl.DataFrame({"pool": pools, "x": values})
    made = quality_report(frame, Asked("a file", unit=("pool",)))
    (row,) = made.figures.filter(pl.col("part") == "validity", pl.col("subject") == "x").to_dicts()
    return made, row


@pytest.mark.parametrize("n_pools", [1, 2, 3, 10])
@pytest.mark.parametrize("name", DRAWS)
def test_however_few_pools_there_are_the_share_is_the_true_one_and_the_words_agree(name: str, n_pools: int) -> None:
    true = by_formula(DRAWS[name](np.random.default_rng(99), 400_000))
    for seed in SEEDS:
        values = DRAWS[name](np.random.default_rng(seed), n_pools * N_ROWS)
        _, row = told_of(values, np.repeat(np.arange(n_pools), N_ROWS))
        assert row["value"] == pytest.approx(true, abs=0.02)
        assert not row["is_warning"]
        found = WORDS.fullmatch(row["detail"])
        assert found is not None, row["detail"]
        assert found[1] != found[3]
        assert float(found[2]) / 100 >= row["value"] - 0.0006, "the scale with fewer counts"


@pytest.mark.parametrize("n_pools", [1, 2, 3, 10])
@pytest.mark.parametrize("name", ["normal", "log-normal", "heavy tails"])
def test_bad_values_among_few_pools_are_found(name: str, n_pools: int) -> None:
    rng = np.random.default_rng(n_pools)
    values = DRAWS[name](rng, n_pools * N_ROWS)
    is_bad = rng.random(values.size) < 0.15
    spoilt = np.where(is_bad, values * 1e9, values)
    made, row = told_of(spoilt, np.repeat(np.arange(n_pools), N_ROWS))
    assert row["value"] == pytest.approx(is_bad.mean(), abs=0.02)
    assert row["is_warning"]
    assert (made.parts["validity"] or 0) < 100


def test_of_few_pools_a_long_one_counts_for_no_more_than_a_short_one() -> None:
    rng = np.random.default_rng(1)
    sizes = [2_000, *[40] * 4]
    values = np.concatenate([rng.normal(1e6, 1e4, sizes[0]), rng.normal(10, 1, sum(sizes[1:]))])
    _, row = told_of(values, np.repeat(np.arange(5), sizes))
    assert row["value"] == pytest.approx(1 / 5, abs=0.02), "four of five pools say what is usual"


def test_a_long_series_of_one_pool_is_described_by_more_than_six_rows() -> None:
    made, _ = told_of(np.arange(576.0), ["BTC"] * 576)
    (detail,) = made.figures.filter(pl.col("part") == "distribution", pl.col("subject") == "x")["detail"]
    assert '"count": 576.0' in detail


@pytest.mark.parametrize(
    ("values", "pools", "n"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0, 1e9], ["a"] * 6, 6),
        (np.repeat([1.0, 2.0, 1e9], 500), np.repeat([1, 2, 3], 500), 3),
        ([None] * 30 + [1.0] * 5, ["a"] * 35, 1),
    ],
)
def test_where_there_is_too_little_to_tell_nothing_is_told(values: Any, pools: Any, n: int) -> None:
    made, row = told_of(values, pools)
    words = f"not judged: {n} different values say too little, it takes 20"
    assert (row["value"], row["is_warning"], row["detail"]) == (None, False, words)
    assert made.parts["validity"] == 100


def test_what_names_a_row_or_a_pool_has_no_outliers() -> None:
    frame = pl.DataFrame({"pool": [1] * 50, "time": range(50), "x": np.arange(50.0)})
    made = quality_report(frame, Asked("a file", key=("pool", "time"), unit=("pool",)))
    subjects = made.figures.filter(pl.col("part") == "validity")["subject"].to_list()
    assert subjects == ["all", "x"]
