"""Dagster's event log on PostgreSQL, with planned materializations written in bulk, patient and watchful.

Belongs here: what makes a single-run backfill of thousands of hours cheap to announce. A run over N partitions
logs N `ASSET_MATERIALIZATION_PLANNED` events an asset; the stock storage writes each through two fresh connections
(7 ms), so five assets over 8,640 hours wait five minutes before the first row is computed. Stays out: every other
event, every query and the schema, which are the stock storage's own.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster_postgres.event_log.event_log import PostgresEventLogStorage

from resources.patient_storage import Patient, asked_again


class BatchingEventLogStorage(Patient, PostgresEventLogStorage):
    """The stock storage, except that the planned materializations of a batch are one insert in one transaction.

    It has an effect where `DAGSTER_EVENT_BATCH_SIZE` is above 0; without it Dagster asks for no batches.
    """

    @asked_again
    def store_event(self, event: EventLogEntry) -> None:
        """Store one event; in a worker once more where the server went away meanwhile: twice beats never."""
        super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store a batch: planned materializations at once, the rest as the stock storage does."""
        planned = [event for event in events if event.get_dagster_event().is_asset_materialization_planned]
        others = [event for event in events if not event.get_dagster_event().is_asset_materialization_planned]
        if planned:
            self._store_planned(planned)
        if others:
            super().store_event_batch(others)

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """Plan a check once, however often it is told.

        Of a batch that was half stored when the server went away Dagster stores every event again; a check that was
        planned twice fails its run when it is evaluated.
        """
        planned: Any = event.get_dagster_event().event_specific_data
        columns = AssetCheckExecutionsTable.c
        known = sa.select(columns.id).where(
            columns.asset_key == planned.asset_key.to_string(),
            columns.check_name == planned.check_name,
            columns.run_id == event.run_id,
        )
        with self.index_connection() as conn:
            is_known = conn.execute(known.limit(1)).first() is not None
        if not is_known:
            super()._store_asset_check_evaluation_planned(event, event_id)

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        # One transaction: Dagster repeats a failed batch event by event, which must not find half of it stored.
        statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        with self.index_connection() as conn, conn.execution_options(isolation_level="READ COMMITTED").begin():
            event_ids = [int(row[0]) for row in conn.execute(statement).fetchall()]
            self._store_asset_event_tags(conn, events, event_ids)
            # The asset table keeps an asset's last event only; in key order, so that two runs that plan the same
            # assets lock its rows in the same order.
            last = {
                event.get_dagster_event().asset_key: (event, event_id)
                for event, event_id in zip(events, event_ids, strict=True)
            }
            for _, (event, event_id) in sorted(last.items(), key=lambda item: str(item[0])):
                self._store_asset_event(conn, event, event_id)
