"""`poolcast evaluate`: what predictions in a file are worth.

Belongs here: arguments and tables on the screen. Stays out: reading the file and the figures (`pipeline.models`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.parquet import require_parquet
from pipeline.cli.screen import AsJson, DataDir, out, print_json, settings_there

if TYPE_CHECKING:
    from pipeline.models.files import Predictions

SHOWN = ("log_loss", "accuracy", "f1/macro", "roc_auc/macro", "brier")
"""The figures that tell most: first of all, and of a slice those that fit a screen."""


def evaluate(
    predictions: Annotated[
        Path | None,
        typer.Argument(metavar="PREDICTIONS.parquet", help="Columns pool, label and one p_CLASS a class, of any set."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Figures by slice too: horizon, network, tier, age or any column; may be repeated."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compute every figure of a file of predictions, with 95 % intervals from a bootstrap over pools.

    What each figure means: docs/evaluation.md. Classes are those that have a column. `--by tier` needs a column
    `reserve_usd`, `--by age` one `age_hours`.
    Without a file: the out-of-sample predictions that the last demo wrote.
    """
    from pipeline.models.files import evaluate_file, read_predictions
    from pipeline.snapshots.spec import SnapshotsSpec

    tiers = [(tier.reserve_usd, tier.is_exclusive) for tier in SnapshotsSpec().tiers]
    path = predictions or settings_there(data_dir, is_lake_enough=False).data_dir / "demo" / "evaluation.parquet"
    if path.is_file():
        require_parquet(path)
    told = evaluate_file(path, by=by or (), tiers=tiers)
    if as_json:
        print_json(told)
        return
    cut = told.pop("by", {})
    out.print(_head(path, read_predictions(path)))
    out.print(figures_table(told))
    for name, parts in cut.items():
        out.print(_slices_table(name, parts))


def _head(path: Path, read: "Predictions") -> Text:
    """What the figures are of, and where it stands what they are."""
    key = [name for name in ("network", "pool") if name in read.frame.columns]
    n_pools = read.frame.select(key).n_unique()
    of = f"{path.name}: {read.frame.height:,} predictions of {n_pools:,} pools, {len(read.classes)} classes"
    return _shown(f"{of}. What each figure means: docs/evaluation.md")


def figures_table(told: dict[str, Any]) -> RichTable:
    """Every figure of a file: first those that tell most, then all others by name."""
    from pipeline.models.records import as_text

    table = RichTable("figure", "value [95 % interval]", title="Figures", title_justify="left")
    first = [name for name in SHOWN if name in told]
    for name in (*first, *(name for name in told if name not in SHOWN)):
        table.add_row(_shown(name), as_text(told[name]), end_section=name == first[-1])
    return table


def _slices_table(by: str, parts: dict[str, Any]) -> RichTable:
    from pipeline.models.records import as_text

    table = RichTable("slice", "pools", "rows", *SHOWN, title=_shown(f"By {by}"), title_justify="left")
    for name, part in parts.items():
        figures = (as_text(part["figures"].get(metric)) for metric in SHOWN)
        table.add_row(_shown(name), f"{part['n_pools']:,}", f"{part['n_rows']:,}", *figures)
    return table


def _shown(name: str) -> Text:
    """A name from a file, as text that a terminal cannot take for a command."""
    return Text("".join(ch for ch in name if ch.isprintable()))
