from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from dagster_postgres.run_storage.run_storage import PostgresRunStorage

from resources.patient_storage import Patient, worker_engine
from tests.resources.external_postgres import ExternalPostgres

pytestmark = pytest.mark.slow


class Asked(Patient, PostgresRunStorage):
    """A storage whose server goes away under its first question."""

    n_asked = 0

    def get_backend(self) -> int:
        """The server's process that answers."""
        self.n_asked += 1
        with self.connect() as connection:
            if self.n_asked == 1:
                connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
            return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


@pytest.fixture
def config(external: ExternalPostgres) -> Iterator[dict[str, Any]]:
    yield {"postgres_url": external.url}
    worker_engine(external.url, 30.0).dispose()


def test_a_worker_asks_again_what_it_was_asking_when_the_server_went_and_keeps_its_connection(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLCAST_DATABASE_PATIENCE_S", "30")
    storage = Asked.from_config_value(None, config)
    first = storage.get_backend()
    assert storage.n_asked == 2
    assert storage.get_backend() == first


def test_whoever_is_no_worker_is_told_at_once_and_opens_a_connection_a_question(config: dict[str, Any]) -> None:
    storage = Asked.from_config_value(None, config)
    with pytest.raises(sa.exc.OperationalError):
        storage.get_backend()
    assert storage.n_asked == 1
    assert storage.get_backend() != storage.get_backend()
