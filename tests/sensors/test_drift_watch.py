"""An alarm of the watch over drift asks for training: once, of its own champion, and only while it is fresh."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline.calendars import FixedClock
from pipeline.lake import Lake
from pipeline.models.spec import TrainingSpec
from pipeline.promotion.moves import Move, Moves
from pipeline.tables import DRIFT_REPORTS
from sensors.asking import MOST_LETTERS
from sensors.drift import drift_with_harm
from tests.builders import valid_frame

NAME = TrainingSpec().model_name
NOW = datetime(2024, 3, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORDS = "drift with harm: volume_1h_usd js 0.31 (q 0.002); observed loss 1.20 against 0.85"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    Moves(made, None).move(Move(NAME, "promote", 2, "a" * 64, "gate", "beats all baselines"), at=NOW)
    return made


def reported(lake: Lake, at: datetime, *, is_asking: bool = True, version: int = 2, words: str | None = WORDS) -> None:
    subjects = pl.DataFrame({"subject": ["asks", "seen", "stands"], "is_drifted": [is_asking, True, True]})
    rows = valid_frame(DRIFT_REPORTS, n_rows=4).head(3).with_columns(
        subjects["subject"], subjects["is_drifted"], pl.lit("alarm").alias("kind"), pl.lit(at).alias("known_at"),
        pl.lit(NAME).alias("model_name"), pl.lit(version, pl.Int64).alias("model_version"),
        pl.lit("geckoterminal").alias("source"), pl.lit(words).alias("words"),
    )  # fmt: skip
    lake.append(DRIFT_REPORTS, rows)


def ask(lake: Lake, now: datetime = NOW + 2 * HOUR) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_sensor_context(resources={"lake": lake, "clock": FixedClock(now)})
    found = drift_with_harm(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_an_alarm_asks_for_training_on_its_source_and_says_which_features_and_how_much(lake: Lake) -> None:
    reported(lake, NOW + HOUR)
    request = ask(lake)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == f"drift {NAME}:2:{(NOW + HOUR).isoformat()}"
    assert request.run_config == {"resources": {"source": {"config": {"name": "geckoterminal"}}}}
    assert request.tags["poolcast/trigger"] == WORDS


def test_reports_that_go_on_seeing_it_ask_under_the_same_key(lake: Lake) -> None:
    reported(lake, NOW + HOUR)
    first = ask(lake)
    reported(lake, NOW + 2 * HOUR, is_asking=False)
    again = ask(lake, NOW + 3 * HOUR)
    assert isinstance(first, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == first.run_key
    reported(lake, NOW + 20 * HOUR)
    third = ask(lake, NOW + 21 * HOUR)
    assert isinstance(third, dg.RunRequest)
    assert third.run_key != first.run_key


@pytest.mark.parametrize("other", [{"is_asking": False}, {"version": 1}])
def test_a_report_that_asks_for_nothing_or_is_of_another_version_asks_for_nothing(
    lake: Lake, other: dict[str, int]
) -> None:
    reported(lake, NOW + HOUR, **other)  # type: ignore[arg-type]
    assert isinstance(ask(lake), dg.SkipReason)


def test_an_alarm_of_days_ago_asks_for_nothing(lake: Lake) -> None:
    reported(lake, NOW + HOUR)
    assert isinstance(ask(lake, NOW + 26 * HOUR), dg.SkipReason)


def test_a_tag_holds_words_of_any_length_and_none(lake: Lake, tmp_path: Path) -> None:
    reported(lake, NOW + HOUR, words="x" * 2_000)
    request = ask(lake)
    assert isinstance(request, dg.RunRequest)
    assert len(request.tags["poolcast/trigger"]) == MOST_LETTERS
    assert isinstance(ask(Lake(tmp_path / "empty")), dg.SkipReason)
