import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.labels.range_extrema import RangeMinimum

VALUES = st.lists(st.integers(0, 20), max_size=40)


@given(values=VALUES, data=st.data(), limit=st.integers(-1, 21))
def test_every_stretch_agrees_with_a_plain_scan(values: list[int], data: st.DataObject, limit: int) -> None:
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    table = RangeMinimum.over(np.array(values, dtype=np.float64), longest=max(stop - start, 1))
    bounds = np.array([start]), np.array([stop])
    assert table.minimum(*bounds)[0] == min(values[start:stop], default=np.inf)
    expected = next((i for i in range(start, stop) if values[i] <= limit), stop)
    assert table.first_at_most(*bounds, np.array([float(limit)]))[0] == expected


def test_only_the_levels_that_the_longest_stretch_needs_are_kept() -> None:
    assert RangeMinimum.over(np.zeros(1000), longest=288).levels.shape == (9, 1001)
