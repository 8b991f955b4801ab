"""A table written by an older version of the code: every value arrives, old versions stay readable, half is nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from lake_tables import NOTES, READINGS, hours, notes, ordered, readings
from reshaped_tables import FIRST, NOW, mapped, old_lake, old_rows

from pipeline.errors import InputError, StorageError, UsageError
from pipeline.lake import Lake, shapes
from pipeline.lake.migrate import plan
from pipeline.tables import Column, Table
from pipeline.tables.changes import Added, Dropped, Renamed, Retyped, earlier


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return old_lake(Lake(tmp_path, sync=lambda path: None))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_value_of_every_row_arrives_in_the_columns_of_now(lake: Lake) -> None:
    before = lake.scan(FIRST).collect()
    assert lake.migrate(NOW).n_rows == len(before) > 5000
    assert ordered(lake.scan(NOW)) == ordered(mapped(before))
    assert lake.migrate(NOW).n_rows == 0, "a second time there is nothing to do"


def test_a_table_that_was_not_migrated_is_refused_by_every_verb_and_the_message_says_what_to_run(lake: Lake) -> None:
    rows = mapped(old_rows(range(3)))
    for verb in (
        lambda: lake.scan(NOW),
        lambda: lake.append(NOW, rows),
        lambda: lake.replace(NOW, rows, hours(0, 1)),
        lambda: lake.status(NOW),
        lambda: lake.compact(NOW),
    ):
        with pytest.raises(StorageError, match="run `poolcast migrate`"):
            verb()


def test_versions_from_before_the_migration_are_read_in_the_columns_of_now(lake: Lake) -> None:
    told = {version: mapped(lake.scan(FIRST, version=version).collect()) for version in range(1, 9)}
    lake.migrate(NOW)
    for version, rows in told.items():
        assert ordered(lake.scan(NOW, version=version)) == ordered(rows)
        day = hours(24, 48)
        inside = rows.filter(pl.col("at").is_between(day.start, day.end, closed="left"))
        assert ordered(lake.scan(NOW, day, version=version)) == ordered(inside)
    assert len(lake.scan(NOW, version=8).filter(pl.col("address") == "0xc", pl.col("code") > 1830).collect()) == 29


def test_a_migrated_table_is_written_to_like_any_other(lake: Lake) -> None:
    lake.migrate(NOW)
    n_rows = lake.scan(NOW).collect().height
    assert lake.append(NOW, mapped(old_rows(range(9000, 9030)))).n_rows == 30
    assert lake.append(NOW, mapped(old_rows(range(0, 1440, 5)))).n_rows == 0, "these keys are stored"
    assert lake.replace(NOW, mapped(old_rows(range(60, 90), pool="0xd")), hours(1, 2)).n_rows == 30
    assert lake.scan(NOW).collect().height == n_rows + 30 - 36 + 30
    assert lake.compact(NOW).version is not None
    status = lake.status(NOW)
    assert status is not None
    assert status.n_rows == n_rows + 24
    assert DeltaTable(lake.root / "readings").to_pyarrow_table().num_rows == n_rows + 24
    assert DeltaTable(lake.root / "readings").protocol().min_reader_version == 1


def test_a_vacuum_leaves_what_a_version_pinned_before_the_migration_needs(lake: Lake) -> None:
    pinned = ordered(mapped(lake.scan(FIRST, version=3).collect()))
    lake.migrate(NOW)
    later = datetime.now(UTC) + timedelta(days=1)
    assert lake.vacuum(NOW, now=later, retention=timedelta(0), keep_versions=[3])
    assert ordered(lake.scan(NOW, version=3)) == pinned
    with pytest.raises(StorageError):
        lake.scan(NOW, version=6)


def test_a_plan_tells_the_changes_and_changes_nothing(lake: Lake) -> None:
    before = content(lake.root)
    told = plan(lake, NOW)
    assert told is not None
    listing = lake.listing(FIRST)
    assert listing is not None
    assert (told.table, told.version, told.n_files) == ("readings", lake.version(FIRST), len(listing.files))
    assert told.n_files > 10
    assert told.changes[:4] == (
        "rename 'pool' to 'address'", "rename 'event_time' to 'at'", "add 'depth'", "retype 'code', which was String",
    )  # fmt: skip
    assert told.changes[-1] == "drop 'price'"
    assert content(lake.root) == before
    lake.migrate(NOW)
    assert plan(lake, NOW) is None


def test_a_table_half_way_through_its_changes_gets_only_the_rest(tmp_path: Path) -> None:
    lake = old_lake(Lake(tmp_path, sync=lambda path: None), n_days=2)
    before = lake.scan(FIRST).collect()
    for past in reversed(earlier(NOW)):
        lake.migrate(past)
        told = plan(lake, NOW)
        assert told is not None
        assert len(told.changes) == len(NOW.changes) - len(past.changes)
    lake.migrate(NOW)
    assert ordered(lake.scan(NOW)) == ordered(mapped(before))
    assert ordered(lake.scan(NOW, version=2)) == ordered(mapped(lake.scan(FIRST, version=2).collect()))


def test_a_value_that_its_new_type_cannot_hold_stops_the_migration_and_the_table_is_as_it_was(lake: Lake) -> None:
    lake.append(FIRST, old_rows(range(20000, 20001)).with_columns(code=pl.lit("007")))
    before, version = ordered(lake.scan(FIRST)), lake.version(FIRST)
    with pytest.raises(StorageError, match=r"cannot turn column 'code'.*1 of 1 values would change, e.g. '007'"):
        lake.migrate(NOW)
    assert (ordered(lake.scan(FIRST)), lake.version(FIRST)) == (before, version)
    with pytest.raises(StorageError, match="'007'"):
        lake.scan(NOW, version=version).collect()


def test_numbers_are_retyped_only_where_each_comes_back_as_it_was(tmp_path: Path) -> None:
    lake = Lake(tmp_path, sync=lambda path: None)
    columns = {c.name: c for c in READINGS.columns}
    whole = replace(columns["price"], dtype=pl.Int64())
    spec = replace(READINGS, columns=(*READINGS.columns[:-1], whole), changes=(Retyped("price", pl.Float64()),))
    rows = readings(range(0, 30, 7)).with_columns(price=pl.Series([1.0, None, -3.0, 2.0**52, 0.0]))
    lake.append(READINGS, rows)
    lake.migrate(spec)
    assert lake.scan(spec).collect().sort("event_time")["price"].to_list() == [1, None, -3, 2**52, 0]
    flag = replace(whole, dtype=pl.String())
    text = replace(READINGS, columns=(*READINGS.columns[:-1], flag), changes=(Retyped("price", pl.Boolean()),))
    with pytest.raises(StorageError, match="no value has one of the other kind; add a column instead"):
        shapes.converted(pl.LazyFrame({"price": [True]}), text, earlier(text)[0]).collect()
    back = replace(spec, columns=READINGS.columns, changes=())
    with pytest.raises(StorageError, match="neither this version of the code nor an older one"):
        lake.scan(back)


def test_a_column_that_may_not_be_null_is_refused_without_a_rule_and_checked_with_one(lake: Lake) -> None:
    column = Column("depth", pl.Float64(), "how deep")
    spec = replace(FIRST, columns=(*FIRST.columns, column), changes=(Added("depth"),))
    with pytest.raises(UsageError, match="may not be null, so say what its older rows are filled with"):
        lake.migrate(spec)
    with pytest.raises(InputError, match="'depth'"):
        lake.migrate(replace(spec, changes=(Added("depth", pl.col("price")),)))
    assert lake.scan(FIRST).collect().height > 5000


def test_newer_data_than_code_is_refused_in_words(lake: Lake) -> None:
    lake.migrate(NOW)
    for verb in (lambda: lake.scan(FIRST), lambda: plan(lake, FIRST), lambda: lake.migrate(FIRST)):
        with pytest.raises(StorageError, match="Go back to the version of the code that wrote it"):
            verb()


def test_other_partition_columns_are_refused_in_words(lake: Lake) -> None:
    with pytest.raises(StorageError, match=r"its folders are by \('day', 'network'\), the spec's by \('day',\)"):
        lake.migrate(replace(FIRST, partition_by=("day",)))


def test_columns_in_another_order_need_no_migration(lake: Lake) -> None:
    turned = replace(FIRST, columns=tuple(reversed(FIRST.columns)))
    assert plan(lake, turned) is None
    assert lake.scan(turned).collect().columns == turned.schema.names()
    rows = old_rows(range(9000, 9010)).select(turned.schema.names())
    assert lake.append(turned, rows).n_rows == 10
    assert (
        lake.scan(turned)
        .collect()
        .select(FIRST.schema.names())
        .sort(FIRST.key)
        .equals(lake.scan(FIRST).collect().sort(FIRST.key))
    )


def test_a_table_that_is_upserted_and_one_without_rows_are_migrated_too(tmp_path: Path) -> None:
    lake = Lake(tmp_path, sync=lambda path: None)
    spec = replace(
        NOTES,
        columns=(*NOTES.columns, Column("author", pl.String(), "who", nullable=True)),
        changes=(Added("author"),),
    )
    assert plan(lake, spec) is None
    assert lake.migrate(spec).version is None
    lake.upsert(NOTES, notes(("a", "x", "1"), ("b", "y", None)))
    lake.migrate(spec)
    mine = lake.scan(spec).filter(pl.col("topic") == "a").collect().with_columns(author=pl.lit("me"))
    assert lake.upsert(spec, mine).n_rows == 1
    assert ordered(lake.scan(spec)) == [("a", "x", "1", "me"), ("b", "y", None, None)]
    lake.append(READINGS, readings([1]))
    lake.replace(READINGS, READINGS.empty(), hours(0, 1))
    bare = replace(READINGS, columns=READINGS.columns[:-1], changes=(Dropped("price", pl.Float64()),))
    lake.migrate(bare)
    assert lake.scan(bare).collect().height == 0
    assert lake.append(bare, readings([1]).drop("price")).n_rows == 1


def test_a_handle_that_was_open_before_sees_the_new_columns(lake: Lake) -> None:
    other = Lake(lake.root, sync=lambda path: None)
    other.scan(FIRST)
    lake.migrate(NOW)
    assert other.scan(NOW).collect().height == lake.scan(NOW).collect().height


def _spec(*changes: Added | Renamed | Retyped | Dropped) -> Table:
    return replace(FIRST, changes=changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ((Added("nothing"),), "is not there"),
        ((Renamed("price", "code"),), "'price' is there as well"),
        ((Renamed("chain", "network"),), "files its rows"),
        ((Retyped("pool", pl.Int64()),), "files its rows, tells them apart or dates them"),
        ((Retyped("event_time", pl.Int64()),), "dates them"),
        ((Added("pool", pl.lit("x")),), "tells them apart"),
        ((Retyped("code", pl.String()),), "is of that type now"),
        ((Dropped("code", pl.String()),), "is there"),
        ((Renamed("code", "x"), Renamed("x", "code")), "lead back to columns it had before"),
    ],
)
def test_a_change_that_rows_cannot_follow_is_refused_when_it_is_declared(changes: tuple[Added, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        earlier(_spec(*changes))


def test_a_table_whose_rows_are_bound_by_hashes_never_changes() -> None:
    column = Column("row_hash", pl.String(), "over all other columns")
    with pytest.raises(UsageError, match="bound by hashes"):
        earlier(replace(FIRST, columns=(*FIRST.columns, column), changes=(Renamed("cost", "price"),)))
