"""What the graph's check makes again from the lake: sound tables come out the same, others do not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from assets import checks
from assets.features import SPEC as FEATURES_SPEC
from assets.labels import ASKED_EVERY
from assets.labels import SPEC as LABELS_SPEC
from pipeline.calendars import HOUR, Span
from pipeline.features.compute import compute_features
from pipeline.features.registry import FEATURE_NAMES
from pipeline.features.sources import Sources
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.models.canaries import History, check_rebuilt, check_recomputed, check_relabelled
from pipeline.models.canary_report import CanaryResult
from pipeline.models.spec import TrainingSpec
from pipeline.models.training_set import TrainingSet, freeze
from pipeline.pools.candles import candles
from pipeline.pools.recording import read_recording
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import CANDLES, FEATURES, LABELS, POOLS, QUARANTINE, RESERVES, SNAPSHOTS, Table

MARKET = SimulationSpec(n_pools=30, days=5, birth_days=3)
SPAN, NOW = Span(MARKET.start_at, MARKET.end_at), MARKET.end_at + timedelta(days=1)
POOL = ["source", "network", "pool"]
KEY = [*POOL, "event_time"]
SPEC = TrainingSpec(is_simulation_allowed=True)


@dataclass(frozen=True)
class Shelves:
    """The part of a lake that is read here, from frames."""

    tables: dict[str, pl.DataFrame]

    def scan(self, table: Table, span: Span | None = None, *, sources: Sequence[str] | None = None) -> pl.LazyFrame:
        rows = self.tables.get(table.name, table.empty()).lazy()
        if sources is not None:
            rows = rows.filter(pl.col("source").is_in(sources))
        return rows if span is None or not table.time else rows.filter(
            pl.col(table.time).is_between(span.start, span.end, closed="left")
        )  # fmt: skip

    def having(self, table: Table, rows: pl.DataFrame) -> "Shelves":
        return replace(self, tables=self.tables | {table.name: rows.select(table.schema.names())})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Shelves:
    """A small simulated recording, and all that is made of it."""
    folder: Path = tmp_path_factory.mktemp("market") / "market"
    told = read_recording(write_recording(simulate(MARKET, 7), folder, MARKET, 7), PoolsSpec(), NOW + 400 * 24 * HOUR)
    seen = take_snapshots(told.reserves, told.pools, SPAN, SnapshotsSpec())
    bars = candles(told.reserves, told.pools, PoolsSpec())
    stills = QUARANTINE.empty().select("source", "network", "event_time")
    labels = label_outcomes(seen, bars, told.pools, stills, NOW, LABELS_SPEC, Observed(seen, ASKED_EVERY))
    sources = Sources(snapshots=seen.lazy(), pools=told.pools.lazy(), candles=bars.lazy())
    made = {POOLS: told.pools, RESERVES: told.reserves, SNAPSHOTS: seen, CANDLES: bars, LABELS: labels,
            FEATURES: compute_features(sources, SPAN, FEATURES_SPEC)}  # fmt: skip
    return Shelves({table.name: rows for table, rows in made.items()})


def source_of(of: Shelves) -> str:
    return str(of.tables["pools"]["source"][0])


def frozen(of: Shelves) -> TrainingSet:
    return freeze(
        of.scan(FEATURES), of.scan(LABELS), of.scan(POOLS), source=source_of(of), known_by=NOW, feature_set="all",
        feature_names=FEATURE_NAMES, spec=SPEC,
    )  # fmt: skip


def heard(of: Shelves) -> dict[str, CanaryResult]:
    """What is heard of the tables that are made again; features are left as they were."""
    made, history = frozen(of), history_of(of)
    assert history.relabel is not None
    found = (
        check_rebuilt(made, history.told, history.rebuild),
        check_relabelled(made, history.labels, history.relabel),
    )
    return {result.name: result for result in found}


def history_of(of: Shelves) -> History:
    return checks.history_of(of, source_of(of))  # type: ignore[arg-type]  # it reads, and no more


def test_a_sound_lake_is_left_in_peace(sound: Shelves):
    made, history = frozen(sound), history_of(sound)
    assert all(result.is_passed for result in heard(sound).values()), heard(sound)
    again = check_recomputed(made, history.pools, history.recompute, history.features)
    assert again.is_passed, again.words
    assert again.numbers["n_rows"] > again.numbers["n_decisions"]


def test_a_snapshot_that_holds_the_coming_hour_is_heard(sound: Shelves):
    labels = sound.tables["labels"]
    coming = labels.filter(pl.col("horizon_hours") == 1).select(*KEY, "return_end_pct")
    told = pl.coalesce("return_end_pct", "price_change_h1_pct").alias("price_change_h1_pct")
    planted = sound.tables["snapshots"].join(coming, on=KEY, how="left").with_columns(told)
    result = heard(sound.having(SNAPSHOTS, planted))["rebuilt"]
    assert "values of snapshots.price_change_h1_pct that could not be known then" in result.words


def test_snapshots_of_pools_that_never_rug_are_heard(sound: Shelves):
    rugs = sound.tables["labels"].filter(pl.col("outcome") == "RUG").select(POOL).unique()
    planted = sound.tables["snapshots"].join(rugs, on=POOL, how="anti")
    result = heard(sound.having(SNAPSHOTS, planted))["rebuilt"]
    assert "rows of snapshots that are not on record" in result.words


@pytest.mark.parametrize("column", ["close", "volume_quote", "n_buys"])
def test_bars_that_hold_a_later_bars_values_are_heard(sound: Shelves, column: str):
    later = pl.coalesce(pl.col(column).shift(-3).over(POOL), column).alias(column)
    result = heard(sound.having(CANDLES, sound.tables["candles"].sort(KEY).with_columns(later)))["rebuilt"]
    assert f"values of candles.{column} that could not be known then" in result.words


def test_bars_that_only_survivors_have_are_heard(sound: Shelves):
    rugs = sound.tables["labels"].filter(pl.col("outcome") == "RUG").select(POOL).unique()
    result = heard(sound.having(CANDLES, sound.tables["candles"].join(rugs, on=POOL, how="anti")))["rebuilt"]
    assert "rows of candles that are not on record" in result.words


def test_a_bar_that_claims_to_be_known_before_all_of_it_happened_is_heard(sound: Shelves):
    early = sound.tables["candles"].with_columns(known_at=pl.col("event_time"))
    assert not heard(sound.having(CANDLES, early))["rebuilt"].is_passed


def test_rugs_that_claim_to_be_known_before_they_happened_are_heard(sound: Shelves):
    soon = pl.min_horizontal("label_known_at", pl.col("event_time") + timedelta(minutes=5))
    known_at = pl.when(pl.col("outcome") == "RUG").then(soon).otherwise("label_known_at").alias("label_known_at")
    result = heard(sound.having(LABELS, sound.tables["labels"].with_columns(known_at)))["relabelled"]
    assert "labelled before anybody could know" in result.words


def test_labels_that_nobody_can_make_again_are_heard(sound: Shelves):
    better = pl.col("outcome").replace({"DECLINE": "DIP"})
    result = heard(sound.having(LABELS, sound.tables["labels"].with_columns(better)))["relabelled"]
    assert "whose outcome is another" in result.words


def test_features_are_made_again_without_the_end_of_a_pools_record(sound: Shelves, monkeypatch: pytest.MonkeyPatch):
    given: list[pl.DataFrame] = []

    def noted(sources: Sources, span: Span, spec: object) -> pl.DataFrame:
        given.append(sources.pools.collect())
        return FEATURES.empty()

    monkeypatch.setattr(checks, "compute_features", noted)
    assert sound.tables["pools"]["watched_until"].null_count() == 0
    moment = MARKET.start_at + 48 * HOUR
    history_of(sound).recompute(Span(moment - HOUR, moment), moment)
    assert given[0].height > 0
    assert given[0]["watched_until"].null_count() == given[0].height
    assert (given[0]["known_at"] <= moment).all()
