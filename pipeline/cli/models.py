"""`poolcast models`: training by hand.

Belongs here: arguments and what is shown of a finished run. Stays out: training itself (the graph's job `train`); what
predictions are worth is `evaluate`, which stands here by another name.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.parquet import require_parquet
from pipeline.cli.screen import AsJson, DataDir, instance_of, out, print_json, settings_of, settings_there, user_name

if TYPE_CHECKING:
    from resources.settings import Settings

models = typer.Typer(no_args_is_help=True, help="Models: training by hand, what they are worth, who asked for them.")


@models.command("train")
def train(
    source: Annotated[
        str, typer.Option(help="Whose pools to learn from: geckoterminal, recording:NAME, simulation:SEED.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why, for the history of trainings.")] = "asked for at the command line",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Freeze a training set, train, evaluate, let the gate decide: what the sensors and the weekly schedule ask for.

    The same set and code are not trained twice. A second training that is asked for meanwhile waits for the first.
    """
    from assets.jobs import OUTCOME_TRAINING
    from pipeline.calendars import HOUR, Span, SystemClock, floor
    from pipeline.runs import run_job

    settings, hour = settings_of(data_dir), floor(SystemClock().now(), HOUR)
    with instance_of(settings, alone=False) as (defs, instance, tags):
        done = run_job(
            defs,
            instance,
            "train",
            Span(hour, hour + HOUR),
            assets=OUTCOME_TRAINING,
            tags={**tags, "poolcast/trigger": f"{user_name()}: {reason}"},
            resources={"source": {"config": {"name": source}}},
        )
    told = {name: done.metadata["outcome_model"].get(name) for name in ("version", "training_set_id", "model_sha256")}
    told |= {"verdict": done.metadata["champion"].get("verdict"), "run_id": done.run_id}
    if as_json:
        print_json(told)
        return
    table = RichTable("what", "found", title="Training", title_justify="left")
    for name, value in told.items():
        table.add_row(name, Text(str(value)))
    out.print(table)


@models.command("compare")
def compare(
    challenger: Annotated[Path, typer.Argument(metavar="CHALLENGER.parquet", help="What one model said.")],
    opponent: Annotated[Path, typer.Argument(metavar="OPPONENT.parquet", help="What the other said of the same rows.")],
    min_gain: Annotated[float, typer.Option(help="The relative gain in log loss that must be exceeded.")] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Compare two files of predictions of the same rows by the offline gate, the pool being the unit.

    Both hold `pool`, `time`, `horizon`, `label` and one `p_CLASS` a class, as a demo's `evaluation.parquet` does.
    """
    from dataclasses import asdict, replace

    from pipeline.models.files import read_parquet
    from pipeline.promotion.losses import compare_evaluations
    from pipeline.promotion.spec import OUTCOME

    for path in (challenger, opponent):
        require_parquet(path)
    done = compare_evaluations(read_parquet(challenger), read_parquet(opponent), replace(OUTCOME, min_gain=min_gain))
    told = {name: value for name, value in asdict(done).items() if name != "digest"}
    if as_json:
        print_json(told)
        return
    table = RichTable("what", "found", title="Challenger against opponent", title_justify="left")
    for name, value in told.items():
        table.add_row(name, Text(f"{value:.4g}" if isinstance(value, float) else str(value)))
    out.print(table)


@models.command("history")
def history(
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1)] = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say which trainings were asked for, by what or whom, and how they ended; the newest first."""
    settings = settings_there(data_dir, is_lake_enough=False)
    is_new = settings.postgres_url is None and not settings.postgres_dir.exists()
    rows = [] if is_new else _trainings(settings, limit)
    if as_json:
        print_json(rows)
        return
    if not rows:
        why = f": there is no database in {str(settings.data_dir)!r}" if is_new else ""
        out.print(f"No training was asked for yet{why}.", markup=False, soft_wrap=True)
        return
    table = RichTable("asked at", "by what or whom", "ended", "run", title="Trainings", title_justify="left")
    for row in rows:
        table.add_row(f"{row['asked_at']:%Y-%m-%d %H:%M}", Text(str(row["trigger"])), str(row["status"]), row["run_id"])
    out.print(table)


def _trainings(settings: "Settings", limit: int) -> list[dict[str, Any]]:
    """The newest runs of the job `train`; a look ends none that was orphaned."""
    from datetime import UTC, datetime

    import dagster as dg

    from resources.alone import looking
    from resources.dagster_home import dagster_instance
    from resources.migrations import require_migrated

    with looking(settings) as databases:
        require_migrated(settings, databases)  # Dagster would fail on an older database
        with dagster_instance(settings, databases) as instance:
            records = instance.get_run_records(dg.RunsFilter(job_name="train"), limit=limit)
    return [
        {
            "run_id": record.dagster_run.run_id,
            "asked_at": datetime.fromtimestamp(record.create_timestamp.timestamp(), UTC),
            "trigger": record.dagster_run.tags.get("poolcast/trigger", "somebody, in the UI"),
            "status": record.dagster_run.status.value,
        }
        for record in records
    ]
