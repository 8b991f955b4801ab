"""A formula says the same over a column and over single values, whatever it is made of."""

import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features import algebra
from pipeline.features.algebra import (
    Known,
    change_pct,
    clamp,
    first_known,
    is_known,
    ln,
    magnitude,
    number,
    ratio,
    where,
)

Formula = Callable[[Any, Any, Any], Any]
REALS = st.none() | st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e308, -1e308, 5e-324]) | st.floats(-1e6, 1e6)


def real(depth: int) -> st.SearchStrategy[Formula]:
    """Formulas over a, b, c that give a number."""
    leaf = st.sampled_from([lambda a, _b, _c: a, lambda _a, b, _c: b, lambda _a, _b, c: c])
    if depth == 0:
        return leaf
    below, flags = real(depth - 1), flag(depth - 1)
    twos = [
        lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, ratio, first_known, change_pct,
        lambda x, y: 2.0 - x * 0.5 + y, lambda x, y: 3.0 / y + x,
    ]  # fmt: skip
    ones = [ln, algebra.sqrt, magnitude, lambda x: clamp(x, -1.0, 2.0), lambda x: -x, lambda x: clamp(x, high=0.5)]
    return st.one_of(
        leaf,
        st.builds(_of_two, st.sampled_from(twos), below, below),
        st.builds(_of_one, st.sampled_from(ones), below),
        st.builds(_of_one, st.just(number), flags),
        st.builds(_of_three, st.just(where), flags, below, below),
    )


def flag(depth: int) -> st.SearchStrategy[Formula]:
    """Formulas over a, b, c that give yes or no."""
    below = real(max(0, depth - 1))
    compares = [
        lambda x, y: x < y, lambda x, y: x <= y, lambda x, y: x > y, lambda x, y: x >= y, lambda x, y: x == y,
        lambda x, y: x != y, is_known,
    ]  # fmt: skip
    simple = st.builds(_of_two, st.sampled_from(compares), below, below)
    if depth == 0:
        return simple
    inner = flag(depth - 1)
    joins = [lambda x, y: x & y, lambda x, y: x | y, lambda x, y: ~x & y]
    return st.one_of(simple, st.builds(_of_two, st.sampled_from(joins), inner, inner))


def _of_one(operation, x):
    return lambda a, b, c: operation(x(a, b, c))


def _of_two(operation, x, y):
    return lambda a, b, c: operation(x(a, b, c), y(a, b, c))


def _of_three(operation, x, y, z):
    return lambda a, b, c: operation(x(a, b, c), y(a, b, c), z(a, b, c))


def is_same(value, column) -> bool:
    if value is None or column is None:
        return value is column
    if isinstance(column, bool):
        return value == column
    if math.isnan(value) or math.isnan(column):
        return math.isnan(value) and math.isnan(column)
    return value == column or math.isclose(value, column, rel_tol=1e-9)


@settings(max_examples=400, deadline=None)
@given(real(3) | flag(3), st.tuples(REALS, REALS, REALS))
def test_a_formula_over_values_says_what_it_says_over_columns(formula, given_values):
    names = ("a", "b", "c")
    frame = pl.DataFrame(
        {n: [v] for n, v in zip(names, given_values, strict=True)}, schema=dict.fromkeys(names, pl.Float64)
    )
    column = frame.select(formula(*map(pl.col, names))).to_series()[0]
    value = formula(*map(Known, given_values)).value
    assert is_same(value, column)


def test_a_formula_cannot_branch_on_a_value():
    with pytest.raises(TypeError, match="where"):
        bool(Known(True))


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (None, 1.0), (1.0, None)])
def test_nothing_comes_of_nothing(a, b):
    assert ratio(Known(a), Known(b)).value is None
