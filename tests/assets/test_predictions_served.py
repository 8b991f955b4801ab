"""Predictions, their outcomes and reports as assets: live and in a replay that goes on in steps."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.features import SPEC as FEATURES_SPEC
from assets.outcomes import outcomes, performance_reports, predictions_reconcile
from assets.predictions import predictions
from pipeline.calendars import FixedClock
from pipeline.errors import RegistryError
from pipeline.expectations.verdict import validate
from pipeline.features.registry import feature_set_hash
from pipeline.lake import Lake
from pipeline.tables import (
    FEATURES,
    LABELS,
    OUTCOMES,
    PERFORMANCE_REPORTS,
    POOL_TIME_KEY,
    PREDICTION_OUTCOMES,
    PREDICTIONS,
    UNSCORED,
)
from tests.predictions.prediction_rows import a_label, a_row
from tests.predictions.small_outcome_model import Shelf, deployed, frames, small_model

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
N_POOLS, BORN_EVERY, END = 24, 4, 120
TRIAL = '{"alpha": 0.05, "k": 1, "comparisons": []}'
TABLES = (PREDICTIONS, UNSCORED, PREDICTION_OUTCOMES, PERFORMANCE_REPORTS)


def market(source: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A pool every four hours, seen every half hour from one to nineteen hours of age; every third is a rug."""
    features, labels = [], []
    for number in range(N_POOLS):
        born, outcome = BEGIN + number * BORN_EVERY * HOUR, "RUG" if number % 3 == 0 else "STABLE"
        for half in range(2, 39):
            at, age = born + half * HOUR / 2, half / 2
            features.append(a_row(f"0x{number:02}", at, source=source, age_hours=age, reserve_usd=10.0 ** (number % 7)))
            for hours in (1, 6, 24):
                known = at + (HOUR if outcome == "RUG" else hours * HOUR)
                label = a_label(f"0x{number:02}", at, hours, outcome, source=source, label_known_at=known)
                labels.append(label | {"path_known_at": at + hours * HOUR})
    return pl.DataFrame(features, schema=FEATURES.schema), pl.DataFrame(labels, schema=LABELS.schema)


class Bench:
    """A lake with a market, models in a shelf, and the assets over them."""

    def __init__(self, folder: Path, source: str) -> None:
        self.lake, self.folder = Lake(folder / "lake", sync=lambda path: None), folder
        self.shelf, self.source = Shelf(feature_set_hash(FEATURES_SPEC)), source
        features, labels = market(source)
        self.lake.append(FEATURES, features)
        self.lake.append(LABELS, labels)

    def deploy(self, action: str, version: int, at: datetime, outcome: str = "STABLE") -> None:
        made = small_model(outcome, learned_until=at - 12 * HOUR, source=self.source).model_bytes
        self.shelf.files.setdefault(version, made)
        deployed(self.lake, action, version, self.shelf.files[version], at, TRIAL)

    def run(self, now: datetime) -> dict[str, dict[str, Any]]:
        done = dg.materialize(
            [predictions, outcomes, predictions_reconcile, performance_reports],
            resources={
                "lake": self.lake, "clock": FixedClock(now), "registry": self.shelf,
                "model_cache": self.folder / "cache",
            },
        )  # fmt: skip
        assert all(check.passed for check in done.get_asset_check_evaluations())
        return {
            event.asset_key.to_user_string(): {k: v.value for k, v in event.materialization.metadata.items()}
            for event in done.get_asset_materialization_events()
        }


PROMOTED, TRIED, SWAPPED, LAST = (BEGIN + hours * HOUR for hours in (48, 60, 84, END))


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, list[dict[str, dict[str, Any]]]]:
    """A replay that stops four times: a first champion, a trial, a change, the end."""
    bench = Bench(tmp_path_factory.mktemp("replay"), "simulation:7")
    said = []
    bench.deploy("promote", 1, PROMOTED)
    said.append(bench.run(PROMOTED))
    said.append(bench.run(TRIED))
    bench.deploy("shadow", 2, TRIED, "RUG")
    said.append(bench.run(SWAPPED))
    bench.deploy("promote", 2, SWAPPED)
    said.append(bench.run(LAST))
    assert all(validate(target, bench.lake.scan(target).collect()).is_passed for target in TABLES)
    return bench, said


