"""Great Expectations' own data docs: every suite, and what it says of a table's newest rows, as pages to browse.

Belongs here: building the pages, and keeping what came from a chain off them. Stays out: which rows (`poolcast quality
docs` reads them) and what is expected (`suites`).

Great Expectations writes values into its pages as they are: a token's name ran as a script there. So no text of a row
reaches it, but for the values of a closed list: any other is the word `text`. And every page forbids all scripts and
everything remote, so that nothing that slipped through could run, and reading a page tells nobody.
"""

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import polars as pl

from pipeline.errors import UsageError
from pipeline.expectations.bands import BANDS, OutcomeBands
from pipeline.expectations.keys import is_key_unique
from pipeline.expectations.meaning import frame_rules, rules_of
from pipeline.expectations.rule import holds
from pipeline.expectations.suites import ephemeral_context, load_great_expectations, schema_rows, suite_for
from pipeline.tables import Table

POLICY: Final = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:\">"
)
STYLE: Final = (
    "<style>body{font:15px/1.5 sans-serif;margin:1.5rem;max-width:75rem}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "footer,.navbar img,.cooltip .top,.modal,#show-walkthrough{display:none}</style>"
)
"""Great Expectations takes its style from elsewhere, which a page may not ask."""
TEXT: Final = "text"
"""What stands on a page in the place of any text that is not of a closed list."""


def build_pages(
    tables: Iterable[Table], rows_of: Callable[[Table], pl.DataFrame], folder: Path, bands: OutcomeBands = BANDS
) -> Path:
    """Write the pages of some tables into a folder, and give the first page.

    Args:
        tables: whose suites are shown.
        rows_of: the rows each is judged by; few enough to be copied.
        folder: a folder that is empty or not there yet.
        bands: the thresholds that an outcome and its return must agree on.

    Raises:
        UsageError: the folder holds something else already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"cannot write pages into {str(folder)!r}: it is not empty; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    context = _context(folder)
    told = {table.name: _judge(context, table, rows_of(table), bands) for table in tables}
    context.build_data_docs()
    index = folder / "index.html"
    index.write_text(_index(folder, told), encoding="utf-8")
    for page in folder.rglob("*.html"):
        page.write_text(_guarded(page.read_text(encoding="utf-8")), encoding="utf-8")
    return index


def without_text(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the word `text` in the place of every text and every blob, but for values of a closed list."""

    def told(name: str) -> pl.Expr:
        value = pl.col(name)
        known = value.is_in(list(table.column(name).values or ())) if frame.schema[name] == pl.String else pl.lit(False)
        return pl.when(known).then(value).when(value.is_not_null()).then(pl.lit(TEXT)).cast(pl.String).alias(name)

    hidden = [name for name, dtype in frame.schema.items() if dtype in (pl.String, pl.Binary)]
    return frame.with_columns(told(name) for name in hidden)


def _judge(context: Any, table: Table, frame: pl.DataFrame, bands: OutcomeBands) -> str:
    """Validate both batches of a table's suite, so that the context holds suite and result; how it went, in words."""
    import pandas as pd  # noqa: PLC0415 - comes with Great Expectations, and as late

    gx = load_great_expectations()
    expectations = suite_for(table, bands).expectations
    judged = frame.select(
        *without_text(table, frame),
        is_key_unique(table, frame),
        *(holds(rule).alias(rule.words)
          for rule in (*rules_of(table, bands), *frame_rules(table, bands))),
    )  # fmt: skip
    batches = {"columns": pd.DataFrame(schema_rows(table, frame.schema)), "rows": judged.to_pandas()}
    n_broken = 0
    for part, batch in batches.items():
        which = "schema" if part == "columns" else "rows"
        name = f"{table.name} {part}"
        suite = gx.ExpectationSuite(
            name=name, expectations=[e for e in expectations if (e.meta or {})["batch"] == which]
        )
        asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
        definition = gx.ValidationDefinition(
            name=name, data=asset.add_batch_definition_whole_dataframe(name), suite=context.suites.add(suite)
        )
        answer = context.validation_definitions.add(definition).run(batch_parameters={"dataframe": batch})
        n_broken += answer.statistics["unsuccessful_expectations"]
    return f"{frame.height:,} rows, {n_broken} of {len(expectations)} expectations broken"


def _context(folder: Path) -> Any:
    context = ephemeral_context()
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site = {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": backend}
    context.add_data_docs_site(site_name="poolcast", site_config=site)
    return context


def _index(folder: Path, told: dict[str, str]) -> str:
    """The first page: each table, how it went, and its pages. Great Expectations' own is drawn by a script."""
    lines = []
    for name, words in told.items():
        links = []
        for kind in ("validations", "expectations"):
            for part in ("rows", "columns"):
                pattern = f"{name} {part}.html" if kind == "expectations" else f"{name} {part}/**/*.html"
                pages = sorted((folder / kind).glob(pattern))
                links += [f'<a href="{quote(str(p.relative_to(folder)))}">{kind} of its {part}</a>' for p in pages]
        lines.append(f"<tr><td>{escape(name)}</td><td>{escape(words)}</td><td>{'<br>'.join(links)}</td></tr>")
    head = '<!DOCTYPE html><html><head><meta charset="utf-8"><title>poolcast: expectations</title></head><body>'
    return f"{head}<h1>Expectations</h1><table>{''.join(lines)}</table></body></html>"


def _guarded(page: str) -> str:
    """The page with the policy at its head, before anything that could be loaded or run."""
    head, found, rest = page.partition("<head>")
    return f"{head}{found}{POLICY}{STYLE}{rest}" if found else f"{POLICY}{STYLE}{page}"
