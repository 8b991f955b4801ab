"""The health of the bins in the graph: every export is looked at, and only errors fail the check."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.bin_health import CHECK, judged, qlib_health
from pipeline.bins.export import export_all
from pipeline.bins.health.spec import FINDING_SCHEMA
from tests.bins.bins_market import identities, made_bars


def health_of(qlib: Path) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.MetadataValue]]:
    result = dg.materialize([qlib_health], resources={"qlib": qlib}, raise_on_error=False)
    return result, dict(result.asset_materializations_for_node("qlib_health")[0].metadata)


@pytest.fixture
def qlib(tmp_path: Path) -> Path:
    for seed, source in enumerate(("simulation-7", "recording-x")):
        bars = made_bars(seed=seed)
        export_all(bars, identities(bars), tmp_path / "qlib" / source)
    (tmp_path / "qlib" / "notes").mkdir()
    return tmp_path / "qlib"


def test_sound_exports_pass_and_are_told_with_counts_and_a_picture(qlib: Path) -> None:
    result, metadata = health_of(qlib)
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed, evaluation.blocking) == (CHECK, True, True)
    assert (metadata["exports"].value, metadata["instruments"].value) == (2, 12)
    counts = {(record.data["export"], record.data["problem"]) for record in metadata["counts"].records}  # type: ignore[attr-defined]
    assert {("simulation-7 60min", "gap"), ("recording-x 60min", "gap")} <= counts
    assert str(metadata["missing_by_field"].value).startswith(
        "![share of missing values by field](data:image/png;base64,"
    )


def test_an_export_that_gives_wrong_numbers_fails_the_check_and_says_where(qlib: Path) -> None:
    path = next((qlib / "simulation-7").rglob("close.60min.bin"))
    numbers = np.fromfile(path, "<f4")
    path.unlink()
    numbers[:-1].tofile(path)
    result, metadata = health_of(qlib)
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "error" in str(evaluation.description)
    worst = [record.data for record in metadata["worst"].records]  # type: ignore[attr-defined]
    assert ("simulation-7 60min", "length_mismatch") in {(row["export"], row["problem"]) for row in worst}


def test_warnings_pass_and_show_as_warnings() -> None:
    row = {**dict.fromkeys(FINDING_SCHEMA), "severity": "warning", "problem": "stale"}
    verdict = judged(pl.DataFrame([row], schema=FINDING_SCHEMA))
    assert (verdict.passed, verdict.severity) == (True, dg.AssetCheckSeverity.WARN)
    assert "1 warning" in str(verdict.description)


def test_without_any_export_there_is_nothing_to_complain_of(tmp_path: Path) -> None:
    result, metadata = health_of(tmp_path / "qlib")
    assert result.success
    assert metadata["exports"].value == 0
