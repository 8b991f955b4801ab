"""`poolcast features`: what features there are, what one means, and computing them on plain files.

Belongs here: arguments, and how a feature is shown. Stays out: the catalogue's words, and computing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.screen import AsJson, by_comma, err, out, print_json

if TYPE_CHECKING:
    from pipeline.features.catalogue import Entry

features = typer.Typer(no_args_is_help=True, help="Features: what a model may know at a time.")


@features.command("list")
def list_features(
    family: Annotated[list[str] | None, typer.Option("--family", help="Only this family; may be repeated.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the docs page.")] = False,
    as_json: AsJson = False,
) -> None:
    """List every feature: its unit, range, meaning, and how far back it looks; `explain` says the rest."""
    from pipeline.features.catalogue import as_markdown, described
    from pipeline.features.registry import FAMILIES, features_of
    from pipeline.features.spec import FeaturesSpec

    spec, families = FeaturesSpec(), tuple(family or FAMILIES)
    if markdown:
        out.print(as_markdown(spec, families), markup=False, soft_wrap=True, end="")
        return
    entries = [described(feature, spec) for feature in features_of(*families)]
    if as_json:
        print_json(entries)
        return
    table = RichTable(title=f"{len(entries)} features")
    table.add_column("feature", no_wrap=True)
    for column in ("unit", "range", "window", "meaning"):
        table.add_column(column, overflow="fold")
    for e in entries:
        cells = (e["name"], e["unit"] or e["type"], e["range"], e["window"], e["meaning"])
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)


@features.command("explain")
def explain_feature(
    name: Annotated[str, typer.Argument(help="A feature's name.")],
    as_json: AsJson = False,
) -> None:
    """Say what a feature means, what it is made from, when it is null, and work its example."""
    from pipeline.features.catalogue import described
    from pipeline.features.registry import named
    from pipeline.features.spec import FeaturesSpec

    entry = described(named(name), FeaturesSpec())
    if as_json:
        print_json(entry)
    else:
        _show(entry)


def _show(e: "Entry") -> None:
    table = RichTable(title=e["name"], show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    given = "\n".join(f"{name} = {'unknown' if value is None else value}" for name, value in e["example_given"].items())
    for key, value in (
        ("meaning", e["meaning"]),
        ("formula", e["formula"]),
        ("family", e["family"]),
        ("unit", e["unit"] or e["type"]),
        ("range", e["range"]),
        ("made from", "\n".join(e["inputs"])),
        ("looks back", e["window"]),
        ("null when", e["null_when"]),
        ("example", f"{given}\n=> {'null' if e['example_gives'] is None else e['example_gives']}"),
    ):
        table.add_row(key, Text(value))
    out.print(table)


@features.command("compute")
def compute_features(
    source: Annotated[Path, typer.Argument(metavar="IN.parquet", help="Snapshots, or OHLCV bars.", exists=True)],
    target: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.parquet", help="File to write.")],
    families: Annotated[
        list[str] | None, typer.Option("--families", help="Families to compute, by comma; all that IN allows.")
    ] = None,
    indicators: Annotated[
        str, typer.Option(help="Further pandas-ta indicators to add, by comma (OHLCV bars only).")
    ] = "",
    bar_minutes: Annotated[int | None, typer.Option(help="Length of the bars; found from them unless given.")] = None,
) -> None:
    """Compute features of a plain Parquet file and write them to another.

    IN holds snapshots (columns as `poolcast lake sql "DESCRIBE snapshots"` shows them), or bars: `symbol`, `time` or
    `date` (the bar's start, UTC), `open`, `high`, `low`, `close`, `volume`. Of bars, a row is written for the end of
    each bar, with the families that need no more. OUT appears whole or not at all.
    """
    from pipeline.cli.plain import shown
    from pipeline.cli.plain_features import features_of_file

    wanted = [name for given in families or () for name in by_comma(given)]
    with shown() as progress:
        written = features_of_file(source, target, wanted, by_comma(indicators), progress, bar_minutes)
    err.print(Text(f"{written.n_rows:,} rows of {written.n_pools:,} pools, {written.n_columns} features: {target}"))
