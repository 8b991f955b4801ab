"""What becomes of a champion when features change: its own, or others.

Versions are registered as of a code of before, in which one feature was missing or defined otherwise; the assets run
with the features of today.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.features import RECIPES
from assets.features import SPEC as FEATURES_SPEC
from assets.labels import SPEC as LABELS_SPEC
from assets.models import CODE, frozen
from assets.promotion import champion
from assets.trial import champion_is_sound
from pipeline.calendars import FixedClock, Span
from pipeline.errors import RegistryError
from pipeline.features.definitions import feature_definitions
from pipeline.features.feature import Feature
from pipeline.features.registry import REGISTRY, feature_set_hash
from pipeline.models.spec import BASELINES, MODEL
from pipeline.promotion.kinds import Outcomes
from pipeline.promotion.registry import Registry
from pipeline.promotion.run import TrainingRun
from pipeline.promotion.versions import Fed
from pipeline.provenance import refresh
from pipeline.tables import (
    COMPARISONS,
    EVALUATIONS,
    OUTCOMES,
    POOLS,
    PREDICTIONS,
    TRAINING_SETS,
    UNSCORED,
    UTC,
    table,
)
from sensors.mute import champion_mute
from tests.builders import valid_frame
from tests.life.life_bench import BEGIN, DAY, HOUR, NAME, NAMES, SOURCE, Life, a_model

pytestmark = pytest.mark.slow
GOOD, WEAK = 1.4, 0.6
END = BEGIN + 3 * DAY + 12 * HOUR
ALL = tuple(REGISTRY.values())
FEWER = [one for one in ALL if one.name != "rsi_5m"]
OTHERWISE = [replace(one, formula=lambda x, _: x["reserve_usd"] * 2) if one.name == NAMES[1] else one for one in ALL]


def of(features: list[Feature] | tuple[Feature, ...]) -> Fed:
    """What models were fed with by a code that had these features."""
    return Fed(feature_set_hash(FEATURES_SPEC, features), feature_definitions(FEATURES_SPEC, features))


class Bench(Life):
    """A life whose pools are on record, with a training to judge and the asset that judges it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Registry(f"sqlite:///{folder}/registry.db", folder / "artifacts"), days=4)
        first = self.features.group_by("source", "network", "pool").agg(pl.col("event_time").min())
        born = first.with_columns(pl.col("event_time").dt.offset_by("-90m").alias("created_at")).drop("event_time")
        named = {"dex": "d", "base_token": "b", "quote_token": "q", "is_quote_price_nominal": False}
        rows = [{**named, "known_at": row["created_at"], **row} for row in born.iter_rows(named=True)]
        told = [{**dict.fromkeys(POOLS.schema.names()), **row} for row in rows]
        self.lake.append(POOLS, pl.DataFrame(told, POOLS.schema))

    def made(self, skill: float, mark: int, fed: Fed, **other: Any) -> tuple[int, str]:
        """A version of that skill that learned from features as they were."""
        model = a_model(skill, learned_until=BEGIN - DAY, mark=mark)
        own = {name: fed.definitions[name] for name in NAMES}
        told = {
            "model_name": NAME, "model_bytes": model.model_bytes, "model_sha256": model.sha256,
            "training_set_id": f"{mark:064x}", "feature_set": fed.feature_set, "feature_definitions": own,
            "code_version": "c", "feature_names": NAMES, "params": {}, "metrics": {"log_loss": 1.0},
            "kind": Outcomes(OUTCOMES, 24, (1, 6), "pipeline.models.outcome_scoring", "logistic"),
        }  # fmt: skip
        version = self.registry.register(TrainingRun(**{**told, **other}))
        return version.version, version.model_sha256

    def challenged(self, skill: float) -> tuple[int, str]:
        """A training of today on what the lake holds, with its evidence: better than every baseline."""
        learned = frozen(self.lake, SOURCE, FixedClock(END))
        made = self.made(skill, 9, of(ALL), training_set_id=learned.training_set_id, code_version=CODE)
        model = a_model(skill, learned_until=BEGIN - DAY, mark=9)
        rows = learned.frame.select(
            "network", "pool", "event_time", pl.lit(24, pl.Int32).alias("horizon_hours"), "decision_age_hours",
            pl.col("outcome").alias("label"), pl.lit(made[1]).alias("model_sha256"),
        )  # fmt: skip
        flat = np.full((rows.height, len(OUTCOMES)), 1 / len(OUTCOMES))
        for name, p in {MODEL: model.predict_proba(learned.frame), **dict.fromkeys(BASELINES, flat)}.items():
            said = [pl.Series(f"p_{outcome}", p[:, k]) for k, outcome in enumerate(OUTCOMES)]
            told = rows.with_columns(pl.lit(name).alias("predictor"), *said)
            self.lake.append(EVALUATIONS, told.select(EVALUATIONS.schema.names()))
        self.lake.append(TRAINING_SETS, pl.DataFrame([learned.row()], schema=TRAINING_SETS.schema))
        return made

    def asked_for(self, hours: int) -> dg.RunRequest | dg.SkipReason:
        """What the sensor makes of it so many hours after the end."""
        clock = FixedClock(END + hours * HOUR)
        resources = {"lake": self.lake, "clock": clock, "model_cache": self.cache}
        asked = champion_mute(dg.build_sensor_context(resources=resources))
        assert isinstance(asked, dg.RunRequest | dg.SkipReason)
        return asked

    def judged(self) -> Mapping[str, Any]:
        """What `champion` says of the training of today."""
        resources = {
            "lake": self.lake, "source": SOURCE, "clock": FixedClock(END), "registry": self.registry,
            "model_cache": self.cache,
        }  # fmt: skip
        done = dg.materialize([champion], resources=resources)
        (event,) = done.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_feature_that_it_does_not_take_leaves_the_champion_in_charge_and_speaking(bench: Bench) -> None:
    then = of(FEWER)
    assert then.feature_set != of(ALL).feature_set
    good = bench.made(GOOD, 1, then)
    bench.move("promote", good, BEGIN)
    weak, _ = bench.challenged(WEAK)
    said = bench.judged()
    assert (said["champion_version"], said["is_promoted"]) == (good[0], False)
    assert f"does not beat 1 of 4 opponents. version:{good[0]}" in said["verdict"]
    met = bench.lake.scan(COMPARISONS).filter(pl.col("opponent") == f"version:{good[0]}").collect()
    assert (met["challenger_version"].to_list(), met["n_pools"].item() > 100) == ([weak], True)
    bench.look(END + 6 * HOUR)
    spoke = bench.lake.scan(PREDICTIONS).collect()
    assert spoke.height > 100
    assert set(spoke["model_version"]) == {good[0]}
    assert set(spoke["feature_set"]) == {of(ALL).feature_set}, "a row says what its model was fed with"


