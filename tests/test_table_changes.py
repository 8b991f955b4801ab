"""What the specs declare of their past leads back to what the first release stored.

`tests/golden/tables.txt` is that release, a line a table, and stays as it is but for tables that are new since. A
spec that changed without saying so would refuse everybody's data; here it fails first.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import HOUR, Span
from pipeline.lake import Lake
from pipeline.provenance import Input, Recipe, expire, refresh, stale_hours
from pipeline.tables import PARTITIONS, SNAPSHOTS, TABLES, Column, Table
from pipeline.tables.changes import Added, Renamed, earlier
from tests.builders import valid_frame

GOLDEN = Path(__file__).parent / "golden" / "tables.txt"


def line(table: Table) -> str:
    """A table as a release stores it: its key, its folders, how many columns, and a hash of their names and types."""
    columns = sorted(f"{name} {dtype}" for name, dtype in table.schema.items())
    digest = hashlib.sha256("\n".join(columns).encode()).hexdigest()[:12]
    key, by = ",".join(table.key), ",".join(table.partition_by) or "-"
    return f"{table.name}  key={key}  by={by}  {len(columns)} columns {digest}"


def test_undoing_every_declared_change_gives_the_tables_of_the_first_release() -> None:
    undone = [line([table, *earlier(table)][-1]) for table in TABLES.values()]
    assert sorted(undone) == sorted(GOLDEN.read_text().splitlines()), (
        "a spec changed: declare the change in it (docs/migrations.md); a new table gets a line in the golden file"
    )


def test_a_change_that_is_not_declared_a_new_key_and_other_folders_are_all_seen() -> None:
    seen = {line(SNAPSHOTS)}
    for changed in (
        replace(SNAPSHOTS, columns=SNAPSHOTS.columns[:-1]),
        replace(SNAPSHOTS, columns=(*SNAPSHOTS.columns, Column("x", pl.Float64(), "x", nullable=True))),
        replace(SNAPSHOTS, key=SNAPSHOTS.key[:-1]),
        replace(SNAPSHOTS, partition_by=("day",)),
    ):
        assert line(changed) not in seen
        seen.add(line(changed))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, sync=lambda path: None)


def test_a_migration_leaves_the_record_of_the_hours_and_only_the_changed_code_makes_them_stale(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = valid_frame(SNAPSHOTS, n_rows=60)
    start = datetime(2020, 9, 8, 18, tzinfo=UTC)
    span, recipe = Span(start, start + 5 * HOUR), Recipe("snapshots", (), code="of the older version")
    refresh(lake, recipe, span, lambda piece: rows.filter(pl.col("event_time").is_between(piece.start, piece.end)))
    expire(lake, SNAPSHOTS, {start: 12})
    record = lake.scan(PARTITIONS).collect()
    spec = replace(
        SNAPSHOTS,
        columns=(
            *(replace(c, name="depth_usd") if c.name == "reserve_usd" else c for c in SNAPSHOTS.columns),
            Column("launchpad", pl.String(), "who made it", nullable=True),
        ),
        changes=(Renamed("reserve_usd", "depth_usd"), Added("launchpad")),
    )
    monkeypatch.setitem(TABLES, "snapshots", spec)
    lake.migrate(spec)
    assert lake.scan(PARTITIONS).collect().equals(record)
    assert stale_hours(lake, recipe, span) == []
    changed = Recipe("snapshots", (Input("candles"),), code="of this version, whose vocabulary is another")
    assert stale_hours(lake, changed, span) == [start + n * HOUR for n in range(1, 5)], "expired hours are kept"
    kept = lake.scan(spec, Span(start, start + HOUR)).collect()
    assert kept["depth_usd"].sort().equals(rows.head(12)["reserve_usd"].sort().alias("depth_usd"))


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{line([table, *earlier(table)][-1])}\n" for table in TABLES.values()))
