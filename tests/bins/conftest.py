"""A lake that bins are made from."""

from pathlib import Path

import pytest

from pipeline.lake import Lake
from tests.bins.exported_lake import three_days_in


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three days of three pools, a bar every hour."""
    return three_days_in(tmp_path)
