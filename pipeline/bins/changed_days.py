"""Which days an export has to be brought up to date on: those whose files differ between two versions of the lake.

Belongs here: what an export in force was made from, by its record, and what was committed since. Stays out: making the
bars (`lake_bars`), writing them (`export`).

The lake's files are laid out by day and are never changed: a day whose files are the same in both versions holds the
same rows. Also read is the day in which a bar was running when the export before was made. A compaction moves rows to
other files; then a day is read that did not change, which costs time and nothing else. The answer is never too few
days. Where it cannot be given, the words why come instead of it, and everything is exported again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.bins.export import reading
from pipeline.bins.lake_bars import LakeBars
from pipeline.bins.manifest import manifest_path, missing_files, read_manifest
from pipeline.calendars import DAY, Span
from pipeline.errors import StorageError
from pipeline.lake.files import Stored, may_hold
from pipeline.provenance import code_of
from pipeline.tables import BIN_EXPORTS, CANDLES, FEATURES, Table


@dataclass(frozen=True)
class Base:
    """The export in force: its row on record, and the days on which the lake has become another since.

    The row's `export_id` is the one in force: another bar length may have been exported since.
    """

    row: dict[str, Any]
    days: tuple[date, ...]


@dataclass(frozen=True)
class Standing:
    """What a directory holds now at one bar length.

    `export_id` names all of it; `content_id` (SHA-256 of the manifest, which holds the hash of every bin) this bar
    length alone. `origin` says whose bars they are; None where the manifest cannot be read. `lost` are some of the
    files that should be there.
    """

    export_id: str
    content_id: str
    origin: str | None
    lost: tuple[str, ...]


def standing(directory: Path, freq: str) -> Standing | None:
    """What a directory holds at a bar length; None where it holds nothing."""
    if not directory.exists():
        return None
    with reading(directory) as export:
        path = manifest_path(freq)
        if not (export / path).is_file():
            return None
        raw = (export / path).read_bytes()
        try:
            origin, lost = read_manifest(raw, path).origin, tuple(missing_files(export, freq))
        except StorageError:
            origin, lost = None, (path,)
        return Standing(export.name, sha256(raw).hexdigest(), origin, lost)


def base_of(at: LakeBars, held: Standing | None) -> Base | str:
    """What an update may build on, or in words why it must not.

    Args:
        at: the lake as it is read now.
        held: what lies in the directory at this bar length.
    """
    if held is None:
        return "there was no export at this bar length"
    spoken_of = at.lake.scan(BIN_EXPORTS, sources=[at.source]).filter(
        pl.col("content_id") == held.content_id, pl.col("freq") == at.spec.freq
    )
    # Several rows may speak of the same content. Each is true; the newest leaves the fewest days.
    rows = spoken_of.collect().sort("known_at", "lake_version", descending=True)
    whole = rows.filter("is_whole")
    if whole.is_empty():
        is_known = "was of a selection, or patched" if rows.height else "is not on record"
        return f"the export before {is_known}"
    row = whole.row(0, named=True)
    if why := _why_not(at, row, held):
        return why
    try:
        return Base({**row, "export_id": held.export_id}, tuple(sorted(set(_days(at, row)))))
    except StorageError:
        return f"version {row['lake_version']} of the candles, or that of the features beside it, is gone"


def _why_not(at: LakeBars, row: dict[str, Any], held: Standing) -> str | None:
    if row["fields"] != fields_text(at):
        return f"the fields were {row['fields']!r}"
    if row["fingerprint"] != fingerprint(at):
        return "the code, the spec or the tables are others than those of the export before"
    return f"files of the export before are missing or cut, such as {held.lost[0]!r}" if held.lost else None


def fingerprint(at: LakeBars) -> str:
    """What besides the rows decides about the bytes of an export: code, spec, and which tables they are."""
    tables = [at.lake.identity(CANDLES), at.features_version is not None and at.lake.identity(FEATURES)]
    return sha256(f"{code_of('bins', at.spec)} {tables}".encode()).hexdigest()


def fields_text(at: LakeBars) -> str:
    """The fields as they are put on record."""
    return ",".join(sorted(at.spec.fields))


def _days(at: LakeBars, row: dict[str, Any]) -> Iterator[date]:
    """The days that have changed since the versions on record, and those whose bars were not over yet.

    Raises:
        StorageError: one of these versions cannot be opened any more.
    """
    earlier, later = sorted((row["known_at"], at.until))
    if earlier < later:
        yield from at.days(Span(earlier - at.spec.step, later))
    yield from _changed(at, CANDLES, row["lake_version"], at.candles_version)
    if at.features_version is not None:
        for day in _changed(at, FEATURES, row["features_version"], at.features_version):
            # A feature at midnight is seen by the last bar of the day before.
            yield from (day - DAY, day)


def _changed(at: LakeBars, table: Table, before: int, now: int) -> set[date]:
    if before == now:
        return set()
    older, newer = (_files(at.lake.listing(table, version=version), at.source) for version in (before, now))
    ways = ((older, newer), (newer, older))
    return {day for one, other in ways for day in one.join(other, on=["path", "n_bytes"], how="anti")["day"]}


def _files(stored: Stored | None, source: str) -> pl.DataFrame:
    if stored is None:
        return pl.DataFrame(schema={"path": pl.String, "n_bytes": pl.Int64, "day": pl.Date})
    return stored.files.filter(may_hold([source])).select("path", "n_bytes", "day")
