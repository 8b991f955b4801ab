"""Hostile names through the places that show them: Dagster's pages in a browser, terminals, spreadsheets, SQL, logs."""

import csv
import io
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from guarded_servers import Guarded
from test_guarded_browser import tab, watched
from typer.testing import CliRunner

from assets.metadata import frame_metadata, table_value
from pipeline.cli import app
from pipeline.lake import Lake
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text
from pipeline.tables import POOLS, QUARANTINE, TOKENS
from pipeline.text import clean, inert, seen, spelled, uncalculated
from resources.narrator import Narrator
from tests.builders import valid_frame
from tests.hostile_names import HOSTILE_NAMES

UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
names = pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())


@names
def test_what_is_shown_is_short_visible_and_inactive(name: str) -> None:
    for shown in (seen(name), clean(name), inert(name)):
        assert not UNSEEN.search(shown)
        assert len(shown) <= 200
    assert not set(clean(name)) & set('<>&`"[]')
    assert not set(inert(name)) & set('<>&`"[]@|\\')
    assert not UNSEEN.search(spelled(name))
    assert clean("\ud800x" + name) is not None


@names
def test_a_parsed_name_has_nothing_hidden_and_no_tags(name: str) -> None:
    told = pl.DataFrame({"name": [name]}).select(clean_text(pl.col("name"), PoolsSpec()))["name"][0]
    assert told is None or not (UNSEEN.search(told) or set(told) & set("<>"))
    assert told is None or len(told) <= PoolsSpec().max_text_length


@names
def test_no_spreadsheet_calculates_and_no_row_breaks(name: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow([uncalculated(name), 1])
    ((told, one),) = csv.reader(io.StringIO(text.getvalue(), newline=""))
    assert one == "1"
    assert told.lstrip()[:1] not in {*"=+-@\uff1d\uff0b\uff0d\uff20"}


def rows(table: Any, **texts: str) -> pl.DataFrame:
    """One sound row of a table for each hostile name, which stands in these columns."""
    told = list(HOSTILE_NAMES.values())
    frame = valid_frame(table, n_rows=len(told))
    return frame.with_columns(pl.Series(column, told) for column in texts)


def test_commands_show_them_as_text_and_sql_takes_them_for_values(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append(POOLS, rows(POOLS, dex="").with_columns(pool=pl.format("0x{}", pl.int_range(pl.len()))))
    lake.append(QUARANTINE, rows(QUARANTINE, record="", detail=""))
    for command in (
        ["pools", "show", "0x1"], ["pools", "show", HOSTILE_NAMES["sql"]], ["quality", "quarantine", "list"],
        ["lake", "sql", "SELECT dex FROM pools"], ["lake", "sql", "SELECT dex FROM pools", "--format", "csv"],
        ["lake", "sql", "SELECT dex FROM pools", "--format", "json"],
    ):  # fmt: skip
        result = CliRunner().invoke(app, command, env={"POOLCAST_DATA_DIR": str(tmp_path), "FORCE_COLOR": ""})
        shown = result.output + str(result.exception or "")
        assert not re.search(r"[\x00\x07\x1b\x9b\u202e\u2066]", shown), command
        assert len(shown) < 900_000
    assert lake.scan(POOLS).collect().height == len(HOSTILE_NAMES)


def test_a_line_of_the_log_stays_a_line_and_no_terminal_obeys_it(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator()
    for name in HOSTILE_NAMES.values():
        narrator.emit(logging.LogRecord("x", logging.INFO, "", 0, "%s", (f"a pool is called {name}",), None))
    shown = capsys.readouterr().err
    assert not re.search(r"[\x00\x07\x1b\x9b\u202e]", shown)
    assert "[red]x[/red]" in shown


def test_tables_for_reviewers_are_no_programs_to_a_spreadsheet(tmp_path: Path) -> None:
    from pipeline.promotion.run import write_files
    from tests.promotion.training_runs import a_run

    run = a_run(tables={"slices": pl.DataFrame({"slice": list(HOSTILE_NAMES.values()), "n": 1})})
    folder = write_files(run, tmp_path / "files")
    told = pl.read_csv(folder / "tables" / "slices.csv")
    assert not told.filter(pl.col("slice").str.contains(r"^\s*[=+\-@]")).height


@pytest.mark.slow
def test_on_dagsters_pages_nothing_runs_and_nothing_is_loaded(dagster_server: Guarded) -> None:
    broken = rows(TOKENS, name="", symbol="", network="")
    words = "\n".join(f"- {clean(name)}" for name in HOSTILE_NAMES.values())
    with dg.DagsterInstance.from_config(str(dagster_server.log.parent / "home")) as instance:
        key = dg.AssetKey("named")
        told = frame_metadata(TOKENS, broken, broken.height) | {"names": table_value(rows(POOLS, dex=""), max_cell=400)}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                key, metadata=told, description=words, tags={"at": datetime.now(UTC).date().isoformat()}
            )
        )
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key, check_name="named_as_specified", passed=False, description=words,
                metadata={"names": table_value(broken, max_cell=400)},
            )
        )  # fmt: skip
    with tab() as page:
        seen_there = watched(page)
        for view in ("?view=overview", "?view=events", "?view=checks"):
            page.goto(f"{dagster_server.url}/assets/named{view}")
            page.get_by_text("named").first.wait_for(timeout=60_000)
        page.get_by_text("named_as_specified").first.click()
        page.get_by_text("claim").first.wait_for(timeout=60_000)
        assert page.evaluate("window.pwned") is None
        assert not page.locator("a[href*='evil.example'], a[href^='javascript:'], img[src*='evil.example']").count()
    assert {url.split("/")[2] for _, url, _ in seen_there["answers"] if url.startswith("http")} == {
        dagster_server.url[7:]
    }
