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
        keys: what names each pool, in that order, as text: `key_0`, ...
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
    keys = frame[list(group)]  # `select` takes `*` and `^a$` for more than a name
    keys.columns = [f"key_{at}" for at in range(len(group))]
    for name, key in zip(group, keys.iter_columns(), strict=True):
        dtype = key.dtype
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            raise InputError(
                f"compare: {name!r} of the {side} holds {dtype}, which names no pool: write text or numbers"
            )
        n_bad = key.null_count() + (int(key.is_nan().sum()) if dtype.is_float() else 0)
        if n_bad:
            raise InputError(
                f"compare: {n_bad:,} rows of the {side} have no {name!r}: leave them out, or name the pool"
            )
    keys = keys.cast(pl.String)  # categories of two files cannot be joined, nor whole numbers of two widths
    numbered = keys.unique().sort(keys.columns).with_row_index(_NUMBER)
    pools = keys.join(numbered, on=keys.columns, how="left", maintain_order="left")[_NUMBER].to_numpy().astype(np.int64)
    counts = np.bincount(pools, minlength=len(numbered))
    return Sample(frame, pools, 1.0 / counts[pools], numbered.drop(_NUMBER))


def thinned(before: Sample, after: Sample, names: Sequence[str], seed: int) -> tuple[Sample, Sample]:
    """Both samples with alike many rows a pool: of each pool no more than of the one at its place on the other side.

    A pool of one row scatters more than one of twelve. Where the sides differ in that, no dealing out of pools scatters
    like what was seen: with few pools of few rows each on one side, p-values would be far too small. Which rows stay
    hangs on the pool and on what is compared (`names`), not on the order of a file; equal counts are left alone.
    """
    counts = [np.bincount(side.pools, minlength=side.n_pools) for side in (before, after)]
    rng = np.random.default_rng([seed, 3])
    wanted = [_as_many(own, other, rng) for own, other in (counts, counts[::-1])]
    first, second = (
        side if (own == kept).all() else _with_rows(side, kept, names, seed)
        for side, own, kept in zip((before, after), counts, wanted, strict=True)
    )
    return first, second


def _as_many(own: Ints, other: Ints, rng: np.random.Generator) -> Ints:
    """How many rows stay of each pool: pools are put in order of their rows, equal ones at random."""
    order = np.lexsort((rng.random(len(own)), own))
    place = (2 * np.arange(len(own)) + 1) * len(other) // (2 * len(own))
    kept = np.empty_like(own)
    kept[order] = np.minimum(own[order], np.sort(other)[place])
    return kept


def _with_rows(side: Sample, kept: Ints, names: Sequence[str], seed: int) -> Sample:
    """So many rows of each pool, as good as drawn at random."""
    own, said = (frame.hash_rows(seed % 2**64) for frame in (side.keys, side.frame[list(names)]))
    told = pl.DataFrame({"pool": own[side.pools], "row": said})
    told = told.with_columns(again=pl.int_range(pl.len()).over("pool", "row"))  # said twice is two chances to stay
    order = np.lexsort((told.hash_rows(seed % 2**64).to_numpy(), side.pools))
    pools = side.pools[order]
    begins = np.searchsorted(pools, np.arange(side.n_pools))
    rows = np.sort(order[np.arange(len(pools)) - begins[pools] < kept[pools]])
    return Sample(side.frame[rows], side.pools[rows], 1.0 / kept[side.pools[rows]], side.keys)


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
        shared = [n for n in reference.columns if n in current.columns and n not in group]
        raise InputError(f"compare: no column {_named(absent)} on both sides; on both are {_named(shared)}")
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
    values = values.alias("x")  # a name such as `^a$` would stand for others
    physical = values.to_physical() if values.dtype.is_temporal() else values
    return physical.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def texts(values: pl.Series) -> pl.Series:
    """A column's values as texts."""
    return values.alias("x").cast(pl.String)


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
