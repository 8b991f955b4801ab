"""What is over its term goes, and nothing that somebody counts on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline import retention
from pipeline.calendars import DAY, EPOCH, HOUR, Span
from pipeline.errors import StorageError, UsageError
from pipeline.lake import Lake
from pipeline.provenance import Input, Recipe, record_hours, refresh
from pipeline.retention import ROWS, RetentionSpec, expire, pinned_versions
from pipeline.tables import (
    ANSWERS,
    CANDLES,
    FEATURES,
    PARTITIONS,
    POOLS,
    PREDICTION_OUTCOMES,
    PREDICTIONS,
    RAW_POOLS,
    SNAPSHOTS,
    TRAINING_SETS,
    Table,
)
from tests.builders import valid_frame

NOW = datetime(2026, 6, 1, 0, 20, tzinfo=UTC)
SPEC = RetentionSpec()
LIVE, RECORDED, SIMULATED = "geckoterminal", "recording:a", "simulation:7"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, sync=lambda path: None)


def rows_of(table: Table, *ages: timedelta, source: str = LIVE) -> pl.DataFrame:
    """One row of each age."""
    times = pl.Series(table.time, [NOW - age for age in ages], table.schema[table.time])
    frame = valid_frame(table, n_rows=len(ages)).with_columns(times, pl.lit(source).alias("source"))
    named = [name for name in ("answer_id", "trade_id") if name in table.key]
    return frame.with_columns((pl.lit(f"{source} ") + pl.col(name)).alias(name) for name in named)


def ages_in(lake: Lake, table: Table, source: str = LIVE) -> list[int]:
    """Ages of a source's rows in whole days."""
    times = lake.scan(table, sources=[source]).collect()[table.time]
    return sorted((NOW - moment) // DAY for moment in times)


def training_set(name: str, first: datetime, last: datetime, source: str = LIVE) -> pl.DataFrame:
    frame = valid_frame(TRAINING_SETS, n_rows=1)
    row = {"training_set_id": name, "source": source, "first_time": first, "last_time": last, "lake_versions": "{}"}
    return pl.DataFrame([frame.row(0, named=True) | row], schema=TRAINING_SETS.schema)


@pytest.mark.parametrize("table", [ANSWERS, *ROWS], ids=lambda table: table.name)
def test_rows_go_after_their_term_and_not_an_hour_before(lake: Lake, table: Table) -> None:
    days = SPEC.days_of(table)
    lake.append(table, rows_of(table, *(n * DAY for n in (1, days - 1, days, days + 1, 400))))
    told = expire(lake, NOW, SPEC)
    assert ages_in(lake, table) == [1, days - 1, days], "an hour goes when the last moment of it is over its term"
    assert told.select("table", "source", "n_rows").rows() == [(table.name, LIVE, 2)]
    assert told["end"].item() == NOW.replace(minute=0) - (days + 1) * DAY + HOUR


def predictions_of(*ages: timedelta, source: str = LIVE) -> tuple[pl.DataFrame, pl.DataFrame]:
    """At each age a prediction that is evidence, one that is not, and one without an outcome; and their outcomes."""
    times = [NOW - age for age in ages for _ in range(3)]
    said = valid_frame(PREDICTIONS, n_rows=len(times) + 1).head(len(times)).with_columns(
        pl.Series("event_time", times, PREDICTIONS.schema["event_time"]), pl.lit(source).alias("source"),
        pl.Series("model_version", [1, 2, 3] * len(ages)), pl.lit("{}").alias("inputs"),
    )  # fmt: skip
    shared = said.select(PREDICTIONS.key).filter(pl.col("model_version") < 3)
    ended = valid_frame(PREDICTION_OUTCOMES, n_rows=shared.height + 1).head(shared.height).drop(shared.columns)
    told = ended.hstack(shared).with_columns(is_evidence=pl.col("model_version") == 1)
    return said, told.select(PREDICTION_OUTCOMES.schema.names())


def held_predictions(lake: Lake, source: str = LIVE) -> list[tuple[int, int, bool]]:
    """Age in days, version, whether the inputs are there."""
    rows = lake.scan(PREDICTIONS, sources=[source]).sort("event_time", "model_version", descending=[True, False])
    told = rows.select("event_time", "model_version", pl.col("inputs").is_not_null()).collect()
    return [((NOW - moment) // DAY, version, there) for moment, version, there in told.iter_rows()]


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_old_predictions_keep_evidence_without_what_went_in_and_lose_hindsight(
    lake: Lake, killed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (LIVE, RECORDED):
        said, ended = predictions_of(1 * DAY, 95 * DAY, 400 * DAY, source=source)
        lake.append(PREDICTIONS, said)
        lake.append(PREDICTION_OUTCOMES, ended)
    n_written, write = 0, Lake.replace

    def dying(*arguments: object) -> object:
        nonlocal n_written
        n_written += 1
        if n_written == killed_after:
            raise KeyboardInterrupt
        return write(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "replace", dying)
        if killed_after:
            with pytest.raises(KeyboardInterrupt):
                expire(lake, NOW, SPEC)
    told = expire(lake, NOW, SPEC)
    recent = [(1, 1, True), (1, 2, True), (1, 3, True)]
    assert held_predictions(lake) == [*recent, (95, 1, False), (95, 3, False), (400, 1, False), (400, 3, False)]
    assert len(held_predictions(lake, RECORDED)) == 9
    assert all(there for _, _, there in held_predictions(lake, RECORDED))
    ended = lake.scan(PREDICTION_OUTCOMES, sources=[LIVE]).sort("event_time", "model_version").collect()
    assert ended["model_version"].to_list() == [1, 1, 1, 2]
    if not killed_after:
        assert told.group_by("table").agg(pl.col("n_rows").sum()).sort("table").rows() == [
            ("outcomes", 2), ("predictions", 2),
        ]  # fmt: skip
    assert expire(lake, NOW, SPEC).is_empty()


def test_recordings_and_simulations_never_expire(lake: Lake) -> None:
    for source in (RECORDED, SIMULATED, LIVE):
        lake.append(SNAPSHOTS, rows_of(SNAPSHOTS, 100 * DAY, 400 * DAY, source=source))
    lake.compact(SNAPSHOTS)
    expire(lake, NOW, SPEC)
    assert ages_in(lake, SNAPSHOTS, RECORDED) == ages_in(lake, SNAPSHOTS, SIMULATED) == [100, 400]
    assert ages_in(lake, SNAPSHOTS) == []


def test_pools_stay(lake: Lake) -> None:
    lake.append(POOLS, rows_of(POOLS, 400 * DAY))
    assert expire(lake, NOW, SPEC).is_empty()
    assert ages_in(lake, POOLS) == [400]


def test_the_hours_of_a_training_set_of_that_source_stay(lake: Lake) -> None:
    first, last = NOW - 200 * DAY, NOW - 190 * DAY
    lake.append(TRAINING_SETS, training_set("a", first, last))
    lake.append(TRAINING_SETS, training_set("of a recording", EPOCH, NOW, RECORDED))
    kept = [first - 8 * DAY, first, last, last + 25 * HOUR]
    gone = [first - 8 * DAY - HOUR, last + 26 * HOUR]
    for table in (ANSWERS, FEATURES):
        lake.append(table, rows_of(table, *(NOW - moment for moment in (*kept, *gone))))
    told = expire(lake, NOW, SPEC)
    for table in (ANSWERS, FEATURES):
        assert sorted(lake.scan(table).collect()[table.time]) == kept
    assert told["n_rows"].to_list() == [1, 1, 1, 1]


def test_expiring_again_opens_no_data_file_and_commits_nothing(lake: Lake) -> None:
    lake.append(SNAPSHOTS, rows_of(SNAPSHOTS, 1 * DAY, 100 * DAY))
    lake.append(SNAPSHOTS, rows_of(SNAPSHOTS, 100 * DAY, source=RECORDED))
    expire(lake, NOW, SPEC)
    versions = [lake.version(table) for table in (SNAPSHOTS, PARTITIONS)]
    for path in (lake.root / "snapshots").rglob("part-*.parquet"):
        path.write_bytes(b"\x07" * path.stat().st_size)
    assert expire(lake, NOW, SPEC).is_empty()
    assert [lake.version(table) for table in (SNAPSHOTS, PARTITIONS)] == versions


@pytest.mark.parametrize("dies_at", range(1, 7))
def test_killed_half_way_the_next_run_ends_right(lake: Lake, dies_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (ANSWERS, RAW_POOLS, SNAPSHOTS):
        lake.append(table, rows_of(table, 1 * DAY, 100 * DAY))
        lake.append(table, rows_of(table, 100 * DAY, source=RECORDED))
        record_hours(lake, table, [NOW.replace(minute=0) - n * DAY for n in (1, 100)])
    left = [dies_at]

    def dies(target: type, name: str) -> None:
        real = getattr(target, name)

        def step(*args: object) -> object:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(target, name, step)

    with monkeypatch.context():
        dies(retention.provenance, "expire")
        dies(Lake, "discard")
        with pytest.raises(KeyboardInterrupt):
            expire(lake, NOW, SPEC)
    monkeypatch.undo()
    expire(lake, NOW, SPEC)
    for table in (ANSWERS, RAW_POOLS, SNAPSHOTS):
        assert ages_in(lake, table) == [1]
        assert ages_in(lake, table, RECORDED) == [100]
        told = lake.scan(PARTITIONS).filter(pl.col("table_name") == table.name).sort("hour").collect()
        assert told["fingerprint"].to_list() == ["expired", ""]
        assert told["n_rows"].to_list() == [1, 1]


def test_rows_made_from_answers_that_are_gone_outlive_a_change_of_code(lake: Lake) -> None:
    old = NOW.replace(minute=0) - 40 * DAY
    lake.append(ANSWERS, rows_of(ANSWERS, 40 * DAY))
    record_hours(lake, ANSWERS, [old])
    span = Span(old, old + HOUR)

    def parse(piece: Span) -> pl.DataFrame:
        answers = lake.scan(ANSWERS, piece).collect()
        return rows_of(RAW_POOLS, *(NOW - moment for moment in answers["event_time"]))

    refresh(lake, Recipe("raw_pools", (Input("answers"),), "code"), span, parse)
    assert expire(lake, NOW, SPEC)["table"].to_list() == ["answers"]
    done = refresh(lake, Recipe("raw_pools", (Input("answers"),), "other code"), span, parse)
    assert ages_in(lake, RAW_POOLS) == [40]
    assert (done.n_hours_computed, done.n_rows) == (0, 1)


def test_versions_that_training_sets_were_read_from_are_pinned(lake: Lake) -> None:
    assert pinned_versions(lake, FEATURES) == set()
    for name, told in (("a", '{"features": 7, "labels": 3}'), ("b", '{"features": 9}')):
        lake.append(TRAINING_SETS, training_set(name, NOW, NOW).with_columns(lake_versions=pl.lit(told)))
    assert pinned_versions(lake, FEATURES) == {7, 9}
    assert pinned_versions(lake, CANDLES) == set()
    lake.append(TRAINING_SETS, training_set("c", NOW, NOW).with_columns(lake_versions=pl.lit("[1]")))
    with pytest.raises(StorageError, match="restore"):
        pinned_versions(lake, FEATURES)


def test_terms_that_make_no_sense_are_refused() -> None:
    for answers, rows in ((0, 90), (91, 90), (-1, 5)):
        with pytest.raises(UsageError, match="at least a day"):
            RetentionSpec(answers_days=answers, rows_days=rows)
