"""The report on drift that a person reads: one page of Evidently's, with our figures and our verdict.

Belongs here: which columns may stand on a page, and how Evidently is told what we decided. Stays out: deciding
(`report`), and where the page is kept.

Evidently is given numbers and nothing else: features by names of ours, truth values as 0 and 1, no text, no pool. Its
pages put names and categories into a script of theirs, where `</script>` in a token's name once ran; so a name must be
`[a-z0-9_]`, and there are no categories. Its own test of drift would call rows independent and contradict us, so a test
that repeats our verdict stands in its place. The page loads nothing from anywhere.

Evidently takes five seconds to import, so it is imported where it is used, by `load_evidently`.
"""

import html
import os
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

import polars as pl

from pipeline.errors import InputError
from pipeline.monitoring.drift.reference import require_names

MOST_SHOWN: Final = 30
"""Features on a page, the most drifted first: each is a drawing, and costs a fifth of a second."""
HEADING: Final = "Has the world moved since the champion learned?"
_TEST: Final = "Jensen-Shannon divergence, judged by poolcast"
_BODY: Final = "<body>"


def load_evidently() -> ModuleType:
    """Evidently, imported with its telemetry off."""
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["ITERATIVE_DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        # What it imports uses names that numpy and litestar have deprecated, and it is not ours to mend.
        warnings.simplefilter("ignore")
        import evidently  # noqa: PLC0415 - see the module's head
        import evidently.presets  # noqa: PLC0415
    library: ModuleType = evidently
    return library


def drift_page(reference: pl.DataFrame, current: pl.DataFrame, found: pl.DataFrame, words: str) -> str:
    """The page, HTML in one piece.

    Args:
        reference: features of the pools that the champion learned from.
        current: the same of the pools looked at. Columns that `found` does not name never reach the page.
        found: rows of `tables.DRIFT_REPORTS` of one report.
        words: the verdict.

    Raises:
        UsageError: a feature's name is not of the kind that may stand on a page.
        InputError: the report judged no feature, or one that is neither a number nor a truth value.
    """
    features = found.filter(pl.col("kind") == "feature", pl.col("js").is_not_null())
    told = [name for name in features["subject"] if _is_told(reference[name]) and _is_told(current[name])]
    drawn = features.filter(pl.col("subject").is_in(told))
    shown = drawn.sort("is_drifted", "js", "subject", descending=[True, True, False]).head(MOST_SHOWN)
    names = shown["subject"].to_list()
    require_names(names)
    if not names:
        raise InputError("draw a page on drift: the report judged no feature that has values on both sides")
    before, after = (_numbers(rows, names) for rows in (reference, current))
    judged = {row["subject"]: (row["js"], bool(row["is_drifted"])) for row in shown.iter_rows(named=True)}
    return _with_words(_drawn(before, after, judged), words, n_left_out=features.height - shown.height)


def _is_told(column: pl.Series) -> bool:
    """Whether there is a value at all: a side without any cannot be drawn; its share of nulls is in the report."""
    return column.null_count() < len(column)


def _numbers(rows: pl.DataFrame, names: list[str]) -> Any:
    """The features as a pandas frame of floats, whatever is missing NaN."""
    odd = [name for name in names if not (rows.schema[name].is_numeric() or rows.schema[name] == pl.Boolean)]
    if odd:
        raise InputError(f"draw a page on drift: {odd!r} hold neither numbers nor truth values; leave them out")
    finite = pl.col(names).cast(pl.Float64)
    return rows.select(pl.when(finite.is_finite()).then(finite)).to_pandas()


def _drawn(before: Any, after: Any, judged: Mapping[str, tuple[float, bool]]) -> str:
    library = load_evidently()
    from evidently.legacy.calculations.stattests import StatTest, registry  # noqa: PLC0415 - as above
    from evidently.legacy.core import ColumnType  # noqa: PLC0415

    test = StatTest(name="poolcast", display_name=_TEST, allowed_feature_types=[ColumnType.Numerical])
    registry.register_stattest(test, lambda old, _new, _kind, _threshold: judged[old.name])
    columns = library.DataDefinition(numerical_columns=list(judged))
    preset = library.presets.DataDriftPreset(
        columns=list(judged), method=test, drift_share=0.5 / len(judged), include_tests=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant or empty column makes its figures warn
        sides = [library.Dataset.from_pandas(side, data_definition=columns) for side in (after, before)]
        return str(library.Report([preset]).run(*sides).get_html_str(as_iframe=False))


def _with_words(page: str, words: str, n_left_out: int) -> str:
    """The page with our verdict above it, every sign of which is text."""
    more = f"<p>{n_left_out} more are in the table of the report: they moved less, or have no value on a side.</p>"
    ours = (
        f'<section style="font-family: sans-serif; margin: 2em"><h1>{HEADING}</h1><p>{html.escape(words)}</p>'
        "<p>What is called drift here was decided by permuting pools, with the false discovery rate controlled; the"
        f" drawings are Evidently's.</p>{more if n_left_out else ''}</section>"
    )
    head, body, rest = page.partition(_BODY)
    if not body:
        raise InputError(f"draw a page on drift: Evidently's page has no {_BODY!r}; was it written by another release?")
    return f"{head}{body}{ours}{rest}"
