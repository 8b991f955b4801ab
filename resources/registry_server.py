"""The MLflow server behind the guard: `python -m resources.registry_server PORT ARTIFACTS`.

Belongs here: giving MLflow's application what `mlflow server` gives it. Stays out: the guard, and where it listens.

MLflow has a middleware of its own for this. It stays on and is not enough: it takes any page of any other server on
loopback for its own, answers a host like `10.evil.example` because it looks like a private address, and leaves
`/graphql` and whatever lies outside `/api` open to pages of other sites.
"""

import sys

from pipeline.guard.hosts import AllowedHosts
from resources.serving import port_argument, serve
from resources.settings import Settings, enter_environment, registry_database

OPEN_PATHS = frozenset({"/health"})


def main(arguments: list[str]) -> None:
    """Serve MLflow's pages and its API until SIGTERM or SIGINT; the database is `MLFLOW_BACKEND_STORE_URI`."""
    port, (artifacts,) = port_argument(arguments)
    settings = Settings.from_environment()
    from mlflow.environment_variables import _MLFLOW_IN_JOB_EXECUTOR, _MLFLOW_SGI_NAME  # noqa: PLC0415 - slow
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR  # noqa: PLC0415
    from mlflow.server.handlers import initialize_backend_stores  # noqa: PLC0415

    database = registry_database()
    enter_environment({
        BACKEND_STORE_URI_ENV_VAR: database,
        ARTIFACT_ROOT_ENV_VAR: artifacts,
        _MLFLOW_SGI_NAME.name: "uvicorn",
        # Only a process that runs jobs may rebuild code from what a client sent.
        _MLFLOW_IN_JOB_EXECUTOR.name: "false",
        **own_checks(AllowedHosts.of(settings.allowed_hosts)),
    })  # fmt: skip
    initialize_backend_stores(database, database, artifacts)
    from mlflow.server.fastapi_app import app  # noqa: PLC0415 - reads the environment when it is imported

    serve(app, settings, port, OPEN_PATHS)


def own_checks(hosts: AllowedHosts) -> dict[str, str]:
    """What MLflow's own middleware is told, as narrow as it goes; a bracket is a pattern's to it.

    >>> own_checks(AllowedHosts.of(["https://poolcast.example.org"]))["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"]
    'https://poolcast.example.org'
    """
    names = {"localhost", "127.0.0.1", "[::1]"} | {entry.host for _, entry in hosts.named}
    escaped = sorted(name.replace("[", "[[]", 1) for name in names)
    pages = {
        f"{scheme}://{entry.host}{f':{entry.port}' if entry.port else ''}"
        for told, entry in hosts.named
        for scheme in ([told] if told else ["http", "https"])
    }
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*sorted(names), *(f"{name}:*" for name in escaped)]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(sorted(pages)),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
