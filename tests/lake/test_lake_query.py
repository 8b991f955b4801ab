"""SQL sees every table and nothing else, and changes nothing."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import StorageError, UsageError
from pipeline.lake import Lake
from pipeline.lake.query import query
from pipeline.tables import ANSWERS, POOLS, SNAPSHOTS, TABLES
from tests.builders import valid_frame

START = datetime(2020, 9, 8, 18, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake", sync=lambda path: None)
    for table in (POOLS, SNAPSHOTS):
        lake.append(table, valid_frame(table))
        lake.append(table, valid_frame(table).with_columns(pl.lit("b's /é%").alias("network")))
    return lake


def test_every_table_is_there_under_its_name_with_the_columns_of_its_spec(lake: Lake) -> None:
    assert set(query(lake, "SHOW TABLES")["name"]) == set(TABLES)
    for table in TABLES.values():
        assert query(lake, f"FROM {table.name}").schema == table.schema


def test_rows_come_back_as_they_were_written(lake: Lake) -> None:
    found = query(lake, "SELECT * FROM snapshots")
    assert found.sort(SNAPSHOTS.key).equals(lake.scan(SNAPSHOTS).collect().sort(SNAPSHOTS.key))


def test_files_that_the_log_rules_out_are_not_opened(lake: Lake) -> None:
    later = valid_frame(SNAPSHOTS).with_columns(pl.col("event_time") + timedelta(hours=2))
    lake.append(SNAPSHOTS, later)
    for path in (lake.root / "snapshots").rglob("part-*.parquet"):
        if path.name != max(p.name for p in (lake.root / "snapshots").rglob("part-*.parquet")):
            path.write_bytes(b"\x07" * path.stat().st_size)
    wanted = "SELECT count(*) n FROM snapshots WHERE event_time >= TIMESTAMPTZ '2020-09-08 20:00:00Z'"
    assert query(lake, wanted)["n"].item() == len(later)
    with pytest.raises(StorageError, match=r"could not run the statement: .*restore the table's folder") as told:
        query(lake, "SELECT count(price_usd) FROM snapshots")
    assert "Traceback" not in str(told.value)


def test_times_are_utc_whatever_the_machine_says(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert query(lake, "SELECT min(event_time)::TEXT t FROM snapshots")["t"].item() == "2020-09-08 18:00:00+00"


def test_a_limit_stops_reading(lake: Lake) -> None:
    assert query(lake, "SELECT * FROM range(100000000000) t(n)", limit=7)["n"].to_list() == list(range(7))
    assert query(lake, "SELECT 1 AS one", limit=0).shape == (0, 1)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  -- a remark\nWITH a AS (SELECT 1) SELECT * FROM a;",
        "FROM pools",
        "VALUES (1)",
        "DESCRIBE pools",
        "SUMMARIZE pools",
        "EXPLAIN SELECT * FROM pools",
        "EXPLAIN ANALYZE SELECT * FROM pools",
        "SELECT count(*) FROM query_table('po' || 'ols') HAVING count(*) > 0",
    ],
)
def test_statements_that_read_are_answered(lake: Lake, sql: str) -> None:
    assert query(lake, sql).height


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW pools",
        "CREATE TABLE t AS SELECT 1",
        "CREATE TEMP MACRO m() AS 1",
        "INSERT INTO pools SELECT * FROM pools",
        "WITH a AS (SELECT 1) INSERT INTO pools SELECT * FROM a",
        "DELETE FROM pools",
        "DROP VIEW pools",
        "COPY pools TO '{there}/x.csv'",
        "COPY (SELECT 1) TO '{there}/x.parquet'",
        "EXPORT DATABASE '{there}/x'",
        "ATTACH '{there}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA version",
        "CALL pragma_version()",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "USE memory",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "CHECKPOINT",
    ],
)
def test_statements_that_do_not_read_are_refused(lake: Lake, tmp_path: Path, sql: str) -> None:
    with pytest.raises(UsageError, match="exactly one statement that reads"):
        query(lake, sql.format(there=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('{there}')",
        "SELECT * FROM parquet_metadata('{there}')",
        "SELECT * FROM '{there}'",
        "SELECT * FROM read_csv('https://example.com/x.csv')",
        "EXPLAIN ANALYZE COPY pools TO '{there}.csv'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "SELECT * FROM query('COPY pools TO ''{there}.csv''')",
        "SELECT getenv('HOME')",
    ],
)
def test_nothing_but_the_tables_can_be_reached(lake: Lake, sql: str) -> None:
    there = next((lake.root / "pools").rglob("*.parquet"))
    before = sorted(lake.root.rglob("*"))
    with pytest.raises(UsageError, match="could not run the statement"):
        query(lake, sql.format(there=there))
    assert sorted(lake.root.rglob("*")) == before


def test_a_statement_that_is_mistyped_is_refused_with_where_the_names_stand(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"(?s)syntax error .*\nmend it, or ask for the names: SHOW TABLES"):
        query(lake, "SELECT * FORM labels")


@pytest.mark.parametrize("name", ["lake", "sql", "connection", "TABLES"])
def test_a_name_is_never_a_variable_of_the_program(lake: Lake, name: str) -> None:
    with pytest.raises(UsageError, match=f"Table with name {name} does not exist"):
        query(lake, f"FROM {name}")


def test_an_error_is_duckdbs_own_word_without_control_characters(lake: Lake) -> None:
    with pytest.raises(UsageError, match='"prize_usd" not found') as refused:
        query(lake, "SELECT prize_usd FROM snapshots")
    assert refused.value.__cause__ is None
    with pytest.raises(UsageError) as hostile:
        query(lake, "SELECT CAST('\x1b[2J' AS INTEGER)")
    assert "\x1b" not in str(hostile.value)
    with pytest.raises(UsageError, match="interval"):
        query(lake, "SELECT INTERVAL 1 DAY")


def test_a_damaged_table_is_an_error_and_not_fewer_rows(lake: Lake) -> None:
    path = next((lake.root / "pools").rglob("*.parquet"))
    os.truncate(path, 10)
    with pytest.raises(StorageError, match="pools"):
        query(lake, "SELECT count(*) FROM pools")
    assert query(lake, "SELECT count(*) n FROM snapshots")["n"].item() == 20


def test_bodies_of_answers_are_read_when_they_are_asked_for(lake: Lake) -> None:
    lake.append(ANSWERS, valid_frame(ANSWERS, n_rows=3))
    assert query(lake, "SELECT octet_length(body) n FROM answers")["n"].null_count() == 0
