"""Where things are: folders, addresses and ports, read from the environment here and nowhere else.

Belongs here: every `POOLCAST_*` variable, the layout of the data folder, and the environment that the processes we
start are given. Stays out: what the science is (`pipeline/<stage>/spec.py`) and what one run wants (Dagster config).
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.errors import UsageError
from resources.addresses import require_lake, require_registry, require_scheduler, require_server, require_web, shown

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: `dagster.yaml` and `workspace.yaml` lie there."""

HOST = "127.0.0.1"
"""Where every server of ours listens, and is spoken to by our own processes; `Settings.bind` may add an address."""

QUIET: Mapping[str, str] = {
    # Nothing calls home.
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A run is a process of its own: where bytecode may not be kept, each compiles the 1,700 modules that it imports.
    "PYTHONDONTWRITEBYTECODE": "",
    # MLflow away costs 5 s instead of 247 s a call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    # A model is numbers, never code.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # MLflow's job runner is for judging language models; it would hold five more processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # Materializations of a range of hours are written a thousand at a time, not one by one.
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
}

PATIENCE: Mapping[str, str] = {"POOLCAST_DATABASE_PATIENCE_S": "120"}
"""What a run's worker finds in its environment: how long it waits for a database that is away, instead of failing."""


OWN_NAME, OWN_WORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


@dataclass(frozen=True)
class ApiSettings:
    """Which API is asked for pools.

    Attributes:
        base_url: everything before `networks/...`; the paid host has the same paths under another prefix.
        key: the key of a paid plan; None for the public API.
        key_header: the header that carries the key.
        calls_per_minute: our budget; the public API allows about 30.
        networks: the chains to watch, as the API names them; None: those of the collection's spec.
        sandbox_url: a sandbox market (`poolcast sandbox serve`) to ask instead; its clock is ours then.
    """

    base_url: str = "https://api.geckoterminal.com/api/v2"
    key: str | None = field(default=None, repr=False)
    key_header: str = "x-cg-pro-api-key"
    calls_per_minute: int = 30
    networks: tuple[str, ...] | None = None
    sandbox_url: str | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """Read `POOLCAST_API_*`, `POOLCAST_NETWORKS` and `POOLCAST_SANDBOX_URL`.

        Raises:
            UsageError: one of them holds what cannot be asked, or asked with.
        """
        calls = os.environ.get("POOLCAST_API_CALLS_PER_MINUTE") or str(cls.calls_per_minute)
        if not calls.isdecimal() or int(calls) < 1:
            raise UsageError(f"POOLCAST_API_CALLS_PER_MINUTE is {shown(calls)}: give a whole number from 1")
        told = os.environ.get("POOLCAST_NETWORKS") or ""
        networks = tuple(dict.fromkeys(name.strip() for name in told.split(",") if name.strip()))
        strange = [name for name in networks if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)]
        if strange:
            raise UsageError(f"POOLCAST_NETWORKS names {strange!r}: give names as the API has them, like 'eth,solana'")
        key = (os.environ.get("POOLCAST_API_KEY") or "").strip()
        if not (key.isascii() and key.isprintable()):
            # Without this the HTTP client refuses the header, and quotes it.
            raise UsageError("POOLCAST_API_KEY holds a character that no header carries: give the key alone")
        sandbox = (os.environ.get("POOLCAST_SANDBOX_URL") or "").rstrip("/")
        return cls(
            base_url=require_web("POOLCAST_API_URL", os.environ.get("POOLCAST_API_URL") or cls.base_url),
            key=key or None,
            key_header=os.environ.get("POOLCAST_API_KEY_HEADER") or cls.key_header,
            calls_per_minute=int(calls),
            networks=networks or None,
            sandbox_url=require_web("POOLCAST_SANDBOX_URL", sandbox) if sandbox else None,
        )


@dataclass(frozen=True)
class StoreSettings:
    """How the object store under the lake is reached. Its keys stay in the environment, where Delta and Polars look.

    Attributes:
        endpoint: the store's address where it is not Amazon's.
        may_be_plain: whether it may be spoken to without encryption though it is on another machine.
        has_keys: whether the environment names keys, or a place that gives them.
    """

    endpoint: str | None = field(default=None, repr=False)
    may_be_plain: bool = False
    has_keys: bool = False

    @classmethod
    def from_environment(cls) -> Self:
        """Read the usual `AWS_*` variables."""
        givers = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        return cls(
            endpoint=os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or None,
            may_be_plain=(os.environ.get("AWS_ALLOW_HTTP") or "").lower() in ("1", "true", "yes"),
            has_keys=any(os.environ.get(name) for name in givers),
        )


