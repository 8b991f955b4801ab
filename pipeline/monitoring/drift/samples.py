"""Two frames become two samples of pools: who is a pool, which columns can be compared, and as what.

Belongs here: telling kinds apart, refusing what cannot be compared, numbers for pools and weights for rows. Stays out:
bins, and any comparing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.monitoring.drift.bins import Ints, Kind
from pipeline.monitoring.drift.divergence import Floats

_NUMBER: Final = "__pool__"
_LEAST_UNITS: Final = 50
"""Groups are never so large that fewer than this are left of a side that has more pools."""
_SHOWN: Final = 10
"""Names in a message; a frame may have thousands."""


@dataclass(frozen=True)
class Sample:
    """One side of a comparison.

    Attributes:
        frame: its rows.
        pools: the pool of each row, numbered in the order of the keys.
        weights: of each row; those of one pool sum to one.
        keys: what names each pool, in that order.
    """

    frame: pl.DataFrame
    pools: Ints
    weights: Floats
    keys: pl.DataFrame

    @property
    def n_pools(self) -> int:
        """How many pools there are."""
        return self.keys.height


def sample_of(frame: pl.DataFrame, group: Sequence[str], side: str) -> Sample:
    """Number the pools of a frame.

    Raises:
        InputError: it has no rows, no such columns, or rows that name no pool.
    """
    absent = [name for name in group if name not in frame.columns]
    if not group or absent:
        raise InputError(
            f"compare: no columns {absent!r} that name a pool in the {side}, found {_named(frame.columns)}"
        )
    if frame.is_empty():
        raise InputError(f"compare: the {side} has no rows, so there is nothing to compare")
    keys = frame.select(group)
    for name, dtype in keys.schema.items():
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            raise InputError(
                f"compare: {name!r} of the {side} holds {dtype}, which names no pool: write text or numbers"
            )
        n_bad = keys[name].null_count() + (int(keys[name].is_nan().sum()) if dtype.is_float() else 0)
        if n_bad:
            raise InputError(
                f"compare: {n_bad:,} rows of the {side} have no {name!r}: leave them out, or name the pool"
            )
    keys = keys.cast(pl.String)  # categories of two files cannot be joined, nor whole numbers of two widths
    numbered = keys.unique().sort(group).with_row_index(_NUMBER)
    pools = keys.join(numbered, on=list(group), how="left", maintain_order="left")[_NUMBER].to_numpy().astype(np.int64)
    counts = np.bincount(pools, minlength=len(numbered))
    return Sample(frame, pools, 1.0 / counts[pools], numbered.drop(_NUMBER))


@dataclass(frozen=True)
class Units:
    """What is permuted: pools, or random groups of `size` pools. -1: left aside, at random."""

    before: Ints
    after: Ints
    n_before: int
    n_after: int
    size: int


def units_of(n_before: int, n_after: int, max_units: int, rng: np.random.Generator) -> Units:
    """The unit of each pool: all of one size, each of one side only, so that they can be dealt out like pools."""
    size = max(1, min(ceil(max(n_before, n_after) / max_units), min(n_before, n_after) // _LEAST_UNITS))
    n_units = [min(n // size, max_units) for n in (n_before, n_after)]
    places = [_placed(n, size, n_of, rng) for n, n_of in zip((n_before, n_after), n_units, strict=True)]
    return Units(places[0], places[1], n_units[0], n_units[1], size)


def _placed(n: int, size: int, n_units: int, rng: np.random.Generator) -> Ints:
    if size == 1 and n == n_units:
        return np.arange(n)
    places = rng.permutation(n) // size
    return np.where(places < n_units, places, -1)


def kinds_of(
    reference: pl.DataFrame, current: pl.DataFrame, group: Sequence[str], columns: Sequence[str] | None
) -> tuple[dict[str, Kind], tuple[str, ...]]:
    """The columns that are compared, in order, each with its kind; and those that are left out as they hold neither.

    Without `columns`, every column of numbers, truth values or texts. Moments are left out unless they are named (two
    windows always differ in time), and so are lists, structs and bytes.

    Raises:
        InputError: a column is on one side only, holds another kind on each side or nothing comparable; none is left.
    """
    wanted = list(dict.fromkeys(columns)) if columns is not None else _found(reference, current, group)
    absent = [name for name in wanted if name not in reference.columns or name not in current.columns]
    if absent:
        raise InputError(f"compare: {_named(absent)} not on both sides: mend it, or name the columns that are")
    kinds: dict[str, Kind] = {}
    for name in wanted:
        kind = _common(name, reference.schema[name], current.schema[name], is_asked=columns is not None)
        if kind is not None:
            kinds[name] = kind
    if not kinds:
        raise InputError(
            f"compare: no column of numbers, truth values or texts in {_named(wanted)}: there is nothing to compare"
        )
    return kinds, tuple(name for name in wanted if name not in kinds)


def numbers(values: pl.Series) -> Floats:
    """A column's values as numbers; missing ones, and what is no number, NaN."""
    physical = values.to_physical() if values.dtype.is_temporal() else values
    return physical.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def texts(values: pl.Series) -> pl.Series:
    """A column's values as texts."""
    return values.cast(pl.String)


def _found(reference: pl.DataFrame, current: pl.DataFrame, group: Sequence[str]) -> list[str]:
    names = dict.fromkeys([*reference.columns, *current.columns])
    return [name for name in names if name not in group]


def _common(name: str, first: pl.DataType, second: pl.DataType, *, is_asked: bool) -> Kind | None:
    """The kind of both sides; None: it is not compared. A side without a single value takes the other's kind."""
    found = {kind for dtype in (first, second) if (kind := _kind(dtype, is_asked=is_asked)) != "empty"}
    if not found:
        return "numeric"
    if len(found) > 1:
        raise InputError(f"compare: {name!r} holds {first} in the reference and {second} in the current rows: mend one")
    (kind,) = found
    if kind in ("numeric", "boolean", "text"):
        return kind  # type: ignore[return-value]  # mypy does not narrow by membership
    if is_asked:
        raise InputError(f"compare: {name!r} holds {first}, which cannot be compared: leave it out")
    return None


def _kind(dtype: pl.DataType, *, is_asked: bool) -> str:
    if dtype == pl.Null:
        return "empty"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "numeric"
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return "text"
    if dtype.is_temporal():
        return "numeric" if is_asked else "moments"
    return "other"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{list(names[:_SHOWN])!r}{more}"
