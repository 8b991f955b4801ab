from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import BIRTH

from pipeline.models.weights import average_uniqueness

LABELS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 20)), min_size=1, max_size=12)


def counted_hour_by_hour(labels: list[tuple[int, int, int]]) -> list[float]:
    """The definition with whole hours as bars."""
    found = []
    for pool, start, length in labels:
        alive = [sum(p == pool and s <= h < s + n for p, s, n in labels) for h in range(start, start + length)]
        found.append(float(np.mean([1 / n for n in alive])))
    return found


@settings(max_examples=60, deadline=None)
@given(labels=LABELS)
def test_weights_equal_a_count_hour_by_hour(labels: list[tuple[int, int, int]]):
    frame = pl.DataFrame(
        {
            "network": ["eth"] * len(labels),
            "pool": [str(p) for p, _, _ in labels],
            "event_time": [BIRTH + timedelta(hours=s) for _, s, _ in labels],
            "end": [BIRTH + timedelta(hours=s + n) for _, s, n in labels],
        }
    )
    found = average_uniqueness(frame, end="end").to_list()
    assert found == pytest.approx(counted_hour_by_hour(labels), abs=1e-9)
