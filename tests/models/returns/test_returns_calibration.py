"""The slope of a forecast: measured in its own size, shrunken by what is not known of it, never over 1."""

import numpy as np
import pytest

from pipeline.models.returns.calibration import multiplier, shrunken_slope, size_of, slope


def drawn(true: float, *, n_pools: int = 40, n_rows: int = 20, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    pool = np.repeat(np.arange(n_pools), n_rows)
    raw = rng.normal(size=len(pool))
    return raw, true * raw + rng.normal(size=len(pool)), pool


def test_a_slope_within_its_standard_error_is_0() -> None:
    found = [shrunken_slope(*drawn(0.0, seed=seed), 1) for seed in range(40)]
    plain = [slope(*drawn(0.0, seed=seed)) for seed in range(40)]
    assert sum(value > 0 for value in plain) > 12
    assert sum(value > 0 for value in found) < 12
    assert all(small <= large for small, large in zip(found, plain, strict=True))


def test_a_clear_slope_is_shrunken_by_its_standard_error() -> None:
    raw, y, pool = drawn(0.3)
    error = 1 / np.sqrt(len(raw))  # of a slope of a unit regressor and unit noise
    b = slope(raw, y, pool)
    assert shrunken_slope(raw, y, pool, 1) == pytest.approx(b * (1 - error**2 / b**2), rel=0.01)
    assert shrunken_slope(raw, y, pool, 1) == shrunken_slope(raw, y, pool, 1)


def test_one_pool_says_nothing_of_the_error_of_its_slope() -> None:
    raw, y, _ = drawn(0.5)
    assert shrunken_slope(raw, y, np.zeros(len(raw), np.int64), 1) == 0.0
    assert shrunken_slope(raw[:0], y[:0], np.zeros(0, np.int64), 1) == 0.0


def test_rows_of_a_pool_that_move_together_count_as_one() -> None:
    rng = np.random.default_rng(3)
    pool = np.repeat(np.arange(12), 100)
    raw, drift = rng.normal(size=12)[pool], rng.normal(size=12)[pool]
    many, few = np.arange(len(pool)), pool
    y = 0.2 * raw + drift
    assert shrunken_slope(raw, y, few, 1) < shrunken_slope(raw, y, many, 1)


def test_a_forecast_is_never_made_larger_and_a_silent_model_says_0() -> None:
    y = np.random.default_rng(0).normal(size=500)
    assert size_of(0.5 * y, y) == pytest.approx(0.5 * np.std(y))
    assert size_of(0.01 * y, y) == 0.0
    assert multiplier(0.05, 0.1) == pytest.approx(0.5)
    assert multiplier(5.0, 0.1) == 1.0
    assert multiplier(5.0, 0.0) == 0.0


def test_a_pool_counts_once_however_many_rows_it_has() -> None:
    raw, y, pool = drawn(0.3)
    often = np.r_[np.arange(len(y)), np.tile(np.flatnonzero(pool < 5), 9)]
    assert slope(raw[often], y[often], pool[often]) == pytest.approx(slope(raw, y, pool), rel=1e-12)
    assert shrunken_slope(raw[often], y[often], pool[often], 1) == pytest.approx(shrunken_slope(raw, y, pool, 1))
