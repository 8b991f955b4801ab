"""A confidence that is estimated: uniform where there is nothing to know, high where there is."""

import numpy as np
import polars as pl
import pytest
from labelled_paths import FAR, START, Bar, Case, candles_of, label
from scipy import stats

from pipeline.labels.direction import confidence_of, stretch_sums
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import LABELS

N_PATHS = 1_500


def confidences(drift: float, seed: int) -> np.ndarray:
    """Direction confidences of random walks with this drift a bar, in units of a bar's spread, through the labels."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(0.001 * (rng.standard_normal((N_PATHS, 12)) + drift), axis=1))
    from labelled_paths import decisions_of, pools_of, stills_of

    case = Case(bars=[Bar(s, 100, 100, 100) for s in range(12)])
    pools = pl.DataFrame({"pool": [f"0x{i:04}" for i in range(N_PATHS)]})

    def spread(frame: pl.DataFrame) -> pl.DataFrame:
        return pools.join(frame.drop("pool"), how="cross").select(frame.columns)

    price = pl.Series(closes.ravel())
    candles = spread(candles_of(case)).with_columns(price.alias("low"), price.alias("high"), price.alias("close"))
    found = label_outcomes(spread(decisions_of(case)), candles, spread(pools_of(case)), stills_of(case), FAR, case.spec)
    return found["direction_confidence"].to_numpy()


def test_on_random_walks_the_confidence_is_uniform() -> None:
    found = confidences(drift=0.0, seed=1)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(found > 0.95) == pytest.approx(0.05, abs=0.02)


def test_on_drifting_walks_it_is_high_and_the_stronger_the_drift_the_higher() -> None:
    medians = [float(np.median(confidences(drift, seed=2))) for drift in (0.0, 0.5, 2.0)]
    assert medians == sorted(medians)
    assert medians[2] > 0.99


def test_it_is_one_less_the_p_value_of_students_test() -> None:
    moves = np.random.default_rng(3).standard_normal((50, 15)) + 0.2
    found = confidence_of(np.full(50, 15), moves.sum(axis=1), (moves**2).sum(axis=1), 10)
    assert found == pytest.approx(1 - stats.ttest_1samp(moves, 0, axis=1).pvalue)


def test_few_bars_and_a_path_without_spread_say_nothing() -> None:
    steady = [Bar(s, 100, 2**s, 2**s) for s in range(1, 11)]
    assert label(Case(bars=steady, price=1))["direction_confidence"].to_list() == [None]
    wobbling = [Bar(s, 100, 110, 100 + s % 3) for s in range(12)]
    assert label(Case(bars=wobbling))["direction_confidence"][0] is not None
    few = label(Case(bars=wobbling[:9]))
    assert (few["direction_confidence"][0], few["direction"][0]) == (None, "flat")


@pytest.mark.parametrize(("close", "direction"), [(94, "down"), (95, "flat"), (105, "flat"), (106, "up"), (10, "down")])
def test_the_direction_has_the_stable_band(close: int, direction: str) -> None:
    assert label(Case(bars=[Bar(2, close, close, close)]))["direction"].to_list() == [direction]


def test_a_stretch_is_added_up_by_itself() -> None:
    start, stop = np.array([0, 2, 3]), np.array([2, 2, 4])
    assert stretch_sums(np.array([1e300, 1.0, 2.0, 3.0]), start, stop).tolist() == [1e300, 0.0, 3.0]


def test_the_spec_says_how_few_bars_are_too_few() -> None:
    bars = [Bar(s, 100, 110, 100 + s % 3) for s in range(6)]
    spec = LabelsSpec(horizons_hours=(1,), direction_bars=6)
    assert label(Case(bars=bars, spec=spec))["direction_confidence"][0] is not None
    assert LABELS.column("direction_confidence").maximum == 1
    assert START < FAR
