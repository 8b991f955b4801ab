"""Figures of merit, against QLib, SciPy and slow loops."""

from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from returns_market import START
from scipy.stats import pearsonr, spearmanr

from pipeline.errors import InputError
from pipeline.models.returns.calibration import slope
from pipeline.models.returns.figures import interval, over_seeds, table
from pipeline.models.returns.metrics import Panel, figures, hourly_ic
from pipeline.models.returns.spec import ReturnsSpec

SPEC = ReturnsSpec(min_hour_pools=5, top_k=3, quantile=0.25, n_resamples=60, cost_round_trip=0.01)


def made(n_hours: int = 12, n_pools: int = 20, rho: float = 0.3, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for h in range(n_hours):
        for pool in np.flatnonzero(rng.random(n_pools) < 0.7):
            # Rounded, so that there are ties.
            f = round(float(rng.normal()), 1)
            y = rho * f + float(rng.normal())
            rows.append((START + timedelta(hours=h), "eth", f"p{pool}", f, y, round(y / 50, 3)))
    names = ["event_time", "network", "pool", "forecast", "target", "forward_return"]
    return pl.DataFrame(rows, schema=names, orient="row")


def of(said: pl.DataFrame) -> dict[str, float]:
    panel = Panel.of(said, SPEC)
    return {name: float(value[0]) for name, value in figures(panel, np.ones((1, len(panel)))).items()}


def test_the_correlations_are_those_of_qlib() -> None:
    from qlib.contrib.eva.alpha import calc_ic

    said = made()
    index = pd.MultiIndex.from_arrays(
        [said["event_time"].dt.replace_time_zone(None).to_numpy(), said["pool"].to_list()],
        names=["datetime", "instrument"],
    )
    ic, rank_ic = calc_ic(pd.Series(said["forecast"].to_numpy(), index), pd.Series(said["target"].to_numpy(), index))
    found = of(said)
    assert found["ic"] == pytest.approx(ic.mean(), abs=1e-12)
    assert found["rank_ic"] == pytest.approx(rank_ic.mean(), abs=1e-12)
    assert found["icir"] == pytest.approx(ic.mean() / ic.std(), abs=1e-9)
    assert found["rank_icir"] == pytest.approx(rank_ic.mean() / rank_ic.std(), abs=1e-9)
    assert hourly_ic(Panel.of(said, SPEC)) == pytest.approx(rank_ic.to_numpy(), abs=1e-12)


def test_the_correlations_are_those_of_scipy() -> None:
    said = made()
    groups = [g for _, g in said.group_by("event_time", maintain_order=True)]
    assert of(said)["rank_ic"] == pytest.approx(np.mean([spearmanr(g["forecast"], g["target"])[0] for g in groups]))
    assert of(said)["ic_return"] == pytest.approx(
        np.mean([pearsonr(g["forecast"], g["forward_return"])[0] for g in groups])
    )


def test_portfolio_figures_are_those_of_a_slow_loop() -> None:
    said = made().with_columns(pl.col("forecast") + pl.int_range(pl.len()) * 1e-7)  # no ties
    precision, turnover, spread, before = [], [], [], None
    for _, hour in said.sort("event_time").group_by("event_time", maintain_order=True):
        best = hour.sort("forecast", descending=True)
        top = best.head(3)
        precision.append((top["target"] > 0).mean())
        if before is not None:
            turnover.append(1 - len(before & set(top["pool"])) / 3)
        before = set(top["pool"])
        n = 0.25 * hour.height
        part = np.clip(n - np.arange(hour.height), 0, 1)
        long, short = ((part @ side["forward_return"].to_numpy()) / n for side in (best, best.reverse()))
        spread.append(long - short)
    found = of(said)
    assert found["precision_at_k"] == pytest.approx(np.mean(precision))
    assert found["turnover"] == pytest.approx(np.mean(turnover))
    assert found["long_short"] == pytest.approx(np.mean(spread))
    assert found["long_short_net"] == pytest.approx(np.mean(spread) - 0.02)


def test_the_long_short_return_is_twice_that_of_qlib_where_the_quantile_is_whole() -> None:
    from qlib.contrib.eva.alpha import calc_long_short_return

    said = made(n_pools=200).with_columns(pl.col("forecast") + pl.int_range(pl.len()) * 1e-7)
    said = said.filter(pl.int_range(pl.len()).over("event_time") < 100)
    index = pd.MultiIndex.from_arrays(
        [said["event_time"].dt.replace_time_zone(None).to_numpy(), said["pool"].to_list()],
        names=["datetime", "instrument"],
    )
    values = (pd.Series(said[name].to_numpy(), index) for name in ("forecast", "forward_return"))
    half, _ = calc_long_short_return(*values, quantile=0.25)
    assert of(said)["long_short"] == pytest.approx(2 * half.mean(), abs=1e-12)


def test_the_squared_error_weighs_pools_alike() -> None:
    said = made()
    by_pool = said.group_by("pool").agg(((pl.col("forecast") - pl.col("target")) ** 2).mean().alias("e"))
    none = said.group_by("pool").agg((pl.col("target") ** 2).mean().alias("e"))
    found = of(said)
    assert found["squared_error"] == pytest.approx(by_pool["e"].mean())
    assert found["skill"] == pytest.approx(1 - by_pool["e"].mean() / none["e"].mean())


def test_a_pool_that_is_drawn_twice_is_there_twice() -> None:
    said = made()
    panel = Panel.of(said, SPEC)
    counts = np.random.default_rng(2).integers(0, 3, size=int(panel.pool.max()) + 1)
    weights = counts[panel.pool][None, :].astype(np.float64)
    names = said.sort("event_time", "network", "pool").with_columns(
        pl.Series("w", weights[0]), pl.Series("p", panel.pool)
    )
    twice = pl.concat(
        names.filter(pl.col("w") > k).with_columns(pl.format("{}-{}", "pool", pl.lit(k)).alias("pool"))
        for k in range(2)
    )
    drawn, there = figures(panel, weights), of(twice.select(said.columns))
    for name in (
        "ic",
        "rank_ic",
        "rank_icir",
        "ic_return",
        "precision_at_k",
        "long_short",
        "squared_error",
        "turnover",
    ):
        assert drawn[name][0] == pytest.approx(there[name], abs=1e-9), name


def test_a_forecast_that_says_the_same_of_all_has_no_correlation_and_the_precision_of_chance() -> None:
    said = made().with_columns(pl.lit(0.3).alias("forecast"))
    found = of(said)
    assert np.isnan(found["ic"])
    assert np.isnan(found["rank_ic"])
    share = said.group_by("event_time").agg((pl.col("target") > 0).mean().alias("s"))["s"].mean()
    assert found["precision_at_k"] == pytest.approx(share)
    assert found["long_short"] == pytest.approx(0, abs=1e-12)


def test_hours_with_few_pools_do_not_count() -> None:
    few = pl.DataFrame(
        {
            "event_time": [START + timedelta(hours=99)] * 4, "network": "eth", "pool": list("wxyz"),
            "forecast": [1.0, 2.0, 3.0, 4.0], "target": [4.0, 3.0, 2.0, 1.0], "forward_return": [0.4, 0.3, 0.2, 0.1],
        }
    ).with_columns(pl.col("event_time").cast(made().schema["event_time"]))  # fmt: skip
    assert of(pl.concat([made(), few])) == of(made())


def test_the_interval_covers_the_truth_and_shrinks_with_the_pools() -> None:
    context = {"predictor": "model", "kind": None, "seed": None, "block": "b", "horizon_hours": 1}

    def ic(n_pools: int, seed: int) -> dict[str, float]:
        found = table(Panel.of(made(30, n_pools, rho=0.3, seed=seed), SPEC), SPEC, with_interval=True, **context)
        return found.filter(pl.col("metric") == "ic").row(0, named=True)

    truth = 0.3 / np.sqrt(1 + 0.3**2)
    small, large = ([ic(n, seed) for seed in range(6)] for n in (20, 60))
    assert sum(row["low"] < truth < row["high"] for row in [*small, *large]) >= 9
    assert np.mean([r["high"] - r["low"] for r in large]) < 0.8 * np.mean([r["high"] - r["low"] for r in small])


def test_the_spread_over_seeds_is_students() -> None:
    from scipy.stats import t

    context = {"predictor": "model", "kind": "linear", "block": "b", "horizon_hours": 1}
    each = [
        table(Panel.of(made(seed=seed), SPEC), SPEC, with_interval=False, seed=seed, **context) for seed in (1, 2, 3)
    ]  # fmt: skip
    row = over_seeds(pl.concat(each), SPEC).filter(pl.col("metric") == "ic_over_seeds").row(0, named=True)
    values = [float(e.filter(pl.col("metric") == "ic")["value"][0]) for e in each]
    low, high = t.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / np.sqrt(3))
    assert (row["value"], row["low"], row["high"]) == pytest.approx((np.mean(values), low, high))
    assert row["seed"] is None


