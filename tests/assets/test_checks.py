"""A blocking check stops what depends on bad rows, and says in words what it found."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.checks import EXPECTATION_CHECKS
from pipeline.lake import Lake
from pipeline.tables import SNAPSHOTS, TABLES
from tests.builders import valid_frame


def checks_by_name() -> dict[str, dg.AssetChecksDefinition]:
    return {key.name: check for check in EXPECTATION_CHECKS for key in check.check_keys}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def judged(name: str, lake: Lake) -> dg.AssetCheckEvaluation:
    result = dg.materialize(
        [checks_by_name()[name]],
        resources={"lake": lake},
        selection=dg.AssetSelection.all_asset_checks(),
        raise_on_error=False,
    )
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_sound_rows_pass_and_the_check_counts_them(lake: Lake) -> None:
    lake.append(SNAPSHOTS, valid_frame(SNAPSHOTS, n_rows=20))
    evaluation = judged("snapshots_as_specified", lake)
    assert evaluation.passed
    assert evaluation.metadata["rows"].value == 20


def test_a_row_out_of_range_fails_its_check_in_words_with_a_count_and_an_example(lake: Lake) -> None:
    rows = valid_frame(SNAPSHOTS, n_rows=20)
    lake.append(SNAPSHOTS, rows.with_columns(pl.lit(-5.0).alias("reserve_usd")))
    evaluation = judged("snapshots_as_specified", lake)
    assert not evaluation.passed
    assert "reserve_usd" in str(evaluation.description)
    assert "20" in str(evaluation.description)
    assert "-5" in str(evaluation.description)
    assert evaluation.blocking


@pytest.mark.parametrize("name", sorted(checks_by_name()))
def test_a_table_that_is_not_there_yet_passes(name: str, lake: Lake) -> None:
    assert judged(name, lake).passed
    assert name.removesuffix("_as_specified") in TABLES


def test_what_depends_on_a_failed_check_is_not_computed(lake: Lake) -> None:
    lake.append(SNAPSHOTS, valid_frame(SNAPSHOTS, n_rows=5).with_columns(pl.lit(-5.0).alias("reserve_usd")))
    ran = []

    @dg.asset(name="snapshots")
    def as_written() -> None: ...

    @dg.asset(deps=["snapshots"])
    def downstream() -> None:
        ran.append("downstream")

    result = dg.materialize(
        [as_written, downstream, checks_by_name()["snapshots_as_specified"]],
        resources={"lake": lake},
        raise_on_error=False,
    )
    assert not result.success
    assert ran == []
