"""What a reviewer reads in MLflow around a version: the model, its aliases, its experiment, its run, its curve."""

import json
import re

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.promotion.notes import MEANING, NOTE, of_model, of_run
from pipeline.promotion.standing import ALIASES
from tests.promotion.training_runs import a_run

CURVE = ((10, 1.5), (20, 1.2), (40, 1.1))
FIGURES = pl.DataFrame({"predictor": ["model", "class_prior"], "metric": ["log_loss"] * 2, "value": [1.05, None]})
PAGE = "http://127.0.0.1:3000/runs/abc"


@pytest.fixture
def told(registry, client, model_name):
    run = a_run(
        model_name=model_name, curves={"log_loss_by_pools": CURVE}, dagster_url=PAGE, tables={"figures": FIGURES}
    )
    version = registry.register(run)
    return version, client.get_run(version.run_id)


def test_each_alias_is_explained_on_the_page_of_the_model(client, told, model_name):
    described = client.get_registered_model(model_name).description
    assert set(MEANING) == set(ALIASES)
    assert all(f"| `{alias}` | {meaning} |" in described for alias, meaning in MEANING.items())


def test_a_model_that_was_described_otherwise_is_described_anew(registry, client, told, model_name):
    client.update_registered_model(model_name, description="by an older version of the code")
    registry.register(a_run(1, model_name=model_name))
    assert client.get_registered_model(model_name).description == of_model(model_name, a_run().kind)


def test_experiment_and_run_say_what_they_are_and_lead_to_dagster(client, told, model_name):
    _, run = told
    assert "Each run is one training" in client.get_experiment(run.info.experiment_id).tags[NOTE]
    assert f"[the run in Dagster]({PAGE})" in run.data.tags[NOTE]
    assert run.data.tags["dagster_run"] == PAGE
    assert "n_rows 90, n_pools 30" in run.data.tags[NOTE]


def test_a_training_outside_dagster_leads_nowhere(model_name):
    assert "Dagster" not in of_run(a_run(model_name=model_name))


def test_a_curve_has_its_steps_and_does_not_move_the_figures(client, told):
    version, run = told
    history = client.get_metric_history(version.run_id, "log_loss_by_pools")
    assert [(point.step, point.value) for point in history] == list(CURVE)
    assert run.data.metrics["log_loss"] == 1.05


def test_figures_can_be_laid_side_by_side(client, told):
    version, run = told
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "tables/figures.json", "type": "table"}]
    kept = {file.path for file in client.list_artifacts(version.run_id, "tables")}
    assert kept == {"tables/figures.csv", "tables/figures.json"}


def test_a_curve_whose_name_cannot_be_a_metric_is_refused(model_name):
    with pytest.raises(InputError, match="names of artifacts"):
        a_run(model_name=model_name, curves={"<script>": CURVE})


def test_no_text_of_a_training_set_breaks_out_of_the_notes(model_name):
    hostile = "x](http://evil) | <img src=x onerror=1> **"
    note = of_run(a_run(model_name=model_name, dataset={"source": hostile}))
    assert not re.search(r"(?<!\\)[<\]|*]", note.replace("](" + PAGE + ")", ""))
