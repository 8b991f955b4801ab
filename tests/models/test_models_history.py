"""`poolcast models history` tells of trainings, and ends none by looking."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import DagsterRun, DagsterRunStatus
from typer.testing import CliRunner

from pipeline.cli import app
from resources.dagster_home import dagster_instance
from resources.postgres import postgres
from resources.processes import ProcessIdentity
from resources.settings import Settings

ASKED = ["models", "history", "--json", "--data-dir"]


@pytest.mark.slow
def test_trainings_are_told_with_who_asked_and_one_that_a_kill_orphaned_is_left_as_it_is(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POOLCAST_POSTGRES_URL", raising=False)
    for name in Settings(server_folder).environment("", ""):
        monkeypatch.setenv(name, "")  # so that what Dagster's instance puts there ends with the test
    settings = Settings(server_folder)
    me = ProcessIdentity.of(os.getpid())
    assert me is not None
    tags = {"poolcast/trigger": "somebody: [red]why\x1b[2J", **replace(me, started="1").tags()}
    with postgres(settings) as databases, dagster_instance(settings, databases) as instance:
        instance.add_run(DagsterRun(job_name="train", run_id="a", status=DagsterRunStatus.STARTED, tags=tags))
        instance.add_run(DagsterRun(job_name="collect", run_id="b", status=DagsterRunStatus.SUCCESS))
        assert CliRunner().invoke(app, ["models", "history", "--data-dir", str(server_folder)]).exit_code == 0
        (told,) = json.loads(CliRunner().invoke(app, [*ASKED, str(server_folder)]).stdout)
    assert (told["run_id"], told["trigger"], told["status"]) == ("a", tags["poolcast/trigger"], "STARTED")
