"""A market whose outcomes are planted, models of planted skill in the real registry, and the assets over them.

The market is replayed in steps: what a version says of a snapshot counts from the moment it is in its role.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from assets.features import SPEC as FEATURES_SPEC
from assets.outcomes import outcomes, predictions_reconcile
from assets.predictions import predictions
from assets.trial import champion_is_sound, reign, trial
from pipeline.calendars import FixedClock
from pipeline.features.registry import feature_set_hash
from pipeline.lake import Lake
from pipeline.models.calibration import Calibrator
from pipeline.models.combination import Vote
from pipeline.models.head import Head
from pipeline.models.learners.logistic import Design, Logistic
from pipeline.models.members import Member
from pipeline.models.outcome_model import OutcomeModel, Signal
from pipeline.models.spec import TrainingSpec
from pipeline.promotion.kinds import Outcomes
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.registry import Registry
from pipeline.promotion.run import TrainingRun
from pipeline.promotion.standing import Standing
from pipeline.tables import FEATURES, LABELS, OUTCOMES
from tests.predictions.prediction_rows import a_label, a_row

NAME = TrainingSpec().model_name
BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
AGES = (2, 9)
FEATURE_SET = feature_set_hash(FEATURES_SPEC)
NAMES = ("age_hours", "reserve_usd")
SOURCE = "recording:life"


def market(days: int, seed: int = 1, pools_a_day: int = 120) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every second pool or so is a rug; its reserve tells which in 8 of 10 cases. Rugs are known within the hour."""
    rng = np.random.default_rng(seed)
    features, labels = [], []
    for number in range(days * pools_a_day):
        pool, born = f"0x{number:05x}", BEGIN + DAY * (number / pools_a_day)
        is_rug = bool(rng.random() < 0.5)
        looks_like_one = is_rug if rng.random() < 0.8 else not is_rug
        for age in AGES:
            at = born.replace(minute=0, second=0, microsecond=0) + age * HOUR
            reserve = 0.0 if looks_like_one else 1.0
            features.append(a_row(pool, at, source=SOURCE, age_hours=float(age), reserve_usd=reserve))
            for hours in (1, 6, 24):
                known = at + (HOUR if is_rug else hours * HOUR)
                came = "RUG" if is_rug else "STABLE"
                told = a_label(pool, at, hours, came, source=SOURCE, label_known_at=known)
                labels.append(told | {"path_known_at": at + hours * HOUR})
    return pl.DataFrame(features, schema=FEATURES.schema), pl.DataFrame(labels, schema=LABELS.schema)


def a_model(skill: float, *, learned_until: datetime, mark: int = 0, of: tuple[str, ...] = NAMES) -> OutcomeModel:
    """Says RUG or STABLE by the reserve, the surer the larger `skill`; below 0 it learned with inverted labels."""
    coefficients, constants = np.zeros((7, len(of))), np.full(7, -8.0)
    rug, stable = OUTCOMES.index("RUG"), OUTCOMES.index("STABLE")
    coefficients[rug, 1], coefficients[stable, 1] = -skill, skill
    constants[[rug, stable]] = skill / 2 + mark * 1e-9, -skill / 2
    n = len(of)
    design = Design(np.zeros(n), np.ones(n), np.ones(n), np.zeros(0, np.int64))
    member = Member("logistic", np.arange(n), np.ones(7), Logistic(design, coefficients, constants))
    head = Head("logistic", [member], Vote(np.ones(1)), Calibrator())
    prior = np.full(7, 0.01)
    prior[[rug, stable]] = 0.475
    attributes = {
        "model_name": NAME, "horizon_hours": "24", "source": SOURCE, "training_set_id": f"{mark:064x}",
        "learned_until": f"{learned_until:%Y-%m-%dT%H:%M:%S.000000}+00:00", "feature_set": FEATURE_SET,
        "signal_set_until": "",
    }  # fmt: skip
    heads = {1: head, 6: head, 24: head}
    return OutcomeModel(attributes, of, np.ones(n), prior, heads, Signal(None, "abstains", 0.03))


class Life:
    """A lake with a market, a registry with models, and the assets that serve and judge."""

    def __init__(self, folder: Path, registry: Registry, days: int = 12, seed: int = 1) -> None:
        self.lake = Lake(folder / "lake", sync=lambda path: None)
        self.registry, self.cache = registry, folder / "cache"
        self.features, self.labels = market(days, seed)
        self.lake.append(FEATURES, self.features)
        self.lake.append(LABELS, self.labels)
        self.moves = Moves(self.lake, registry)
        self.checks: dict[str, bool] = {}
        """What the last look found of each check."""

    def register(self, skill: float, mark: int = 0, of: tuple[str, ...] = NAMES) -> tuple[int, str]:
        """A version of that skill: its number and the hash of its file."""
        model = a_model(skill, learned_until=BEGIN - DAY, mark=mark, of=of)
        version = self.registry.register(
            TrainingRun(
                model_name=NAME,
                model_bytes=model.model_bytes,
                model_sha256=hashlib.sha256(model.model_bytes).hexdigest(),
                training_set_id=f"{mark:064x}",
                feature_set=FEATURE_SET,
                code_version="c",
                feature_names=of,
                kind=Outcomes(OUTCOMES, 24, (1, 6), "pipeline.models.outcome_scoring", "logistic"),
                params={},
                metrics={"log_loss": 1.0},
            )
        )
        return version.version, version.model_sha256

    def move(self, action: Any, made: tuple[int, str], at: datetime, actor: str = "gate") -> Standing:
        """One move of the ledger, made by hand."""
        version, sha256 = made
        stands = self.moves.move(Move(NAME, action, version, sha256, actor, "a test says so"), at=at)
        assert stands is not None
        return stands

    def on_trial(self, champion: float, challenger: float, **other: Any) -> tuple[int, int]:
        """A champion and a challenger that waits for its trial, from the market's first moment."""
        one, two = self.register(champion, 1), self.register(challenger, 2, **other)
        self.move("promote", one, BEGIN)
        self.move("challenge", two, BEGIN)
        self.look(BEGIN)
        return one[0], two[0]

    def look(self, now: datetime) -> dict[str, dict[str, Any]]:
        """Serve and judge as of a moment; what each asset said of it."""
        done = dg.materialize(
            [predictions, outcomes, predictions_reconcile, trial, reign, champion_is_sound],
            resources={
                "lake": self.lake, "clock": FixedClock(now), "registry": self.registry, "model_cache": self.cache,
            },
        )  # fmt: skip
        self.checks = {check.check_name: check.passed for check in done.get_asset_check_evaluations()}
        return {
            event.asset_key.to_user_string(): {k: v.value for k, v in event.materialization.metadata.items()}
            for event in done.get_asset_materialization_events()
        }

    def days_until(self, is_reached: Any, *, first: int, last: int) -> int:
        """Look once a day until something holds of who stands where; on which day it did."""
        for day in range(first, last + 1):
            self.look(BEGIN + day * DAY)
            if is_reached(self.standing()):
                return day
        raise AssertionError(f"not reached by day {last}: {self.standing()}")

    def standing(self) -> Standing:
        """Who stands where."""
        return self.moves.standing(NAME)
