"""Three servers for the tests of the guard, started at the same time."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guarded_servers import Guarded, account, dagster, mlflow, wait_until_ready

NAMED = "https://poolcast.example.org, https://mlflow.example.org"


@pytest.fixture(scope="package")
def servers() -> Iterator[dict[str, Guarded]]:
    """Dagster's webserver, the same with a sign-in, and MLflow's server."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        signing = {
            "POOLCAST_BIND": "127.0.0.2",
            "POOLCAST_SIGN_IN": account(),
            "MLFLOW_TRACKING_USERNAME": "us",
            "MLFLOW_TRACKING_PASSWORD": "w" * 43,
        }
        found = {
            "dagster": stack.enter_context(dagster(folder / "open", POOLCAST_ALLOWED_HOSTS=NAMED)),
            "signed": stack.enter_context(dagster(folder / "signed", **signing)),
            "mlflow": stack.enter_context(mlflow(folder / "mlflow", POOLCAST_ALLOWED_HOSTS=NAMED)),
        }
        for each, path in (("dagster", "/server_info"), ("signed", "/server_info"), ("mlflow", "/health")):
            wait_until_ready(found[each], path)
        yield found


@pytest.fixture
def dagster_server(servers: dict[str, Guarded]) -> Guarded:
    return servers["dagster"]


@pytest.fixture
def signed_server(servers: dict[str, Guarded]) -> Guarded:
    return servers["signed"]


@pytest.fixture
def mlflow_server(servers: dict[str, Guarded]) -> Guarded:
    return servers["mlflow"]