def said_by(bench: Bench, role: str) -> pl.DataFrame:
    return bench.lake.scan(PREDICTIONS).filter(pl.col("role") == role, pl.col("horizon_hours") == 24).collect()


def test_before_anybody_was_in_charge_only_the_champion_speaks_and_with_hindsight(replayed) -> None:
    bench, said = replayed
    early = said_by(bench, "champion").filter(pl.col("known_at") == PROMOTED, pl.col("event_time") < PROMOTED)
    assert early.height > 0
    assert early.select("pool").is_duplicated().sum() == 0
    assert (early["event_time"] > PROMOTED - 12 * HOUR).all()
    assert said[0]["predictions"]["champion_version"] == 1
    # Those made at once would be evidence, and these are not.
    late = pl.col("event_time") < PROMOTED - 2.4 * HOUR
    told = bench.lake.scan(PREDICTION_OUTCOMES).filter(pl.col("predicted_at") == PROMOTED, late).collect()
    assert told.height > 0
    assert not told["is_evidence"].any()


def test_in_its_role_a_version_speaks_at_once_and_that_is_evidence(replayed) -> None:
    bench, _ = replayed
    is_at_once = pl.col("known_at") == pl.col("event_time")
    served = said_by(bench, "champion").filter(pl.col("event_time") > PROMOTED, is_at_once)
    (features,) = frames(bench.lake, FEATURES)
    due = features.filter(
        pl.col("age_hours").is_between(1, 17), pl.col("known_at").is_between(PROMOTED, LAST, closed="right")
    )
    assert served.select(POOL_TIME_KEY).sort(*POOL_TIME_KEY).equals(due.select(POOL_TIME_KEY).sort(*POOL_TIME_KEY))
    assert set(served.filter(pl.col("event_time") <= SWAPPED - HOUR)["model_version"]) == {1}
    assert set(served.filter(pl.col("event_time") > SWAPPED)["model_version"]) == {2}
    told = bench.lake.scan(PREDICTION_OUTCOMES).filter(pl.col("predicted_at") == pl.col("event_time")).collect()
    assert told.height > 500
    assert told["is_evidence"].all()


def test_the_shadow_and_the_former_champion_speak_of_exactly_what_the_champion_speaks_of(replayed) -> None:
    bench, _ = replayed
    is_at_once = pl.col("known_at") == pl.col("event_time")
    for role, since, until in (("shadow", TRIED, SWAPPED - HOUR), ("former", SWAPPED, LAST)):
        span = pl.col("event_time").is_between(since, until, closed="right")
        own, champions = (said_by(bench, r).filter(span, is_at_once).select(POOL_TIME_KEY) for r in (role, "champion"))
        assert own.height > 50
        assert own.sort(*POOL_TIME_KEY).equals(champions.sort(*POOL_TIME_KEY))
        assert said_by(bench, role).filter(pl.col("event_time") < since).is_empty()


def test_each_outcome_is_of_a_label_that_was_known(replayed) -> None:
    bench, said = replayed
    told, labels = frames(bench.lake, PREDICTION_OUTCOMES, LABELS)
    key = [*POOL_TIME_KEY, "horizon_hours"]
    met = told.join(labels.select(*key, truth="outcome"), on=key)
    assert met.height == told.height
    assert (met["outcome"] == met["truth"]).all()
    end = told["event_time"] + told.select(pl.duration(hours=pl.col("horizon_hours"))).to_series()
    assert (end <= told["known_at"]).all()
    assert "labelled" in said[-1]["outcomes"]["reconciled"]
    assert told["known_at"].is_in([PROMOTED, TRIED, SWAPPED, LAST]).all()


