"""`poolcast drift`: has the world moved, in files of anybody's.

Belongs here: arguments, answers as JSON or as a table. Stays out: reading the files (`plain_drift`), the statistics.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable

from pipeline.cli.screen import AsJson, as_written, err, out, plain, print_json

if TYPE_CHECKING:
    from pipeline.monitoring.drift.comparison import Comparison

drift = typer.Typer(no_args_is_help=True, help="Drift: has the world moved, in two files or since training?")

_SHOWN = 50
"""Rows that a screen holds; JSON has them all."""
_NAME_LENGTH = 60
_NAMES_SHOWN = 8


@drift.callback()
def _drift() -> None:
    """Drift: has the world moved, in two files or since training?"""


@drift.command("compare")
def compare(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE.parquet", help="Rows of the pools to compare with.", exists=True)
    ],
    current: Annotated[Path, typer.Argument(metavar="CURRENT.parquet", help="Rows of newer pools.", exists=True)],
    group: Annotated[
        str, typer.Option(help="The column that names a pool; several with commas between, such as network,pool.")
    ] = "pool",
    columns: Annotated[
        str | None, typer.Option(help="Columns to compare, with commas between; else all numbers, truth values, texts.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="False discovery rate over the columns; 0.03 unless set.")] = None,
    min_js: Annotated[
        float | None, typer.Option(help="Least divergence, in bits beyond chance, that counts; 0.01 unless set.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the permutations; the same seed gives the same answer.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two samples of pools, column by column. Each pool weighs one, however many rows it has.

    p_value: from permuting pools; holds at any number of pools. q_value: over all columns (Benjamini-Hochberg).
    js, psi: divergence in bins of the reference. js_by_chance: what the same pools give when dealt out at random.
    is_drifted: q_value <= alpha, and the divergence beyond chance is at least --min-js. alarm: any column is drifted.
    A pool in both files counts once on each side, which makes alarms rarer, never more frequent.

    JSON: alarm, n_reference_pools, n_current_pools, n_shared_pools, is_judged (false: fewer than 10 pools on a side),
    left_out (columns that hold moments, lists or bytes), columns: a list of column, kind, share_null_reference,
    share_null_current, js, js_by_chance, psi, p_value, q_value, is_drifted. Where both files have a column `experiment`
    (text, whole numbers, truth values or days), one answer for each: {"experiments": [{"experiment": ..., "alarm": ...,
    ...}, ...]}, in order of it. The exit status is 0 whatever is found.
    """
    from rich.progress import track

    from pipeline.cli.plain_drift import Sides, answers
    from pipeline.monitoring.drift.spec import DriftSpec

    asked = {"alpha": alpha, "min_js": min_js, "seed": seed}
    spec = DriftSpec(**{name: value for name, value in asked.items() if value is not None})  # type: ignore[arg-type]
    sides = Sides(reference, current, group, columns)
    told = track(answers(sides, spec), "compared", total=sides.n_experiments(), console=err, transient=True)
    _answer(list(told), sides.is_many, as_json)


def _answer(found: "list[tuple[Any, Comparison]]", is_many: bool, as_json: bool) -> None:
    from pipeline.cli.plain_drift import record

    if as_json:
        records = [{"experiment": experiment, **record(comparison)} for experiment, comparison in found]
        told = {"experiments": records} if is_many else record(found[0][1])
        print_json(told)
        return
    out.print(_many(found[:_SHOWN]) if is_many else _one(found[0][1]))
    n_more = len(found) - _SHOWN if is_many else found[0][1].columns.height - _SHOWN
    if n_more > 0:
        out.print(f"and {n_more:,} more: --json has them all")
    if not is_many:
        _say(found[0][1])


def _one(found: "Comparison") -> RichTable:
    title = (
        f"{found.n_current_pools:,} pools against {found.n_reference_pools:,}: {'drift' if found.alarm else 'no drift'}"
    )
    table = RichTable("column", "kind", title=title, title_justify="left")
    for name in ("js", "by chance", "psi", "p", "q", "drifted"):
        table.add_column(name, justify="right")
    for row in found.columns.sort("q_value", "js", descending=[False, True]).head(_SHOWN).to_dicts():
        figures = (f"{row[name]:.4f}" for name in ("js", "js_by_chance", "psi", "p_value", "q_value"))
        table.add_row(as_written(_cut(row["column"])), row["kind"], *figures, "yes" if row["is_drifted"] else "no")
    return table


def _many(found: "list[tuple[Any, Comparison]]") -> RichTable:
    from pipeline.cli.plain_drift import drifted_names

    table = RichTable("experiment", "reference pools", "current pools", "alarm", "drifted")
    for experiment, one in found:
        names = [_cut(name) for name in drifted_names(one)]
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        cells = (plain(experiment), one.n_reference_pools, one.n_current_pools, "yes" if one.alarm else "no")
        table.add_row(*map(as_written, cells), as_written(", ".join(names[:_NAMES_SHOWN]) + more))
    return table


def _say(found: "Comparison") -> None:
    """What a reader of the table must know beside it."""
    if not found.is_judged:
        err.print("Too few pools on a side to call anything drift; the figures stand.", markup=False)
    if found.n_shared_pools:
        err.print(
            f"{found.n_shared_pools:,} pools are on both sides; each counts once on either. Leave them out on one side"
            " to see smaller shifts.",
            markup=False,
        )
    if found.left_out:
        err.print(as_written(f"Left out, as they hold nothing comparable: {', '.join(map(_cut, found.left_out))}"))


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 3] + "..."
