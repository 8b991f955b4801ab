"""`poolcast`: one thin command for each thing a person does without the UI.

In this package: arguments, tables on the screen, exit statuses (2: wrong use, 1: failure). A module is a group of
commands, or what several share. Belongs here: which commands there are, and how each ends that fails. Stays out:
everything else; what takes seconds to import is imported by the command that needs it.
"""

import sys
from typing import Annotated, Final

import typer
from rich.text import Text

from pipeline.cli.alerts import alerts
from pipeline.cli.bins import bins
from pipeline.cli.demo import demo
from pipeline.cli.drift import drift
from pipeline.cli.drift_report import report_now
from pipeline.cli.endings import of_the_system
from pipeline.cli.evaluate import evaluate
from pipeline.cli.features import features
from pipeline.cli.gate import gate
from pipeline.cli.labels import labels
from pipeline.cli.lake import lake
from pipeline.cli.migrate import backup, migrate, restore
from pipeline.cli.models import models
from pipeline.cli.pools import pools
from pipeline.cli.predictions import predictions
from pipeline.cli.promotion import promotion
from pipeline.cli.quality import quality
from pipeline.cli.recordings import recordings
from pipeline.cli.sandbox import sandbox
from pipeline.cli.screen import AsJson, DataDir, as_written, err, out, print_json, settings_of
from pipeline.cli.sign_in import sign_in
from pipeline.cli.status import status
from pipeline.cli.worker import worker
from pipeline.errors import PoolcastError, UsageError

app = typer.Typer(
    name="poolcast",
    help="Learns what becomes of newly created liquidity pools, and keeps the provably best model in charge.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(pools, name="pools")
app.add_typer(alerts, name="alerts")
app.add_typer(sandbox, name="sandbox")
app.add_typer(lake, name="lake")
app.add_typer(features, name="features")
app.add_typer(labels, name="labels")
app.add_typer(bins, name="bins")
app.add_typer(recordings, name="recordings")
app.add_typer(models, name="models")
app.add_typer(predictions, name="predictions")
app.add_typer(promotion, name="promotion")
app.add_typer(gate, name="gate")
app.add_typer(drift, name="drift")
app.add_typer(quality, name="quality")
app.add_typer(sign_in, name="sign-in")
app.command("demo")(demo)
app.command("status")(status)
app.command("worker")(worker)
app.command("migrate")(migrate)
app.command("backup")(backup)
app.command("restore")(restore)
drift.command("report")(report_now)
for parent in (app, models):  # the same command under both names
    parent.command("evaluate")(evaluate)


_STOPPED: Final = 130
"""The status that Typer ends with on Ctrl-C, without a word."""


def main() -> None:
    """Run the command line; our own errors become one message and an exit status, never a traceback."""
    from resources.variables import misspelt

    for warning in misspelt():
        _tell(f"poolcast: {warning}", "yellow")
    try:
        app()
    except UsageError as error:
        _tell(f"poolcast: {error}")
        sys.exit(2)
    except PoolcastError as error:
        _tell(f"poolcast: {error}")
        sys.exit(1)
    except OSError as error:
        from pipeline.lake.failures import store_error

        told = store_error("read the lake", str(error)) or of_the_system(error)
        _tell(f"poolcast: {told}")
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == _STOPPED:
            err.print("poolcast: stopped; what was committed stays, and the same command carries on")
        raise


def _tell(message: str, colour: str = "red") -> None:
    """An error or a warning on the screen, line by line; what a file put into it is not interpreted by the terminal."""
    told = Text("\n").join(as_written(line) for line in message.split("\n"))
    told.stylize(colour)
    err.print(told, soft_wrap=True)  # a log or a pipe gets each line whole


@app.command()
def up(
    data_dir: DataDir = None,
    dagster_port: Annotated[int | None, typer.Option(help="Port of Dagster's pages; 3000 unless set.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Port of MLflow's pages; 5000 unless set.")] = None,
) -> None:
    """Start PostgreSQL, MLflow and Dagster on loopback, keep them running, and stop them all on Ctrl-C."""
    from resources import services

    sys.exit(services.up(settings_of(data_dir, dagster_port, mlflow_port), out))


@app.command()
def graph(as_json: AsJson = False) -> None:
    """Print the asset graph, one line an asset: its group, its partitions, its checks, what it is made from."""
    from pipeline.definitions import defs
    from pipeline.graph import graph_lines, graph_nodes

    print_json(graph_nodes(defs)) if as_json else out.print("\n".join(graph_lines(defs)), markup=False, soft_wrap=True)
