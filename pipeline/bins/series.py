"""The series of a few instruments in memory: laid out, filled, compared, cut; every file is a slice of one buffer.

Belongs here: the bytes of a feature file. Stays out: what the files are called and who writes them (`files`, `merge`).

A feature file is little-endian float32: the place of its first bar in the calendar, then one value a bar up to the
last, NaN where there is none. In the buffer every instrument has a slot a field, in the order of the fields, wide
enough for whatever it may hold afterwards; the file is the slot, or a part of it when bars at an end were taken away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.bins.incoming import Indices, Numbers
from pipeline.errors import InputError

Floats = npt.NDArray[np.float32]
Places = tuple[int, int]
"""A half-open stretch of places."""

FLOAT_BYTES: Final = 4


@dataclass(eq=False)
class Series:
    """Slots of instruments whose bars lie within `firsts` and `lasts` (places since 1970, inclusive).

    Attributes:
        starts: where the slot of instrument i and field k begins, [i, k]; its first float is for the place.
        cut_front, lengths: how many places of a slot's front are not in the file, and how many values are.
    """

    names: list[str]
    fields: tuple[str, ...]
    firsts: Indices
    lasts: Indices
    starts: Indices = field(init=False)
    lengths: Indices = field(init=False)
    cut_front: Indices = field(init=False)
    values: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.lengths = self.lasts - self.firsts + 1
        self.cut_front = np.zeros_like(self.lengths)
        sizes = (self.lengths + 1) * len(self.fields)
        self.starts = (np.cumsum(sizes) - sizes)[:, None] + (self.lengths + 1)[:, None] * np.arange(len(self.fields))
        self.values = np.full(int(sizes.sum()), np.nan, dtype="<f4")

    def slot(self, at: int) -> Floats:
        """All slots of one instrument: a row a field, the place in front."""
        width = int(self.lasts[at] - self.firsts[at]) + 2
        start = int(self.starts[at, 0])
        return self.values[start : start + width * len(self.fields)].reshape(len(self.fields), width)

    def file(self, at: int, k: int) -> Floats:
        """What the file of one instrument and field holds."""
        start = int(self.starts[at, k] + self.cut_front[at])
        return self.values[start : start + int(self.lengths[at]) + 1]

    def put(self, rows: Numbers) -> int:
        """Put rows in their places, over whatever is there.

        Returns:
            How many values float32 cannot hold (beyond 3.4e38, or so small that they would read as 0): they are NaN.

        Raises:
            InputError: two rows share an instrument and a time.
        """
        within = self.starts[rows.codes, 0] + 1 + rows.places - self.firsts[rows.codes]
        self._refuse_twice(rows, within)
        width = (self.lasts - self.firsts + 2)[rows.codes]
        n_lost = 0
        for k, name in enumerate(self.fields):
            single, lost = _single(rows.values[name])
            self.values[within + k * width] = single
            n_lost += lost
        return n_lost

    def _refuse_twice(self, rows: Numbers, within: Indices) -> None:
        taken = np.zeros(self.values.size, dtype=np.bool_)
        taken[within] = True
        if np.count_nonzero(taken) < within.size:
            _, at, counts = np.unique(within, return_index=True, return_counts=True)
            twice = [self.names[rows.codes[i]] for i in at[counts > 1][:1]]
            raise InputError(
                f"{int((counts - 1).sum())} bars are there twice, at one time of one instrument, the first of"
                f" {twice[0]!r}: keep one bar an instrument and time"
            )

    def erase(self, at: int, spans: Sequence[Places]) -> None:
        """Forget the bars of one instrument in these spans."""
        first, last = int(self.firsts[at]), int(self.lasts[at])
        for begin, end in spans:
            if begin <= last and end > first:
                self.slot(at)[:, 1 + max(begin - first, 0) : 1 + min(end, last + 1) - first] = np.nan

    def cut(self, at: int) -> None:
        """Cut one instrument to its first and last bar; its length is 0 if it has none."""
        bars = np.flatnonzero(~np.isnan(self.slot(at)[:, 1:]).all(axis=0))
        self.cut_front[at] = bars[0] if bars.size else 0
        self.lengths[at] = bars[-1] - bars[0] + 1 if bars.size else 0

    def state_places(self, calendar_start: int) -> None:
        """Write each file's first float: the place of its first bar in the calendar."""
        heads = self.starts + self.cut_front[:, None]
        self.values[heads] = (self.firsts + self.cut_front - calendar_start)[:, None]

    def differs_from(self, other: Floats) -> npt.NDArray[np.bool_]:
        """In which slots, [i, k], any bit differs from a buffer of the same shape; that buffer is used up."""
        bits = other.view(np.uint32)
        np.bitwise_xor(bits, self.values.view(np.uint32), out=bits)
        differs: npt.NDArray[np.bool_] = np.bitwise_or.reduceat(bits, self.starts.ravel()) != 0
        return differs.reshape(self.starts.shape)


def _single(values: npt.NDArray[np.float64]) -> tuple[Floats, int]:
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    missing = np.isnan(values)
    lost = ~missing & (~np.isfinite(single) | ((single == 0) & (values != 0)))
    # One NaN, whatever sign and payload came in: the same bars must give the same bytes.
    single[missing | lost] = np.nan
    return single, int(np.count_nonzero(lost))
