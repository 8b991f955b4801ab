"""`poolcast recordings`: making, reading, importing and replaying market histories.

Belongs here: arguments and tables on the screen. Stays out: what a recording is (`pipeline.pools.recording`), and
replaying (`pipeline.replay`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.screen import AsJson, DataDir, err, instance_of, lake_of, out, print_json, settings_of

if TYPE_CHECKING:
    from pipeline.pools.recording import RecordedFrames, Recording

recordings = typer.Typer(no_args_is_help=True, help="Recordings: market histories that can be replayed.")


@recordings.command("simulate")
def simulate_recording(
    folder: Annotated[Path, typer.Argument(help="Folder to write; its name becomes the recording's.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 7,
    pools: Annotated[int, typer.Option(help="Number of pools.", min=1)] = 400,
    days: Annotated[int, typer.Option(help="Length of the market in days.", min=3)] = 10,
) -> None:
    """Make a market with planted truths (rugs, bleeds, pumps, healthy pools) and write it as a recording."""
    from dataclasses import replace

    from pipeline.pools.simulator import simulate, write_recording
    from pipeline.pools.spec import SimulationSpec

    spec = replace(SimulationSpec(), n_pools=pools, days=days, birth_days=days - 2)
    made = write_recording(simulate(spec, seed), folder, spec, seed)
    out.print(f"{pools} pools over {days} days, source {made.source}, in {made.path}", markup=False)


@recordings.command("import")
def import_recording(
    folder: Annotated[Path, typer.Argument(help="A recording: a folder with pools.parquet and reserves.parquet.")],
    data_dir: DataDir = None,
) -> None:
    """Register a recording and import it into the tables reserves, pools, candles and quarantine."""
    from pipeline.calendars import SystemClock
    from pipeline.pools.shelf import Shelf
    from pipeline.pools.spec import PoolsSpec
    from pipeline.replay import replay

    settings = settings_of(data_dir)
    told = Shelf(settings.recordings).register(folder, PoolsSpec(), SystemClock().now())
    with instance_of(settings) as (defs, instance, tags):
        replay(defs, instance, told, assets=("reserves", "pools", "candles"), tags=tags)
    _show_description(told.recording, told.frames, as_json=False)


@recordings.command("describe")
def describe_recording(
    folder: Annotated[Path, typer.Argument(help="A recording: a folder with pools.parquet and reserves.parquet.")],
    as_json: AsJson = False,
) -> None:
    """Say what a recording holds, what would be refused and why. Nothing is imported."""
    from pipeline.calendars import SystemClock
    from pipeline.pools.recording import open_recording, read_recording
    from pipeline.pools.spec import PoolsSpec

    recording = open_recording(folder)
    frames = read_recording(recording, PoolsSpec(), SystemClock().now())
    _show_description(recording, frames, as_json=as_json)


@recordings.command("replay")
def replay_recording(
    folder: Annotated[Path, typer.Argument(help="A recording: a folder with pools.parquet and reserves.parquet.")],
    first_days: Annotated[float, typer.Option(help="The first moment to stop at, in days.", min=0.05)] = 7.0,
    every_days: Annotated[float, typer.Option(help="How far apart the moments are, in days.", min=0.05)] = 7.0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let the life of the outcome model happen to a recording, in time order: train, gate, shadow, promote, roll back.

    At each moment the loop knows what had been told by then and no more. Ends with the ledger that was written.
    """
    from datetime import timedelta

    from assets.jobs import OUTCOME_LOOP
    from pipeline.calendars import SystemClock
    from pipeline.pools.shelf import Shelf
    from pipeline.pools.spec import PoolsSpec
    from pipeline.promotion.moves import Moves
    from pipeline.replay import moments_of, replay_in_steps

    settings = settings_of(data_dir)
    told = Shelf(settings.recordings).register(folder, PoolsSpec(), SystemClock().now())
    moments = moments_of(told.span, timedelta(days=first_days), timedelta(days=every_days))
    steps: list[dict[str, Any]] = []
    with instance_of(settings) as (defs, instance, tags):
        for moment, done in replay_in_steps(defs, instance, told, moments, assets=OUTCOME_LOOP, tags=tags):
            said = {name: _plain(done.metadata.get(name, {})) for name in ("champion", "trial", "reign")}
            steps.append({"moment": moment, **said})
            err.print(Text(f"{moment:%Y-%m-%d %H:%M} gate: {said['champion'].get('verdict')}"))
            err.print(Text(f"{'':16} trial: {said['trial'].get('reason')}; reign: {said['reign'].get('reason')}"))
    ledger = Moves(lake_of(settings), None).ledger()
    if as_json:
        print_json({"steps": steps, "deployments": ledger.to_dicts()})
        return
    table = RichTable("when", "what", "version", "why", title="The ledger it wrote", title_justify="left")
    for row in ledger.iter_rows(named=True):
        table.add_row(f"{row['known_at']:%Y-%m-%d %H:%M}", row["action"], str(row["version"]), Text(row["reason"]))
    out.print(table)


def _plain(metadata: dict[str, Any]) -> dict[str, Any]:
    """What an asset said in words and numbers, without its tables and pictures."""
    return {name: value for name, value in metadata.items() if isinstance(value, str | int | float)}


def _show_description(recording: "Recording", frames: "RecordedFrames", *, as_json: bool) -> None:
    from pipeline.pools.recording import describe

    told = describe(frames)
    if as_json:
        print_json({"name": recording.name, "source": recording.source, "sha256": recording.sha256, **told})
        return
    table = RichTable("what", "found", title=f"{recording.name} ({recording.source})", title_justify="left")
    for name, value in told.items():
        table.add_row(name, Text(json.dumps(value, default=str) if isinstance(value, dict) else str(value)))
    out.print(table)
