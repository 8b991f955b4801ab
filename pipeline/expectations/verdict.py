"""Runs a table's suite over a frame and says in words what it found.

Belongs here: the batches Great Expectations is given, and the verdict made of its answers. Stays out: what is
expected (`suites`, `meaning`).

Speed: Great Expectations takes about five seconds to import, seven milliseconds an expectation and a tenth of a second
an expectation on 250,000 rows. So the rules that the suite is made of are looked at first, and Great Expectations is
asked what some row breaks: which rows, how many, such as. A frame that breaks nothing costs it nothing.

Memory: the rows are looked at in chunks, and only a chunk is ever copied for Great Expectations. Whether a key is
unique is a question about all rows, so it is answered first, by a hash a row, and handed to each chunk as a column.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.expectations.bands import BANDS, OutcomeBands
from pipeline.expectations.keys import is_key_unique
from pipeline.expectations.meaning import frame_rules, rules_of
from pipeline.expectations.rule import Severity, broken_rules, holds
from pipeline.expectations.suites import (
    COLUMNS,
    dtype_name,
    ephemeral_context,
    load_great_expectations,
    n_expectations,
    rules_asked,
    schema_rows,
    suite_for,
)
from pipeline.tables import Table
from pipeline.text import LONGEST, clean

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

CHUNK_ROWS: Final = 250_000
MOST_EXAMPLES: Final = 5


@dataclass(frozen=True)
class Failure:
    """One broken expectation: its words, the columns it speaks of, how many rows break it, and a few of them.

    `examples` are cleaned for display (see `clean`). What is only a warning stops nothing.
    """

    expectation: str
    column: str
    n_unexpected: int
    examples: tuple[str, ...]
    severity: Severity = "blocking"

    def in_words(self) -> str:
        """One line for a person."""
        # A rule between columns names them itself.
        subject = "" if self.column in self.expectation or "," in self.column else f"{self.column} "
        such = f"; such as {' | '.join(self.examples)}" if self.examples else ""
        warning = "warning: " if self.severity == "warning" else ""
        return f"{warning}{subject}{self.expectation}: not so for {self.n_unexpected:,}{such}"


@dataclass(frozen=True)
class Verdict:
    """What Great Expectations says of one frame."""

    table: str
    is_passed: bool
    n_rows: int
    n_expectations: int
    failures: tuple[Failure, ...]

    @property
    def is_blocked(self) -> bool:
        """Whether something is broken that nothing may be built on."""
        return any(failure.severity == "blocking" for failure in self.failures)

    def in_words(self) -> str:
        """A line that says how it went, then one line a broken expectation."""
        head = f"{self.table}: {self.n_rows:,} rows, "
        if self.is_passed:
            return f"{head}all {self.n_expectations} expectations hold"
        lines = [f"- {failure.in_words()}" for failure in self.failures]
        return "\n".join([f"{head}{len(lines)} of {self.n_expectations} expectations are broken", *lines])


def validate(
    table: Table, frame: pl.DataFrame, *, chunk_rows: int = CHUNK_ROWS, bands: OutcomeBands = BANDS
) -> Verdict:
    """Say whether `frame` is what the spec of `table` says, in Great Expectations' words.

    If a column is missing, too many or of another dtype, only that is reported: the rows cannot be judged.
    A frame without rows is judged by its columns and passes with `n_rows` 0.

    Args:
        table: the spec.
        frame: the rows.
        chunk_rows: how many of them are copied at once.
        bands: the thresholds that an outcome and its return must agree on.

    Raises:
        UsageError: `chunk_rows` is below one.
        InputError: Great Expectations could not evaluate an expectation.
    """
    if chunk_rows < 1:
        raise UsageError(f"expected at least one row a chunk, found {chunk_rows!r}")
    if dict(frame.schema) != dict(table.schema):
        failures = _schema_failures(table, frame, bands)
    else:
        failures = _row_failures(table, frame, chunk_rows, bands)
    return Verdict(table.name, not failures, frame.height, n_expectations(table, bands), tuple(failures))


def doubts(
    table: Table, frame: pl.DataFrame, is_unique: pl.Series, bands: OutcomeBands = BANDS
) -> set[tuple[str, str]]:
    """What Great Expectations must be asked: each expectation that some row breaks, by its columns and words.

    The rules are those that the suite is made of, so what no row breaks here breaks no expectation. To Great
    Expectations a NaN is a missing value as well.
    """
    is_number = {c.name: pl.col(c.name).is_not_nan() for c in table.columns if c.dtype.is_float()}
    rules = (
        replace(rule, holds=rule.holds & is_number[rule.columns[0]].fill_null(value=True))
        if rule.kind == "missing" and rule.columns[0] in is_number
        else rule
        for rule in rules_asked(table, bands)
    )
    broken = {(", ".join(rule.columns), rule.words) for rule in broken_rules(frame, tuple(rules))}
    return broken if is_unique.all() else broken | {(", ".join(table.key), is_unique.name)}


def _schema_failures(table: Table, frame: pl.DataFrame, bands: OutcomeBands) -> list[Failure]:
    import pandas as pd  # noqa: PLC0415 - comes with Great Expectations, and as late

    failures = []
    asked = _asked_of(suite_for(table, bands), "schema")
    for result in _results(asked, pd.DataFrame(schema_rows(table, frame.schema))):
        if result.expectation_config.kwargs["column"] == COLUMNS:
            wrong = sorted(set(frame.columns) ^ set(table.schema.names()))
            examples = tuple(clean(text) for text in wrong[:MOST_EXAMPLES])
            failures.append(Failure(result.expectation_config.meta["words"], "", len(wrong), examples))
            continue
        for name, wanted in table.schema.items():
            if name in frame.schema and frame.schema[name] != wanted:
                found = clean(dtype_name(frame.schema[name]))
                failures.append(Failure(f"is of dtype {dtype_name(wanted)}", name, 1, (found,)))
    return failures


def _row_failures(table: Table, frame: pl.DataFrame, chunk_rows: int, bands: OutcomeBands) -> list[Failure]:
    is_unique = is_key_unique(table, frame)
    doubted = doubts(table, frame, is_unique, bands)
    if not doubted:
        return []
    asked = [e for e in _asked_of(suite_for(table, bands), "rows") if _place(e) in doubted]
    of_rows = {rule.words: holds(rule).alias(rule.words) for rule in rules_of(table, bands)}
    of_frame = frame.select(is_unique, *(holds(rule).alias(rule.words) for rule in frame_rules(table, bands)))
    failures: dict[tuple[str, str], Failure] = {}
    for offset in range(0, frame.height, chunk_rows):
        chunk = frame.slice(offset, chunk_rows).with_columns(
            *of_frame.slice(offset, chunk_rows), *(of_rows[e.column] for e in asked if e.column in of_rows)
        )
        for result in _results(asked, _batch(chunk, asked)):
            failure = _failure(result, chunk, table)
            place = _place(result.expectation_config)
            failures[place] = _merged(failures[place], failure) if place in failures else failure
    return list(failures.values())


def _place(expectation: Any) -> tuple[str, str]:
    """What tells an expectation from every other of its suite."""
    return ", ".join(expectation.meta["columns"]), expectation.meta["words"]


def _failure(result: Any, chunk: pl.DataFrame, table: Table) -> Failure:
    config = result.expectation_config
    columns, words = _place(config)
    count = (result.result or {})["unexpected_count"]
    return Failure(words, columns, count, _examples(chunk, config, table), config.meta["severity"])


def _merged(first: Failure, second: Failure) -> Failure:
    return Failure(
        first.expectation,
        first.column,
        first.n_unexpected + second.n_unexpected,
        (first.examples + second.examples)[:MOST_EXAMPLES],
        first.severity,
    )


def _asked_of(suite: "gx.ExpectationSuite", batch: str) -> list[Any]:
    return [e for e in suite.expectations if (e.meta or {})["batch"] == batch]


def _results(expectations: Iterable[Any], batch: "pd.DataFrame") -> Iterator[Any]:
    """The answers of the expectations that the batch breaks (`result.expectation_config`, `result.result`)."""
    gx = load_great_expectations()
    asset = ephemeral_context().data_sources.add_pandas("frames").add_dataframe_asset("frame")
    given = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": batch})
    suite = gx.ExpectationSuite(name="asked", expectations=list(expectations))
    for result in given.validate(suite, result_format="BASIC").results:
        if result.success:
            continue
        if not result.result:
            raise InputError(
                f"Great Expectations could not evaluate {result.expectation_config.meta['words']!r} of"
                f" {result.expectation_config.meta['columns']!r}: {result.exception_info!r:.500}"
            )
        yield result


def _batch(chunk: pl.DataFrame, asked: list[Any]) -> "pd.DataFrame":
    """The columns that are asked about, for pandas: texts as categories, which it handles fifty times faster."""
    names = list(dict.fromkeys(e.column for e in asked))
    return chunk.select(pl.col(n).cast(pl.Categorical) if chunk[n].dtype == pl.String else n for n in names).to_pandas()


def _examples(chunk: pl.DataFrame, config: Any, table: Table) -> tuple[str, ...]:
    """The first rows that break the expectation, by the columns it speaks of, or by the key where those are empty."""
    name, columns = config.kwargs["column"], config.meta["columns"]
    column = pl.col(name)
    if name not in table.schema:
        broken, shown = ~column, columns
    elif config.type == "expect_column_values_to_not_be_null":
        missing = column.is_null() | column.is_nan() if chunk[name].dtype.is_float() else column.is_null()
        broken, shown = missing, [k for k in table.key if k != name]
    elif "value_set" in config.kwargs:
        broken, shown = ~column.is_in(config.kwargs["value_set"]), columns
    else:
        low, high = config.kwargs.get("min_value"), config.kwargs.get("max_value")
        is_low = column < low if low is not None else pl.lit(value=False)
        broken, shown = is_low | (column > high if high is not None else pl.lit(value=False)), columns
    rows = chunk.lazy().filter(broken).head(MOST_EXAMPLES).select(shown).collect()
    return tuple(clean(_row_words(row)) for row in rows.iter_rows(named=True))


def _row_words(row: dict[str, object]) -> str:
    if len(row) == 1:
        return str(next(iter(row.values())))
    return " ".join(f"{name}={str(value)[:LONGEST]}" for name, value in row.items())
