"""The watch over drift through its assets: quiet while nothing changes, then an alarm, a page, and one request."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.drift import drift_reports, no_harmful_drift
from assets.outcomes import outcomes
from assets.predictions import predictions
from pipeline.calendars import FixedClock
from pipeline.expectations.verdict import validate
from pipeline.lake import Lake
from pipeline.promotion.kinds import Outcomes
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.registry import Registry
from pipeline.promotion.run import TrainingRun
from pipeline.tables import DRIFT_REPORTS, EVALUATIONS, FEATURES, LABELS, OUTCOMES
from sensors.drift import drift_with_harm
from tests.life.life_bench import FEATURE_SET, NAME, SOURCE, a_model
from tests.predictions.prediction_rows import a_label, a_row

pytestmark = pytest.mark.slow
BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAMES = ("age_hours", "reserve_usd", "turnover_1h")
LEARNED, PROMOTED, CHANGED, END = (BEGIN + days * DAY for days in (14, 20, 23, 27))
POOLS_A_DAY = 48


def market() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The reserve tells a rug in 8 of 10 cases, after the change in 2 of 10; turnover is four times as high then."""
    rng = np.random.default_rng(7)
    features, labels = [], []
    for number in range((END - BEGIN).days * POOLS_A_DAY):
        pool, born = f"0x{number:05x}", BEGIN + number * DAY / POOLS_A_DAY
        is_rug, is_told, own = rng.random() < 0.5, rng.random() < 0.8, rng.normal(0, 1.5)
        for age in (1, 2, 4):
            at = born + age * HOUR
            reserve = 0.0 if is_rug == (is_told if at < CHANGED else not is_told) else 1.0
            turnover = float(np.exp(own + rng.normal(0, 0.4))) * (1 if at < CHANGED else 4)
            told = {"source": SOURCE, "age_hours": float(age), "reserve_usd": reserve, "turnover_1h": turnover}
            features.append(a_row(pool, at, **told))
            known = at + 24 * HOUR
            came = "RUG" if is_rug else "STABLE"
            labels.append(a_label(pool, at, 24, came, source=SOURCE, label_known_at=known) | {"path_known_at": known})
    return pl.DataFrame(features, schema=FEATURES.schema), pl.DataFrame(labels, schema=LABELS.schema)


class Watch:
    """A lake with a market and a champion, and the assets over them."""

    def __init__(self, folder: Path) -> None:
        self.lake, self.folder = Lake(folder / "lake", sync=lambda path: None), folder
        self.registry = Registry(f"sqlite:///{folder}/registry.db", folder / "artifacts")
        features, labels = market()
        self.lake.append(FEATURES, features)
        self.lake.append(LABELS, labels)
        self.model = a_model(1.4, learned_until=LEARNED, mark=1, of=NAMES)
        self.version = self._registered()
        self.lake.append(EVALUATIONS, self._evaluated(features, labels))

    def _registered(self) -> int:
        content = self.model.model_bytes
        run = TrainingRun(
            model_name=NAME, model_bytes=content, model_sha256=hashlib.sha256(content).hexdigest(),
            training_set_id=f"{1:064x}", feature_set=FEATURE_SET, code_version="c", feature_names=NAMES,
            kind=Outcomes(OUTCOMES, 24, (1, 6), "pipeline.models.outcome_scoring", "logistic"), params={},
            metrics={"log_loss": 1.0},
        )  # fmt: skip
        made = self.registry.register(run)
        Moves(self.lake, None).move(
            Move(NAME, "promote", made.version, made.model_sha256, "gate", "beats all baselines"), at=PROMOTED
        )
        return made.version

    def _evaluated(self, features: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
        is_last_block = pl.col("event_time").is_between(LEARNED, PROMOTED - DAY)
        rows = features.filter(is_last_block).join(
            labels.select("pool", "event_time", label="outcome"), on=["pool", "event_time"]
        )
        said = self.model.predict(rows)[24]
        return rows.select(
            "network", "pool", "event_time", "label", pl.col("age_hours").cast(pl.Int32).alias("decision_age_hours"),
            model_sha256=pl.lit(hashlib.sha256(self.model.model_bytes).hexdigest()), predictor=pl.lit("model"),
            horizon_hours=pl.lit(24, pl.Int32),
        ).with_columns(pl.Series(f"p_{name}", said[:, k]) for k, name in enumerate(OUTCOMES))  # fmt: skip

    def look(self, now: datetime) -> dict[str, Any]:
        """Serve, judge and watch as of a moment: what the report said."""
        done = dg.materialize(
            [predictions, outcomes, drift_reports, no_harmful_drift],
            resources={
                "lake": self.lake, "clock": FixedClock(now), "registry": self.registry,
                "model_cache": self.folder / "cache",
            },
        )  # fmt: skip
        (told,) = (
            e for e in done.get_asset_materialization_events() if e.asset_key.to_user_string() == "drift_reports"
        )
        (check,) = done.get_asset_check_evaluations()
        assert check.severity is dg.AssetCheckSeverity.WARN
        return {"passed": check.passed, **{k: v.value for k, v in told.materialization.metadata.items()}}

    def ask(self, now: datetime) -> object:
        context = dg.build_sensor_context(resources={"lake": self.lake, "clock": FixedClock(now)})
        return drift_with_harm(context)

    def rows(self, now: datetime, kind: str) -> pl.DataFrame:
        return self.lake.scan(DRIFT_REPORTS).filter(pl.col("known_at") == now, pl.col("kind") == kind).collect()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watch, dict[str, dict[str, Any]], dict[str, object]]:
    """Looks before the change, soon after it, and when what came of the first changed pools is known."""
    watch = Watch(tmp_path_factory.mktemp("watch"))
    moments = {
        "before": CHANGED,
        "soon": CHANGED + 24 * HOUR,
        "known": CHANGED + 48 * HOUR,
        "again": CHANGED + 54 * HOUR,
    }
    said, asked = {}, {}
    for name, now in moments.items():
        said[name] = watch.look(now)
        asked[name] = watch.ask(now)
    return watch, said, asked


