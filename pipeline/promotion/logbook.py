"""Writing a training into MLflow: its run, its model, its figures, its training set.

Belongs here: what is logged, and in which order. Stays out: versions and aliases (`registry`), the model's folder
(`flavours`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from typing import Any, Final

from pipeline.promotion.connection import mlflow
from pipeline.promotion.flavours import save_model, signature
from pipeline.promotion.notes import NOTE, of_experiment, of_run
from pipeline.promotion.run import TrainingRun, write_files

_PARAMS_A_BATCH: Final = 100
_METRICS_A_BATCH: Final = 1_000
_COMPARED: Final = ("figures", "slices")


@contextmanager
def logged(client: Any, experiment_id: str, run: TrainingRun, tmp: Path) -> Iterator[tuple[str, Any]]:
    """Log everything of a training; gives the run's id and the logged model, for a version to be made of.

    The run ends as FINISHED when the block is left, or as FAILED where an error came.
    """
    client.set_experiment_tag(experiment_id, NOTE, of_experiment(run.model_name, run.kind.purpose))
    told = {**run.tags, **run.identity, NOTE: of_run(run)}
    if run.dagster_url:
        told["dagster_run"] = run.dagster_url
    created = client.create_run(experiment_id, run_name=run.run_name, tags=told)
    run_id, status = created.info.run_id, "FAILED"
    try:
        model = _log_model(client, experiment_id, run_id, run, tmp / "model")
        _log_figures(client, created, model.model_id, run)
        client.log_artifacts(run_id, str(write_files(run, tmp / "files")))
        _log_comparable(client, run_id, run)
        yield run_id, model
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)


def close_unfinished(client: Any, experiment_id: str, run: TrainingRun, registered: set[str]) -> None:
    """Mark what a killed process left behind: finished if its version exists, killed if not."""
    told = f"attributes.status = 'RUNNING' and tags.model_sha256 = '{run.model_sha256}'"
    for left in client.search_runs([experiment_id], told):
        if left.data.tags.get("training_set_id") == run.training_set_id:
            is_done = left.info.run_id in registered
            client.set_terminated(left.info.run_id, "FINISHED" if is_done else "KILLED")


def add_file(client: Any, run_id: str, name: str, content: bytes, tmp: Path) -> None:
    """One more file of a run that has ended: what was found of its model later, such as a page on drift."""
    folder, _, file = name.rpartition("/")
    (tmp / file).write_bytes(content)
    client.log_artifact(run_id, str(tmp / file), folder or None)


def _log_model(client: Any, experiment_id: str, run_id: str, run: TrainingRun, folder: Path) -> Any:
    """Log the model in the flavour of its kind, its file being our bytes; returns the logged model."""
    found = client.create_logged_model(
        experiment_id, name=run.model_name, source_run_id=run_id, tags=run.identity, model_type=run.kind.mlflow_type
    )
    save_model(run, folder, mlflow().models.Model(run_id=run_id, model_id=found.model_id))
    client.log_model_artifacts(found.model_id, str(folder))
    client.finalize_logged_model(found.model_id, "READY")
    client.log_outputs(run_id, [mlflow().entities.LoggedModelOutput(found.model_id, 0)])
    return found


def _log_comparable(client: Any, run_id: str, run: TrainingRun) -> None:
    """The tables that MLflow lays side by side for several runs, once more in the form that it does that with."""
    for name in _COMPARED:
        if name in run.tables:
            client.log_table(run_id, run.tables[name].to_dict(as_series=False), f"tables/{name}.json")


def _log_figures(client: Any, created: Any, model_id: str, run: TrainingRun) -> None:
    """Parameters, metrics (on the run and on the model) and the training set, stamped with the run's own start."""
    entities, run_id, stamp = mlflow().entities, created.info.run_id, created.info.start_time
    params = [entities.Param(key, str(value)) for key, value in run.params.items()]
    for batch in batched(params, _PARAMS_A_BATCH):
        client.log_batch(run_id, params=list(batch))
    client.log_batch(
        run_id, metrics=[entities.Metric(k, v, stamp, 0, model_id=model_id) for k, v in run.metrics.items()]
    )
    # Of curves the steps are shown, and the figures above stay as they are: they have no step.
    points = [entities.Metric(k, v, stamp, step) for k, curve in run.curves.items() for step, v in curve]
    for part in batched(points, _METRICS_A_BATCH):
        client.log_batch(run_id, metrics=list(part))
    trained_on = entities.Dataset(
        name=run.dataset_table,
        digest=run.training_set_id[:36],
        source_type="delta",
        source=json.dumps({"training_set_id": run.training_set_id}),
        schema=json.dumps({"mlflow_colspec": signature(run).inputs.to_dict()}),
        profile=json.dumps(dict(run.dataset)),
    )
    context = entities.InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [entities.DatasetInput(trained_on, [context])])
