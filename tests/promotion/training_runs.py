"""Trainings to register, as small as they can be, and ledgers that name them."""

import hashlib
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.promotion.kinds import Classifier
from pipeline.promotion.ledger import next_deployment
from pipeline.promotion.run import TrainingRun
from pipeline.tables import DEPLOYMENTS

AT = datetime(2020, 11, 1, tzinfo=UTC)
FEATURES = ("age_hours", "reserve_usd", "price_change_1h_pct")
CLASSES = ("RUG", "STABLE", "MOON")


def a_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def a_model(seed: int = 0, n_classes: int = len(CLASSES)) -> bytes:
    import xgboost

    rng = np.random.default_rng(seed)
    data = xgboost.DMatrix(rng.normal(size=(90, 3)), rng.integers(0, n_classes, 90), feature_names=list(FEATURES))
    params = {"objective": "multi:softprob", "num_class": n_classes, "nthread": 1, "max_depth": 2}
    return bytes(xgboost.train(params, data, 3).save_raw("ubj"))


def a_run(seed: int = 0, model_name: str = "pool-outcome", **other) -> TrainingRun:
    model_bytes = other.pop("model_bytes", None) or a_model(seed)
    told = {
        "model_name": model_name,
        "model_bytes": model_bytes,
        "model_sha256": hashlib.sha256(model_bytes).hexdigest(),
        "training_set_id": f"{seed:064x}",
        "feature_set": "fs1",
        "code_version": "c1",
        "feature_names": FEATURES,
        "kind": Classifier(CLASSES),
        "params": {"max_depth": 2, "eta": 0.3},
        "metrics": {"log_loss": 1.05, "roc_auc_RUG": 0.71},
        "tables": {"metrics": pl.DataFrame({"metric": ["log_loss"], "value": [1.05]})},
        "plots": {"calibration": a_png()},
        "dataset": {"n_rows": 90, "n_pools": 30},
        "tags": {"horizon_hours": "24"},
        "run_name": "a training",
    }
    return TrainingRun(**{**told, **other})


def model_file(tmp_path: Path, version_model_bytes: bytes) -> Path:
    """The one model file under the artifact root that holds these bytes."""
    found = [f for f in tmp_path.rglob("model.ubj") if f.read_bytes() == version_model_bytes]
    assert len(found) == 1
    return found[0]


def with_row(ledger: pl.DataFrame, version, action: str, **other) -> pl.DataFrame:
    """The ledger with one more row: something happens to a version of the registry."""
    told = {
        "model_name": version.model_name,
        "action": action,
        "version": version.version,
        "model_sha256": version.model_sha256,
        "actor": "person:ada" if action in {"approve", "veto", "pin", "unpin"} else "test",
        "reason": f"because {action}",
        "evidence": '{"alpha":0.05,"k":1}' if action == "shadow" else "[]",
        "at": AT,
    }
    return pl.concat([ledger, next_deployment(ledger, **{**told, **other})])


def a_ledger(model_name: str, *versions, before: pl.DataFrame | None = None) -> pl.DataFrame:
    ledger = DEPLOYMENTS.empty() if before is None else before
    for version in versions:
        row = next_deployment(
            ledger, model_name=model_name, action="promote", version=version.version,
            model_sha256=version.model_sha256, actor="test", reason="because", evidence="[]", at=AT,
        )  # fmt: skip
        ledger = pl.concat([ledger, row])
    return ledger
