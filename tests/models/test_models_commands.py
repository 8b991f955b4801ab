"""`poolcast models compare` judges two files as the offline gate judges two models."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.promotion.losses import compare_evaluations
from pipeline.promotion.spec import PromotionSpec

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def said(confidence: float) -> pl.DataFrame:
    labels = ["RUG", "STABLE"] * 50
    return pl.DataFrame(
        {
            "pool": [f"p{i}" for i in range(100)],
            "time": [NOW + timedelta(minutes=5 * i) for i in range(100)],
            "horizon": [24] * 100,
            "label": labels,
            "p_RUG": [confidence if label == "RUG" else 1 - confidence for label in labels],
            "p_STABLE": [confidence if label == "STABLE" else 1 - confidence for label in labels],
        }
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "models", "compare", *arguments],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, confidence in (("good", 0.8), ("weak", 0.6)):
        said(confidence).write_parquet(tmp_path / f"{name}.parquet")
    return str(tmp_path / "good.parquet"), str(tmp_path / "weak.parquet")


def test_the_answer_is_that_of_the_gate(files: tuple[str, str]) -> None:
    told = json.loads(run(*files, "--json").stdout)
    done = compare_evaluations(said(0.8), said(0.6), PromotionSpec())
    assert (told["is_passed"], told["n_pools"]) == (True, 100)
    assert told["gain"] == pytest.approx(done.gain, abs=1e-12)
    assert told["gain_low"] == pytest.approx(done.gain_low, abs=1e-12)
    assert json.loads(run(*reversed(files), "--json").stdout)["is_passed"] is False
    assert "passes" in run(*files).stdout


def test_what_cannot_be_compared_is_told_without_a_traceback(files: tuple[str, str], tmp_path: Path) -> None:
    said(0.6).head(50).write_parquet(tmp_path / "half.parquet")
    for other, status in ((str(tmp_path / "half.parquet"), 1), (str(tmp_path / "none.parquet"), 1)):
        done = run(files[0], other)
        assert done.returncode == status
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("poolcast: ")
    assert run(*files, "--min-gain", "2").returncode == 2
