"""Quality reports as an asset, the check beside them, and promotion that waits for sound data."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.quality import WATCHED, promotion_held, quality_above_floor, quality_reports
from pipeline.calendars import HOUR, FixedClock, Span
from pipeline.lake import Lake
from pipeline.monitoring.quality.spec import QUALITY
from pipeline.promotion.registry import Registry
from pipeline.tables import (
    DEPLOYMENTS,
    FEATURES,
    OUTCOMES,
    QUALITY_PARTS,
    QUALITY_REPORTS,
    SNAPSHOTS,
    Table,
)
from tests.life.life_bench import BEGIN, DAY, Life
from tests.life.test_life import spoil
from tests.predictions.prediction_rows import a_label, a_row
from tests.promotion.test_simultaneous_judgements import CLOCK, Held, judge_version

NOW = datetime(2024, 3, 10, 12, 5, tzinfo=UTC)
LIVE = "geckoterminal"
HOURS, N_POOLS = 80, 12


def filled(target: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a table; what is not told is null."""
    return pl.DataFrame([{**dict.fromkeys(target.schema.names()), **row} for row in rows], target.schema)


def a_market(source: str) -> dict[str, pl.DataFrame]:
    """A pool is born each hour, from eighty hours before NOW to six after it; the first twelve are seen each hour."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in WATCHED}
    first = NOW.replace(minute=0) - HOURS * HOUR
    named = {"dex": "d", "base_token": "b", "quote_token": "q", "is_quote_price_nominal": False}
    for k in range(HOURS + 7):
        born = {"known_at": first + k * HOUR, "created_at": first + k * HOUR, **named}
        told["pools"].append({"source": source, "network": "eth", "pool": f"0x{k:02}", **born})
    for number, k in product(range(N_POOLS), range(N_POOLS, HOURS + 7)):
        at, price, address = first + k * HOUR, 1.0 + (number * 7 + k * 3) % 11 / 10, f"0x{number:02}"
        seen = {"source": source, "network": "eth", "pool": address, "event_time": at, "known_at": at}
        visit = {"created_at": first + number * HOUR, "observed_at": at, "interval_minutes": 60, "n_missed": 0}
        told["snapshots"].append({**seen, **visit, "inclusion_probability": 1.0, "reserve_usd": 1e3 * price})
        told["features"].append(a_row(address, at, source=source, reserve_usd=1e3 * price, age_hours=float(k)))
        bar = {"timeframe": "5min", "built_from": "ohlcv", "is_backfilled": False}
        told["candles"].append({**seen, **bar, "high": price, "low": price, "close": price})
        for hours in (1, 6, 24):
            ends = {"label_known_at": at + hours * HOUR, "path_known_at": at + hours * HOUR}
            came = OUTCOMES[(number + k) % len(OUTCOMES)]
            told["labels"].append(a_label(address, at, hours, came, source=source, **ends))
    return {name: filled(WATCHED[name], rows) for name, rows in told.items()}


class Watch:
    """A lake with a market, and the asset and its check over it."""

    def __init__(self, folder: Path, source: str = LIVE, without: tuple[str, ...] = ()) -> None:
        self.lake, self.market = Lake(folder / "lake", sync=lambda path: None), a_market(source)
        for name, rows in self.market.items():
            if name not in without:
                self.lake.append(WATCHED[name], rows)

    def look(self, now: datetime) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
        done = dg.materialize(
            [quality_reports, quality_above_floor], resources={"lake": self.lake, "clock": FixedClock(now)}
        )
        assert done.success
        (check,) = done.get_asset_check_evaluations()
        (made,) = done.get_asset_materialization_events()
        return {name: value.value for name, value in made.materialization.metadata.items()}, check

    def scores(self, now: datetime, part: str = "score") -> dict[str, float]:
        own = self.lake.scan(QUALITY_REPORTS).filter(
            pl.col("known_at") == now, pl.col("part") == part, pl.col("subject") == "all"
        )
        return dict(own.select("table_name", "score").collect().iter_rows())


def test_a_sound_day_is_reported_once_with_its_parts_and_pictures(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    told, check = watch.look(NOW)
    assert check.passed
    assert set(watch.scores(NOW)) == set(WATCHED)
    assert min(watch.scores(NOW).values()) > QUALITY.warn_floor
    for part, tables in {
        "timeliness": set(WATCHED), "coverage": {"snapshots", "features", "labels"}, "balance": {"labels"},
        "uniqueness": set(WATCHED),
    }.items():  # fmt: skip
        assert set(watch.scores(NOW, part)) == tables, part
    for picture in ("score_over_time", "missing_by_column", "outliers_by_column"):
        assert told[picture].startswith("![")
    rows = watch.lake.scan(QUALITY_REPORTS).collect()
    assert set(QUALITY_PARTS) < set(rows["part"])
    watch.look(NOW)
    assert watch.lake.scan(QUALITY_REPORTS).collect().height == rows.height


def test_nobody_expects_a_recording_to_be_fresh_and_its_coverage_is_of_grid_points(tmp_path: Path) -> None:
    watch = Watch(tmp_path, "recording:test")
    watch.look(NOW)
    assert watch.scores(NOW, "timeliness") == {}
    assert watch.scores(NOW, "coverage") == {"snapshots": 100.0, "features": 100.0, "labels": 100.0}


def test_an_empty_lake_is_no_failure(tmp_path: Path) -> None:
    told, check = Watch(tmp_path, without=tuple(WATCHED)).look(NOW)
    assert (told["reports"], check.passed) == (0, True)


def test_a_source_of_which_nothing_came_for_days_is_not_expected_any_more(tmp_path: Path) -> None:
    assert Watch(tmp_path).look(NOW + 9 * DAY)[0]["reports"] == 0


def hourly_reports(source: str, at: datetime, scores: list[float]) -> pl.DataFrame:
    """One report on features an hour, the last one at `at`."""
    return filled(
        QUALITY_REPORTS,
        [
            {
                "source": source, "known_at": at - (len(scores) - 1 - i) * HOUR, "table_name": "features",
                "part": "score", "subject": "all", "value": score, "score": score, "is_warning": score < 70,
                "n_rows": 9, "n_pools": 9,
            }
            for i, score in enumerate(scores)
        ],
    )  # fmt: skip


def test_features_that_are_lost_fail_the_check_after_three_reports_and_pass_after_three_good_ones(
    tmp_path: Path,
) -> None:
    watch = Watch(tmp_path, without=("features",))
    watch.lake.append(QUALITY_REPORTS, hourly_reports(LIVE, NOW - HOUR, [90.0, 90.0, 90.0, 10.0]))
    assert watch.look(NOW)[1].passed
    assert watch.scores(NOW)["features"] == 0
    _, check = watch.look(NOW + HOUR)
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    assert "quality of features 0.0 is below 70 since 2024-03-10 11:05 UTC" in str(check.description)
    assert "features" in promotion_held(watch.lake, LIVE, NOW + HOUR)
    assert promotion_held(watch.lake, "recording:other", NOW + HOUR) == ""
    assert promotion_held(watch.lake, LIVE, NOW + 30 * HOUR) == ""
    watch.lake.append(FEATURES, watch.market["features"])
    watch.lake.append(QUALITY_REPORTS, hourly_reports(LIVE, NOW + 3 * HOUR, [90.0, 90.0]))
    assert "the last 2 reports are above" in promotion_held(watch.lake, LIVE, NOW + 3 * HOUR)
    assert watch.look(NOW + 4 * HOUR)[1].passed
    assert promotion_held(watch.lake, LIVE, NOW + 4 * HOUR) == ""


def test_a_collector_that_stands_still_is_late_and_leaves_visits_undone(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    stopped = NOW - 8 * HOUR
    for target in (SNAPSHOTS, FEATURES):
        watch.lake.replace(target, target.empty(), Span(stopped, NOW + DAY))
    watch.look(NOW)
    assert watch.scores(NOW, "timeliness")["snapshots"] == 0
    assert watch.scores(NOW, "coverage")["snapshots"] == pytest.approx(100 * 16 / 23, abs=5)
    assert watch.scores(NOW)["snapshots"] < QUALITY.floor


def test_a_first_champion_waits_for_sound_data_and_the_next_judgement_lets_it_in(tmp_path: Path) -> None:
    lake, registry = Lake(tmp_path / "lake", sync=lambda path: None), Held()
    now = CLOCK.now()
    lake.append(QUALITY_REPORTS, hourly_reports("recording:x", now - 3 * HOUR, [61.0, 61.0, 61.0]))
    held = judge_version(lake, registry, 1)
    assert not held["is_promoted"]
    assert "refused: promotion is held: quality of features 61.0 is below 70 since" in held["verdict"]
    assert registry.alias is None
    assert lake.scan(DEPLOYMENTS).collect().is_empty()
    lake.append(QUALITY_REPORTS, hourly_reports("recording:x", now, [95.0, 95.0, 95.0]))
    assert judge_version(lake, registry, 1)["is_promoted"]
    assert registry.alias == 1


@pytest.mark.slow
def test_a_proven_challenger_waits_for_sound_data_and_a_rollback_does_not(tmp_path: Path) -> None:
    life = Life(tmp_path, Registry(f"sqlite:///{tmp_path}/registry.db", tmp_path / "artifacts"), days=5)
    weak, good = life.on_trial(-1.4, 1.4)
    at = BEGIN + 5 * DAY
    life.lake.append(QUALITY_REPORTS, hourly_reports("recording:life", at, [61.0, 61.0, 61.0]))
    said = life.look(at)["trial"]
    assert said["decision"] == "wait"
    assert "promotion is held: quality of features 61.0 is below 70 since" in said["reason"]
    assert life.standing().champion.version == weak  # type: ignore[union-attr]
    later = at + 3 * HOUR
    life.lake.append(QUALITY_REPORTS, hourly_reports("recording:life", later, [95.0, 95.0, 95.0]))
    assert life.look(later)["trial"]["decision"] == "promote"
    assert life.standing().champion.version == good  # type: ignore[union-attr]
    worst = later + 6 * HOUR
    life.lake.append(QUALITY_REPORTS, hourly_reports("recording:life", worst, [1.0, 1.0, 1.0]))
    spoil(life, good)
    assert life.look(worst)["reign"]["decision"] == "reject"
    assert life.standing().champion.version == weak  # type: ignore[union-attr]
