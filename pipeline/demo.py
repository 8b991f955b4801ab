"""The demo: the whole loop once over a recording, and a report that anyone can recompute.

Belongs here: which recording is replayed, and what the report says.
Stays out: the run itself (`replay`), every computation (the stages), and how the report is shown (`cli`).
"""

import json
import resource
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import dagster as dg
import polars as pl

from pipeline.lake import Lake
from pipeline.models.records import as_interchange, last_block, nested
from pipeline.models.return_records import rank_ics
from pipeline.models.spec import LAST_BLOCK, LOT_ALPHA, TrainingSpec
from pipeline.models.training_records import paid_in_words
from pipeline.pools.recording import Recording
from pipeline.pools.shelf import Shelf, Told
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.promotion.ledger import current_champion
from pipeline.replay import replay
from pipeline.runs import Finished
from pipeline.tables import (
    DEPLOYMENTS,
    EVALUATIONS,
    FAMILY_TABLE_NAMES,
    FIGURES,
    LABELS,
    QUARANTINE,
    RETURN_FIGURES,
    TABLES,
)

SEED = 7
SIMULATION = SimulationSpec()
STEPS = {
    "pools": ("reserves", "pools", "candles"),
    "snapshots": ("snapshots",),
    "features": (*FAMILY_TABLE_NAMES, "features"),
    "labels": ("market_labels", "labels"),
    "bins": ("qlib_health", "qlib_bins"),
    "models": ("return_dataset", "return_model", "training_set", "outcome_model"),
    "promotion": ("trial", "reign", "return_champion", "champion"),
    "predictions": ("outcomes", "performance_reports", "predictions"),
    "monitoring": ("drift_reports", "alerts", "quality_reports"),
}
"""The assets of each stage; what the last one said of skipped rows and hours stands for the stage."""
_OF_STAGES = frozenset(step for steps in STEPS.values() for step in steps)
COUNTED = {"models": "evaluations", "promotion": "comparisons", "monitoring": "quality_reports"}
"""The table whose rows count for a stage, where it has not the stage's name; for bins it is the bars."""


def demo_recording(shelf: Shelf, path: Path | None, now: datetime) -> Told:
    """The recording to replay: the given one, or a simulated market made on the spot (once: it is seeded)."""
    if path is not None:
        return shelf.register(path, PoolsSpec(), now)
    folder = shelf.folder / f"simulation-{SEED}"
    if not folder.exists():
        write_recording(simulate(SIMULATION, SEED), folder, SIMULATION, SEED)
    return shelf.register(folder, PoolsSpec(), now)


def run_demo(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    told: Told,
    folder: Path,
    tags: dict[str, str],
) -> dict[str, Any]:
    """Replay a recording through the loop; write `report.json` and `evaluation.parquet` into `folder`.

    Returns:
        the report.

    Raises:
        RunFailedError: a step or a blocking check failed; nothing is written.
    """
    started = perf_counter()
    replayed = replay(defs, instance, told, tags=tags)
    report = build_report(lake, told.recording, replayed)
    report |= {"wall_seconds": round(perf_counter() - started, 2), "peak_rss_bytes": peak_rss_bytes()}
    folder.mkdir(parents=True, exist_ok=True)
    _evaluation(lake, report["model"]["sha256"]).write_parquet(folder / "evaluation.parquet")
    unfinished = folder / "report.json.part"
    unfinished.write_text(json.dumps(report, indent=2, sort_keys=True, default=str) + "\n")
    unfinished.replace(folder / "report.json")
    return report


def build_report(lake: Lake, recording: Recording, replayed: Finished) -> dict[str, Any]:
    """What the loop did and what came of it."""
    said = replayed.metadata["outcome_model"]
    figures = lake.scan(FIGURES).filter(pl.col("model_sha256") == said["model_sha256"]).collect()
    at_headline = last_block(figures, str(TrainingSpec().headline_age_hours))
    by_predictor = nested(last_block(figures))
    return {
        "recording": {"name": recording.name, "source": recording.source, "sha256": recording.sha256},
        "run_id": replayed.run_id,
        "stages": {stage: _stage(lake, recording.source, stage, replayed) for stage in STEPS},
        "checks_seconds": round(sum(s for step, s in replayed.seconds.items() if step not in _OF_STAGES), 2),
        "warnings": list(replayed.warnings),
        "quarantined": _counts(lake.scan(QUARANTINE).filter(pl.col("source") == recording.source), "reason"),
        "labels": _label_shares(lake, recording.source),
        "training_set_id": said["training_set_id"],
        "model": {
            "name": TrainingSpec().model_name,
            "version": said["version"],
            "sha256": said["model_sha256"],
            "metrics": by_predictor.pop("model"),
            "metrics_at_one_hour_of_age": nested(at_headline).get("model", {}),
            "signal": signal_of(figures),
        },
        "baselines": by_predictor,
        "champion": _champion(lake, replayed),
        "returns": _returns(lake, replayed),
    }


