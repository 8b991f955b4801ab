"""`poolcast drift report` says what is wrong where it cannot look."""

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from assets.drift_evidence import FIRST_HOURS, SPEC
from pipeline.cli import app
from pipeline.cli.drift_report import _LEGEND, _table, _where_to_look
from pipeline.cli.moments import moment
from pipeline.errors import TransientError, UsageError
from pipeline.lake import Lake
from pipeline.monitoring.drift.windows import births
from pipeline.tables import DRIFT_REPORTS, POOLS
from tests.builders import valid_frame
from tests.monitoring.drift_world import BEGIN, DAY, world


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", sync=lambda path: None)


def pools_born(source: str, at: datetime) -> pl.DataFrame:
    return valid_frame(POOLS).with_columns(source=pl.lit(source), created_at=pl.lit(at, pl.Datetime("us", "UTC")))


def asked(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, ["drift", "report", *arguments]).exception


@pytest.mark.parametrize("told", ["yesterday", "0001-01-01T00:00+14:00", "0001-01-01", "9999-12-31T23:59"])
def test_a_moment_that_is_none_or_has_no_day_around_it_is_refused(tmp_path: Path, told: str) -> None:
    found = asked("--at", told, "--data-dir", str(tmp_path))
    assert isinstance(found, UsageError)
    assert repr(told) in str(found)


def test_without_a_registry_it_says_so_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POOLCAST_POSTGRES_URL", "MLFLOW_TRACKING_URI"):  # MLflow sets the latter itself, for its process
        monkeypatch.delenv(name, raising=False)
    found = asked("--data-dir", str(tmp_path), "--at", "2024-03-01")
    assert isinstance(found, TransientError)
    assert "the registry cannot be reached" in str(found)
    assert not (tmp_path / "postgres").exists()


def test_where_nobody_was_born_it_says_when_to_look_instead(lake: Lake) -> None:
    seen = world(1, days=20).evidence(BEGIN + 400 * DAY)
    assert seen.current.is_empty()
    born = BEGIN + 18.3 * DAY
    lake.append(POOLS, pools_born(seen.source, born))
    told = str(_where_to_look(lake, seen))
    assert f"the newest was born at {born:%Y-%m-%d %H:%M}" in told
    at = moment(told.rpartition("--at ")[2], "--at")
    window = births(at, FIRST_HOURS, SPEC.window, not_before=BEGIN, wait=0 * DAY)
    assert window.after < born <= window.until


def test_pools_that_the_champion_learned_from_are_nothing_to_look_at(lake: Lake) -> None:
    seen = world(1, days=20).evidence(BEGIN + 400 * DAY)
    lake.append(POOLS, pools_born(seen.source, seen.learned.learned_until))
    assert _where_to_look(lake, seen) is None


def test_where_pools_were_looked_at_it_sends_nobody_elsewhere(lake: Lake) -> None:
    seen = world(1, days=20).evidence(BEGIN + 19 * DAY)
    lake.append(POOLS, pools_born(seen.source, BEGIN + 18 * DAY))
    assert not seen.current.is_empty()
    assert _where_to_look(lake, seen) is None


def test_a_feature_that_moved_is_shown_with_what_it_was_and_what_it_is(lake: Lake) -> None:
    seen = world(1, days=20).evidence(BEGIN + 19 * DAY)
    name = seen.learned.feature_names[0]
    of_one_pool = pl.col("pool") == seen.current["pool"][0]
    # One pool with many and large values moves no median: it counts once.
    loud = pl.concat([seen.current, *[seen.current.filter(of_one_pool).with_columns(pl.lit(1e9).alias(name))] * 99])
    row = {"kind": "feature", "subject": name, "js": 0.3, "n_current_pools": 9, "is_drifted": True}
    found = pl.DataFrame([row], schema=DRIFT_REPORTS.schema)
    shown = _table(found, replace(seen, current=loud))
    cells = {str(column.header): next(iter(column.cells)) for column in shown.columns}
    for title, rows in (("reference", seen.reference.rows), ("now", loud)):
        by_pool = rows.group_by("network", "pool").agg(pl.col(name).median())[name]
        assert cells[title] == f"{by_pool.median():.4g}"
    assert float(cells["now"]) < 1e6


def test_the_legend_explains_every_figure_of_the_table() -> None:
    told = world(1, days=20).evidence(BEGIN + 19 * DAY)
    titles = {str(column.header) for column in _table(DRIFT_REPORTS.empty(), told).columns} - {"what", "which", "drift"}
    assert {title for title in titles if not re.search(rf"\b{title}\b.*:", _LEGEND)} == set()
    assert max(map(len, _LEGEND.splitlines())) <= 80
