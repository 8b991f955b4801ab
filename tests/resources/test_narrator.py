"""What a person at the terminal reads while a run works: every asset, and checks only where one fails."""

import dagster as dg
import pytest

from resources.narrator import narrator


@dg.asset
def first() -> None:
    """An asset with two checks."""


@dg.asset(deps=[first])
def second(context: dg.AssetExecutionContext) -> None:
    """An asset that says something."""
    context.log.info("half of it is done")


@dg.asset_check(asset=first)
def is_sound() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset_check(asset=first, blocking=True)
def is_whole(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed="broken" not in context.run.tags)


def told(capsys: pytest.CaptureFixture[str], **tags: str) -> list[str]:
    defs = dg.Definitions(
        assets=[first, second],
        asset_checks=[is_sound, is_whole],
        jobs=[dg.define_asset_job("everything")],
        loggers={"narrator": narrator},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("everything").execute_in_process(
            instance=instance, tags=tags, run_config={"loggers": {"narrator": {}}}, raise_on_error=False
        )
    return [line.partition(" in ")[0] for line in capsys.readouterr().err.splitlines()]


def test_checks_in_a_row_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys) == [
        "first", "    done", "    checks", "second", "    half of it is done", "    done",
    ]  # fmt: skip


def test_a_check_that_fails_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, broken="yes")
    assert "    first_is_whole failed" in lines
    assert "second" not in lines
