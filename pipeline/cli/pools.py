"""`poolcast pools`: collecting, filling in histories, looking at one pool.

Belongs here: arguments and tables on the screen. Stays out: everything else.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable

from pipeline.cli.screen import (
    AsJson,
    DataDir,
    as_written,
    err,
    instance_of,
    lake_of,
    out,
    print_json,
    settings_of,
    settings_there,
)
from pipeline.errors import PoolcastError, RefusedError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

pools = typer.Typer(no_args_is_help=True, help="Pools: find them, visit them, look at one.")

_MOST_COLUMNS, _MOST_STANDING = 7, 3
"""Wider tables stand on their side, and then so many rows fit into 80 columns."""

Networks = Annotated[
    list[str] | None, typer.Option("--network", help="A chain to watch, as the API names it; may be repeated.")
]
Sandbox = Annotated[
    str | None, typer.Option("--sandbox", help="Ask this sandbox market instead of the real API; its clock counts.")
]


@pools.command("collect")
def collect_pools(
    network: Networks = None,
    once: Annotated[
        bool, typer.Option("--once/--forever", help="One cycle, or one after the other until Ctrl-C.")
    ] = True,
    sandbox: Sandbox = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find new pools, visit those that are due, and bring every table that follows from them up to date.

    A cycle ends at the next five minutes. Several collectors may work at once: they share one budget of calls.

    Exit status: 0 something was answered, or nothing had to be asked; 1 no call was answered, the API does not know a
    network, or a step failed.
    """
    from pipeline.live import catch_up_behind, collect
    from pipeline.pools.shelf import Shelf
    from pipeline.runs import RunFailedError
    from resources.collecting import api_address, market_clock

    _enter(network, sandbox)
    settings = settings_of(data_dir)
    clock = market_clock(settings.api.sandbox_url)
    with instance_of(settings, alone=False) as (defs, instance, tags):
        while True:
            try:
                done = collect(defs, instance, clock.now(), tags)
                catch_up_behind(defs, instance, lake_of(settings), Shelf(settings.recordings), clock.now(), tags)
            except RunFailedError as error:
                if once:
                    raise
                err.print(f"poolcast: {error}; the next cycle goes on", markup=False)
                continue
            told = _totals(done.metadata)
            if as_json:
                print_json(told)
            else:
                out.print(", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in told.items()))
            unknown = done.metadata.get("answers", {}).get("unknown_networks")
            trouble = _unknown(unknown, api_address(settings.api)) or _unanswered(told)
            if once and trouble is not None:
                raise trouble
            if once:
                return
            if trouble is not None:
                err.print(f"poolcast: {trouble}; the next cycle goes on", markup=False, soft_wrap=True)


@pools.command("backfill")
def backfill_pools(
    addresses: Annotated[
        list[str] | None, typer.Argument(help="Pools whose bars to fetch; none: all that were found late.")
    ] = None,
    network: Networks = None,
    sandbox: Sandbox = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the five-minute bars of pools since their birth, within the budget, and mark them as learned late."""
    from pipeline.live import catch_up
    from pipeline.pools.backfill import backfill, late_pools
    from resources.alone import beside
    from resources.collecting import collector_setup

    _enter(network, sandbox)
    settings = settings_there(data_dir)
    setup, lake = collector_setup(settings.api, settings.collector), lake_of(settings)
    wanted = late_pools(lake, setup, addresses or (), setup.timer.now())
    with beside(settings), setup.open(lambda words: err.print(words, markup=False)) as desk:
        done = backfill(desk, lake, wanted, lambda words: err.print(words, markup=False))
    if done.span is not None:
        with instance_of(settings, alone=False) as (defs, instance, tags):
            catch_up(defs, instance, done.span, tags)
    told = {"pools": len(wanted), "calls": done.n_calls, "bars": done.n_bars, "failed": done.n_failed}
    print_json(told) if as_json else out.print(", ".join(f"{name} {n:,}" for name, n in told.items()))


@pools.command("show")
def show_pool(
    address: Annotated[str, typer.Argument(help="The pool's address.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of one pool: its facts, its last states, its bars, swaps and labels."""
    from pipeline.pools.portrait import portrait

    told = portrait(lake_of(settings_there(data_dir)), address)
    if as_json:
        print_json(told)
        return
    for title, rows in told.items():
        # Of the table itself, it would be broken to the width of that.
        out.print(as_written(title), style="italic", soft_wrap=True)
        out.print(_table(rows))


def _enter(networks: list[str] | None, sandbox: str | None) -> None:
    """Flags win over the environment, which is where the graph reads its settings."""
    from resources.settings import enter_environment

    told = {"POOLCAST_NETWORKS": ",".join(networks or ()), "POOLCAST_SANDBOX_URL": sandbox or ""}
    enter_environment({name: value for name, value in told.items() if value})


def _totals(metadata: "dict[str, dict[str, Any]]") -> dict[str, int]:
    """The cycle in numbers: what the assets said of it."""
    said = metadata.get("answers", {})
    told = {name: int(value) for name, value in said.items() if isinstance(value, int)}
    told["snapshots"] = int(metadata.get("snapshots", {}).get("rows_computed", 0))
    told["quarantined"] = int(metadata.get("raw_pools", {}).get("quarantined", 0))
    return told


def _unknown(networks: str | None, address: str) -> PoolcastError | None:
    """What to say of a cycle that asked for networks which do not exist; None of any other."""
    if not networks:
        return None
    return RefusedError(
        f"asked the API for the new pools of {networks!r}: it knows no such network (status 404); {address}/networks "
        "lists the names: mend --network or POOLCAST_NETWORKS; what was found elsewhere stays"
    )


def _unanswered(told: dict[str, int]) -> PoolcastError | None:
    """What to say of a cycle whose calls were all in vain; None of any other.

    >>> _unanswered({"failed_calls": 1, "answered_calls": 2})
    """
    if told.get("answered_calls") or not told.get("failed_calls"):
        return None
    n_calls = told["failed_calls"]
    return SourceError(
        f"asked the API for pools: none of {n_calls:,} call{'' if n_calls == 1 else 's'} was answered; look at "
        "POOLCAST_API_URL, POOLCAST_NETWORKS and this machine's network; what was kept stays"
    )


def _table(rows: "Sequence[dict[str, Any]]") -> RichTable:
    """Rows on the screen; what came from a chain is shown as plain text, and nothing is cut off."""
    table = RichTable()
    if not rows:
        table.add_column("nothing is known")
        return table
    if len(rows) == 1:
        table.add_column("what")
        table.add_column("told")
        for name, value in rows[0].items():
            table.add_row(name, as_written(_cell(value)))
        return table
    if len(rows[0]) > _MOST_COLUMNS:
        return _standing(table, rows[-_MOST_STANDING:])
    table = RichTable(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", "\n", 1), overflow="fold")
    for row in rows:
        table.add_row(*(as_written(_cell(value)) for value in row.values()))
    return table


def _standing(table: RichTable, rows: "Sequence[dict[str, Any]]") -> RichTable:
    """The last rows beside one another, a line for each column: more columns than a terminal is wide stay readable."""
    names = iter(rows[0])
    table.add_column(next(names), no_wrap=True)
    for row in rows:
        table.add_column(as_written(_cell(next(iter(row.values())))))
    for name in names:
        table.add_row(name, *(as_written(_cell(row[name])) for row in rows))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
