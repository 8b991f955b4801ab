"""From a table's spec to its Great Expectations suite.

Belongs here: which expectations a column or a rule becomes, and in which words it is told. Stays out: the rules
themselves (`meaning`) and running a suite (`verdict`).

Each expectation is asked of one of two batches, and says which in its meta:

    schema   one row; each column of the frame holds the name of its own Polars dtype. So a dtype is compared
             exactly, time zone and all, which a pandas frame could not tell
    rows     the rows; beside the table's columns, one boolean column for each rule, named by the rule's words

Great Expectations takes six seconds to import, so it is imported where it is used, by `load_great_expectations`.
"""

import os
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipeline.expectations.meaning import key_words, rules_of
from pipeline.tables import Column, Table

if TYPE_CHECKING:
    import great_expectations as gx


def load_great_expectations() -> ModuleType:
    """Great Expectations, imported with its analytics off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # It imports a module the standard library has deprecated (sre_constants), and it is not ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations  # noqa: PLC0415 - see the module's head
        import great_expectations.expectations  # noqa: PLC0415
    return great_expectations


def suite_for(table: Table) -> "gx.ExpectationSuite":
    """The suite of the table: exact columns and dtypes, nulls, bounds, value sets, the key, the rules between columns.

    Each expectation's meta holds `batch` (see the module's head), `words` and `columns`.
    """
    expectations = [*_of_schema(table), *(e for c in table.columns for e in _of_column(c)), *_of_rules(table)]
    suite: gx.ExpectationSuite = load_great_expectations().ExpectationSuite(name=table.name, expectations=expectations)
    return suite


def _of_schema(table: Table) -> list[Any]:
    gxe = load_great_expectations().expectations
    names = table.schema.names()
    meta = {"batch": "schema", "words": f"the columns are exactly {', '.join(names)}", "columns": []}
    columns = gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=True, meta=meta)
    return [columns, *(_dtype(c) for c in table.columns)]


def _dtype(column: Column) -> Any:
    gxe = load_great_expectations().expectations
    name = dtype_name(column.dtype)
    meta = {"batch": "schema", "words": f"is of dtype {name}", "columns": [column.name]}
    return gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=[name], meta=meta)


def dtype_name(dtype: object) -> str:
    """The dtype as Polars prints it: the same for a class and an instance of it."""
    return str(dtype() if isinstance(dtype, type) else dtype)


def _of_column(column: Column) -> list[Any]:
    gxe = load_great_expectations().expectations
    found: list[Any] = []
    if not column.nullable:
        found.append(gxe.ExpectColumnValuesToNotBeNull(column=column.name, meta=_meta(column, "is never missing")))
    if column.minimum is not None or column.maximum is not None:
        bounds = {"min_value": column.minimum, "max_value": column.maximum}
        words = _bounds_words(column)
        found.append(gxe.ExpectColumnValuesToBeBetween(column=column.name, **bounds, meta=_meta(column, words)))
    if column.values is not None:
        meta = _meta(column, f"is one of {', '.join(column.values)}")
        found.append(gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=list(column.values), meta=meta))
    return found


def _bounds_words(column: Column) -> str:
    unit = "" if column.unit in ("", "1") else f" {column.unit}"
    if column.maximum is None:
        return f"is at least {column.minimum:g}{unit}"
    if column.minimum is None:
        return f"is at most {column.maximum:g}{unit}"
    return f"is between {column.minimum:g} and {column.maximum:g}{unit}"


def _of_rules(table: Table) -> list[Any]:
    gxe = load_great_expectations().expectations
    rules = [(rule.words, rule.columns) for rule in rules_of(table)] + [(key_words(table), table.key)]
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column=words, value_set=[True], meta={"batch": "rows", "words": words, "columns": list(columns)}
        )
        for words, columns in rules
    ]


def _meta(column: Column, words: str) -> dict[str, object]:
    return {"batch": "rows", "words": words, "columns": [column.name]}