def test_reports_have_all_tiers_and_a_picture(replayed) -> None:
    bench, said = replayed
    (told,) = frames(bench.lake, PERFORMANCE_REPORTS)
    assert set(told["tier"]) == {"all", "above 100k", "10k to 100k", "1k to 10k", "below 1k"}
    assert set(told.filter(pl.col("is_evidence"))["model_version"]) == {1, 2}
    said_all = told.filter(pl.col("tier") == "all")
    parts = (
        told.filter(pl.col("tier") != "all")
        .group_by(*PERFORMANCE_REPORTS.key[:5], "is_evidence")
        .agg(pl.col("n_rows").sum())
    )
    assert said_all["n_rows"].sum() == parts["n_rows"].sum()
    assert said[-1]["performance_reports"]["by_day"].startswith("![")
    (ended,) = frames(bench.lake, PREDICTION_OUTCOMES)
    assert said_all["n_rows"].sum() == ended.filter(pl.col("status") == "labelled").height


def test_the_same_moment_again_changes_nothing(replayed) -> None:
    bench, _ = replayed
    before = frames(bench.lake, *TABLES)
    bench.run(LAST)
    assert all(a.equals(b) for a, b in zip(before, frames(bench.lake, *TABLES), strict=True))


def test_one_replay_to_the_end_says_the_same_as_steps_once_the_roles_are_known(replayed, tmp_path: Path) -> None:
    bench, _ = replayed
    whole = Bench(tmp_path, "simulation:7")
    whole.deploy("promote", 1, PROMOTED)
    whole.run(SWAPPED - HOUR)
    (once,) = frames(whole.lake, PREDICTIONS)
    (steps,) = frames(bench.lake, PREDICTIONS)
    is_champion = (pl.col("model_version") == 1) & pl.col("event_time").is_between(PROMOTED + HOUR, SWAPPED - HOUR)
    assert once.filter(is_champion).height > 100
    assert once.filter(is_champion).equals(steps.filter(is_champion))


def test_live_the_newest_snapshot_of_each_pool_is_scored_now_and_never_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "geckoterminal")
    bench.deploy("promote", 1, PROMOTED)
    bench.deploy("shadow", 2, PROMOTED + HOUR, "RUG")
    now = PROMOTED + 3 * HOUR + timedelta(minutes=7)
    said = bench.run(now)
    (told,) = frames(bench.lake, PREDICTIONS)
    assert set(told["known_at"]) == {now}
    assert (told["latency_ms"] > 0).all()
    assert told.filter(pl.col("horizon_hours") == 24, pl.col("role") == "champion").select("pool").is_unique().all()
    assert said["predictions"]["skipped_horizon_passed"] > 0, "the newest of an old pool lies hours back"
    assert (told["event_time"] + told.select(pl.duration(hours=pl.col("horizon_hours"))).to_series() > now).all()
    bench.run(now + timedelta(minutes=15))
    assert frames(bench.lake, PREDICTIONS)[0].equals(told)
    bench.run(now + timedelta(minutes=30))
    assert frames(bench.lake, PREDICTIONS)[0].height > told.height


def test_a_broken_file_of_the_shadow_is_told_and_stops_neither_the_champion_nor_the_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "simulation:7")
    bench.deploy("promote", 1, PROMOTED)
    bench.deploy("shadow", 2, PROMOTED, "RUG")
    bench.shelf.files[2] = b"somebody else's"
    said = bench.run(TRIED)
    told, failed = frames(bench.lake, PREDICTIONS, UNSCORED)
    assert set(told["role"]) == {"champion"}
    assert set(failed.select("role", "reason").unique().rows()) == {("shadow", "model_failed")}
    assert "hashes to" in said["predictions"]["failed_shadow"]
    assert failed.filter(pl.col("horizon_hours") == 24).height > 10


def test_features_that_are_not_the_models_own_are_not_fed_to_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "simulation:7")
    bench.shelf.feature_set = "another"
    bench.deploy("promote", 1, PROMOTED)
    with pytest.raises(RegistryError, match="cannot be asked any more: features have changed"):
        bench.run(TRIED)
    assert frames(bench.lake, PREDICTIONS)[0].is_empty()


def test_nobody_in_charge_says_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "simulation:7")
    said = bench.run(LAST)
    assert said["predictions"]["champion_version"] == "none"
    assert said["performance_reports"]["dagster/row_count"] == 0
    assert OUTCOMES[0] == "RUG"
    assert not os.path.lexists(tmp_path / "lake" / "predictions")
