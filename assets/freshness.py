"""Whether what is collected is as fresh as it should be: one warning check an asset.

Stays out: how old the newest row of a table may be (`pipeline.monitoring.freshness`), whether rows are as specified
(`checks`), and who is told (`sensors.alerts`).
"""

from datetime import timedelta

import dagster as dg

from pipeline.calendars import MINUTE, Clock
from pipeline.lake import Lake
from pipeline.monitoring.freshness import LATELY, OLDEST, newest


def freshness_check(name: str) -> dg.AssetChecksDefinition:
    """The check of one table against OLDEST."""

    @dg.asset_check(
        asset=name,
        name=f"{name}_are_fresh",
        description=f"The newest row of `{name}` is at most {OLDEST[name]} old, as long as the API is being asked.",
    )
    def check(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.AssetCheckResult:
        now = clock.now()
        if newest(lake, "answers", now) is None:
            return dg.AssetCheckResult(passed=True, description="nobody has asked the API for days")
        last = newest(lake, name, now)
        age = None if last is None else now - last
        return dg.AssetCheckResult(
            passed=age is not None and age <= OLDEST[name],
            severity=dg.AssetCheckSeverity.WARN,
            description=f"nothing in {LATELY.days} days" if age is None else f"the newest row is {_words(age)} old",
            metadata={} if age is None else {"age_minutes": round(age / MINUTE, 1)},
        )

    return check


def _words(age: timedelta) -> str:
    return f"{age / MINUTE:.0f} min"


CHECKS = [freshness_check(name) for name in OLDEST]
