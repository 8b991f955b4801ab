"""Outcome models that need no training, and a registry that is a dictionary."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import RegistryError
from pipeline.lake import Lake
from pipeline.models.calibration import Calibrator
from pipeline.models.combination import Vote
from pipeline.models.head import Head
from pipeline.models.learners.logistic import Design, Logistic
from pipeline.models.members import Member
from pipeline.models.outcome_model import OutcomeModel, Signal
from pipeline.promotion.ledger import next_deployment
from pipeline.promotion.versions import LoadedModel, RegisteredVersion, proven
from pipeline.tables import DEPLOYMENTS, OUTCOMES

NAMES = ("age_hours", "reserve_usd")


def small_model(outcome: str, *, learned_until: datetime, source: str, present: float = 1.0) -> OutcomeModel:
    """A logistic regression that favours one outcome, the more the larger the reserve; heads for 1, 6 and 24 h."""
    coefficients, constants = np.zeros((7, 2)), np.zeros(7)
    coefficients[OUTCOMES.index(outcome), 1], constants[OUTCOMES.index(outcome)] = 0.1, 1.0
    design = Design(np.zeros(2), np.ones(2), np.ones(2), np.zeros(0, np.int64))
    member = Member("logistic", np.arange(2), np.ones(7), Logistic(design, coefficients, constants))
    head = Head("logistic", [member], Vote(np.ones(1)), Calibrator())
    attributes = {
        "model_name": "pool-outcome", "horizon_hours": "24", "source": source, "training_set_id": "set",
        "learned_until": f"{learned_until:%Y-%m-%dT%H:%M:%S.000000}+00:00", "feature_set": "fs", "signal_set_until": "",
    }  # fmt: skip
    return OutcomeModel(
        attributes, NAMES, np.array([1.0, present]), np.full(7, 1 / 7), {1: head, 6: head, 24: head},
        Signal(0.2, "rarely", 0.03),
    )  # fmt: skip


@dataclass
class Shelf:
    """The registry's one verb that predictions need, over files in memory."""

    feature_set: str
    files: dict[int, bytes] = field(default_factory=dict)

    def load(self, model_name: str, version: int, *, expected_sha256: str | None = None) -> LoadedModel:
        if version not in self.files:
            raise RegistryError(f"there is no version {version!r}")
        model = self.files[version]
        tags = {"classes": "[]", "feature_names": "[]", "feature_set": self.feature_set, "model_sha256": _sha(model)}
        entry = RegisteredVersion.from_tags(model_name, version, "run", tags)
        return proven(entry, model, expected_sha256)


def deployed(lake: Lake, action: Any, version: int, model_bytes: bytes, at: datetime, evidence: str = "[]") -> None:
    """One more row of the ledger."""
    row = next_deployment(
        lake.scan(DEPLOYMENTS).collect(), model_name="pool-outcome", action=action, version=version,
        model_sha256=_sha(model_bytes), actor="test", reason="because", evidence=evidence, at=at,
    )  # fmt: skip
    lake.append(DEPLOYMENTS, row)


def _sha(model_bytes: bytes) -> str:
    import hashlib

    return hashlib.sha256(model_bytes).hexdigest()


def frames(lake: Lake, *targets: Any) -> list[pl.DataFrame]:
    """The rows of some tables, in order of their keys."""
    return [lake.scan(target).sort(*target.key).collect() for target in targets]


__all__ = ["NAMES", "Path", "Shelf", "deployed", "frames", "small_model"]
