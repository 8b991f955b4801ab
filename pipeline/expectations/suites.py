"""From a table's spec to its Great Expectations suite.

Belongs here: which expectations a column or a rule becomes, and in which words it is told. Stays out: the rules
themselves (`meaning`) and running a suite (`verdict`).

Each expectation is asked of one of two batches, and says which in its meta:

    schema   one row a column of the frame: its name, and its Polars dtype. So a dtype is compared exactly, time zone
             and all, which a pandas frame could not tell
    rows     the rows; beside the table's columns, one boolean column for each rule, named by the rule's words

Great Expectations takes six seconds to import, so it is imported where it is used, by `load_great_expectations`.
"""

import os
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.expectations.bands import BANDS, OutcomeBands
from pipeline.expectations.meaning import column_rules, frame_rules, key_words, rules_of
from pipeline.expectations.rule import Rule, Severity
from pipeline.tables import Table

if TYPE_CHECKING:
    import great_expectations as gx


COLUMNS: Final = "column"
DTYPES: Final = "dtype"
COLUMNS_WORDS: Final = "the columns are exactly"


def load_great_expectations() -> ModuleType:
    """Great Expectations, imported with its analytics off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # It imports a module the standard library has deprecated (sre_constants), and it is not ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations  # noqa: PLC0415 - see the module's head
        import great_expectations.expectations  # noqa: PLC0415
    return great_expectations


def ephemeral_context() -> Any:
    """A context of Great Expectations that leaves nothing behind and draws no progress."""
    gx = load_great_expectations()
    from great_expectations.data_context.types.base import (  # noqa: PLC0415 - see the module's head
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


def suite_for(table: Table, bands: OutcomeBands = BANDS) -> "gx.ExpectationSuite":
    """The suite of the table: exact columns and dtypes, nulls, bounds, value sets, the key, the rules between columns.

    Each expectation's meta holds `batch` (see the module's head), `words`, `columns` and `severity`.
    """
    key = Rule(key_words(table), table.key, pl.lit(value=True), kind="frame")
    expectations = [
        *_of_schema(table),
        *(
            _of_column(table, rule)
            if rule.kind in ("missing", "bounds", "values")
            else _of_rule(rule.words, rule.columns, rule.severity)
            for rule in (*rules_asked(table, bands), key)
        ),
    ]
    suite: gx.ExpectationSuite = load_great_expectations().ExpectationSuite(name=table.name, expectations=expectations)
    return suite


def rules_asked(table: Table, bands: OutcomeBands = BANDS) -> tuple[Rule, ...]:
    """The rules that the suite's expectations on rows are made of, but for the one that the key is unique."""
    return (*column_rules(table), *rules_of(table, bands), *frame_rules(table, bands))


def n_expectations(table: Table, bands: OutcomeBands = BANDS) -> int:
    """How many expectations the suite has, without making it: columns, dtypes and the key beside the rules."""
    return len(rules_asked(table, bands)) + 3


def _of_schema(table: Table) -> list[Any]:
    gxe = load_great_expectations().expectations
    names = table.schema.names()
    columns = {"batch": "schema", "words": f"{COLUMNS_WORDS} {', '.join(names)}", "columns": [], "severity": "blocking"}
    dtypes = {"batch": "schema", "words": "every column is of its dtype", "columns": [], "severity": "blocking"}
    told = [dtype_words(name, dtype) for name, dtype in table.schema.items()]
    return [
        gxe.ExpectColumnDistinctValuesToEqualSet(column=COLUMNS, value_set=names, meta=columns),
        gxe.ExpectColumnValuesToBeInSet(column=DTYPES, value_set=told, meta=dtypes),
    ]


def schema_rows(table: Table, schema: pl.Schema) -> dict[str, list[str | None]]:
    """The `schema` batch of a frame: its columns, and the dtypes of those that the table knows."""
    told = [dtype_words(name, dtype) if name in table.schema else None for name, dtype in schema.items()]
    return {COLUMNS: [*schema.names()], DTYPES: told}


def dtype_words(name: str, dtype: object) -> str:
    """A column's dtype, in words."""
    return f"{name} is of dtype {dtype_name(dtype)}"


def dtype_name(dtype: object) -> str:
    """The dtype as Polars prints it: the same for a class and an instance of it."""
    return str(dtype() if isinstance(dtype, type) else dtype)


def _of_column(table: Table, rule: Rule) -> Any:
    gxe = load_great_expectations().expectations
    column, meta = table.column(rule.columns[0]), _meta(rule.words, rule.columns, rule.severity)
    if rule.kind == "missing":
        return gxe.ExpectColumnValuesToNotBeNull(column=column.name, meta=meta)
    if rule.kind == "bounds":
        bounds = {"min_value": column.minimum, "max_value": column.maximum}
        return gxe.ExpectColumnValuesToBeBetween(column=column.name, **bounds, meta=meta)
    return gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=list(column.values or ()), meta=meta)


def _of_rule(words: str, columns: tuple[str, ...], severity: Severity) -> Any:
    gxe = load_great_expectations().expectations
    return gxe.ExpectColumnValuesToBeInSet(column=words, value_set=[True], meta=_meta(words, columns, severity))


def _meta(words: str, columns: tuple[str, ...], severity: Severity) -> dict[str, object]:
    return {"batch": "rows", "words": words, "columns": list(columns), "severity": severity}