def test_the_slope_is_that_of_least_squares_with_each_pool_one_unit() -> None:
    rng = np.random.default_rng(4)
    raw, pool = rng.normal(size=200), rng.integers(0, 9, size=200)
    target = 0.4 * raw + rng.normal(size=200)
    weight = np.sqrt(1 / np.bincount(pool)[pool])
    expected = np.linalg.lstsq((raw * weight)[:, None], target * weight, rcond=None)[0][0]
    assert slope(raw, target, pool) == pytest.approx(expected)
    assert slope(raw, -target, pool) == 0.0
    assert slope(np.zeros(3), np.ones(3), np.arange(3)) == 0.0


def test_an_interval_of_a_signed_figure_may_reach_below_0_and_is_wider_for_few_pools() -> None:
    from scipy.stats import norm, t

    draws = np.random.default_rng(0).normal(0.02, 0.004, 4_000).clip(0.004)
    low, high = interval(draws, 0.005, 20, 0.95)
    assert low < 0 < high
    wider = t.ppf(0.975, 19) / norm.ppf(0.975) * np.sqrt(20 / 19)
    assert high - low == pytest.approx(wider * np.diff(np.quantile(draws, [0.025, 0.975]))[0])
    assert interval(draws, 0.005, 1, 0.95) == (None, None)
    assert interval(np.zeros(0), 0.005, 9, 0.95) == (None, None)


