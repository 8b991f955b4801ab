"""The gate on forecasts: what is paired, what is refused, and how often luck passes."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from forecast_worlds import AT, BASELINES, a_world, passes_by_rows

from pipeline.errors import InputError, UsageError
from pipeline.promotion.losses import CLIP, compare_evaluations, paired_forecast_losses
from pipeline.promotion.spec import OUTCOME, RETURN, PromotionSpec
from pipeline.promotion.succession import judge

SPEC = PromotionSpec(model_name=RETURN.model_name, loss="squared_error", min_gain=RETURN.min_gain, n_resamples=200)


def forecasts(*rows: tuple[str, float, float], horizon: int = 1) -> pl.DataFrame:
    """Rows of (pool, target, forecast)."""
    return pl.DataFrame(
        {
            "pool": [r[0] for r in rows],
            "time": [datetime(2020, 10, 1, tzinfo=UTC)] * len(rows),
            "horizon": [horizon] * len(rows),
            "target": [r[1] for r in rows],
            "forecast": [r[2] for r in rows],
        }
    )


CHALLENGER = forecasts(("a", 1.0, 0.5), ("b", -2.0, -0.5), ("c", 0.5, -0.25))
OPPONENT = forecasts(("c", 0.5, 0.0), ("a", 1.0, 0.0), ("b", -2.0, 0.0))


def is_promoted(world: dict[str, pl.DataFrame]) -> bool:
    return judge(
        world, baselines=BASELINES, version=1, source="recording:a", incumbent=None, known_at=AT, spec=SPEC
    ).verdict.is_promoted


def test_squared_errors_are_paired_by_row_whatever_their_order():
    paired = paired_forecast_losses(CHALLENGER, OPPONENT)
    assert paired["pool"].to_list() == ["a", "b", "c"]
    assert paired["loss_challenger"].to_list() == [0.25, 2.25, 0.5625]
    assert paired["loss_opponent"].to_list() == [1.0, 4.0, 0.25]


def test_a_forecast_is_correct_when_its_sign_is_the_targets_and_a_zero_never_is():
    paired = paired_forecast_losses(CHALLENGER, OPPONENT)
    assert paired["correct_challenger"].to_list() == [True, True, False]
    assert paired["correct_opponent"].to_list() == [False, False, False]
    nothing = forecasts(("a", 0.0, 0.0), ("b", 0.0, 0.1))
    assert paired_forecast_losses(nothing, nothing)["correct_challenger"].to_list() == [False, False]


def test_no_row_costs_nothing_so_that_a_gain_has_a_meaning():
    exact = forecasts(("a", 0.0, 0.0), ("b", 1.0, 1.0))
    assert paired_forecast_losses(exact, exact)["loss_opponent"].to_list() == [CLIP, CLIP]


def test_the_rule_says_which_loss_is_meant():
    done = compare_evaluations(CHALLENGER, OPPONENT, PromotionSpec(min_pools=2, loss="squared_error"))
    assert done.gain == pytest.approx(1 - (0.25 + 2.25 + 0.5625) / 5.25)
    assert done.loss == "squared_error"
    assert done.reason.startswith("squared error 41.7 % lower over 3 pools")
    with pytest.raises(InputError, match="lacks \\['label'\\]"):
        compare_evaluations(CHALLENGER, OPPONENT, PromotionSpec(min_pools=2))
    with pytest.raises(UsageError, match="a loss is one of"):
        PromotionSpec(loss="accuracy")  # type: ignore[arg-type]


def test_a_challenger_that_loses_is_told_so_in_plain_words():
    worse = compare_evaluations(OPPONENT, CHALLENGER, PromotionSpec(min_pools=2, loss="squared_error"))
    assert worse.reason.startswith("squared error 71.4 % higher over 3 pools, lower end of the gain -")


@pytest.mark.parametrize(
    ("opponent", "said"),
    [
        (OPPONENT.head(2), "same rows"),
        (OPPONENT.with_columns(target=pl.col("target") + 1e-9), "same rows with the same targets"),
        (OPPONENT.with_columns(horizon=pl.lit(24, pl.Int64)), "same rows"),
        (OPPONENT.head(1).with_columns(pl.col("horizon").cast(pl.Int32)), "dtypes"),
        (pl.concat([OPPONENT, OPPONENT.head(1)]), "twice"),
        (OPPONENT.clear(), "0 rows"),
        (OPPONENT.drop("target"), "lacks"),
        (OPPONENT.drop("forecast"), "lacks"),
        (OPPONENT.with_columns(pool=pl.lit(None, pl.String)).head(1), "no nulls"),
        (OPPONENT.with_columns(forecast=pl.lit("0.1")), "numbers"),
        (OPPONENT.with_columns(forecast=pl.lit(None, pl.Float64)), "3 of 3 rows"),
        (OPPONENT.with_columns(target=pl.lit(float("nan"))), "missing, not finite"),
        (OPPONENT.with_columns(forecast=pl.lit(float("inf"))), "missing, not finite"),
        (OPPONENT.with_columns(forecast=pl.lit(1e200)), "too large to be squared"),
    ],
)
def test_sides_that_did_not_forecast_the_same_are_refused(opponent, said):
    with pytest.raises(InputError, match=said):
        paired_forecast_losses(CHALLENGER, opponent)


def test_a_pools_hours_are_one_pool():
    long, short = [("a", 1.0, 1.0)] * 9, [("b", 1.0, 0.0)]
    rows = forecasts(*long, *short).with_columns(time=pl.col("time") + pl.int_range(pl.len()) * pl.duration(hours=1))
    done = compare_evaluations(rows, rows.with_columns(forecast=pl.lit(0.0)), SPEC)
    assert (done.n_pools, done.n_rows) == (2, 10)
    assert done.gain == pytest.approx(0.5)


WITHOUT_SKILL = [
    {"n_pools": 60, "n_hours": 80, "drift": 0.5, "habit": 0.06},
    {"n_pools": 40, "n_hours": 80, "drift": 0.7, "habit": 0.1},
]
"""Forecasts that like some pools and dislike others for no reason, in markets whose pools drift."""


@pytest.mark.parametrize("kind", WITHOUT_SKILL, ids=["60 pools", "40 pools"])
def test_luck_is_promoted_in_at_most_five_worlds_of_a_hundred_by_pools_and_far_more_often_by_rows(kind):
    worlds = [a_world(seed, r2=0.0, **kind) for seed in range(300)]
    by_pools = np.mean([is_promoted(world) for world in worlds])
    by_rows = np.mean(
        [passes_by_rows(w, min_gain=SPEC.min_gain, n_resamples=200, seed=seed) for seed, w in enumerate(worlds)]
    )
    assert by_pools <= 0.05
    assert by_rows > 0.05
    assert by_rows > 3 * by_pools
    print(f"promoted without skill: {by_pools:.1%} by pools, {by_rows:.1%} by rows")  # noqa: T201 - shown by `pytest -s`


def test_a_forecast_that_explains_three_per_cent_of_many_pools_is_promoted():
    worlds = [a_world(seed, n_pools=400, n_hours=80, drift=0.3, r2=0.03, habit=0.05) for seed in range(40)]
    assert np.mean([is_promoted(world) for world in worlds]) >= 0.95


def test_a_forecast_that_explains_half_a_per_cent_is_true_and_yet_too_little():
    world = a_world(1, n_pools=1_500, n_hours=80, drift=0.3, r2=0.005, habit=0.0)
    done = compare_evaluations(world["model"], world["no_forecast"], SPEC)
    assert done.gain_low > 0
    assert not done.is_passed
    assert "must exceed 1 %" in done.reason


def test_the_two_rules_are_of_two_models_and_two_losses():
    assert (OUTCOME.model_name, OUTCOME.loss, OUTCOME.min_gain) == ("pool-outcome", "log_loss", 0.05)
    assert (RETURN.model_name, RETURN.loss, RETURN.min_gain) == ("pool-return", "squared_error", 0.01)
