"""A table's files as Arrow reads them, for DuckDB: only those that a scan can mean, a few at a time.

Belongs here: what is known of a file before it is opened, and reading its row groups beside one another. Stays out: SQL
(`query`), and where files lie (`folder`, `bucket`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads

from pipeline.lake.files import STATISTICS_BLUR, Stored
from pipeline.lake.rows import SOURCE
from pipeline.tables import Table

_AHEAD: Final = 4
"""How many files, and row groups, are read before they are asked for; as many as Arrow's own scanner reads of files."""
_LARGE: Final = 16 * 1024 * 1024
"""From here on, in bytes, a file is read by row groups: to look first which it has is one more request to a store."""


class Files(pads.FileSystemDataset):  # type: ignore[misc]  # Arrow says nothing of its types
    """One version of a table, which DuckDB asks for a scan of some columns and rows.

    Arrow's own scan starts its threads with Python's lock in hand. A store is a file system of Python's here: a thread
    whose file is gone wants that lock to say so, while it holds the one that the start waits for, and both wait for
    ever. Here each file, or row group, is read by a call that gives Python's lock away.
    """

    large: frozenset[str] = frozenset()
    """The paths of files that are read by row groups."""
    failure: BaseException | None = None
    """What stopped a reading of it; DuckDB hands on no more than a text."""

    def scanner(self, *, columns: Sequence[str] | None = None, filter: pads.Expression | None = None) -> "_Scan":  # noqa: A002
        """A reading of some columns of the rows that meet a filter; everything, without them."""
        return _Scan(self, columns, filter)


@dataclass(frozen=True)
class _Scan:
    """What DuckDB asks once for a stream."""

    files: Files
    columns: Sequence[str] | None
    wanted: pads.Expression | None

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows, read as they are taken."""
        schema = self.files.schema
        narrow = schema if self.columns is None else pa.schema([schema.field(name) for name in self.columns])
        return pa.RecordBatchReader.from_batches(narrow, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        threads = ThreadPoolExecutor(_AHEAD, thread_name_prefix="sql")
        try:
            parts = chain.from_iterable(_ahead(threads, self._parts, self.files.get_fragments(self.wanted)))
            yield from chain.from_iterable(_ahead(threads, self._read, parts))
        except (OSError, pa.ArrowException, KeyboardInterrupt) as error:
            self.files.failure = error
            raise
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _parts(self, file: pads.ParquetFileFragment) -> list[pads.ParquetFileFragment]:
        if file.path not in self.files.large:
            return [file]
        groups: list[pads.ParquetFileFragment] = file.split_by_row_group(self.wanted, self.files.schema)
        return groups

    def _read(self, part: pads.ParquetFileFragment) -> list[pa.RecordBatch]:
        rows = part.to_table(schema=self.files.schema, columns=self.columns, filter=self.wanted, use_threads=False)
        batches: list[pa.RecordBatch] = rows.to_batches()
        return batches


def _ahead[W, R](threads: ThreadPoolExecutor, work: Callable[[W], R], parts: Iterable[W]) -> Iterator[R]:
    """What `work` gives for each part, in their order, begun for the next few while one is taken."""
    begun: deque[Future[R]] = deque()
    for part in parts:
        begun.append(threads.submit(work, part))
        if len(begun) == _AHEAD:
            yield begun.popleft().result()
    for each in begun:
        yield each.result()


def dataset(stored: Stored) -> Files:
    """The version as Arrow reads it: what a file holds is said beforehand, so that others are not opened."""
    stored.check()
    schema = stored.table.empty().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    parquet, (system, _) = pads.ParquetFileFormat(), stored.place.arrow("")
    lying = [(stored.place.arrow(file["path"])[1], file) for file in stored.files.iter_rows(named=True)]
    fragments = [parquet.make_fragment(path, system, _said(stored.table, file)) for path, file in lying]
    found = Files(fragments, schema, parquet, system)
    found.large = frozenset(path for path, file in lying if file["n_bytes"] >= _LARGE)
    return found


def _said(table: Table, file: dict[str, Any]) -> pads.Expression:
    """What is true of every row of a file, as its place and the log say."""
    said = pads.scalar(True)
    for name in table.partition_by:
        if name in table.schema:
            said &= pads.field(name) == pads.scalar(pa.scalar(file[name], pa.large_string()))
    if None not in (file["first_source"], file["last_source"]):
        said &= _between(SOURCE, file["first_source"], file["last_source"])
    if table.time is not None and None not in (file["first"], file["last"]):
        said &= _between(table.time, file["first"], file["last"] + STATISTICS_BLUR)
    return said


def _between(name: str, low: Any, high: Any) -> pads.Expression:
    return (pads.field(name) >= pads.scalar(low)) & (pads.field(name) <= pads.scalar(high))
