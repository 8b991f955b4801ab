"""The Dagster instance of this installation.

Belongs here: giving Dagster its home under the data folder, and opening the instance in this process. Stays out: the
servers that use it (`services`) and its storage classes.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance

from resources.postgres import Databases
from resources.settings import ROOT, Settings, enter_environment


@contextmanager
def dagster_instance(
    settings: Settings, databases: Databases, tracking_uri: str | None = None
) -> Iterator[DagsterInstance]:
    """Open the instance in this process; its tables are made if they are missing.

    This process's environment gets what Dagster and MLflow read from theirs.

    Args:
        settings: where the instance lives.
        databases: where it keeps its state.
        tracking_uri: MLflow's server; by default its database, for a process that runs without a server.
    """
    enter_environment(settings.environment(databases.dagster_url, tracking_uri or databases.mlflow_url))
    make_home(settings)
    with DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        yield instance


def make_home(settings: Settings) -> None:
    """Lay the checkout's `dagster.yaml` into Dagster's home; processes that read it meanwhile see one or the other."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    fresh = settings.dagster_home / f"dagster.yaml.{os.getpid()}"
    shutil.copyfile(ROOT / "dagster.yaml", fresh)
    fresh.replace(settings.dagster_home / "dagster.yaml")
