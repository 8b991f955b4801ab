"""MLflow itself: how it is imported, told to behave, and how its database is knocked at.

Belongs here: the environment MLflow runs under in our processes. Stays out: what is asked of it (`registry`,
`logbook`, `flavours`). MLflow takes three seconds to import, so it is, only when used.
"""

import importlib
import os
import warnings
from typing import Any, Final

from pipeline.errors import RegistryAwayError

_CONNECT_S: Final = 5


def mlflow() -> Any:
    """MLflow, imported late, told to unpickle nothing, to phone nobody and to give up soon."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "5"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    return importlib.import_module("mlflow")


def flavour(name: str) -> Any:
    """A flavour's module; importing it makes MLflow warn about type hints of its own, which is no news here."""
    mlflow()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)
        importlib.import_module("mlflow.pyfunc")
        return importlib.import_module(f"mlflow.{name}")


def probe(uri: str) -> None:
    """Touch the database once: MLflow itself would knock ten times, for over a minute and a half.

    Raises:
        RegistryAwayError: it does not answer.
    """
    if not uri.startswith("postgresql"):
        return
    sqlalchemy = importlib.import_module("sqlalchemy")
    engine = sqlalchemy.create_engine(
        uri, poolclass=sqlalchemy.pool.NullPool, connect_args={"connect_timeout": _CONNECT_S}
    )
    try:
        engine.connect().close()
    except sqlalchemy.exc.OperationalError as error:
        raise RegistryAwayError(
            f"connected to the registry's database: {error.orig!r}; is PostgreSQL running?"
        ) from error
