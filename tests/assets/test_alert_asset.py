"""The asset of alerts, with its checks: what the ledger tells becomes rows that are as specified."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from assets.alerts import alerts
from assets.checks import expectation_check
from pipeline.calendars import FixedClock
from pipeline.lake import Lake
from pipeline.monitoring.alerts.journal import acknowledge, remembered
from pipeline.monitoring.alerts.outbox import decision
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.promotion.moves import Move, Moves
from pipeline.tables import ALERT_ACKS, ALERT_DELIVERIES, ALERTS

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
TABLES = ("alerts", "alert_deliveries", "alert_acks")


def materialised(lake: Lake) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions(
        assets=[alerts],
        asset_checks=[expectation_check(name, "alerts") for name in TABLES],
        resources={
            "lake": lake,
            "wall_clock": FixedClock(NOW),
            "alert_setup": AlertSetup(lake.root.parent / "alerts"),
        },
        jobs=[dg.define_asset_job("watch")],
    )
    return definitions.resolve_job_def("watch").execute_in_process(raise_on_error=True)


def test_what_the_ledger_tells_is_written_once_and_every_row_is_as_specified(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    Moves(lake, None).move(Move("pool-outcome", "promote", 1, "a" * 64, "gate", "beats all"), at=NOW)
    materialised(lake)
    (told,) = remembered(lake, ALERTS, NOW).to_dicts()
    assert told["title"] == "pool-outcome: version 1 took charge"
    acknowledge(lake, told["alert_id"], "somebody", "<b>seen</b>", NOW)
    row = decision(told["alert_id"], "json:3b7842a1", NOW, "failed", reason="it is down")
    lake.append(ALERT_DELIVERIES, pl.DataFrame([row], ALERT_DELIVERIES.schema))
    result = materialised(lake)
    checks = result.get_asset_check_evaluations()
    assert sorted(check.check_name for check in checks) == sorted(f"{name}_as_specified" for name in TABLES)
    assert all(check.passed for check in checks)
    assert remembered(lake, ALERTS, NOW).height == remembered(lake, ALERT_ACKS, NOW).height == 1
