"""The whole loop from the command line: right, repeatable, and killed at any stage it ends the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from assets.models import frozen
from pipeline.calendars import FixedClock
from pipeline.lake import Lake
from pipeline.tables import OUTCOMES, TABLES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VERSIONED = (
    "lake_versions", "lake_version", "n_last_block_reads", "seconds", "fingerprint", "mode", "reason", "n_days",
    "range_start", "range_end", "n_bars", "n_files_written", "n_instruments_changed", "row_hash", "previous_hash",
)  # fmt: skip
"""What may differ after a kill: numbers of commits, the name a lake gave its table, how often the last block was looked
at (which a verdict tells, and the ledger's hashes cover), and what an export had left to do and how long it took; what
it ended with may not."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=560)


def demo(data_dir: Path) -> dict[str, Any]:
    done = run("demo", "--data-dir", str(data_dir), "--json")
    assert done.returncode == 0, done.stderr[-3_000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def tables(data_dir: Path) -> dict[str, pl.DataFrame]:
    lake = Lake(data_dir / "lake")
    return {
        t.name: lake.scan(t).drop(*(c for c in VERSIONED if c in t.schema)).sort(t.key).collect()
        for t in TABLES.values()
    }


@pytest.fixture(scope="module")
def first(module_server_folder: Path) -> tuple[Path, dict[str, Any]]:
    return module_server_folder, demo(module_server_folder)


def test_the_report_says_what_it_promises(first: tuple[Path, dict[str, Any]]) -> None:
    data_dir, report = first
    assert json.loads((data_dir / "demo" / "report.json").read_text()) == report
    assert set(report["stages"]) == {
        "pools", "snapshots", "features", "labels", "bins", "models", "promotion", "predictions", "monitoring",
    }  # fmt: skip
    assert all(stage["rows"] > 0 and stage["seconds"] > 0 for stage in report["stages"].values())
    assert report["stages"]["pools"]["rows"] == 400
    assert len(report["training_set_id"]) == len(report["model"]["sha256"]) == 64
    assert set(report["baselines"]) == {"class_prior", "majority", "one_feature_rule"}
    assert report["wall_seconds"] > 0
    assert report["peak_rss_bytes"] < 8 * 2**30
    for shares in report["labels"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)


def test_anyone_can_recompute_the_figures_from_the_evaluation_file(first: tuple[Path, dict[str, Any]]) -> None:
    data_dir, report = first
    rows = pl.read_parquet(data_dir / "demo" / "evaluation.parquet")
    assert {"pool", "time", "horizon", "label", *(f"p_{o}" for o in OUTCOMES)} <= set(rows.columns)
    auc = roc_auc_score((rows["label"] == "RUG").to_numpy(), rows["p_RUG"].to_numpy())
    assert report["model"]["metrics"]["roc_auc/RUG"]["value"] == pytest.approx(auc, abs=1e-9)
    figures = json.loads(run("models", "evaluate", "--data-dir", str(data_dir), "--json").stdout)
    assert figures["roc_auc/RUG"]["value"] == pytest.approx(auc, abs=1e-9)


def test_the_evaluation_is_the_newest_pools_and_later_than_everything_the_model_learned_from(
    first: tuple[Path, dict[str, Any]],
) -> None:
    data_dir, _ = first
    lake = tables(data_dir)
    frozen_set = frozen(Lake(data_dir / "lake"), "simulation:7", FixedClock(datetime(2024, 3, 11, tzinfo=UTC)))
    evaluated = lake["evaluations"].filter(pl.col("predictor") == "model")
    rows = frozen_set.frame.sort("created_at")
    edge = rows.join(evaluated, on="pool", how="semi")["created_at"].min()
    newest = rows.filter(pl.col("created_at") >= edge)
    assert set(newest["pool"]) == set(evaluated["pool"])
    assert 0.25 < newest["pool"].n_unique() / rows["pool"].n_unique() < 0.35
    assert evaluated.height == newest.height
    learned = rows.filter(pl.col("label_end") < edge, ~pl.col("base_token").is_in(newest["base_token"].implode()))
    assert learned.height > 200
    figures = lake["figures"].filter(pl.col("block") == "last_block")
    of_signals = pl.col("metric").is_in(
        ["signal_paid_share", "signal_paid_pools", "signal_unknown_share", "signal_lot_p_value"]
    )
    of_all = set(figures.filter(~of_signals)["n_rows"])
    assert of_all <= {newest.height, newest.filter(pl.col("decision_age_hours") == 1).height}
    coverage = figures.filter(pl.col("metric") == "signal_coverage")["value"].item()
    assert set(figures.filter(of_signals)["n_rows"]) == {round(coverage * newest.height)}


def test_the_champion_is_the_evaluated_model_or_there_is_a_reason(first: tuple[Path, dict[str, Any]]) -> None:
    data_dir, report = first
    status = json.loads(run("promotion", "status", "--data-dir", str(data_dir), "--json").stdout)
    compared = [c for c in status["comparisons"] if c["model_name"] == "pool-outcome"]
    moves = [d for d in status["deployments"] if d["model_name"] == "pool-outcome"]
    beaten = all(c["is_passed"] for c in compared)
    assert len(compared) == 3
    assert len(moves) == int(beaten)
    if beaten:
        assert moves[0]["model_sha256"] == report["model"]["sha256"]
        assert report["champion"]["version"] == report["model"]["version"]
    else:
        assert report["champion"]["version"] is None
        assert "does not beat" in report["champion"]["verdict"]


def test_the_forecaster_is_in_charge_or_there_is_a_reason(first: tuple[Path, dict[str, Any]]) -> None:
    data_dir, report = first
    told = report["returns"]
    status = json.loads(run("promotion", "status", "--data-dir", str(data_dir), "--json").stdout)
    compared = [c for c in status["comparisons"] if c["model_name"] == "pool-return"]
    assert {c["opponent"] for c in compared} == {f"baseline:{b}" for b in ("no_forecast", "reversal", "momentum")}
    assert {c["loss"] for c in compared} == {"squared_error"}
    in_charge = str(told["version"]) if all(c["is_passed"] for c in compared) else "none"
    assert str(told["champion_version"]) == in_charge
    assert set(told["last_block"]) == {"1h", "24h"}
    said = tables(data_dir)["return_evaluations"].filter(pl.col("predictor") == "model")
    assert set(said["model_sha256"]) == {told["sha256"]}
    hour = said.filter(pl.col("horizon_hours") == 1).group_by("event_time").agg(
        pl.corr("forecast", "target", method="spearman").alias("ic"), pl.len()
    )  # fmt: skip
    ics = hour.filter(pl.col("len") >= 10)["ic"].drop_nans().drop_nulls()
    assert told["last_block"]["1h"]["value"] == pytest.approx(ics.mean(), abs=0.02)


def test_a_second_run_computes_no_hour_again_and_ends_with_the_same_model(first: tuple[Path, dict[str, Any]]) -> None:
    data_dir, report = first
    before = tables(data_dir)
    again = demo(data_dir)
    assert (again["training_set_id"], again["model"]["sha256"]) == (
        report["training_set_id"],
        report["model"]["sha256"],
    )
    assert {stage["hours_computed"] for stage in again["stages"].values()} <= {0, None}
    assert again["champion"]["version"] == report["champion"]["version"]
    after = tables(data_dir)
    assert all(after[name].equals(rows) for name, rows in before.items())


def kill_when(arguments: list[str], is_time: Callable[[str], bool], delay: float) -> None:
    """Start the command and SIGKILL its whole session `delay` seconds after a line of its output says so."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if is_time(line.strip()):
            time.sleep(delay)
            break
    else:
        pytest.fail("the command ended before it could be killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


def test_lost_evidence_and_predictions_of_the_last_block_are_made_again(first: tuple[Path, dict[str, Any]]) -> None:
    data_dir, report = first
    before = tables(data_dir)
    for name in ("figures", "evaluations"):
        shutil.rmtree(data_dir / "lake" / name)
    again = demo(data_dir)
    assert again["model"]["sha256"] == report["model"]["sha256"]
    after = tables(data_dir)
    assert all(after[name].equals(before[name]) for name in ("figures", "evaluations", "deployments", "comparisons"))


@pytest.mark.parametrize(
    ("step", "delay"),
    [
        ("reserves", 0.3),
        ("labels", 0.5),
        ("qlib_bins", 0.5),
        ("return_model", 4.0),
        ("outcome_model", 4.0),
        ("champion", 0.4),
    ],
)
def test_killed_at_a_stage_and_started_again_it_ends_like_an_undisturbed_run(
    first: tuple[Path, dict[str, Any]], server_folder: Path, step: str, delay: float
) -> None:
    kill_when(["demo", "--data-dir", str(server_folder)], lambda line: line == step, delay)
    report = demo(server_folder)
    data_dir, undisturbed = first
    assert report["training_set_id"] == undisturbed["training_set_id"]
    assert report["model"]["sha256"] == undisturbed["model"]["sha256"]
    assert report["champion"]["version"] == undisturbed["champion"]["version"] or report["champion"]["version"] is None
    mended, expected = tables(server_folder), tables(data_dir)
    assert [name for name in expected if not mended[name].equals(expected[name])] == []
