"""An installation as an older version of poolcast left it: old databases with rows in them, tables by older specs.

As a program, `python old_installation.py DATA_DIR WORDS SECONDS` migrates it and kills itself so many seconds after the
step that WORDS begin; without WORDS it migrates to the end.
"""

import os
import signal
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa
from dagster._core.storage.sql import run_alembic_downgrade
from dagster_postgres.event_log import event_log
from dagster_postgres.utils import pg_alembic_config

from pipeline.lake import Lake
from pipeline.tables import DEPLOYMENTS, POOLS, SNAPSHOTS, TABLES, Column, Table
from pipeline.tables.changes import Added, Renamed
from resources.dagster_home import dagster_instance
from resources.postgres import Databases, postgres
from resources.settings import Settings
from tests.builders import valid_frame

NOW = datetime(2026, 9, 4, 12, tzinfo=UTC)
OLD_DAGSTER = "5771160a95ad"
OLD_MLFLOW = "867495a8f9d4"
NEW_POOLS = replace(
    POOLS,
    columns=(*POOLS.columns, Column("launchpad", pl.String(), "who made it", nullable=True)),
    changes=(Added("launchpad"),),
)
NEW_SNAPSHOTS = replace(
    SNAPSHOTS,
    columns=tuple(replace(c, name="depth_usd") if c.name == "reserve_usd" else c for c in SNAPSHOTS.columns),
    changes=(Renamed("reserve_usd", "depth_usd"),),
)
CHANGED: dict[str, Table] = {"pools": NEW_POOLS, "snapshots": NEW_SNAPSHOTS}

_MLFLOW_ROWS = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
    VALUES (7, 'outcomes', 'file:///a', 'active', 1, 1);
INSERT INTO runs (run_uuid, name, experiment_id, status, start_time, end_time, lifecycle_stage, artifact_uri, user_id,
                  source_type, source_name, entry_point_name, source_version)
    VALUES ('0123456789abcdef0123456789abcdef', 'old run', 7, 'FINISHED', 1, 2, 'active', 'file:///a/r', 'u', 'LOCAL',
            '', '', '');
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
    VALUES ('log_loss', 0.25, 1, '0123456789abcdef0123456789abcdef', 0, false);
INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan)
    VALUES ('log_loss', 0.25, 1, '0123456789abcdef0123456789abcdef', 0, false);
INSERT INTO params (key, value, run_uuid) VALUES ('learner', 'xgboost', '0123456789abcdef0123456789abcdef');
INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES ('pool-outcome', 1, 1);
INSERT INTO model_versions (name, version, creation_time, last_updated_time, source, run_id, status, current_stage)
    VALUES ('pool-outcome', 3, 1, 1, 'file:///a/r/model', '0123456789abcdef0123456789abcdef', 'READY', 'None');
INSERT INTO model_version_tags (key, value, name, version) VALUES ('model_sha256', 'abc', 'pool-outcome', 3);
INSERT INTO registered_model_aliases (alias, version, name) VALUES ('champion', 3, 'pool-outcome');
"""


def build(settings: Settings) -> None:
    """Fill an empty data folder as the older version would have."""
    with postgres(settings) as databases:
        with dagster_instance(settings, databases) as instance:
            assert a_job().execute_in_process(instance=instance, tags={"who": "the older version"}).success
            age_dagster(databases)
        age_mlflow(databases)
    lake = Lake(settings.lake)
    for hour in range(3):
        rows = valid_frame(SNAPSHOTS, n_rows=40, seed=hour)
        lake.append(SNAPSHOTS, rows.with_columns(pl.col("event_time", "known_at").dt.offset_by(f"{hour}d")))
    lake.append(POOLS, valid_frame(POOLS, n_rows=12))
    lake.append(DEPLOYMENTS, valid_frame(DEPLOYMENTS, n_rows=4))


def a_job() -> dg.JobDefinition:
    @dg.asset
    def told() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"rows": 5})

    return dg.Definitions(
        [told], jobs=[dg.define_asset_job("loop", "*", executor_def=dg.in_process_executor)]
    ).resolve_job_def("loop")


def age_dagster(databases: Databases) -> None:
    engine = sa.create_engine(databases.dagster_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        run_alembic_downgrade(pg_alembic_config(event_log.__file__), connection, rev=OLD_DAGSTER)
    with engine.connect() as connection:
        connection.execute(sa.text("DELETE FROM secondary_indexes WHERE name LIKE '%backfill%'"))


def age_mlflow(databases: Databases) -> None:
    from alembic import command
    from mlflow.store.db.utils import InitialBase, _get_alembic_config

    engine = sa.create_engine(databases.mlflow_url, poolclass=sa.NullPool)
    InitialBase.metadata.create_all(engine)
    config = _get_alembic_config("")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD_MLFLOW)
    with engine.begin() as connection:
        connection.execute(sa.text(_MLFLOW_ROWS))


def schema(url: str) -> dict[str, Any]:
    """Columns and indexes of every table of a database."""
    found = sa.inspect(sa.create_engine(url, poolclass=sa.NullPool))
    return {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)),
            sorted((str(i["name"]), tuple(i["column_names"]), i["unique"]) for i in found.get_indexes(name)),
        )
        for name in found.get_table_names()
    }


def rows(url: str) -> dict[str, list[str]]:
    """Every row of every table of a database, as text, but for when Dagster noted that it had filled something in."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return {
            name: sorted(connection.scalars(sa.text(f'SELECT t::text FROM "{name}" t')))  # noqa: S608
            for name in sa.inspect(engine).get_table_names()
            if name != "secondary_indexes"
        }


def main() -> None:
    from resources import migrations
    from resources.alone import alone

    words, seconds = (sys.argv[2], float(sys.argv[3])) if len(sys.argv) > 2 else ("", 0.0)

    def said(told: str) -> None:
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()
        if words and told.startswith(words):
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start() if seconds else _die()

    TABLES.update(CHANGED)
    settings = Settings.from_environment()
    with alone(settings) as databases:
        migrations.run(settings, databases, now=datetime.now(UTC), said=said)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
