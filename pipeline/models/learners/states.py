"""What a fitted learner is, and its numbers as JSON can hold them.

Belongs here: the shape every learner has, and packing and checking plain values. Stays out: any one learner.

Whatever reads a state raises ValueError, KeyError or TypeError; `outcome_model` says it in our words.
"""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from pipeline.models.learner import Classes, Floats, Matrix

type State = dict[str, Any]
type Params = Mapping[str, int | float]
type Whole = np.ndarray[Any, np.dtype[np.int64]]

LARGEST: Final = 1e30
"""A finite number beyond this is none of ours, and products of two of them are still finite."""
_MOST_CELLS: Final = 20_000_000


class Fitted(Protocol):
    """A learner that has learned."""

    def predict(self, x: Matrix) -> Floats:
        """Probabilities (rows of `x`, 7), each row summing to 1."""
        ...

    def state(self) -> State:
        """Plain values, from which `load` of the same module gives a model with the very same answers."""
        ...

    def importance(self) -> Floats:
        """How much of what it knows comes from each feature: shares (n_features,) that sum to 1, or all 0."""
        ...


type FitOne = Callable[[Matrix, Classes, Floats, int, Params], Fitted]
"""A learner's `fit(x, y, weight, seed, params)`."""


def packed(values: Floats) -> str:
    """Numbers as base64 of little-endian doubles: to the last bit, and a third of the decimals' size."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def unpacked(said: Any, *shape: int) -> Floats:
    """What `packed` was given, in this shape.

    Raises:
        ValueError, TypeError: it is no text, has another size, or holds a number that is not finite or not ours.

    >>> unpacked(packed(np.array([[1.0, 2.5]])), 1, 2).tolist()
    [[1.0, 2.5]]
    """
    if not isinstance(said, str):
        raise TypeError(f"numbers that are no text: {str(said)[:80]}")
    n = math.prod(shape)
    # Compared before anything is decoded: the size of a text says how many numbers it holds.
    if n > _MOST_CELLS or len(said) != 4 * -(-8 * n // 3):
        raise ValueError(f"expected {shape!r} numbers, found a text of {len(said)} characters")
    values = np.frombuffer(base64.b64decode(said, validate=True), dtype="<f8")
    if len(values) != n or not np.isfinite(values).all() or (np.abs(values) > LARGEST).any():
        raise ValueError(f"expected {shape!r} finite numbers")
    return values.astype(np.float64).reshape(shape)


def unpacked_whole(said: Any, n: int, low: int, high: int) -> Whole:
    """`n` packed numbers that are whole and lie in [low, high]; raises as `unpacked` does."""
    values = unpacked(said, n)
    if (values != np.floor(values)).any() or ((values < low) | (values > high)).any():
        raise ValueError(f"expected {n} whole numbers from {low} to {high}")
    return values.astype(np.int64)


def keys(said: Any, *names: str) -> None:
    """Raises ValueError or TypeError unless `said` is a mapping with exactly these names."""
    if not isinstance(said, dict):
        raise TypeError(f"expected {sorted(names)!r}, found {str(said)[:80]}")
    if set(said) != set(names):
        raise ValueError(f"expected {sorted(names)!r}, found {str(sorted(said))[:200]}")


def number(value: Any, low: float = -LARGEST, high: float = LARGEST) -> float:
    """The value, if it is a finite number in [low, high]; else raises ValueError."""
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"expected a number from {low!r} to {high!r}, found {str(value)[:80]}")
    return float(value)


def whole(value: Any, low: int, high: int) -> int:
    """The value, if it is a whole number in [low, high]; else raises ValueError."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"expected a whole number from {low} to {high}, found {str(value)[:80]}")
    return value


def shares(values: Floats) -> Floats:
    """Values that are not negative as shares of their sum; all 0 where the sum is."""
    total = float(values.sum())
    return np.asarray(values / total) if total > 0 else np.zeros(len(values))
