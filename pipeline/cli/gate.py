"""`poolcast gate`: what paired losses in a file prove.

Belongs here: arguments, answers as JSON or as a table. Stays out: reading the file (`plain_pairs`) and the gates.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.screen import AsJson, as_written, err, out, plain, print_json
from pipeline.errors import UsageError

gate = typer.Typer(no_args_is_help=True, help="Gate: is a challenger provably better? On plain files of paired losses.")

Pairs = Annotated[
    Path,
    typer.Argument(
        metavar="PAIRS.parquet", help="Columns pool, matured_at, loss_champion, loss_challenger.", exists=True
    ),
]
_MOMENT = "stopped_at"
_SHOWN = 50
"""Experiments that a screen holds; JSON has them all."""


@gate.callback()
def _gate() -> None:
    """Gate: is a challenger provably better? On plain files of paired losses."""


@gate.command("sequential")
def sequential(
    source: Pairs,
    alpha: Annotated[
        float, typer.Option(help="Chance of promoting one that is not better, all looks together.")
    ] = 0.05,
    margin: Annotated[float, typer.Option(help="By how much it must be better, in units of the loss.")] = 0.0,
    max_pools: Annotated[
        int | None, typer.Option(help="Budget of pools; spent without proof, the challenger is rejected.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the wealth to this PNG; of one experiment only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge pool after pool, at one error rate however often one looks: promote, continue or reject.

    A pool's rows are averaged; it enters once, when its last row matured. matured_at: timestamps; without a time zone
    they are taken as UTC, days as their start, and a note says so. Other types are refused. A pool should count as
    matured when its whole window is over, not when its label was known (docs/promotion.md says what goes wrong).

    JSON: decision, wealth, wealth_worse, bound, n_pools, stopped_at (ISO time of the pool that decided, null while it
    continues), reason. Where the file has a column `experiment` (text, numbers, truth values or times), one answer for
    each: {"experiments": [{"experiment": ..., "decision": ..., ...}, ...]}, in order of it. The exit status is 0
    whatever the decision.
    """
    from pipeline.cli.plain_pairs import EXPERIMENT, read_pairs, sequential_answers, sequential_record

    pairs, note = read_pairs(source)
    _say(note)
    if plot and EXPERIMENT in pairs.columns:
        raise UsageError("a picture shows one experiment: give a file without the column 'experiment', or no --plot")
    answers = []
    for experiment, verdict in sequential_answers(pairs, alpha=alpha, margin=margin, max_pools=max_pools):
        answers.append((experiment, sequential_record(verdict)))
        if plot:
            from pipeline.promotion.wealth_plot import wealth_plot

            plot.write_bytes(wealth_plot(verdict, f"{source.stem}: {verdict.decision}"))
    _answer(answers, EXPERIMENT in pairs.columns, ("decision", "n_pools", "wealth", "stopped_at", "reason"), as_json)


@gate.command("offline")
def offline(
    source: Pairs,
    min_gain: Annotated[float, typer.Option(help="Relative reduction of the loss that must be exceeded.")] = 0.05,
    min_pools: Annotated[int, typer.Option(help="With fewer pools nothing passes.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Compare once, on all pools: gain above the least one, and its bootstrap interval over pools above 0.

    matured_at is not read here. With the columns correct_champion and correct_challenger (true or false) McNemar's
    test on pools stands beside it. A `gain` of 0.08 means that the challenger loses 8 % less.

    JSON: is_passed, gain, gain_low, gain_high, min_gain, loss_champion, loss_challenger, n_pools, n_rows, reason, and
    with correct_* n_champion_only, n_challenger_only, mcnemar_p. With a column `experiment`: {"experiments": [...]} as
    in `poolcast gate sequential`. The exit status is 0 whatever comes out.
    """
    from pipeline.cli.plain_pairs import EXPERIMENT, offline_answers, offline_spec, read_pairs

    pairs, _ = read_pairs(source, is_timed=False)
    answers = list(offline_answers(pairs, offline_spec(min_gain, min_pools)))
    _answer(answers, EXPERIMENT in pairs.columns, ("is_passed", "n_pools", "gain", "gain_low", "reason"), as_json)


def _say(note: str | None) -> None:
    if note:
        err.print(Text(note, style="yellow"))


def _answer(answers: list[tuple[Any, dict[str, Any]]], is_many: bool, shown: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        records = [{"experiment": experiment, **told} for experiment, told in answers]
        told = {"experiments": records} if is_many else answers[0][1]
        print_json(told)
        return
    out.print(_table(answers[:_SHOWN], is_many, shown))
    if len(answers) > _SHOWN:
        out.print(f"and {len(answers) - _SHOWN:,} more: --json has them all")


def _table(answers: Iterable[tuple[Any, dict[str, Any]]], is_many: bool, shown: tuple[str, ...]) -> RichTable:
    table = RichTable(*(["experiment"] if is_many else []), *(name.replace("_", " ") for name in shown))
    for experiment, told in answers:
        # A moment to the minute, UTC: a screen of 80 columns would cut more.
        cells = [_short(told[name])[: 16 if name == _MOMENT else None] for name in shown]
        table.add_row(*map(as_written, ([plain(experiment)] if is_many else []) + cells))
    return table


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
