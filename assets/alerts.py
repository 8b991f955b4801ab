"""Alerts: what the reports and the ledger hold that somebody should know.

Belongs here: writing it down when the watch runs. Stays out: failed runs, missed schedules and the sending
(`sensors.alerts`), and what is worth an alert (`pipeline.monitoring.alerts`).
"""

from typing import Any

import dagster as dg

from assets.metadata import frame_metadata, table_value
from pipeline.calendars import Clock
from pipeline.lake import Lake
from pipeline.monitoring.alerts.journal import listed, look
from pipeline.monitoring.alerts.lookout import looked_over
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.monitoring.alerts.state import Looked
from pipeline.tables import ALERTS

SHOWN = ["known_at", "severity", "state", "title", "n_receivers", "acknowledged_by"]
N_SHOWN = 20


@dg.asset(
    name="alerts",
    group_name="monitoring",
    deps=["drift_reports", "quality_reports"],
    description="What somebody should know: drift that does harm, quality below its floor, old tables, moves of the "
    "ledger, failed runs and checks, schedules that did not tick. Who is told is said by one rule file.",
)
def alerts(
    lake: dg.ResourceParam[Lake],
    wall_clock: dg.ResourceParam[Clock],
    alert_setup: dg.ResourceParam[AlertSetup],
) -> dg.MaterializeResult[Any]:
    """What somebody should know; written down here, told by the sensor `alerts_told`."""
    now = wall_clock.now()
    # By the machine's clock: what a replay lets happen years ago is no news.
    found, events = looked_over(lake, now, alert_setup.spec)
    # Only the sensor, which looks all the time, may say that something is over.
    begun = Looked(frozenset(), found.found)
    n_new, _ = look(lake, alert_setup.folder, begun, events, {}, now, rules=Rules(), spec=alert_setup.spec)
    rows = listed(lake, now)
    return dg.MaterializeResult(
        metadata={
            **frame_metadata(ALERTS, rows.select(ALERTS.schema.names()), rows.height),
            "new": n_new,
            "last": table_value(rows.select(SHOWN).head(N_SHOWN)),
        }
    )