def test_a_champion_that_learned_another_rug_is_compared_on_the_one_of_today_and_the_verdict_says_so(
    bench: Bench,
) -> None:
    good = bench.made(GOOD, 1, of(ALL), label_rule={**LABELS_SPEC.outcome_rule, "rug_price_pct": -90.0})
    bench.move("promote", good, BEGIN)
    bench.challenged(WEAK)
    said = bench.judged()
    assert (said["champion_version"], said["is_promoted"]) == (good[0], False)
    now = LABELS_SPEC.rug_price_pct
    assert (
        f"version {good[0]} learned labels of other thresholds than these: rug_price_pct was -90.0, is {now}"
        in (said["verdict"])
    )


def test_a_feature_of_its_own_that_changed_makes_the_champion_mute_and_everybody_says_so(bench: Bench) -> None:
    good = bench.made(GOOD, 1, of(OTHERWISE))
    bench.move("promote", good, BEGIN)
    why = f"it cannot be asked any more: of its 2 features 1 is defined otherwise since it learned ('{NAMES[1]}')"
    with pytest.raises(RegistryError, match="cannot be asked any more"):
        bench.look(END - DAY)
    assert bench.lake.scan(PREDICTIONS).collect().is_empty()
    weak, _ = bench.challenged(WEAK)
    said = bench.judged()
    assert (said["champion_version"], said["is_promoted"]) == (weak, True)
    told = f"takes charge without a comparison with the champion, version {good[0]}: {why}"
    assert said["verdict"].endswith(told)
    assert bench.moves.ledger()["reason"][-1].endswith(told)
    assert "version:1" not in bench.lake.scan(COMPARISONS).collect()["opponent"].to_list()
    said = bench.look(END + 6 * HOUR)["predictions"]
    assert why in said["failed_former"]
    assert set(bench.lake.scan(PREDICTIONS).collect()["model_version"]) == {weak}