def test_a_world_without_change_is_quiet(watched) -> None:
    watch, said, asked = watched
    assert said["before"]["verdict"].startswith("no drift; observed loss ")
    assert said["before"]["passed"]
    assert isinstance(asked["before"], dg.SkipReason)
    assert not watch.rows(CHANGED, "feature")["is_drifted"].any()


def test_a_change_is_seen_within_a_day_though_nobody_knows_yet_what_it_does(watched) -> None:
    watch, said, asked = watched
    found = watch.rows(CHANGED + 24 * HOUR, "feature")
    assert found.filter(pl.col("is_drifted"))["subject"].to_list() == ["turnover_1h"]
    assert said["soon"]["verdict"].startswith("drift without harm: turnover_1h js ")
    assert said["soon"]["passed"]
    assert isinstance(asked["soon"], dg.SkipReason)


def test_harm_seen_once_does_not_speak_and_seen_twice_asks_once(watched) -> None:
    watch, said, asked = watched
    assert said["known"]["verdict"].startswith("drift with harm: turnover_1h js ")
    assert said["known"]["passed"]
    assert isinstance(asked["known"], dg.SkipReason)
    assert not said["again"]["passed"]
    request = asked["again"]
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == {"resources": {"source": {"config": {"name": SOURCE}}}}
    assert request.tags["poolcast/trigger"].startswith("drift with harm: turnover_1h js ")
    assert "observed loss" in request.tags["poolcast/trigger"]
    later = watch.ask(CHANGED + 60 * HOUR)
    assert isinstance(later, dg.RunRequest)
    assert later.run_key == request.run_key, "the same alarm asks under the same key, and so only once"


def test_the_kinds_are_kept_apart_with_every_figure(watched) -> None:
    watch, said, _ = watched
    rows = watch.lake.scan(DRIFT_REPORTS).filter(pl.col("known_at") == CHANGED + 54 * HOUR).collect()
    assert dict(rows.group_by("kind").len().iter_rows()) == {
        "feature": 3, "multivariate": 1, "prediction": 7, "label": 8, "performance": 2, "concept": 1, "alarm": 3,
    }  # fmt: skip
    observed = rows.filter(pl.col("subject") == "observed").row(0, named=True)
    assert observed["is_drifted"]
    assert observed["mean_current"] - observed["mean_reference"] > observed["increase_low"] > 0
    labels = rows.filter(pl.col("kind") == "label")
    assert labels.filter(pl.col("subject") == "all")["is_drifted"].to_list() == [False], "as many rugs as ever"
    assert labels["mean_current"].sum() == pytest.approx(1)
    assert validate(DRIFT_REPORTS, watch.lake.scan(DRIFT_REPORTS).collect()).is_passed
    assert said["again"]["features"].startswith("![")
    assert said["again"]["loss"].startswith("![")


def test_an_alarm_keeps_a_page_with_the_champions_run(watched) -> None:
    watch, said, _ = watched
    assert "page" not in said["known"]
    assert said["again"]["page"].startswith("runs:/")
    (version,) = watch.registry.versions(NAME)
    name = said["again"]["page"].partition("/")[2].partition("/")[2]
    assert "drift with harm: turnover_1h" in watch.registry.document(version, name)


def test_the_reference_is_the_same_in_every_report_and_lies_beside_the_models(watched) -> None:
    watch, said, _ = watched
    assert len({one["reference_id"] for one in said.values()}) == 1
    assert len(list((watch.folder / "cache" / "drift").glob("*.reference"))) == 1


def test_the_same_moment_again_adds_nothing(watched) -> None:
    watch, _, _ = watched
    before = watch.lake.scan(DRIFT_REPORTS).collect()
    watch.look(CHANGED + 24 * HOUR)
    assert watch.lake.scan(DRIFT_REPORTS).collect().height == before.height


def test_nobody_in_charge_and_too_few_pools_are_told_and_fail_nothing(watched, tmp_path: Path) -> None:
    watch, _, _ = watched
    early = watch.look(LEARNED + 12 * HOUR)
    assert early["verdict"] == "too few pools to tell"
    whole, watch.lake = watch.lake, Lake(tmp_path / "empty")
    assert watch.look(PROMOTED)["verdict"].startswith("nobody is in charge")
    assert isinstance(watch.ask(PROMOTED), dg.SkipReason)
    watch.lake = whole
