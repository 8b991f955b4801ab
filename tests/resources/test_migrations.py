"""What an older version of poolcast left becomes what this one reads, and every step of the way can be killed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from dagster import AssetKey, DagsterInstance
from dagster._core.storage.migration.utils import upgrading_instance
from dagster_postgres.run_storage import PostgresRunStorage
from old_installation import CHANGED, NEW_POOLS, NEW_SNAPSHOTS, NOW, a_job, build, rows, schema
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.promotion import reached
from pipeline.cli.screen import instance_of
from pipeline.errors import PoolcastError, ServiceError, UsageError
from pipeline.lake import Lake
from pipeline.tables import DEPLOYMENTS, POOLS, SNAPSHOTS, TABLES
from resources import backups, migrations, revisions
from resources.alone import alone, beside
from resources.dagster_home import dagster_instance
from resources.locks import FileLock
from resources.migrations import plan, require_migrated
from resources.postgres import Databases, postgres
from resources.roster import Roster
from resources.services import up
from resources.settings import Settings
from tests.conftest import temporary_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("old_installation.py")
Copy = Callable[[], Settings]


@pytest.fixture(scope="module")
def old() -> Iterator[Path]:
    with temporary_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.delenv("POOLCAST_POSTGRES_URL", raising=False)
        build(Settings(folder / "data"))
        yield folder / "data"


@pytest.fixture
def copied(old: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    """A copy of the old installation, and a version of poolcast that changed two of its tables."""
    monkeypatch.delenv("POOLCAST_POSTGRES_URL", raising=False)
    monkeypatch.delenv("POOLCAST_DATA_DIR", raising=False)
    for name, spec in CHANGED.items():
        monkeypatch.setitem(TABLES, name, spec)
    with ExitStack() as held:

        def copy() -> Settings:
            folder = held.enter_context(temporary_folder()) / "data"
            subprocess.run(["cp", "-a", str(old), str(folder)], check=True)
            return Settings(folder)

        yield copy


@pytest.fixture(scope="module")
def undisturbed(old: Path) -> Iterator[Settings]:
    """A copy, migrated without a backup and without a kill."""
    with temporary_folder() as folder, pytest.MonkeyPatch.context() as patch:
        subprocess.run(["cp", "-a", str(old), str(folder / "data")], check=True)
        settings = Settings(folder / "data")
        for name, spec in CHANGED.items():
            patch.setitem(TABLES, name, spec)
        with alone(settings) as databases:
            migrations.run(settings, databases, now=NOW, is_backed_up=False)
        yield settings


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def state(databases: Databases) -> list[Any]:
    urls = (databases.dagster_url, databases.mlflow_url)
    return [(schema(url), rows(url)) for url in urls]


def tables(settings: Settings) -> list[Any]:
    lake = Lake(settings.lake)
    return [lake.scan(each).collect().sort(each.key).rows() for each in (NEW_POOLS, NEW_SNAPSHOTS, DEPLOYMENTS)]


def command(settings: Settings, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(settings.data_dir)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dry_run_says_each_step_and_changes_nothing(copied: Copy) -> None:
    settings = copied()
    before = content(settings.lake)
    with postgres(settings) as databases:
        were = state(databases)
    told = command(settings, "migrate", "--dry-run")
    asked = json.loads(command(settings, "migrate", "--dry-run", "--json"))
    with postgres(settings) as databases:
        assert state(databases) == were
    assert content(settings.lake) == before
    assert not backups.folder_of(settings).exists()
    assert "Dagster's database, at revision 5771160a95ad" in told
    assert "to 16e3655b4d9b add bulk_actions job_name column and backfill_tags table" in told
    assert "then fill in run_backfill_id" in told
    assert "MLflow's database, at revision 867495a8f9d4" in told
    assert "to 400f98739977 add logged model tables" in told
    assert "table pools, version 1: 1 file, " in told
    assert "add 'launchpad'" in told
    assert "rename 'reserve_usd' to 'depth_usd'" in told
    assert [each["owner"] for each in asked["databases"]] == ["Dagster", "MLflow"]
    assert [len(each["ahead"]) for each in asked["databases"]] == [10, 43]
    assert [each["table"] for each in asked["tables"]] == ["pools", "snapshots"]
    assert asked["is_done"] is False


def test_every_row_is_there_afterwards_everything_works_on_it_and_the_way_back_is_exact(copied: Copy) -> None:
    settings = copied()
    before, old_rows = content(settings.lake), Lake(settings.lake).scan(SNAPSHOTS).collect().sort(SNAPSHOTS.key)
    with postgres(settings) as databases:
        were = state(databases)
    told = command(settings, "migrate")
    stamp = told.rsplit(maxsplit=1)[-1]
    with postgres(settings) as databases:
        assert plan(Lake(settings.lake), databases).is_empty
        _check_mlflow(databases)
        with dagster_instance(settings, databases) as instance:
            _check_dagster(instance)
            _check_schema(instance, databases, stamp)
    lake = Lake(settings.lake)
    assert lake.scan(NEW_SNAPSHOTS).collect().sort(SNAPSHOTS.key).rows() == old_rows.rows()
    assert lake.scan(NEW_POOLS).collect()["launchpad"].null_count() == 12
    assert lake.scan(NEW_SNAPSHOTS, version=1).collect().height == 40, "a version from before can be read"
    assert lake.scan(DEPLOYMENTS).collect().height == 4
    assert "Nothing to do" in command(settings, "migrate")
    _cut_short(settings, stamp)
    assert "back to it" not in command(settings, "restore", stamp), "what a cut restore left is worth no backup"
    assert content(settings.lake) == before
    with postgres(settings) as databases:
        assert state(databases) == were
    _there_and_back(settings, stamp)


def _there_and_back(settings: Settings, stamp: str) -> None:
    """A restore keeps what it replaces, unless it is told not to."""
    lake, root = Lake(settings.lake), backups.folder_of(settings)
    lake.append(DEPLOYMENTS, lake.scan(DEPLOYMENTS).collect().with_columns(pl.col("sequence") + 4))
    later = content(settings.lake)
    told = command(settings, "restore", stamp)
    assert lake.scan(DEPLOYMENTS).collect().height == 4
    kept = told.rsplit(maxsplit=1)[-1]
    assert f"back to it: poolcast restore {kept}" in told
    n_backups = len(list(root.iterdir()))
    command(settings, "restore", kept, "--no-backup")
    assert len(list(root.iterdir())) == n_backups
    assert content(settings.lake) == later
    assert lake.scan(DEPLOYMENTS).collect().height == 8


def _cut_short(settings: Settings, stamp: str) -> None:
    """A restore that ended half way is seen by whoever starts."""

    def stop(words: str) -> None:
        if words == "restore the table pools":
            raise KeyboardInterrupt

    root = backups.folder_of(settings)
    with alone(settings) as databases:
        with pytest.raises(KeyboardInterrupt):
            backups.restore(root, backups.read(root, stamp), Lake(settings.lake), databases, stop)
        for start in (require_migrated, lambda *args: migrations.run(*args, now=NOW)):
            with pytest.raises(ServiceError, match=f"two moments: run `poolcast restore {stamp}`"):
                start(settings, databases)


def _check_mlflow(databases: Databases) -> None:
    import mlflow

    client = mlflow.MlflowClient(databases.mlflow_url, databases.mlflow_url)
    version = client.get_model_version_by_alias("pool-outcome", "champion")
    assert (int(version.version), version.tags, version.source) == (3, {"model_sha256": "abc"}, "file:///a/r/model")
    run = client.get_run(version.run_id)
    assert (run.info.run_name, run.data.metrics, run.data.params) == (
        "old run",
        {"log_loss": 0.25},
        {"learner": "xgboost"},
    )
    client.set_registered_model_alias("pool-outcome", "challenger", "3")
    assert client.create_run("7").info.experiment_id == "7"


def _check_dagster(instance: DagsterInstance) -> None:
    (run,) = instance.get_runs()
    assert run.tags["who"] == "the older version"
    assert len(instance.all_logs(run.run_id)) > 10
    assert instance.get_latest_materialization_event(AssetKey("told")) is not None
    assert a_job().execute_in_process(instance=instance, tags={"who": "this version"}).success
    instance.event_log_storage.set_concurrency_slots("api", 1)


def _check_schema(instance: DagsterInstance, databases: Databases, stamp: str) -> None:
    """In one transaction comes out what Dagster's own upgrade, statement by statement, makes of the same database."""
    url = sa.engine.make_url(databases.dagster_url).set(database=f"poolcast_dagster_{stamp.lower()}")
    twin = url.render_as_string(hide_password=False)
    ours = schema(databases.dagster_url)
    engine = sa.create_engine(databases.mlflow_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE of_its_own TEMPLATE "{url.database}"'))
    its_own = url.set(database="of_its_own").render_as_string(hide_password=False)
    with upgrading_instance(instance):
        PostgresRunStorage(its_own).upgrade()
    assert schema(its_own) == ours
    assert schema(twin) != ours
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE of_its_own"))


KILLS = (
    ("copy the table deployments", 0.0),
    ("upgrade Dagster's database", 0.4),
    ("upgrade MLflow's database", 2.5),
    ("rewrite the table pools: 100%", 0.0),
    ("rewrite the table snapshots: 33%", 0.0),
)


def test_killed_at_any_step_the_same_command_goes_on_and_ends_as_if_undisturbed(
    copied: Copy, undisturbed: Settings
) -> None:
    settings = copied()
    before = content(settings.lake)
    n_killed = sum(_is_killed(settings, *kill) for kill in KILLS)
    assert n_killed >= len(KILLS) - 2, "a timer may come too late, the rest must have hit"
    assert not _is_killed(settings, "nothing that is ever said", 0.0)
    with postgres(settings) as databases, postgres(undisturbed) as others:
        assert plan(Lake(settings.lake), databases).is_empty
        assert state(databases) == state(others)
    assert tables(settings) == tables(undisturbed)
    (whole,) = backups.folder_of(settings).glob("*Z")
    assert content(whole / "lake") == before, "the backup is the state before the first try"
    assert (whole / "finished").exists()


def _is_killed(settings: Settings, words: str, seconds: float) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "POOLCAST_DATA_DIR": str(settings.data_dir)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(settings.data_dir), words, str(seconds)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def test_a_dry_run_looks_beside_whoever_works_and_waits_for_whoever_is_alone(copied: Copy, tmp_path: Path) -> None:
    settings = copied()
    up_lock = FileLock(settings.data_dir / "up.lock")
    assert up_lock.try_acquire("exclusive")
    with beside(settings), postgres(settings):
        assert "MLflow's database, at revision 867495a8f9d4" in command(settings, "migrate", "--dry-run")
        refused = CliRunner().invoke(app, ["migrate", "--data-dir", str(settings.data_dir)]).exception
    assert isinstance(refused, ServiceError)
    up_lock.close()
    with alone(settings):
        busy = CliRunner().invoke(app, ["migrate", "--dry-run", "--data-dir", str(settings.data_dir)]).exception
    assert isinstance(busy, ServiceError)
    nowhere = CliRunner().invoke(app, ["migrate", "--dry-run", "--data-dir", str(tmp_path / "elsewhere")]).exception
    assert isinstance(nowhere, UsageError)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_may_work_meanwhile(copied: Copy, tmp_path: Path) -> None:
    settings = copied()
    for name, words in (("up.lock", "`poolcast up` works"), ("replay.lock", "a demo or an import works")):
        lock = FileLock(settings.data_dir / name)
        assert lock.try_acquire("exclusive")
        with pytest.raises(ServiceError, match=words), alone(settings):
            pass
        lock.close()
    with beside(settings), beside(settings), pytest.raises(ServiceError, match="a command works"), alone(settings):
        pass
    with alone(settings), pytest.raises(ServiceError, match="just migrated, copied or restored"), beside(settings):
        pass
    with postgres(settings) as databases:
        with pytest.raises(ServiceError, match="a command or a run works"), alone(settings):
            pass
        theirs = sa.create_engine(databases.dagster_url, poolclass=sa.NullPool).connect()
        outside = Settings(
            settings.data_dir, postgres_url=databases.dagster_url.replace("poolcast_dagster", "postgres")
        )
        with theirs, pytest.raises(ServiceError, match=r"there are connections to poolcast_dagster"), alone(outside):
            pass
        with alone(outside):
            pass
    Roster(settings.data_dir / "up.json").add("MLflow", os.getpid())
    with pytest.raises(ServiceError, match="MLflow of a `poolcast up` that was killed"), alone(settings):
        pass
    with pytest.raises(UsageError, match="there is no data"), alone(Settings(tmp_path / "elsewhere")):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_starts_on_data_that_was_not_migrated(copied: Copy) -> None:
    settings = copied()
    words = r"older version.*\(Dagster, MLflow, pools, snapshots\).*run `poolcast migrate`"
    with pytest.raises(ServiceError, match=words):
        up(settings, Console())
    with pytest.raises(ServiceError, match=words), instance_of(settings):
        pass
    with reached(settings) as (registry, why_not):
        assert registry is None
        assert "run `poolcast migrate`" in why_not


def test_where_all_is_as_it_should_be_the_look_costs_next_to_nothing(undisturbed: Settings, copied: Copy) -> None:
    with postgres(undisturbed) as databases:
        require_migrated(undisturbed, databases)
        begin = time.process_time()
        require_migrated(undisturbed, databases)
        assert time.process_time() - begin < 0.5


def test_a_migration_that_was_given_up_does_not_go_on_with_its_backup_of_back_then(undisturbed: Settings) -> None:
    root = backups.folder_of(undisturbed)
    (root / "20260101T000000Z").mkdir(parents=True)
    told = {"stamp": "20260101T000000Z", "target": "newer", "tables": {}, "databases": {}}
    (root / "20260101T000000Z" / "backup.json").write_text(json.dumps(told))
    assert backups.unfinished(root, "newer") == backups.Backup(**told)  # type: ignore[arg-type]
    with postgres(undisturbed) as databases:
        require_migrated(undisturbed, databases)
    assert backups.unfinished(root, "newer") is None
    shutil.rmtree(root)


def test_a_newer_database_and_a_newer_table_are_refused_in_words(copied: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = copied()
    with alone(settings) as databases:
        Lake(settings.lake).migrate(NEW_POOLS)
        monkeypatch.setitem(TABLES, "pools", POOLS)
        with pytest.raises(
            PoolcastError, match="could not read 'pools': neither this version of the code nor an older"
        ):
            migrations.run(settings, databases, now=NOW)
        monkeypatch.setitem(TABLES, "pools", NEW_POOLS)
        engine = sa.create_engine(databases.mlflow_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = 'from_the_future'"))
        with pytest.raises(
            ServiceError, match=r"'from_the_future', which the installed version of MLflow does not know"
        ):
            migrations.run(settings, databases, now=NOW)
        assert revisions.revision("Dagster", databases.dagster_url) == "5771160a95ad", "nothing was begun"
    assert not backups.folder_of(settings).exists()


def test_an_upgrade_that_fails_says_why_and_leaves_the_schema_as_it_was(copied: Copy) -> None:
    settings = copied()
    with alone(settings) as databases:
        engine = sa.create_engine(databases.mlflow_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE assessments (ours int)"))
        before = schema(databases.mlflow_url)
        words = "MLflow's database from revision '867495a8f9d4': 'relation \"assessments\" already exists'"
        with pytest.raises(ServiceError, match=words):
            migrations.run(settings, databases, now=NOW)
        assert schema(databases.mlflow_url) == before, "17 revisions were gone through, and all were taken back"
