"""SQL over the lake's tables, to look and never to touch.

Belongs here: a DuckDB in memory that sees the tables under their names and nothing else: no file, no network, no
extension, no setting, no statement but one that reads. Stays out: how a result is shown.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.lake.arrow import Files, dataset
from pipeline.lake.disk import storage_error
from pipeline.lake.failures import in_words, store_error
from pipeline.lake.store import Lake
from pipeline.tables import TABLES

_MAY_RUN: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
"""DuckDB's parser also calls WITH, FROM, VALUES, DESCRIBE, SUMMARIZE and SHOW a SELECT."""
_AT_ONCE: Final = 10_000
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "python_enable_replacements": "false",  # a name in the SQL is never a variable of this program
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
}
_CLOSED: Final = ("SET TimeZone = 'UTC'", "SET enable_external_access = false", "SET lock_configuration = true")
_ATTEMPT: Final = "run the statement"
_STOPPED: Final = "Query interrupted"
"""What DuckDB raises on Ctrl-C, as a RuntimeError."""
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def query(lake: Lake, sql: str, *, limit: int | None = None) -> pl.DataFrame:
    """The rows that one reading statement gives, times in UTC; at most `limit` of them.

    Every table of `pipeline.tables` is there under its name, in the version that is the newest now; one that was never
    written is empty. Only the columns and the row groups that the statement needs are read.

    Raises:
        UsageError: DuckDB does not understand the statement, or it is none that reads, or not exactly one.
        StoreAwayError: the lake is on an object store, and that did not answer.
        StorageError: a table that the statement may read is damaged.
    """
    with in_words(_ATTEMPT), duckdb.connect(":memory:", config=_CONFIG) as connection:
        opened: list[Files] = []
        try:
            _require_reading(connection, sql)
            for name, table in _tables(lake, sql.lower()):
                connection.register(name, table)
                opened += [table] if isinstance(table, Files) else []
            for statement in (*_CLOSED, "BEGIN TRANSACTION READ ONLY"):
                connection.execute(statement)
            return _fetched(connection.sql(sql).to_arrow_reader(_AT_ONCE), limit)
        except (duckdb.Error, pa.ArrowException, pl.exceptions.PolarsError, RuntimeError) as error:
            raise _told(error, [files.failure for files in opened if files.failure is not None]) from None


def _told(error: Exception, beneath: list[BaseException]) -> BaseException:
    """What to raise where DuckDB gave up: of a file that could not be read, and of Ctrl-C, it hands on a text."""
    if type(error) is RuntimeError and str(error) != _STOPPED:
        return error
    if str(error) == _STOPPED or any(isinstance(failure, KeyboardInterrupt) for failure in beneath):
        return KeyboardInterrupt()
    told = store_error(_ATTEMPT, "\n".join(str(failure) for failure in (*beneath, error)))
    if told is not None:
        return told
    if beneath:
        return storage_error(_ATTEMPT, beneath[0])
    words = _CONTROL.sub(" ", str(error)).strip()[:2000]
    names = "mend it, or ask for the names: SHOW TABLES, DESCRIBE labels"
    return UsageError(f"could not run the statement: {words}\n{names}")


def _require_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    found = [statement.type for statement in connection.extract_statements(sql)]
    if len(found) != 1 or found[0] not in _MAY_RUN:
        named = [str(kind).rpartition(".")[2] for kind in found]
        raise UsageError(
            f"the lake answers exactly one statement that reads (SELECT, WITH, DESCRIBE, SUMMARIZE, EXPLAIN), found "
            f"{named!r}; leave the others away: tables are written by the pipeline alone"
        )


def _tables(lake: Lake, sql: str) -> Iterator[tuple[str, Any]]:
    """Each table by name. One that the statement cannot mean is there without its rows: opening all takes seconds."""
    may_be_made_up = "query" in sql  # `query` and `query_table` take a name from a computed text
    for table in TABLES.values():
        stored = lake.listing(table) if table.name in sql or may_be_made_up else None
        yield table.name, table.empty().to_arrow() if stored is None else dataset(stored)


def _fetched(batches: pa.RecordBatchReader, limit: int | None) -> pl.DataFrame:
    left, kept = limit, []
    for batch in batches:
        kept.append(batch if left is None else batch.slice(0, left))
        left = None if left is None else left - kept[-1].num_rows
        if left == 0:
            break
    found: pl.DataFrame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(kept, batches.schema)))
    return found
