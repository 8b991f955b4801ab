"""The asset graph as people see it: its shape, its words, its checks, and how fast it loads."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.checks import GUARDED, GUARDED_TOO
from pipeline.definitions import defs
from pipeline.graph import graph_lines, graph_nodes
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.tables import FAMILY_TABLE_NAMES, TABLES

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "graph.txt"
HEAVY = (
    "httpx2", "uvicorn", "duckdb", "mlflow", "great_expectations", "qlib", "xgboost", "sklearn", "matplotlib",
    "evidently", "apprise",
)  # fmt: skip

NODES = {node["asset"]: node for node in graph_nodes(defs)}
SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_graph_is_the_golden_one() -> None:
    """Changed on purpose? Write it anew: `poolcast graph > tests/golden/graph.txt`."""
    assert "\n".join(graph_lines(defs)) + "\n" == GOLDEN.read_text()


@pytest.mark.parametrize("name", sorted(SPECS))
def test_an_asset_explains_itself(name: str) -> None:
    spec = SPECS[name]
    assert spec.description is not None
    assert "**Cadence**" in spec.description
    assert len(spec.description.splitlines()[0]) > 30
    assert spec.owners == ["team:poolcast"]
    assert spec.kinds
    assert spec.group_name in {
        "pools", "snapshots", "features", "labels", "bins", "models", "promotion", "predictions", "monitoring",
    }  # fmt: skip


WITHOUT_TABLE = {"outcome_model", "return_model", "qlib_health", "features_report", "labels_report"}


@pytest.mark.parametrize("name", sorted(set(SPECS) - WITHOUT_TABLE))
def test_an_asset_that_writes_a_table_states_grain_key_and_columns(name: str) -> None:
    spec = SPECS[name]
    assert "**Grain**" in str(spec.description)
    assert "**Key**" in str(spec.description)
    schema = spec.metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)


def test_every_table_with_an_asset_has_a_blocking_check() -> None:
    unguarded = set(TABLES) - set(GUARDED) - {"partitions"}
    assert unguarded == set()
    graph = defs.resolve_asset_graph()
    specified = [key for key in graph.asset_check_keys if key.name.endswith("_as_specified") or "canaries" in key.name]
    assert len(specified) == len(GUARDED) + len(GUARDED_TOO) + 2
    assert all(graph.get(key).blocking for key in specified)


def test_what_is_collected_has_a_freshness_check_that_blocks_nothing() -> None:
    graph = defs.resolve_asset_graph()
    fresh = {key.asset_key.to_user_string(): graph.get(key) for key in graph.asset_check_keys if "fresh" in key.name}
    assert set(fresh) == {"answers", "raw_pools", "pools", "candles", "trades", "tokens", "snapshots"}
    assert not any(check.blocking for check in fresh.values())


def test_each_network_has_a_check_of_its_own_that_stops_no_other() -> None:
    graph = defs.resolve_asset_graph()
    collected = [graph.get(key) for key in graph.asset_check_keys if key.name.startswith("collected_")]
    assert len(collected) == len(CollectionSpec().networks) >= 10
    assert not any(check.blocking for check in collected)


def test_a_replay_has_nothing_to_do_with_the_api() -> None:
    replayed = defs.resolve_job_def("loop").asset_layer.executable_asset_keys
    assert not {key.to_user_string() for key in replayed} & {"answers", "raw_pools", "tokens", "trades", "raw_candles"}


def test_what_follows_time_is_partitioned_by_hour() -> None:
    hourly = {name for name, node in NODES.items() if node["partitions"] == "hourly"}
    assert hourly == {
        "raw_pools", "tokens", "trades", "raw_candles", "reserves", "candles", "snapshots", "features", "labels",
        "market_labels", *FAMILY_TABLE_NAMES,
    }  # fmt: skip


def test_the_code_location_costs_little_beside_dagster_itself_and_loads_nothing_slow(tmp_path: Path) -> None:
    told = (
        "import sys, time; start = time.process_time(); import dagster; of_dagster = time.process_time() - start;"
        "import pipeline.definitions; ours = time.process_time() - start - of_dagster;"
        f"print(ours / of_dagster, [m for m in {HEAVY} if m in sys.modules])"
    )
    # As people have it: compiled once and kept. Where nothing may be kept, our modules are compiled anew each time.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=ROOT,
        env={**kept, "POOLCAST_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    ratio, loaded = done.stdout.split(maxsplit=1)
    assert loaded.strip() == "[]"
    # A ratio of processor seconds, about 1.5: seconds themselves say more about the neighbours than about us.
    assert float(ratio) < 2.5


def test_collection_is_off_and_training_is_on_until_somebody_says_otherwise() -> None:
    schedules = {schedule.name: schedule for schedule in defs.schedules or ()}
    assert schedules["every_five_minutes"].default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedules["every_five_minutes"].cron_schedule == "*/5 * * * *"
    assert schedules["every_sunday"].default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedules["every_sunday"].cron_schedule == "0 3 * * 0"
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"UTC"}
