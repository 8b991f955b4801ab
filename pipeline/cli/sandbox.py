"""`poolcast sandbox`: a market to practise on.

Belongs here: arguments, and the frames that the sandbox is given. Stays out: everything it does with them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.moments import moment
from pipeline.cli.screen import out
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.sandbox.market import Market

sandbox = typer.Typer(no_args_is_help=True, help="Sandbox: a market to practise on, served like the real API.")


@sandbox.command("serve")
def serve_sandbox(
    recording: Annotated[Path | None, typer.Argument(help="A recording to serve; or use --simulate.")] = None,
    simulate: Annotated[int | None, typer.Option(help="Serve a simulated market with this seed.", min=0)] = None,
    pools: Annotated[int, typer.Option(help="Simulated pools a network.", min=1)] = 400,
    networks: Annotated[int, typer.Option(help="Simulated networks.", min=1, max=100)] = 1,
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one.", min=0, max=65_535)] = 0,
    speed: Annotated[float, typer.Option(help="Virtual seconds that pass in a real one.")] = 1.0,
    stepped: Annotated[bool, typer.Option("--stepped", help="Time stands until a client advances it.")] = False,
    start: Annotated[str | None, typer.Option(help="First moment, ISO 8601 in UTC; else the first birth.")] = None,
    faults: Annotated[float, typer.Option(help="Share of the calls that meet some fault.", min=0, max=1)] = 0.0,
    fault_seed: Annotated[int, typer.Option(help="The same seed gives the same faults.", min=0)] = 0,
    calls_per_minute: Annotated[int, typer.Option(help="Budget of calls, in virtual time.", min=1)] = 30,
) -> None:
    """Serve recorded or simulated pools as the GeckoTerminal API v2 does, until Ctrl-C; see docs/sandbox.md."""
    from pipeline.sandbox.faults import FaultPlan
    from pipeline.sandbox.server import serve

    first = None if start is None else moment(start, "--start")
    if (recording is None) == (simulate is None):
        raise UsageError("give either a recording or --simulate SEED, so that it is clear what is served")
    market = _simulated(simulate or 0, pools, networks) if recording is None else _recorded(recording)

    def announce(url: str) -> None:
        out.print(f"{market.source}: {len(market.pools)} pools of {', '.join(market.networks)}", markup=False)
        out.print(f"API at {url}/api/v2, controls at {url}/sandbox; Ctrl-C stops it", markup=False)

    serve(
        market,
        port=port,
        start=first,
        speed=None if stepped else speed,
        calls_per_minute=calls_per_minute,
        faults=FaultPlan.evenly(faults, fault_seed),
        announce=announce,
    )


def _recorded(folder: Path) -> "Market":
    from pipeline.calendars import SystemClock
    from pipeline.pools.recording import open_recording, read_recording
    from pipeline.pools.spec import PoolsSpec
    from pipeline.sandbox.market import Market

    recording = open_recording(folder)
    frames = read_recording(recording, PoolsSpec(), SystemClock().now())
    return Market.of(frames.reserves, frames.pools, recording.source)


def _simulated(seed: int, n_pools: int, n_networks: int) -> "Market":
    """The markets of several networks; one alone is the very market that `poolcast recordings simulate` makes."""
    import tempfile
    from dataclasses import replace

    import polars as pl

    from pipeline.calendars import SystemClock
    from pipeline.pools.recording import read_recording
    from pipeline.pools.simulator import simulate, write_recording
    from pipeline.pools.spec import PoolsSpec, SimulationSpec
    from pipeline.sandbox.market import Market

    told = []
    with tempfile.TemporaryDirectory(prefix="poolcast-sandbox-") as folder:
        for place in range(n_networks):
            name = SimulationSpec.network if n_networks == 1 else f"{SimulationSpec.network}-{place + 1}"
            spec = replace(SimulationSpec(), n_pools=n_pools, network=name)
            # Seeds lie far apart, so that no two networks hold the same pools, nor another seed's.
            made = simulate(spec, seed + place * 1_000_003)
            written = write_recording(made, Path(folder) / name, spec, seed)
            told.append(read_recording(written, PoolsSpec(), SystemClock().now()))
    reserves, pools = (pl.concat(frames) for frames in zip(*((t.reserves, t.pools) for t in told), strict=True))
    return Market.of(reserves, pools, f"simulation:{seed}")
