"""Secrets come from the environment and go nowhere: planted ones are looked for in everything that is written."""

import base64
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import polars as pl
import psutil
import pytest
import sqlalchemy as sa
from guarded_servers import Guarded, account

from tests.resources.external_postgres import ExternalPostgres
from tests.resources.running_up import Up, wait_for

ROOT = Path(__file__).parents[2]
NAMES = ("postgres", "apikey", "alerts", "aws", "awstoken", "ourword", "wrongpassword")
SECRETS = {name: f"Zq7{name}Planted9x" for name in NAMES}
JSON = "Content-Type: application/json"
LAUNCH = """mutation { launchRun(executionParams: {
  selector: {repositoryLocationName: "poolcast", repositoryName: "__repository__", jobName: "JOB"}, runConfigData: {},
  executionMetadata: {tags: [{key: "dagster/partition", value: "2024-03-01-00:00"}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "{ runsOrError { ... on Runs { results { jobName status } } } }"


def forms(secret: str) -> list[bytes]:
    """The ways in which a secret may lie about."""
    plain = secret.encode()
    packed = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, quote(secret, safe="").encode(), plain.hex().encode(), secret.encode("utf-16-le"), *packed]


def leaks(content: bytes, known: dict[str, str]) -> set[str]:
    return {name for name, secret in known.items() if any(form in content for form in forms(secret))}


def of_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and the rows of those that are packed."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()
            if path.suffix == ".parquet":
                yield f"rows of {path}", str(pl.read_parquet(path).to_dicts()).encode()


def of_database(url: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, unpacked where Dagster packed it."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        for table in sa.inspect(connection).get_table_names():
            for row in connection.execute(sa.text(f'SELECT * FROM "{table}"')):  # noqa: S608 - a name PostgreSQL gave
                for value in row:
                    told = bytes(value) if isinstance(value, memoryview | bytes) else str(value).encode()
                    yield table, told
                    try:
                        yield table, zlib.decompress(told)
                    except zlib.error:
                        continue


@contextmanager
def watched_command_lines(known: dict[str, str]) -> Iterator[set[str]]:
    """What any process of this machine showed on its command line meanwhile."""
    found: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            for process in psutil.process_iter():
                try:
                    found.update(leaks(" ".join(process.cmdline()).encode(), known))
                except psutil.Error:
                    continue

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    yield found
    stop.set()
    looking.join(30)


def poolcast(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=120, check=False)


@pytest.fixture
def up(server_folder: Path, external: ExternalPostgres) -> Iterator[Up]:
    external.do(f"CREATE ROLE planted SUPERUSER LOGIN PASSWORD '{SECRETS['postgres']}'")
    running = Up(server_folder / "a data folder")
    running.environment |= {
        "POOLCAST_WORKSPACE": str(ROOT / "workspace.yaml"),
        "POOLCAST_POSTGRES_URL": f"postgresql://planted:{SECRETS['postgres']}@127.0.0.1:{external.port}/postgres",
        "POOLCAST_API_URL": "http://127.0.0.1:1/api/v2",
        "POOLCAST_API_KEY": SECRETS["apikey"],
        "POOLCAST_ALERTS_TO": f"json://somebody:{SECRETS['alerts']}@127.0.0.1:1/",
        "AWS_SECRET_ACCESS_KEY": SECRETS["aws"],
        "AWS_SESSION_TOKEN": SECRETS["awstoken"],
        "POOLCAST_SIGN_IN": account(),
        "MLFLOW_TRACKING_USERNAME": "us",
        "MLFLOW_TRACKING_PASSWORD": SECRETS["ourword"],
    }
    try:
        yield running
    finally:
        running.kill_everything()


@pytest.mark.slow
def test_no_secret_is_in_any_row_file_log_word_or_command_line(up: Up) -> None:
    known = SECRETS | {"signin": up.environment["POOLCAST_SIGN_IN"].rpartition(":")[2]}
    shown = base64.b64encode(f"us:{SECRETS['ourword']}".encode()).decode()
    told: list[tuple[str, bytes]] = []
    with watched_command_lines(known) as on_command_lines:
        up.start()
        told.append(("up", up.wait_until_announced().encode()))
        server = Guarded(up.dagster_port, up.folder / "logs" / "webserver.log")
        broken = up.folder / "lake" / "alerts" / "_delta_log" / f"{0:020}.json"
        broken.parent.mkdir(parents=True)
        broken.write_text("no log of a table")
        for job in ("watch", "serve"):
            answer = server.graphql(LAUNCH.replace("JOB", job), f"Authorization: Basic {shown}")["launchRun"]
            assert answer["__typename"] == "LaunchRunSuccess", answer

        def ended() -> dict[str, str]:
            runs = server.graphql(STATUS, f"Authorization: Basic {shown}")["runsOrError"]["results"]
            return {run["jobName"]: run["status"] for run in runs if run["status"] in {"SUCCESS", "FAILURE"}}

        wait_for(lambda: len(ended()) == 2, 400)
        # Nothing is served yet, which is no failure; a table that cannot be read is one.
        assert ended() == {"serve": "SUCCESS", "watch": "FAILURE"}
        wrong = up.environment | {
            "POOLCAST_POSTGRES_URL": up.environment["POOLCAST_POSTGRES_URL"].replace("Zq7postgres", "Zq7wrongpassword"),
        }
        for environment, arguments in (
            (up.environment, ("pools", "backfill", "0x" + "a" * 40, "--network", "eth")),
            (up.environment, ("alerts", "test")),
            (wrong, ("promotion", "reconcile")),
            (up.environment | {"POOLCAST_SIGN_IN": f"ann:{SECRETS['wrongpassword']}"}, ("up",)),
        ):
            failed = poolcast(environment, *arguments)
            assert failed.returncode in {0, 1, 2}, (arguments, failed)
            told.append((" ".join(arguments), failed.stdout + failed.stderr))
        assert up.process is not None
        up.process.terminate()
        told.append(("up", up.wait_until_stopped().encode()))
    url = up.environment["POOLCAST_POSTGRES_URL"].rpartition("/")[0]
    rows = [row for name in ("poolcast_dagster", "poolcast_mlflow") for row in of_database(f"{url}/{name}")]
    told += [*rows, *of_files(up.folder)]
    assert len(rows) > 500
    assert len(told) > 600
    found = {(place, name) for place, content in told for name in leaks(content, known)}
    assert not found
    assert not on_command_lines


def test_what_is_looked_for_is_found() -> None:
    packed = zlib.compress(b'{"password": "' + SECRETS["aws"].encode() + b'"}')
    assert leaks(zlib.decompress(packed), SECRETS) == {"aws"}
    assert leaks(base64.b64encode(f"user:{SECRETS['alerts']}".encode()), SECRETS) == {"alerts"}
    assert not leaks(b"nothing", SECRETS)


@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition")  # Dagster's own code calls what it deprecates
def test_what_dagster_keeps_of_jobs_and_resources_holds_no_secret_even_without_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster._serdes import serialize_value

    from pipeline.definitions import build_defs

    database = f"postgresql://planted:{SECRETS['postgres']}@127.0.0.1/poolcast_mlflow"
    for variable, value in {
        "MLFLOW_TRACKING_URI": database,
        "POOLCAST_DAGSTER_URL": database,
        "POOLCAST_POSTGRES_URL": database,
        "POOLCAST_API_KEY": SECRETS["apikey"] + "\n",
        "POOLCAST_ALERTS_TO": f"json://somebody:{SECRETS['alerts']}@127.0.0.1:1/",
        "AWS_SECRET_ACCESS_KEY": SECRETS["aws"],
        "MLFLOW_TRACKING_PASSWORD": SECRETS["ourword"],
    }.items():
        monkeypatch.setenv(variable, value)
    kept = serialize_value(RepositorySnap.from_def(build_defs().get_repository_def()))
    assert "calls_per_minute" in kept
    assert not leaks(kept.encode(), SECRETS)


@pytest.mark.parametrize("key", ["Zq7\x00Planted", "Zq7 \u20ac Planted", "Zq7\nPlanted: x"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    from pipeline.errors import UsageError
    from resources.settings import ApiSettings

    monkeypatch.setattr("os.environ", {"POOLCAST_API_KEY": key})
    with pytest.raises(UsageError, match="POOLCAST_API_KEY") as caught:
        ApiSettings.from_environment()
    assert "Planted" not in str(caught.value)
