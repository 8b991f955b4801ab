"""Every hour's key, as Dagster has them and at once."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.partitions.definition import time_window

from assets.hours import HOURS

PLAIN = dg.HourlyPartitionsDefinition(start_date="2020-01-01-00:00", timezone="UTC", end_offset=2)


def test_the_keys_are_dagsters_own() -> None:
    keys = HOURS.get_partition_keys()
    assert keys == PLAIN.get_partition_keys()
    assert keys[0] == "2020-01-01-00:00"


def test_the_keys_at_another_time_are_dagsters_own() -> None:
    at = datetime(2020, 2, 29, 23, 59, tzinfo=UTC)
    assert HOURS.get_partition_keys(at) == PLAIN.get_partition_keys(at)
    assert HOURS.get_partition_keys(at)[-1] == "2020-03-01-00:00"


def test_who_changes_the_list_changes_only_his_own() -> None:
    HOURS.get_partition_keys().clear()  # type: ignore[attr-defined]
    assert HOURS.get_partition_keys()[0] == "2020-01-01-00:00"


def test_no_key_is_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster lists them for each input of each step and check: what that costs must not grow with the years."""
    written = []
    real = time_window.dst_safe_strftime
    monkeypatch.setattr(time_window, "dst_safe_strftime", lambda *told: written.append(told) or real(*told))
    for _ in range(3):
        HOURS.get_partition_keys()
    assert len(written) <= 3
