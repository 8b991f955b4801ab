from datetime import UTC, datetime
from math import log

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.promotion.losses import CLIP, compare_evaluations, paired_losses
from pipeline.promotion.spec import PromotionSpec

AT = datetime(2020, 10, 1, tzinfo=UTC)


def an_evaluation(*rows: tuple[str, str, float], horizon: int = 24) -> pl.DataFrame:
    """Rows of (pool, label, probability of RUG); the rest goes to STABLE."""
    return pl.DataFrame(
        {
            "pool": [r[0] for r in rows],
            "time": [AT] * len(rows),
            "horizon": [horizon] * len(rows),
            "label": [r[1] for r in rows],
            "p_RUG": [r[2] for r in rows],
            "p_STABLE": [1 - r[2] for r in rows],
        }
    )


CHALLENGER = an_evaluation(("a", "RUG", 0.8), ("b", "STABLE", 0.4))
OPPONENT = an_evaluation(("b", "STABLE", 0.5), ("a", "RUG", 0.3))


def test_losses_are_paired_by_row_whatever_their_order():
    paired = paired_losses(CHALLENGER, OPPONENT)
    assert paired["pool"].to_list() == ["a", "b"]
    assert paired["loss_challenger"].to_list() == pytest.approx([-log(0.8), -log(0.6)])
    assert paired["loss_opponent"].to_list() == pytest.approx([-log(0.3), -log(0.5)])
    assert paired["correct_challenger"].to_list() == [True, True]


def test_of_equally_probable_classes_the_first_counts():
    assert paired_losses(CHALLENGER, OPPONENT)["correct_opponent"].to_list() == [False, False]


def test_the_order_of_the_class_columns_does_not_matter():
    other = OPPONENT.select("p_STABLE", "label", "horizon", "time", "pool", "p_RUG")
    assert paired_losses(CHALLENGER, other).equals(paired_losses(CHALLENGER, OPPONENT))


def test_calling_the_outcome_impossible_costs_the_clip_and_no_row_costs_nothing():
    paired = paired_losses(an_evaluation(("a", "RUG", 0.0)), an_evaluation(("a", "RUG", 1.0)))
    assert paired["loss_challenger"][0] == pytest.approx(-log(CLIP))
    assert 0 < paired["loss_opponent"][0] < 2e-15


def test_two_evaluations_are_compared_pool_by_pool():
    done = compare_evaluations(CHALLENGER, OPPONENT, PromotionSpec(min_pools=2))
    assert done.gain == pytest.approx(1 - (-log(0.8) - log(0.6)) / (-log(0.3) - log(0.5)))


@pytest.mark.parametrize(
    ("opponent", "said"),
    [
        (OPPONENT.head(1), "same rows"),
        (an_evaluation(("a", "RUG", 0.3), ("c", "STABLE", 0.5)), "same rows"),
        (an_evaluation(("a", "STABLE", 0.3), ("b", "STABLE", 0.5)), "same rows"),
        (an_evaluation(("a", "RUG", 0.3), ("b", "STABLE", 0.5), horizon=6), "same rows"),
        (OPPONENT.head(1).with_columns(pl.col("horizon").cast(pl.Int32)), "dtypes"),
        (pl.concat([OPPONENT, OPPONENT.head(1)]), "twice"),
        (OPPONENT.drop("label"), "lacks"),
        (OPPONENT.drop("p_RUG"), "at least two classes"),
        (OPPONENT.rename({"p_RUG": "p_MOON"}), "classes"),
        (OPPONENT.clear(), "0 rows"),
        (an_evaluation(("a", "MOON", 0.3), ("b", "STABLE", 0.5)), "labels among"),
        (OPPONENT.with_columns(p_RUG=pl.lit(None, pl.Float64)), "finite"),
        (OPPONENT.with_columns(p_RUG=pl.lit(float("nan"))), "finite"),
        (OPPONENT.with_columns(p_RUG=pl.lit(1.5), p_STABLE=pl.lit(-0.5)), "finite and in"),
        (OPPONENT.with_columns(p_RUG=pl.lit(0.1), p_STABLE=pl.lit(0.1)), "sum to"),
        (OPPONENT.with_columns(label=pl.lit(None, pl.String)), "no nulls"),
    ],
)
def test_sides_that_did_not_answer_the_same_questions_are_refused(opponent, said):
    with pytest.raises(InputError, match=said):
        paired_losses(CHALLENGER, opponent)
