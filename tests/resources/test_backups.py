"""Backups: read where they lie and nowhere else, and not made where the server does not let them."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from old_installation import NOW, age_dagster

from pipeline.errors import ServiceError, StorageError, UsageError
from pipeline.lake import Lake
from resources import backups, migrations
from resources.alone import alone
from resources.dagster_home import dagster_instance
from resources.embedded_postgres import embedded_postgres
from resources.migrations import plan
from resources.postgres import postgres
from resources.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning"),
]


def test_a_backup_is_looked_for_among_those_that_are_there_and_nowhere_else(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "backups" / "20260101T000000Z"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backup.json").write_text('{"stamp": "../x", "target": "", "tables": {}, "databases": {}}')
    for stamp in ("..", ".", "", "20260101T000000Z/", "/etc", str(tmp_path)):
        with pytest.raises(UsageError, match=r"there is no backup .*; there are \['20260101T000000Z'\]"):
            backups.read(tmp_path / "backups", stamp)
    (tmp_path / "backups" / "20260101T000000Z" / "backup.json").write_text("[]")
    with pytest.raises(StorageError, match="could not read the backup '20260101T000000Z'"):
        backups.read(tmp_path / "backups", "20260101T000000Z")


def test_a_server_that_gives_us_schemas_only_is_migrated_but_not_copied(server_folder: Path) -> None:
    with embedded_postgres(server_folder / "theirs") as server:
        admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.execute(sa.text("CREATE ROLE guest LOGIN"))
            connection.execute(sa.text("CREATE DATABASE shared OWNER guest"))
        url = server.url.replace("postgres@/postgres", "guest@/shared")
        settings = Settings(server_folder / "ours", postgres_url=url)
        settings.data_dir.mkdir()
        with postgres(settings) as databases, dagster_instance(settings, databases):
            age_dagster(databases)
        with alone(settings) as databases:
            with pytest.raises(ServiceError, match="run again with --no-backup"):
                migrations.run(settings, databases, now=NOW)
            assert migrations.run(settings, databases, now=NOW, is_backed_up=False) is None
            assert plan(Lake(settings.lake), databases).is_empty
