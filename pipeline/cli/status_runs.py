"""What Dagster's database says of runs and schedules, for `poolcast status`: asked with SQL, without Dagster.

Belongs here: finding the database where it runs already, and three questions to it. Stays out: starting a server (a
look starts nothing), and Dagster itself, whose import takes longer than the whole command may.
"""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipeline.monitoring.status import RunsHealth, runs_health

if TYPE_CHECKING:
    from resources.settings import Settings

_DATABASE: Final = "poolcast_dagster"
_CONNECT_SECONDS: Final = 2
_BOUNDED: Final = "SET statement_timeout = '5s'"
_RUNS: Final = """
    SELECT pipeline_name, status, coalesce(end_time, start_time) FROM runs
    WHERE update_timestamp > :since ORDER BY id DESC LIMIT 2000
"""
_SCHEDULES: Final = "SELECT instigator_body, selector_id FROM instigators WHERE instigator_type = 'SCHEDULE'"
_TICKS: Final = "SELECT selector_id, max(timestamp) FROM job_ticks WHERE type = 'SCHEDULE' GROUP BY selector_id"
_ON: Final = ("InstigatorStatus.RUNNING", "InstigatorStatus.DECLARED_IN_CODE")


def seen_runs(settings: "Settings", now: datetime) -> RunsHealth:
    """Runs of the last days and the schedules that are on; where the database cannot be asked, why."""
    import sqlalchemy as sa

    engines = [
        sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS})
        for url in _running(settings)
    ]
    said = "PostgreSQL does not run; `poolcast up` starts it"
    for engine in engines:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(_BOUNDED))
                since = {"since": (now - timedelta(days=8)).replace(tzinfo=None)}
                runs = [tuple(row) for row in connection.execute(sa.text(_RUNS), since)]
                ticks: dict[str, Any] = {row[0]: row[1] for row in connection.execute(sa.text(_TICKS))}
                states = connection.execute(sa.text(_SCHEDULES)).all()
            break
        except sa.exc.SQLAlchemyError as error:
            words = "".join(str(getattr(error, "orig", error)).strip().splitlines()[:1])[:200]
            if "does not exist" not in words:
                said = f"PostgreSQL was asked and did not answer: {words}"
                return RunsHealth(problem=said, is_silent=True)
            said = f"PostgreSQL runs and Dagster never used it: {words}"
    else:
        return RunsHealth(problem=said)
    named = [(name, ticks.get(selector)) for body, selector in states if (name := _name_if_on(body))]
    times = [(name, None if at is None else at.timestamp()) for name, at in _in_utc(named)]
    return runs_health(runs, times, now)


def _in_utc(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Dagster keeps the times of ticks in UTC, without saying so."""
    from datetime import UTC

    return [(name, at.replace(tzinfo=UTC) if at is not None else None) for name, at in named]


def _name_if_on(body: str) -> str | None:
    """The name of a schedule that is switched on, by a person or in code."""
    with suppress(ValueError, KeyError, TypeError):
        told = json.loads(body)
        if told["status"]["__enum__"] in _ON:
            return str(told["origin"]["job_name"])
    return None


def _running(settings: "Settings") -> list[str]:
    """Where a server runs already, the URL of Dagster's database, and then of its schema in another one."""
    if settings.postgres_url is not None:
        from resources.postgres import server_url  # what the address holds may be a secret: read in one place

        server = server_url(settings.postgres_url)
        within = server.update_query_dict({"options": f"-csearch_path={_DATABASE}"})
        return [url.render_as_string(hide_password=False) for url in (server.set(database=_DATABASE), within)]
    import psutil

    with suppress(OSError, ValueError, IndexError, psutil.Error):
        lines = (settings.postgres_dir / "cluster" / "postmaster.pid").read_text().splitlines()
        if "postgres" in psutil.Process(int(lines[0])).name():
            return [f"postgresql://postgres@/{_DATABASE}?host={lines[4]}"]
    return []
