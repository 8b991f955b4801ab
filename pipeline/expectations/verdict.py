"""Runs a table's suite over a frame and says in words what it found.

Belongs here: the batches Great Expectations is given, and the verdict made of its answers. Stays out: what is
expected (`suites`, `meaning`).

Memory: the frame is looked at in chunks, and only a chunk is ever copied for Great Expectations. Whether a key is
unique is a question about all rows, so it is answered first, by a hash a row, and handed to each chunk as a column.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.expectations.meaning import key_words, rules_of
from pipeline.expectations.suites import dtype_name, load_great_expectations, suite_for
from pipeline.tables import Table

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

CHUNK_ROWS: Final = 250_000
MOST_EXAMPLES: Final = 5
LONGEST_EXAMPLE: Final = 64


@dataclass(frozen=True)
class Failure:
    """One broken expectation: its words, the columns it speaks of, how many rows break it, and a few of them.

    `examples` are cleaned for display (see `clean`).
    """

    expectation: str
    column: str
    n_unexpected: int
    examples: tuple[str, ...]

    def in_words(self) -> str:
        """One line for a person."""
        # A rule between columns names them itself.
        subject = "" if self.column in self.expectation or "," in self.column else f"{self.column} "
        such = f"; such as {' | '.join(self.examples)}" if self.examples else ""
        return f"{subject}{self.expectation}: not so for {self.n_unexpected:,}{such}"


@dataclass(frozen=True)
class Verdict:
    """What Great Expectations says of one frame."""

    table: str
    is_passed: bool
    n_rows: int
    n_expectations: int
    failures: tuple[Failure, ...]

    def in_words(self) -> str:
        """A line that says how it went, then one line a broken expectation."""
        head = f"{self.table}: {self.n_rows:,} rows, "
        if self.is_passed:
            return f"{head}all {self.n_expectations} expectations hold"
        lines = [f"- {failure.in_words()}" for failure in self.failures]
        return "\n".join([f"{head}{len(lines)} of {self.n_expectations} expectations are broken", *lines])


def validate(table: Table, frame: pl.DataFrame, *, chunk_rows: int = CHUNK_ROWS) -> Verdict:
    """Ask Great Expectations whether `frame` is what the spec of `table` says.

    If a column is missing, too many or of another dtype, only that is reported: the rows cannot be judged.
    A frame without rows is judged by its columns and passes with `n_rows` 0.

    Raises:
        UsageError: `chunk_rows` is below one.
        InputError: Great Expectations could not evaluate an expectation.
    """
    if chunk_rows < 1:
        raise UsageError(f"expected at least one row a chunk, found {chunk_rows!r}")
    suite = suite_for(table)
    failures = _schema_failures(suite, table, frame)
    if not failures:
        failures = _row_failures(suite, table, frame, chunk_rows)
    return Verdict(table.name, not failures, frame.height, len(suite.expectations), tuple(failures))


def _schema_failures(suite: "gx.ExpectationSuite", table: Table, frame: pl.DataFrame) -> list[Failure]:
    import pandas as pd  # noqa: PLC0415 - comes with Great Expectations, and as late

    found = {name: dtype_name(dtype) for name, dtype in frame.schema.items()}
    asked = [e for e in _asked_of(suite, "schema") if not e.meta["columns"] or e.meta["columns"][0] in found]
    failures = []
    for result in _results(asked, pd.DataFrame([found])):
        (name,) = result.expectation_config.meta["columns"] or ("",)
        wrong = [found[name]] if name else sorted(set(found) ^ set(table.schema.names()))
        examples = tuple(clean(text) for text in wrong[:MOST_EXAMPLES])
        failures.append(Failure(result.expectation_config.meta["words"], name, len(wrong), examples))
    return failures


def _row_failures(suite: "gx.ExpectationSuite", table: Table, frame: pl.DataFrame, chunk_rows: int) -> list[Failure]:
    asked = _asked_of(suite, "rows")
    is_key_unique = _is_key_unique(table, frame)
    failures: dict[tuple[str, ...], Failure] = {}
    # A frame without rows still gets one batch, so that every expectation has met every column.
    for offset in range(0, max(frame.height, 1), chunk_rows):
        chunk = frame.slice(offset, chunk_rows).with_columns(
            is_key_unique.slice(offset, chunk_rows),
            *(rule.holds.fill_null(value=True).alias(rule.words) for rule in rules_of(table)),
        )
        for result in _results(asked, _batch(chunk, asked)):
            meta = result.expectation_config.meta
            failure = Failure(
                meta["words"],
                ", ".join(meta["columns"]),
                (result.result or {})["unexpected_count"],
                _examples(chunk, result.expectation_config, table),
            )
            place = (failure.column, failure.expectation)
            failures[place] = _merged(failures[place], failure) if place in failures else failure
    return list(failures.values())


def _merged(first: Failure, second: Failure) -> Failure:
    return Failure(
        first.expectation,
        first.column,
        first.n_unexpected + second.n_unexpected,
        (first.examples + second.examples)[:MOST_EXAMPLES],
    )


def _asked_of(suite: "gx.ExpectationSuite", batch: str) -> list[Any]:
    return [e for e in suite.expectations if (e.meta or {})["batch"] == batch]


def _results(expectations: Iterable[Any], batch: "pd.DataFrame") -> Iterator[Any]:
    """The answers of the expectations that the batch breaks (`result.expectation_config`, `result.result`)."""
    gx = load_great_expectations()
    asset = _context().data_sources.add_pandas("frames").add_dataframe_asset("frame")
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


def _context() -> Any:
    gx = load_great_expectations()
    from great_expectations.data_context.types.base import (  # noqa: PLC0415 - see `suites`
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # Its documentation pages would leave a temporary folder behind at each call.
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return gx.get_context(
        mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=stores, progress_bars=bars)
    )


def _batch(chunk: pl.DataFrame, asked: list[Any]) -> "pd.DataFrame":
    """The columns that are asked about, for pandas: texts as categories, which it handles fifty times faster."""
    names = list(dict.fromkeys(e.column for e in asked))
    return chunk.select(pl.col(n).cast(pl.Categorical) if chunk[n].dtype == pl.String else n for n in names).to_pandas()


def _is_key_unique(table: Table, frame: pl.DataFrame) -> pl.Series:
    """Whether no other row of the whole frame has the row's key.

    Equal keys have equal hashes: only rows whose hash is there twice are compared, so memory is eight bytes a row.
    """
    key = pl.struct(table.key)
    is_suspect = frame.select(key.hash()).to_series().is_duplicated()
    is_unique = pl.Series(key_words(table), [True], dtype=pl.Boolean).new_from_index(0, frame.height)
    if is_suspect.any():
        is_unique = is_unique.scatter(
            is_suspect.arg_true(), frame.filter(is_suspect).select(key.is_unique()).to_series()
        )
    return is_unique


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
    return " ".join(f"{name}={str(value)[:LONGEST_EXAMPLE]}" for name, value in row.items())


def clean(text: str) -> str:
    """The text as it may be shown: normalised (NFKC), without invisible characters or markup, at most 64 characters.

    >>> clean("<b>free" + chr(0x202E) + "</b>" + chr(7))
    '(b)free(/b)'
    """
    # Cut before and after: normalising may lengthen a text eighteen-fold, and a hostile one may be huge.
    plain = unicodedata.normalize("NFKC", text[: 4 * LONGEST_EXAMPLE])
    spaced = "".join(" " if unicodedata.category(c)[0] == "Z" else c for c in plain)
    visible = "".join(c for c in spaced if c.isprintable())
    return visible.translate(_UNMARKED)[:LONGEST_EXAMPLE]


_UNMARKED: Final = str.maketrans({"<": "(", ">": ")", "&": "+", "`": "'", '"': "'"})