def test_a_mute_champion_gives_way_to_the_one_before_it_that_can_be_asked_or_the_check_tells(bench: Bench) -> None:
    other, mute = bench.made(WEAK, 1, of(ALL)), bench.made(GOOD, 2, of(OTHERWISE))
    bench.move("promote", other, BEGIN)
    bench.move("promote", mute, END - 12 * HOUR)
    bench.move("pin", mute, END - 12 * HOUR, actor="person:ada")
    assert "defined otherwise" in bench.look(END - HOUR)["predictions"]["failed_champion"]
    untold = bench.lake.scan(UNSCORED).collect()
    assert set(untold["model_version"]) == {mute[0]}
    assert (untold["event_time"] >= END - 12 * HOUR).all(), "a version that cannot be asked has no hindsight"
    doors = {"lake": bench.lake, "registry": bench.registry, "model_cache": bench.cache}
    found: Any = champion_is_sound(**doors, clock=FixedClock(END))
    assert not found.passed
    assert f"version {mute[0]} cannot be asked any more: of its 2 features" in found.description
    bench.move("unpin", mute, END, actor="person:ada")
    assert "it could not answer 100%" in bench.look(END)["reign"]["reason"]
    stands = bench.standing()
    assert stands.champion is not None
    assert (stands.champion.version, stands.barred) == (other[0], {mute[0]})


def test_training_is_asked_for_once_a_day_while_the_champion_is_mute(bench: Bench) -> None:
    assert "nobody is in charge" in str(bench.asked_for(0))
    learned = frozen(bench.lake, SOURCE, FixedClock(END))
    bench.lake.append(TRAINING_SETS, pl.DataFrame([learned.row()], schema=TRAINING_SETS.schema))
    good = bench.made(GOOD, 1, of(OTHERWISE), training_set_id=learned.training_set_id)
    bench.move("promote", good, BEGIN)
    with pytest.raises(RegistryError, match="cannot be asked any more"):
        bench.look(END - DAY)
    asked = bench.asked_for(0)
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_config == {"resources": {"source": {"config": {"name": SOURCE}}}}
    assert f"version {good[0]} cannot be asked any more: of its 2 features" in asked.tags["poolcast/trigger"]
    keys = [bench.asked_for(hours).run_key for hours in (1, 11, 12, 13)]  # type: ignore[union-attr]
    assert [key == asked.run_key for key in keys] == [True, True, False, False]
    assert keys[2] == keys[3], "the end is at noon"


def test_training_waits_for_features_as_they_are_defined_today(bench: Bench) -> None:
    bench.move("promote", bench.made(GOOD, 1, of(OTHERWISE)), BEGIN)
    with pytest.raises(RegistryError, match="cannot be asked any more"):
        bench.look(END - DAY)
    assert "not on record" in str(bench.asked_for(0))
    core = valid_frame(table(RECIPES["core"].table), n_rows=1).with_columns(event_time=pl.lit(END - 5 * HOUR, UTC))
    refresh(bench.lake, RECIPES["core"], Span(END - 5 * HOUR, END - 4 * HOUR), lambda _: core)
    assert "1 hours are to be computed first" in str(bench.asked_for(0))


def test_a_champion_that_can_be_asked_asks_for_nothing(bench: Bench) -> None:
    bench.move("promote", bench.made(GOOD, 1, of(FEWER)), BEGIN)
    assert "was not fetched yet" in str(bench.asked_for(0))
    bench.look(END - DAY)
    assert "can be asked" in str(bench.asked_for(0))
