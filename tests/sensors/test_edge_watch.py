"""A champion that is proven worse than its class prior asks for training, once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline.lake import Lake
from pipeline.models.spec import TrainingSpec
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.trial import PRIOR
from pipeline.tables import COMPARISONS, PREDICTIONS
from sensors.edge import edge_lost
from tests.builders import valid_frame

NAME = TrainingSpec().model_name
NOW = datetime(2024, 3, 9, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    Moves(made, None).move(Move(NAME, "promote", 1, "a" * 64, "gate", "beats all baselines"), at=NOW)
    # Another model's version of the same number spoke before.
    for name, source, by in (
        ("another", "recording:other", timedelta(hours=-1)),
        (NAME, "geckoterminal", timedelta(0)),
    ):
        said = valid_frame(PREDICTIONS, n_rows=1).with_columns(
            pl.lit(name).alias("model_name"),
            pl.lit(source).alias("source"),
            pl.lit(1, pl.Int64).alias("model_version"),
            pl.col("event_time") + by,
        )
        made.append(PREDICTIONS, said)
    return made


def found(lake: Lake, *, version: int = 1, opponent: str = PRIOR, is_passed: bool = True) -> None:
    row = valid_frame(COMPARISONS, n_rows=1).with_columns(
        pl.lit("harm").alias("procedure"),
        pl.lit(NOW).alias("known_at"),
        pl.lit(NAME).alias("model_name"),
        pl.lit(version, pl.Int64).alias("challenger_version"),
        pl.lit(opponent).alias("opponent"),
        pl.lit(is_passed).alias("is_passed"),
    )
    lake.append(COMPARISONS, row)


def ask(lake: Lake) -> object:
    return edge_lost(dg.build_sensor_context(resources={"lake": lake}))


def test_a_lost_edge_asks_for_training_on_its_source_by_a_key_that_names_the_reign(lake: Lake) -> None:
    found(lake)
    request = ask(lake)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == f"{NAME}:1:1"
    assert request.run_config == {"resources": {"source": {"config": {"name": "geckoterminal"}}}}
    assert "class prior" in request.tags["poolcast/trigger"]


@pytest.mark.parametrize("other", [{"version": 2}, {"opponent": "version:3"}, {"is_passed": False}])
def test_what_is_proven_of_others_or_not_proven_asks_for_nothing(lake: Lake, other: dict[str, object]) -> None:
    found(lake, **other)  # type: ignore[arg-type]
    assert isinstance(ask(lake), dg.SkipReason)


def test_where_nobody_is_in_charge_nothing_is_asked(tmp_path: Path) -> None:
    assert isinstance(ask(Lake(tmp_path / "empty")), dg.SkipReason)
