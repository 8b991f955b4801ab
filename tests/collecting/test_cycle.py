"""A cycle ends well, whatever the API does meanwhile, and says what happened."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from market_under_test import HURRIED, Market, lake_of, served, setup_of, simulated

from pipeline.pools.drain import drain
from pipeline.pools.memory import Memory
from pipeline.pools.parse import parse_pools
from pipeline.pools.spec import PoolsSpec
from pipeline.sandbox.faults import FaultPlan, Scripted
from pipeline.tables import ANSWERS

HOURS_IN = timedelta(hours=12, minutes=1)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Market:
    found = simulated(tmp_path_factory.mktemp("market"), 80, n_networks=3)
    return replace(found, start=found.start + HOURS_IN)


@pytest.mark.slow
def test_a_resting_host_costs_a_cycle_its_rest_and_no_more(told: Market, tmp_path: Path) -> None:
    with served(told) as sandbox, setup_of(told, sandbox, tmp_path).open() as desk:
        first = desk.cycle(desk.next_slot())
        assert first.totals()["pools_found"] > 10
        # A call of three attempts and one of two: the fifth failure in a row opens the breaker for half a minute.
        sandbox.control.set_faults(FaultPlan(script=(Scripted("networks/*/multi/*", "error_500", 5),)))
        second = desk.cycle(desk.next_slot())
        # Calls that were given up are left for the next cycle; what was not sent while the host rested is sent later.
        assert second.totals()["failed_calls"] == 2
        whole = second.networks.filter(pl.col("n_failed") == 0)
        assert whole.height == 1
        assert whole["n_waiting"].sum() == 0
        failed = second.networks.filter(pl.col("n_failed") > 0)["network"][0]
        passed, words = second.verdict(failed)
        assert not passed
        assert "last error" in words


@pytest.mark.slow
def test_a_plan_that_was_cut_says_how_likely_it_was_to_be_carried_out(told: Market, tmp_path: Path) -> None:
    with served(told, calls_per_minute=30) as sandbox:
        patient = replace(HURRIED, breaker_failures=1000)
        setup = setup_of(told, sandbox, tmp_path, client=patient, calls_per_minute=20)
        with setup.open() as desk:
            desk.cycle(desk.next_slot())
            sandbox.control.set_faults(FaultPlan(seed=1, probability={"error_503": 0.8}))
            for _ in range(8):
                desk.cycle(desk.next_slot())
            planned = desk.journal.memory.rows(
                "SELECT plan FROM answers WHERE endpoint = 'pools_multi' AND status = 200"
            )
    shares = {share for (plan,) in planned for share, _ in json.loads(plan).values()}
    assert all(0 < share <= 1 for share in shares)
    assert min(shares) < 1


@pytest.mark.slow
def test_a_network_that_does_not_exist_and_an_api_that_does_not_answer_end_in_a_verdict(
    told: Market, tmp_path: Path
) -> None:
    with served(told) as sandbox:
        nowhere = setup_of(told, sandbox, tmp_path / "a", networks=("nowhere",))
        silent = setup_of(told, sandbox, tmp_path / "b", base_url="http://127.0.0.1:9/api/v2")
        for setup, network, why, unknown in (
            (nowhere, "nowhere", "status 404", "nowhere"),
            (silent, told.networks[0], "Connection refused", None),
        ):
            with setup.open() as desk:
                cycle = desk.cycle(desk.next_slot())
            passed, words = cycle.verdict(network)
            assert not passed
            assert cycle.totals()["pools_found"] == 0
            assert cycle.totals()["failed_calls"] > 0
            assert "its list of new pools was never read through. asked for" in words
            assert why in words
            assert cycle.totals().get("unknown_networks") == unknown


@pytest.mark.slow
def test_what_the_api_refuses_for_good_is_not_asked_for_again_and_again(told: Market, tmp_path: Path) -> None:
    with served(told) as sandbox, setup_of(told, sandbox, tmp_path).open() as desk:
        desk.cycle(desk.next_slot())
        pools = [pool for (pool,) in Memory(desk.setup.memory_file).rows("SELECT pool FROM watched")]
        sandbox.control.set_faults(FaultPlan(gone=tuple(pools)))
        with desk.watch.memory.writing("ask for bars in") as db:
            db.execute("UPDATE watched SET history_due = 0")
        sandbox.control.reset_calls()
        for _ in range(3):
            desk.cycle(desk.next_slot())
        asked = [call.path for call in sandbox.control.calls() if "/ohlcv/" in call.path]
        assert len(asked) == len(set(asked)) > 5


@pytest.mark.slow
def test_pools_of_networks_that_nobody_watches_say_that_nobody_would_have_asked_for_them(
    told: Market, tmp_path: Path
) -> None:
    watched = told.networks[:2]
    with served(told) as sandbox, setup_of(told, sandbox, tmp_path, networks=watched).open() as desk:
        desk.cycle(desk.next_slot())
        drain(desk.journal, lake_of(tmp_path))
    rows = parse_pools(lake_of(tmp_path).scan(ANSWERS).collect(), PoolsSpec()).raw_pools
    likely = rows.group_by("network").agg(pl.col("inclusion_probability").unique()).sort("network")
    assert dict(likely.iter_rows()) == {watched[0]: [1.0], watched[1]: [1.0], told.networks[2]: [0.0]}
    assert rows.filter(pl.col("network") == told.networks[2])["n_missed"].sum() == 0
