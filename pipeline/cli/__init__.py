"""`poolcast`: one thin command for each thing a person does without the UI.

Belongs here: arguments, tables on the screen, exit statuses (2: wrong use, 1: failure). Stays out: everything else;
what takes seconds to import is imported by the command that needs it.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.alerts import alerts
from pipeline.cli.bins import bins
from pipeline.cli.drift import drift
from pipeline.cli.drift_report import report_now
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
from pipeline.cli.screen import AsJson, DataDir, as_written, err, instance_of, lake_of, out, print_json, settings_of
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
app.command("status")(status)
app.command("worker")(worker)
app.command("migrate")(migrate)
app.command("backup")(backup)
app.command("restore")(restore)
drift.command("report")(report_now)
for parent in (app, models):  # the same command under both names
    parent.command("evaluate")(evaluate)


def main() -> None:
    """Run the command line; our own errors become one message and an exit status, never a traceback."""
    try:
        app()
    except UsageError as error:
        _tell(f"poolcast: {error}")
        sys.exit(2)
    except PoolcastError as error:
        _tell(f"poolcast: {error}")
        sys.exit(1)
    except OSError as error:
        _tell(f"poolcast: {error.strerror or error}: {error.filename!r}")
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("poolcast: stopped; what was committed stays, and the same command carries on")
        sys.exit(130)


def _tell(message: str) -> None:
    """An error on the screen, line by line; what a file put into it is not interpreted by the terminal."""
    told = Text("\n").join(as_written(line) for line in message.split("\n"))
    told.stylize("red")
    err.print(told, soft_wrap=True)  # a log or a pipe gets each line whole


@app.command()
def demo(
    recording: Annotated[
        Path | None, typer.Option(help="A recording to replay; without it, a simulated market.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole loop once, from pools to a champion, and report what came of it.

    Writes DATA_DIR/demo/report.json and DATA_DIR/demo/evaluation.parquet; the tables lie under DATA_DIR/lake.
    Run twice, unchanged hours are not computed again. Look at everything afterwards with `poolcast up`.
    """
    from pipeline.calendars import SystemClock
    from pipeline.demo import demo_recording, run_demo
    from pipeline.pools.shelf import Shelf

    settings = settings_of(data_dir)
    told = demo_recording(Shelf(settings.recordings), recording, SystemClock().now())
    err.print(
        f"Replaying {told.recording.source} through the whole loop, from its records to a champion.", markup=False
    )
    with instance_of(settings) as (defs, instance, tags):
        report = run_demo(defs, instance, lake_of(settings), told, settings.data_dir / "demo", tags)
    print_json(report) if as_json else show_report(report, settings.data_dir / "demo" / "report.json")


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


def show_report(report: dict[str, Any], path: Path) -> None:
    """The demo's report on the screen."""
    from pipeline.models.records import as_text

    stages = RichTable(
        "stage", "rows", "seconds", title=f"Replayed {report['recording']['source']}", title_justify="left"
    )
    for name, stage in report["stages"].items():
        stages.add_row(name, f"{stage['rows']:,}", f"{stage['seconds']:.1f}")
    shares = RichTable(
        "horizon", "what became of the pool", title="Labels, share of all snapshots", title_justify="left"
    )
    for horizon, ends in report["labels"].items():
        shares.add_row(horizon, ", ".join(f"{end} {share:.1%}" for end, share in ends.items()))
    out.print(stages, shares)
    out.print(
        _figures_table(
            "Last block in time, 95 % intervals", {"model": report["model"]["metrics"], **report["baselines"]}
        )
    )
    at_one = report["model"]["metrics_at_one_hour_of_age"].get("roc_auc/RUG")
    if at_one:
        out.print(f"ROC-AUC for RUG within 24 h, decided at one hour of age: {as_text(at_one)}")
    champion = report["champion"]
    who = f"version {champion['version']} is in charge" if champion["version"] else "nobody is in charge"
    out.print(
        f"Champion: {who}. Verdict on version {champion['challenger_version']}: {champion['verdict']}.", markup=False
    )
    _show_returns(report["returns"])
    if report["quarantined"]:
        refused = ", ".join(f"{reason} {n:,}" for reason, n in report["quarantined"].items())
        out.print(f"Records refused or mended, kept in quarantine: {refused}", markup=False)
    out.print(
        f"{report['wall_seconds']:.0f} s, {report['peak_rss_bytes'] / 2**30:.2f} GiB at most. Report: {path}",
        markup=False,
    )
    out.print("To look at all of it in the browser: make up", markup=False)


def _show_returns(told: dict[str, Any]) -> None:
    """What came of the return forecasts."""
    from pipeline.models.records import as_text

    if "skipped" in told:
        out.print(f"Return forecasts: none, {told['skipped']}.", markup=False)
        return
    shown = ", ".join(f"{horizon} rank IC {as_text(figure)}" for horizon, figure in told["last_block"].items())
    in_charge = told["champion_version"]
    who = "nobody is in charge" if in_charge == "none" else f"version {in_charge} is in charge"
    out.print(f"Return forecasts: {told['chosen'].removesuffix('.')}; {shown}. {who}: {told['verdict']}.", markup=False)


def _figures_table(title: str, told: dict[str, dict[str, Any]]) -> RichTable:
    """The figures that fit a screen: the first column with its intervals, the others as plain numbers."""
    from pipeline.models.records import SHOWN, as_text

    first, *others = told.values()
    table = RichTable("figure", *told, title=title, title_justify="left")
    for name in (name for name in SHOWN if name in first):
        plain = [as_text({**figures.get(name, {"value": None}), "low": None}) for figures in others]
        table.add_row(name, as_text(first[name]), *plain)
    return table
