"""Whether what is collected is as fresh as it should be: one warning check an asset.

Belongs here: how old the newest row of each table may be. Stays out: whether rows are as specified (`checks`).
"""

from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from pipeline.calendars import HOUR, MINUTE, Clock, Span
from pipeline.lake import Lake
from pipeline.tables import table

OLDEST = {
    "answers": 15 * MINUTE,
    "raw_pools": 20 * MINUTE,
    "pools": 2 * HOUR,
    "snapshots": 20 * MINUTE,
    "candles": 26 * HOUR,
    "trades": 26 * HOUR,
    "tokens": HOUR,
}
"""How old what is newest may be while somebody collects: states come every cycle, histories once a pool's day."""
LATELY = timedelta(days=3)
"""A lake that was not collected into for so long is not collected into: a replay, or somebody stopped on purpose."""


def freshness_check(name: str) -> dg.AssetChecksDefinition:
    """The check of one table against OLDEST."""

    @dg.asset_check(
        asset=name,
        name=f"{name}_are_fresh",
        description=f"The newest row of `{name}` is at most {OLDEST[name]} old, as long as the API is being asked.",
    )
    def check(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.AssetCheckResult:
        now = clock.now()
        last = _newest(lake, "answers", now)
        if last is None:
            return dg.AssetCheckResult(passed=True, description="nobody has asked the API for days")
        newest = _newest(lake, name, now)
        age = None if newest is None else now - newest
        return dg.AssetCheckResult(
            passed=age is not None and age <= OLDEST[name],
            severity=dg.AssetCheckSeverity.WARN,
            description=f"nothing in {LATELY.days} days" if age is None else f"the newest row is {_words(age)} old",
            metadata={} if age is None else {"age_minutes": round(age / MINUTE, 1)},
        )

    return check


def _newest(lake: Lake, name: str, now: datetime) -> datetime | None:
    target = table(name)
    rows = lake.scan(target, Span(now - LATELY, now + HOUR)).select(pl.col(target.as_of).max()).collect()
    found = rows.item() if rows.height else None
    return found if isinstance(found, datetime) else None


def _words(age: timedelta) -> str:
    return f"{age / MINUTE:.0f} min"


CHECKS = [freshness_check(name) for name in OLDEST]