@dataclass(frozen=True)
class Settings:
    """Where this installation keeps its state and listens.

    Attributes:
        data_dir: absolute folder that holds everything we write.
        postgres_url: the PostgreSQL to use, or None for the embedded one under `data_dir`.
        dagster_port: port of Dagster's webserver on loopback.
        mlflow_port: port of the MLflow server on loopback.
        workspace: the workspace file Dagster's servers load.
        tracking_uri: where MLflow's runs and versions are reached; None: its server on loopback.
        api: which API is asked for pools, and how much of it is ours.
        lake_url: the prefix of an object store that our tables lie under; None: a folder of `data_dir`.
        store: how that object store is reached.
        alerts_to: the addresses alerts are sent to, as apprise writes them; None: nobody is told.
        alert_rules: the rule file of alerts; None: the rules built in.
        dask: the Dask scheduler whose workers compute for us; None: this machine does.
        bind: the address that our servers listen on beside loopback.
        allowed_hosts: the names under which our servers may be spoken to, beside loopback's own.
        sign_in: who may come in, as lines of `poolcast sign-in hash` or a file of them; None: whoever reaches loopback.
    """

    data_dir: Path
    postgres_url: str | None = field(default=None, repr=False)
    dagster_port: int = 3000
    mlflow_port: int = 5000
    workspace: Path = ROOT / "workspace.yaml"
    tracking_uri: str | None = field(default=None, repr=False)
    api: ApiSettings = ApiSettings()
    lake_url: str | None = None
    store: StoreSettings = StoreSettings()
    alerts_to: str | None = field(default=None, repr=False)
    alert_rules: Path | None = None
    dask: str | None = None
    bind: str = HOST
    allowed_hosts: tuple[str, ...] = ()
    sign_in: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(
        cls,
        data_dir: Path | None = None,
        dagster_port: int | None = None,
        mlflow_port: int | None = None,
    ) -> Self:
        """Read `POOLCAST_*`; an argument that is given (a command-line flag) wins over its variable.

        Raises:
            UsageError: a port is not a number between 1 and 65535, or another variable holds what it cannot mean.
        """
        database_patience()  # for whoever will ask: what it cannot mean is said before anything is started
        workspace = os.environ.get("POOLCAST_WORKSPACE")
        rules = os.environ.get("POOLCAST_ALERT_RULES")
        for port in (dagster_port, mlflow_port):
            if port is not None and not 1 <= port <= 65535:
                raise UsageError(f"{port} is no port: give a number between 1 and 65535")
        return cls(
            data_dir=(data_dir or Path(os.environ.get("POOLCAST_DATA_DIR") or "data")).expanduser().absolute(),
            postgres_url=_told("POOLCAST_POSTGRES_URL", require_server),
            dagster_port=dagster_port or _port("POOLCAST_DAGSTER_PORT", cls.dagster_port),
            mlflow_port=mlflow_port or _port("POOLCAST_MLFLOW_PORT", cls.mlflow_port),
            workspace=Path(workspace).absolute() if workspace else cls.workspace,
            tracking_uri=_told("MLFLOW_TRACKING_URI", require_registry),
            api=ApiSettings.from_environment(),
            lake_url=_told("POOLCAST_LAKE_URL", require_lake),
            store=StoreSettings.from_environment(),
            alerts_to=os.environ.get("POOLCAST_ALERTS_TO") or None,
            alert_rules=Path(rules).expanduser().absolute() if rules else None,
            dask=_told("POOLCAST_DASK", require_scheduler),
            bind=os.environ.get("POOLCAST_BIND") or cls.bind,
            allowed_hosts=tuple(filter(None, map(str.strip, os.environ.get("POOLCAST_ALLOWED_HOSTS", "").split(",")))),
            sign_in=os.environ.get("POOLCAST_SIGN_IN") or None,
        )

    @property
    def lake(self) -> Path:
        """The folder of our Delta tables, one folder a table, where `lake_url` names no other place."""
        return self.data_dir / "lake"

    @property
    def lake_locks(self) -> Path:
        """The folder of the locks of a lake on an object store that this machine alone works on."""
        return self.data_dir / "lake_locks"

    @property
    def postgres_dir(self) -> Path:
        """The folder of the embedded PostgreSQL."""
        return self.data_dir / "postgres"

    @property
    def dagster_home(self) -> Path:
        """What Dagster calls `DAGSTER_HOME`: its `dagster.yaml`, run artifacts and captured output."""
        return self.data_dir / "dagster"

    @property
    def mlflow_artifacts(self) -> Path:
        """The folder of MLflow's artifacts."""
        return self.data_dir / "mlflow"

    @property
    def model_cache(self) -> Path:
        """The folder of the model files that predictions need while the registry is away."""
        return self.data_dir / "model_cache"

    @property
    def recordings(self) -> Path:
        """The folder of the registered recordings."""
        return self.data_dir / "recordings"

    @property
    def alerts(self) -> Path:
        """The folder of the locks of alerts, and of the salt that receivers are named with."""
        return self.data_dir / "alerts"

    @property
    def collector(self) -> Path:
        """The folder of what collectors share: their memory and their budget."""
        return self.data_dir / "collector"

    @property
    def qlib(self) -> Path:
        """The folder of the QLib provider directories, one a source."""
        return self.data_dir / "qlib"

    @property
    def return_datasets(self) -> Path:
        """The folder of the frozen return datasets, one folder a source."""
        return self.data_dir / "return_datasets"

    @property
    def logs(self) -> Path:
        """The folder of our processes' output, one file a process; runs lie in `runs/`."""
        return self.data_dir / "logs"

    @property
    def dagster_url(self) -> str:
        """The address of Dagster's pages."""
        return f"http://{HOST}:{self.dagster_port}"

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's pages and API."""
        return f"http://{HOST}:{self.mlflow_port}"

    def environment(self, dagster_database_url: str, tracking_uri: str) -> dict[str, str]:
        """Return what a process of ours finds in its environment, on top of what it inherits.

        Args:
            dagster_database_url: where Dagster keeps its state.
            tracking_uri: MLflow's server or, where none runs, its database.
        """
        inherited = os.environ.get("PYTHONPATH")
        return {
            **QUIET,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT),
            "DAGSTER_HOME": str(self.dagster_home),
            "POOLCAST_DATA_DIR": str(self.data_dir),
            "POOLCAST_DAGSTER_URL": dagster_database_url,
            "POOLCAST_RUN_LOGS": str(self.logs / "runs"),
            "MLFLOW_TRACKING_URI": tracking_uri,
        }


