import numpy as np
import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.models.learner import EDGE, matrix


def test_missing_is_told_to_learners_as_missing_and_zero_is_not():
    frame = pl.DataFrame({"a": [None, 0.0, 1e300, -1e300]}, schema={"a": pl.Float64})
    found = matrix(frame, ["a"])
    assert np.isnan(found[0, 0])
    assert found[1:, 0].tolist() == [0, np.float32(EDGE), -np.float32(EDGE)]


def test_nan_infinity_and_absent_features_are_refused_in_words():
    with pytest.raises(InputError, match="hold NaN or an infinite value"):
        matrix(pl.DataFrame({"a": [float("nan")]}), ["a"])
    with pytest.raises(InputError, match="lacks the features"):
        matrix(pl.DataFrame({"a": [1.0]}), ["b"])
