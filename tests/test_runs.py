"""What a finished run tells of its checks."""

from datetime import UTC, datetime

import dagster as dg

from pipeline.calendars import HOUR, Span
from pipeline.runs import SHOWN_OF_WARNING, run_job
from resources.narrator import narrator

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)


@dg.asset
def thing() -> None:
    """Nothing."""


@dg.asset_check(asset=thing, blocking=True)
def doubtful() -> dg.AssetCheckResult:
    """Warns at length, and stops nothing."""
    words = "thing: 3 rows, 1 of 9 expectations are broken\n- warning: what fell is a RUG: not so for 2; " + "x " * 300
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=words)


@dg.asset_check(asset=thing)
def sound() -> dg.AssetCheckResult:
    """Passes."""
    return dg.AssetCheckResult(passed=True, description="all is well")


def test_a_check_that_warns_is_told_in_one_line_and_one_that_passes_is_not() -> None:
    jobs = [dg.define_asset_job("loop")]
    defs = dg.Definitions(assets=[thing], asset_checks=[doubtful, sound], jobs=jobs, loggers={"narrator": narrator})
    with dg.DagsterInstance.ephemeral() as instance:
        done = run_job(defs, instance, "loop", Span(BEGIN, BEGIN + HOUR))
    (told,) = done.warnings
    assert told.startswith("doubtful: thing: 3 rows, 1 of 9 expectations are broken - warning: what fell is a RUG")
    assert len(told) <= SHOWN_OF_WARNING
    assert "\n" not in told
