"""`poolcast predictions`: what the models said, and whether it was right.

Belongs here: arguments, and rows on the screen. Addresses come from a chain, where anybody may write anything: they are
shown, never interpreted.
"""

from datetime import datetime
from typing import Annotated, Final

import typer

from pipeline.cli.moments import moment
from pipeline.cli.screen import AsJson, DataDir, err, lake_of, settings_there

predictions = typer.Typer(no_args_is_help=True, help="Predictions: what models said, and what became of it.")

_FIGURES: Final = 4
"""Significant figures on the screen; JSON has all."""

_Moment = Annotated[str | None, typer.Option(metavar="TIME", help="Of the snapshot, UTC, like 2026-05-01T12:00.")]


@predictions.callback()
def _predictions() -> None:
    """Predictions: what models said, and what became of it."""


@predictions.command("query")
def query_predictions(
    pool: Annotated[str | None, typer.Option(help="A pool's address.")] = None,
    model: Annotated[str | None, typer.Option(help="A registered model's name.")] = None,
    version: Annotated[int | None, typer.Option(help="A model's version.")] = None,
    since: _Moment = None,
    until: _Moment = None,
    limit: Annotated[int, typer.Option(help="Show at most so many, the newest first.", min=1)] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what was said about pools, newest first, with what became of them beside.

    `says` is the most probable outcome. `end` is what came, why it is not known, or pending. `is_evidence` is no for
    what was said with hindsight.
    """
    import polars as pl

    from pipeline.cli.rows import print_rows_as_json, show_rows
    from pipeline.predictions.history import Wanted, history

    wanted = Wanted(pool, model, version, _moment("--since", since), _moment("--until", until), limit)
    rows = history(lake_of(settings_there(data_dir)), wanted)
    if as_json:
        print_rows_as_json(rows)
        return
    show_rows(rows.with_columns(pl.selectors.float().round_sig_figs(_FIGURES)))
    if rows.is_empty():
        words = "no prediction is of all that was asked for; `poolcast pools show` says what is known of a pool"
        err.print(words, markup=False, soft_wrap=True)


def _moment(option: str, told: str | None) -> datetime | None:
    return None if told is None else moment(told, option)
