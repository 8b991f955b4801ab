"""`poolcast labels`: what became of pools, on plain files.

Belongs here: arguments and progress. Stays out: the rules (`pipeline.labels`).
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli.screen import by_comma, err
from pipeline.errors import UsageError

labels = typer.Typer(no_args_is_help=True, help="Labels: what became of pools.")


@labels.callback()
def _labels() -> None:
    """Labels: what became of pools."""


@labels.command("compute")
def compute_labels(
    source: Annotated[Path, typer.Argument(metavar="IN.parquet", help="Snapshots, or OHLCV bars.", exists=True)],
    target: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.parquet", help="File to write.")],
    horizons: Annotated[str, typer.Option(help="Hours to look ahead, by comma.")] = "1,6,24",
    bar_minutes: Annotated[int | None, typer.Option(help="Length of the bars; found from them unless given.")] = None,
) -> None:
    """Label a plain Parquet file: one row for each snapshot, or bar's end, and horizon.

    IN holds snapshots (columns as `poolcast lake sql "DESCRIBE snapshots"` shows them), or bars: `symbol`, `time` or
    `date` (the bar's start, UTC), `open`, `high`, `low`, `close`, `volume`. Bars tell no reserves: their rugs are falls
    of the price. What lies after the file's last moment is pending. OUT appears whole or not at all.
    """
    from pipeline.cli.plain import shown
    from pipeline.cli.plain_labels import labels_of_file

    with shown() as progress:
        written = labels_of_file(source, target, _hours(horizons), progress, bar_minutes)
    err.print(Text(f"{written.n_rows:,} labels of {written.n_pools:,} pools: {target}"))


def _hours(told: str) -> list[int]:
    parts = by_comma(told)
    if not parts or not all(part.isascii() and part.isdigit() and 0 < int(part) <= 24 * 365 for part in parts):
        raise UsageError(f"horizons are whole hours by comma, like 1,6,24; found {told!r}")
    return sorted({int(part) for part in parts})
