"""One formula for a column and for a single value.

Belongs here: the operations a formula may use. A formula is a plain Python expression over values it is handed. Over
history these are Polars columns; online they are `Known`, one number or nothing, with the same arithmetic: null
spreads, comparisons with null are null, and/or/not follow Kleene. So live and replay share each formula to the letter.
Stays out: which values a formula gets (`inputs`), and formulas.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import polars as pl

type Value = Any
"""A `pl.Expr` or a `Known`: both understand + - * / // % < <= > >= & | ~ and equality."""


class Known:
    """A number, a yes or no, or nothing (None), behaving as a Polars column of length one.

    >>> (Known(3) / Known(0)).value, (Known(None) + 1).value, (Known(True) | Known(None)).value
    (inf, None, True)
    """

    __slots__ = ("value",)

    def __init__(self, value: float | bool | None) -> None:
        self.value = value

    def __add__(self, other: Value) -> "Known":
        return _apply(operator.add, self, other)

    def __radd__(self, other: Value) -> "Known":
        return _apply(operator.add, other, self)

    def __sub__(self, other: Value) -> "Known":
        return _apply(operator.sub, self, other)

    def __rsub__(self, other: Value) -> "Known":
        return _apply(operator.sub, other, self)

    def __mul__(self, other: Value) -> "Known":
        return _apply(operator.mul, self, other)

    def __rmul__(self, other: Value) -> "Known":
        return _apply(operator.mul, other, self)

    def __truediv__(self, other: Value) -> "Known":
        return _apply(_divide, self, other)

    def __rtruediv__(self, other: Value) -> "Known":
        return _apply(_divide, other, self)

    def __floordiv__(self, other: Value) -> "Known":
        return _apply(operator.floordiv, self, other)

    def __mod__(self, other: Value) -> "Known":
        return _apply(operator.mod, self, other)

    def __neg__(self) -> "Known":
        return Known(None if self.value is None else -self.value)

    def __lt__(self, other: Value) -> "Known":
        return _compare(operator.lt, self, other)

    def __le__(self, other: Value) -> "Known":
        return _compare(operator.le, self, other)

    def __gt__(self, other: Value) -> "Known":
        return _compare(operator.gt, self, other)

    def __ge__(self, other: Value) -> "Known":
        return _compare(operator.ge, self, other)

    def __eq__(self, other: Value) -> "Known":  # type: ignore[override]  # as a column's: null where unknown
        return _compare(operator.eq, self, other)

    def __ne__(self, other: Value) -> "Known":  # type: ignore[override]  # as above
        return _compare(operator.ne, self, other)

    __hash__ = None  # type: ignore[assignment]  # equality gives a value, not an answer

    def __and__(self, other: "Known") -> "Known":
        if self.value is False or other.value is False:
            return Known(False)
        return Known(None if self.value is None or other.value is None else True)

    def __or__(self, other: "Known") -> "Known":
        return ~(~self & ~other)

    def __invert__(self) -> "Known":
        return Known(None if self.value is None else not self.value)

    def __bool__(self) -> bool:
        raise TypeError("a formula cannot branch on a value: use `where`")


def _apply(operation: Callable[[Any, Any], Any], left: Value, right: Value) -> Known:
    a = left.value if isinstance(left, Known) else left
    b = right.value if isinstance(right, Known) else right
    return Known(None if a is None or b is None else operation(a, b))


def _compare(operation: Callable[[Any, Any], Any], left: Value, right: Value) -> Known:
    """As Polars orders numbers: what is not a number is above all others, and equal to itself."""
    return _apply(
        lambda a, b: operation(_place(a), _place(b)) if math.isnan(a) or math.isnan(b) else operation(a, b), left, right
    )


def _place(number: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(number) else (False, number)


def _divide(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a)


def where(condition: Value, value: Value, otherwise: Value = None) -> Value:
    """`value` where the condition holds, else `otherwise` (nothing, if not given); unknown counts as not holding."""
    if isinstance(condition, pl.Expr):
        return pl.when(condition).then(value).otherwise(otherwise)
    chosen = value if condition.value else otherwise
    return chosen if isinstance(chosen, Known) else Known(chosen)


def is_known(*values: Value) -> Value:
    """Whether every value is there."""
    if isinstance(values[0], pl.Expr):
        return pl.all_horizontal(value.is_not_null() for value in values)
    return Known(all(value.value is not None for value in values))


def first_known(value: Value, otherwise: Value) -> Value:
    """`value`, or `otherwise` where it is unknown."""
    return where(is_known(value), value, otherwise)


def number(flag: Value) -> Value:
    """1.0 for yes, 0.0 for no."""
    if isinstance(flag, pl.Expr):
        return flag.cast(pl.Float64)
    return Known(None if flag.value is None else float(flag.value))


def clamp(value: Value, low: float | None = None, high: float | None = None) -> Value:
    """`value`, moved to the nearer bound where it lies outside."""
    if isinstance(value, pl.Expr):
        return value.clip(low, high)
    if value.value is None or math.isnan(value.value):
        return value
    least = value.value if low is None else max(low, value.value)
    return Known(least if high is None else min(high, least))


def ln(value: Value) -> Value:
    """Natural logarithm; not finite, and so null in the end, at and below zero."""
    if isinstance(value, pl.Expr):
        return value.log()
    return _mapped(value, lambda v: math.log(v) if v else -math.inf, is_allowed=lambda v: v >= 0)


def sqrt(value: Value) -> Value:
    """Square root; not a number, and so null in the end, below zero."""
    if isinstance(value, pl.Expr):
        return value.sqrt()
    return _mapped(value, math.sqrt, is_allowed=lambda v: v >= 0)


def magnitude(value: Value) -> Value:
    """The value without its sign."""
    if isinstance(value, pl.Expr):
        return value.abs()
    return _mapped(value, abs, is_allowed=lambda _: True)


def _mapped(value: Known, function: Callable[[float], float], *, is_allowed: Callable[[float], bool]) -> Known:
    if value.value is None:
        return value
    return Known(function(value.value) if is_allowed(value.value) else math.nan)


def ratio(part: Value, whole: Value) -> Value:
    """`part / whole`; null where the whole is zero, never infinite.

    >>> ratio(Known(1.0), Known(0.0)).value is None
    True
    """
    return where(whole != 0, part / whole)


def change_pct(value: Value, before: Value) -> Value:
    """100 (value / before - 1), in per cent; null where there was nothing before.

    >>> round(change_pct(Known(3.0), Known(2.0)).value, 9)
    50.0
    """
    return (ratio(value, before) - 1) * 100