def signal_of(figures: pl.DataFrame) -> dict[str, Any] | None:
    """What the high signal comes to on the last block, on which its threshold is set; None where the model abstains.

    Args:
        figures: rows of `FIGURES` of one model.
    """
    own = figures.filter(pl.col("block") == LAST_BLOCK, pl.col("metric").str.starts_with("signal_"))
    if own.is_empty():
        return None
    told = dict(own.select(pl.col("metric").str.strip_prefix("signal_"), "value").iter_rows())
    n_decisions = own.filter(pl.col("metric") == "signal_threshold")["n_rows"].item()
    return told | {
        "horizon_hours": TrainingSpec().horizon_hours,
        "max_false_positive_rate": TrainingSpec().max_false_positive_rate,
        "n_decisions": n_decisions,
        "n_signals": round(told["coverage"] * n_decisions),
        "is_better_than_lot": told.get("lot_p_value", 1.0) <= LOT_ALPHA,
        "paid_in_words": paid_in_words(own),
    }


def peak_rss_bytes() -> int:
    """The most memory this process ever held, in bytes (Linux tells kibibytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _stage(lake: Lake, source: str, stage: str, replayed: Finished) -> dict[str, Any]:
    tables = {t.name: lake.scan(t) for t in TABLES.values() if t.stage == stage}
    rows = {
        name: (frame.filter(pl.col("source") == source) if "source" in frame.collect_schema() else frame)
        .select(pl.len())
        .collect()
        .item()
        for name, frame in tables.items()
    }
    bars = replayed.metadata.get("qlib_bins", {}).get("bars", 0)
    said = replayed.metadata.get(STEPS[stage][-1], {})
    counted = COUNTED.get(stage, stage)
    return {
        "rows": bars if stage == "bins" else rows[counted],
        "rows_of": "bars" if stage == "bins" else counted,
        "seconds": round(sum(replayed.seconds.get(step, 0.0) for step in STEPS[stage]), 2),
        "tables": rows,
        "skipped": {k.removeprefix("skipped_"): v for k, v in said.items() if k.startswith("skipped_")},
        "hours_computed": said.get("hours_computed"),
    }


def _counts(frame: pl.LazyFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort(column).collect().iter_rows())


def _label_shares(lake: Lake, source: str) -> dict[str, dict[str, float]]:
    """For each horizon, the share of each outcome, of what was censored and of what is pending."""
    ended = pl.coalesce("outcome", "censor_reason", "status").alias("end")
    counted = (
        lake.scan(LABELS).filter(pl.col("source") == source).group_by("horizon_hours", ended).len().collect()
    ).with_columns((pl.col("len") / pl.col("len").sum().over("horizon_hours")).round(6).alias("share"))
    return {
        f"{horizon}h": dict(rows.sort("share", descending=True).select("end", "share").iter_rows())
        for (horizon,), rows in counted.sort("horizon_hours").group_by("horizon_hours", maintain_order=True)
    }


def _champion(lake: Lake, replayed: Finished) -> dict[str, Any]:
    """Who is in charge, by the ledger, and what was said of this run's challenger."""
    in_charge = current_champion(lake.scan(DEPLOYMENTS).collect(), TrainingSpec().model_name)
    verdict = replayed.metadata["champion"]
    return {
        "version": in_charge.version if in_charge else None,
        "sha256": in_charge.model_sha256 if in_charge else None,
        "since": in_charge.known_at.isoformat() if in_charge else None,
        "challenger_version": verdict["challenger_version"],
        "verdict": verdict["verdict"],
    }


def _returns(lake: Lake, replayed: Finished) -> dict[str, Any]:
    """What came of the return forecasts: the kind chosen for each horizon, its rank IC, the verdict; or why nothing."""
    said = replayed.metadata["return_model"]
    if "skipped" in said:
        return {"skipped": said["skipped"]}
    verdict = replayed.metadata["return_champion"]
    return {
        "version": said["version"],
        "sha256": said["model_sha256"],
        "chosen": said["chosen"],
        "last_block": rank_ics(
            lake.scan(RETURN_FIGURES).filter(pl.col("model_sha256") == said["model_sha256"]).collect()
        ),
        "champion_version": verdict["champion_version"],
        "verdict": verdict["verdict"],
    }


def _evaluation(lake: Lake, model_sha256: str) -> pl.DataFrame:
    own = (pl.col("model_sha256") == model_sha256) & (pl.col("predictor") == "model")
    return as_interchange(lake.scan(EVALUATIONS).filter(own).collect())
