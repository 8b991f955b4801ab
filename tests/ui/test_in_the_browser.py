"""What people do in the pages: a backfill, a materialisation, a check that fails and recovers, a sensor, a review."""

import re
from datetime import UTC, datetime

import polars as pl
import pytest
from playwright.sync_api import Page, expect

from pipeline.calendars import HOUR, Span
from pipeline.lake import Lake
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.registry import Registry
from pipeline.tables import POOLS, RESERVES
from tests.builders import valid_frame
from tests.promotion.training_runs import a_run
from tests.ui.pictures import picture
from tests.ui.served import Served

pytestmark = pytest.mark.slow

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
MANY_HOURS = "[2024-03-01-00:00...2024-03-03-23:00]"
PLANTED = "recording:planted"
NAME = "pool-outcome"


def button(page: Page, words: str):
    """A button by the words at the end of its name: an icon's name comes before them."""
    return page.get_by_role("button", name=re.compile(rf"{words}$")).first


def test_the_graph_is_drawn_in_the_order_of_the_data(page: Page, served: Served) -> None:
    page.goto(f"{served.dagster}/asset-groups")
    places = []
    for group in ("pools", "snapshots", "features", "models", "promotion"):
        shown = page.get_by_text(group, exact=True).locator("visible=true")
        expect(shown).to_have_count(2)  # in the list on the left, and in the graph
        places.append(max(box["x"] for one in shown.all() if (box := one.bounding_box())))
    assert places == sorted(places)
    picture(page, "ui_graph")


def test_hours_are_backfilled_in_one_run(page: Page, served: Served, lake: Lake) -> None:
    page.goto(f"{served.dagster}/assets/reserves?view=partitions")
    page.get_by_placeholder("ex: 2020-01-01-00:00").fill(MANY_HOURS)
    page.keyboard.press("Enter")
    expect(page.get_by_text("72 Partitions Selected")).to_be_visible()
    button(page, "Materialize…").click()
    launch = button(page, "Launch backfill")
    expect(page.get_by_text("Backfills all partitions in a single run.")).to_be_visible()
    picture(page, "ui_backfill")
    launch.click()
    expect(page.get_by_text("Materialized (72)")).to_be_visible()
    assert lake.scan(RESERVES, Span(BEGIN, BEGIN + 72 * HOUR)).select(pl.len()).collect().item() > 1_000


def test_an_asset_is_materialised_from_its_page_and_says_how_many_rows_it_has(page: Page, served: Served) -> None:
    page.goto(f"{served.dagster}/assets/pools")
    button(page, "Materialize").click()
    button(page, "Confirm").click()  # nothing was collected here, and Dagster asks whether that is meant
    page.get_by_text("View", exact=True).click()
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    page.goto(f"{served.dagster}/assets/pools")
    expect(page.get_by_text("Row count")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("pools.py"))).to_be_visible()
    expect(page.get_by_text("one pool").first).to_be_visible()
    picture(page, "ui_asset")


def test_a_check_fails_where_a_row_cannot_be_true_and_recovers_when_it_is_gone(
    page: Page, served: Served, lake: Lake
) -> None:
    planted = valid_frame(POOLS, n_rows=1).with_columns(
        source=pl.lit(PLANTED), base_decimals=pl.lit(-1, POOLS.schema["base_decimals"])
    )
    born = planted["created_at"].item()
    lake.append(POOLS, planted)
    page.goto(f"{served.dagster}/assets/pools?view=checks&checkDetail=pools_as_specified")
    button(page, "Execute").click()
    failed = page.get_by_text(re.compile("base_decimals.*"), exact=False).first
    expect(failed).to_be_visible()
    expect(page.get_by_text("Failed").first).to_be_visible()
    picture(page, "ui_check_failed")
    lake.discard(POOLS, [PLANTED], Span(born - HOUR, born + HOUR))
    button(page, "Execute").click()
    expect(page.get_by_text("Succeeded").first).to_be_visible()


def test_a_sensor_is_switched_on_and_says_why_it_asks_for_nothing(page: Page, served: Served) -> None:
    page.goto(f"{served.dagster}/locations/poolcast/sensors/pools_waiting")
    switch = page.get_by_role("checkbox").first
    expect(switch).not_to_be_checked()
    switch.evaluate("box => box.click()")  # the box itself is hidden under what is drawn for it
    expect(switch).to_be_checked()
    expect(page.get_by_text("0 runs requested").first).to_be_visible()
    picture(page, "ui_sensor")
    switch.evaluate("box => box.click()")
    expect(switch).not_to_be_checked()
    page.goto(f"{served.dagster}/automation")
    expect(page.get_by_text("drift_with_harm")).to_be_visible()
    picture(page, "ui_automation")


def test_a_reviewer_finds_a_version_its_standing_and_its_evidence(page: Page, served: Served, lake: Lake) -> None:
    version = in_charge(served, lake)
    page.goto(f"{served.mlflow}/#/models/{NAME}")
    expect(page.get_by_text("what it means")).to_be_visible()
    expect(page.get_by_text("champion").first).to_be_visible()
    picture(page, "ui_registered_model")
    page.goto(f"{served.mlflow}/#/models/{NAME}/versions/{version}")
    expect(page.get_by_text("Before you approve or veto it")).to_be_visible()
    expect(page.get_by_text("standing").first).to_be_visible()
    picture(page, "ui_model_version")
    page.get_by_role("link", name=re.compile(rf"^({NAME} |a training)")).first.click()
    expect(page.get_by_text("Trained on set").first).to_be_visible()
    expect(page.get_by_role("link", name="the run in Dagster")).to_have_attribute("href", re.compile(r"/runs/\w"))
    expect(page.get_by_text("log_loss").first).to_be_visible()
    picture(page, "ui_training")


def test_a_run_says_what_it_is(page: Page, served: Served) -> None:
    page.goto(f"{served.dagster}/runs?show_runs_within_backfills=true")
    expect(page.get_by_text("poolcast/lane: other").first).to_be_visible()
    picture(page, "ui_runs")


def in_charge(served: Served, lake: Lake) -> int:
    """The version in charge; where nobody is, a small one is put there by the ledger."""
    registry = Registry(served.mlflow, served.folder / "mlflow")
    moves = Moves(lake, registry)
    if moves.standing(NAME).champion is None:
        made = registry.register(a_run(model_name=NAME, curves={"log_loss_by_pools": [(10, 1.2), (20, 1.1)]},
                                       dagster_url=f"{served.dagster}/runs/none"))  # fmt: skip
        moves.move(Move(NAME, "promote", made.version, made.model_sha256, "gate", "it is better"), at=BEGIN)
    champion = moves.standing(NAME).champion
    assert champion is not None
    return champion.version
