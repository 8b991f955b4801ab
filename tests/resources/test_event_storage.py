import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.event_log import SqlEventLogStorageTable

from resources.event_storage import BatchingEventLogStorage
from resources.postgres import postgres
from resources.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    # Dagster's own, where it stores the verdict of a check.
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning"),
]

HOURS = dg.HourlyPartitionsDefinition(start_date="2020-01-01-00:00")
RANGE = {
    "dagster/asset_partition_range_start": "2020-01-02-00:00",
    "dagster/asset_partition_range_end": "2020-01-02-22:00",
}
STOCK = {"module": "dagster_postgres.event_log", "class": "PostgresEventLogStorage"}
OURS = {"module": "resources.event_storage", "class": "BatchingEventLogStorage"}
KEYS = [dg.AssetKey("up"), dg.AssetKey("down")]


def job() -> dg.JobDefinition:
    policy = dg.BackfillPolicy.single_run()

    @dg.asset(partitions_def=HOURS, backfill_policy=policy)
    def up() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"rows": 5}, tags={"a": "tag"})

    @dg.asset(partitions_def=HOURS, backfill_policy=policy, deps=[up])
    def down() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"rows": 7})

    @dg.asset_check(asset=up)
    def is_sound() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    assets = dg.define_asset_job("loop", "*", executor_def=dg.in_process_executor)
    return dg.Definitions([up, down], asset_checks=[is_sound], jobs=[assets]).resolve_job_def("loop")


@pytest.fixture(params=["the embedded server", "the system's server"])
def instances(
    request: pytest.FixtureRequest, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dg.DagsterInstance]]:
    """Two instances on two databases of one server, alike but for the event log's class."""
    is_own = request.param == "the embedded server"
    url = None if is_own else request.getfixturevalue("external").url
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "10")
    logging.getLogger("dagster").setLevel(logging.ERROR)
    with postgres(Settings(server_folder, postgres_url=url)) as databases, ExitStack() as stack:
        found = []
        for storage, url in ((STOCK, databases.dagster_url), (OURS, databases.mlflow_url)):
            config = {"config": {"postgres_url": url}}
            overrides = {
                "run_storage": {"module": "dagster_postgres.run_storage", "class": "PostgresRunStorage", **config},
                "schedule_storage": {
                    "module": "dagster_postgres.schedule_storage",
                    "class": "PostgresScheduleStorage",
                    **config,
                },
                "event_log_storage": {**storage, **config},
            }
            found.append(stack.enter_context(dg.instance_for_test(overrides=overrides)))
        yield found


def rows(instance: dg.DagsterInstance) -> list[Any]:
    columns = SqlEventLogStorageTable.c
    wanted = (columns.run_id, columns.dagster_event_type, columns.step_key, columns.asset_key, columns.partition)
    planned = columns.dagster_event_type.like("%PLANNED")
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return [tuple(row) for row in connection.execute(sa.select(*wanted).where(planned).order_by(columns.id))]


def test_planned_events_are_the_same_rows_and_give_the_same_answers(instances: list[dg.DagsterInstance]) -> None:
    stock, ours = instances
    assert type(ours.event_log_storage) is BatchingEventLogStorage
    for instance in instances:
        instance.create_run_for_job(job(), run_id="11111111-1111-1111-1111-111111111111", tags=RANGE)
    assert len(rows(stock)) == 2 * 23 + 1
    assert sorted(map(str, rows(ours))) == sorted(map(str, rows(stock)))
    for key in KEYS:
        answers = [attempts(instance, key) for instance in instances]
        assert len(answers[0]) == 23
        assert answers[0] == answers[1]
        assert [instance.get_asset_records([key])[0].asset_entry.last_run_id for instance in instances] == (
            ["11111111-1111-1111-1111-111111111111"] * 2
        )


def test_after_the_run_the_same_partitions_count_as_materialized(instances: list[dg.DagsterInstance]) -> None:
    for instance in instances:
        assert job().execute_in_process(instance=instance, tags=RANGE).success
    for key in KEYS:
        stock, ours = (instance.get_materialized_partitions(key) for instance in instances)
        assert len(ours) == 23
        assert ours == stock
        assert attempts(instances[1], key) == set()


def attempts(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[tuple[str, str]]:
    storage = instance.event_log_storage
    found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    return {(partition, run_id) for partition, (run_id, _) in found.items()}


def test_a_check_that_is_planned_twice_is_evaluated_once_and_its_run_goes_on(
    instances: list[dg.DagsterInstance],
) -> None:
    ours = instances[1]
    run = ours.create_run_for_job(job(), run_id="11111111-1111-1111-1111-111111111111", tags=RANGE)
    planned = ours.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED).records
    assert len(planned) == 1
    # As Dagster does after a batch of which a part was stored: one by one, again.
    ours.event_log_storage.store_event(planned[0].event_log_entry)
    assert execute_run(InMemoryJob(job()), run, ours, raise_on_error=True).success
