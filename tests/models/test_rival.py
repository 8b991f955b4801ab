"""The champion is asked about a challenger's last block, and only where it had not seen the pool."""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from model_rows import BIRTH, training_set

from pipeline.errors import InputError
from pipeline.models.rival import answered
from pipeline.tables import OUTCOMES


class Asked:
    """A model that remembers what it was fed, and favours what `signal` says."""

    def __init__(self) -> None:
        self.fed: pl.DataFrame | None = None

    def predict_proba(self, frame: pl.DataFrame) -> Any:
        self.fed = frame
        p = np.full((frame.height, len(OUTCOMES)), 0.1)
        p[:, 0] = 0.4
        return p


FROZEN = training_set(40)


def evaluation(n: int = 60) -> pl.DataFrame:
    return FROZEN.frame.tail(n).select(
        "network", "pool", pl.col("event_time").alias("time"), pl.lit(24, pl.Int32).alias("horizon"),
        pl.col("outcome").alias("label"),
    )  # fmt: skip


def test_it_answers_every_row_whose_pool_was_born_after_it_had_learned_with_its_features() -> None:
    model, cut = Asked(), BIRTH + timedelta(hours=3 * 34)
    said = answered(FROZEN, evaluation(), model, cut)
    born = FROZEN.frame.select("network", "pool", "created_at").unique()
    assert said.height > 0
    assert (said.join(born, on=["network", "pool"])["created_at"] > cut).all()
    expected = evaluation().join(born.filter(pl.col("created_at") > cut), on=["network", "pool"], how="semi")
    assert said.select(expected.columns).equals(expected)
    assert model.fed is not None
    fed = FROZEN.frame.join(expected.rename({"time": "event_time"}), on=["network", "pool", "event_time"], how="semi")
    assert model.fed["signal"].sort().equals(fed["signal"].sort())
    assert said["p_RUG"].unique().to_list() == [0.4]


def test_a_pool_that_was_there_when_it_learned_is_not_asked_about_at_a_later_age() -> None:
    assert answered(FROZEN, evaluation(), Asked(), BIRTH + timedelta(days=365)).is_empty()


def test_rows_that_are_not_of_the_set_are_refused() -> None:
    other = evaluation().with_columns(pl.col("time") + timedelta(minutes=1))
    with pytest.raises(InputError, match="not in the set"):
        answered(FROZEN, other, Asked(), BIRTH)