def test_a_ratio_of_hours_has_no_interval() -> None:
    context = {"predictor": "model", "kind": None, "seed": None, "block": "b", "horizon_hours": 1}
    found = table(Panel.of(made(), SPEC), SPEC, with_interval=True, **context)
    without = found.filter(pl.col("low").is_null())
    assert set(without["metric"]) == {"icir", "rank_icir"}
    assert without["value"].null_count() == 0


@pytest.mark.parametrize("name", ["forecast", "target", "forward_return"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_is_no_number_is_not_judged(name: str, value: float | None) -> None:
    said = made().with_columns(pl.when(pl.int_range(pl.len()) == 7).then(value).otherwise(name).alias(name))
    with pytest.raises(InputError, match=r"1 of .* rows"):
        Panel.of(said, SPEC)


def test_a_forecast_of_0_agrees_with_no_sign_as_at_the_gate() -> None:
    from pipeline.promotion.losses import paired_forecast_losses

    said = made().with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(0.0).otherwise("forecast").alias("forecast"),
        pl.when(pl.int_range(pl.len()) % 6 == 0).then(0.0).otherwise("target").alias("target"),
    )
    side = said.rename({"event_time": "time"}).with_columns(pl.lit(1).alias("horizon"))
    paired = paired_forecast_losses(side, side)
    by_pool = paired.group_by("pool").agg(pl.col("correct_challenger").mean())
    assert of(said)["sign_agreement"] == pytest.approx(by_pool["correct_challenger"].mean())