def named_build() -> str | None:
    """Return the name of the code that runs here (`POOLCAST_BUILD`: an image knows its own), or None."""
    return os.environ.get("POOLCAST_BUILD") or None


def database_patience() -> float:
    """Return how many seconds this process waits for its database to come back: 0 but in a run's worker.

    Raises:
        UsageError: it is no whole number.
    """
    text = os.environ.get("POOLCAST_DATABASE_PATIENCE_S") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"POOLCAST_DATABASE_PATIENCE_S is {shown(text)}: give a whole number of seconds")
    return float(text)


def own_sign_in() -> tuple[str | None, str | None]:
    """Return the name and the word that our own processes sign in to MLflow with, as its client reads them."""
    return os.environ.get(OWN_NAME) or None, os.environ.get(OWN_WORD) or None


def registry_database() -> str:
    """Return the address of MLflow's database, password and all, that whoever starts its server put there."""
    return os.environ["MLFLOW_BACKEND_STORE_URI"]


def inherited_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with `added` on top, for a process we start."""
    return {**os.environ, **added}


def enter_environment(added: Mapping[str, str]) -> None:
    """Put `added` into this process's own environment: Dagster and MLflow read theirs from it."""
    os.environ.update(added)


def temporary_root() -> Path:
    """Return the folder for short-lived files of this user (`XDG_RUNTIME_DIR`, `TMPDIR` or `/tmp`)."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - its owner is checked


def _told(variable: str, require: Callable[[str], str]) -> str | None:
    text = os.environ.get(variable)
    return require(text) if text else None


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise UsageError(f"{variable} is {shown(text)}: give a port number between 1 and 65535")
    return int(text)
