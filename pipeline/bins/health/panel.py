"""Many series side by side, so that a rule looks at all of them in one stroke.

Belongs here: how series are laid beside one another, and how hits become findings. Stays out: the rules.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.bins.health.calendar import Calendar
from pipeline.bins.health.files import Folder
from pipeline.bins.health.spec import Finding

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Panel:
    """Instruments one after the other: instrument i is the rows from `begins[i]` to `begins[i + 1]`.

    Its first row stands at the place `firsts[i]` of the calendar. `values` holds a column a field, NaN where the
    instrument has none; `owner` the instrument of each row. `has` and `trusts` say for each field which
    instruments have a file of it, and which have a sound one.
    """

    labels: list[str]
    begins: Places
    firsts: Places
    owner: npt.NDArray[np.int32]
    values: dict[str, Floats]
    has: dict[str, Mask]
    trusts: dict[str, Mask]

    @property
    def n_rows(self) -> int:
        """Rows of all instruments."""
        return self.owner.size

    def counts(self, mask: Mask) -> Places:
        """How many rows of each instrument a mask holds."""
        return np.bincount(self.owner[mask], minlength=len(self.labels)).astype(np.int64)

    def lengths(self) -> Places:
        """Rows of each instrument."""
        return np.diff(self.begins)


def panel_of(folders: Sequence[Folder]) -> Panel:
    """Lay instruments beside one another, each from its first value of any field to its last."""
    spans = [span_of(folder) for folder in folders]
    firsts = np.array([first for first, _ in spans], dtype=np.int64)
    lengths = np.array([end - first for first, end in spans], dtype=np.int64)
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    fields = sorted({field for folder in folders for field in folder.series})
    values: dict[str, Floats] = {field: np.full(int(begins[-1]), np.nan, np.float32) for field in fields}
    has: dict[str, Mask] = {field: np.zeros(len(folders), np.bool_) for field in fields}
    trusts: dict[str, Mask] = {field: np.zeros(len(folders), np.bool_) for field in fields}
    for at, (folder, begin, first) in enumerate(zip(folders, begins.tolist(), firsts.tolist(), strict=False)):
        for field, one in folder.series.items():
            start = begin + one.first - first
            if one.values.size:
                values[field][start : start + one.values.size] = one.values
            has[field][at] = True
            trusts[field][at] = one.is_trusted
    owner = np.repeat(np.arange(len(folders), dtype=np.int32), lengths)
    return Panel([folder.label for folder in folders], begins, firsts, owner, values, has, trusts)


def span_of(folder: Folder) -> tuple[int, int]:
    """The places from an instrument's first value of any field to its last, the end excluded."""
    held = [one for one in folder.series.values() if one.values.size]
    return (min(one.first for one in held), max(one.end for one in held)) if held else (0, 0)


def hits(
    panel: Panel,
    calendar: Calendar,
    problem: str,
    field: str | None,
    rows: Places,
    values: npt.NDArray[Any] | None = None,
    *,
    worst: np.ufunc = np.fmax,
    say: Callable[[int, float | None], str],
) -> Iterator[Finding]:
    """One finding an instrument from all rows that break a rule.

    Args:
        panel: what the rows belong to.
        calendar: for the first time.
        problem: which rule.
        field: which column; None for a whole bar.
        rows: the rows, in order.
        values: the number to report of each row.
        worst: picks the worst of two numbers.
        say: puts the count and the worst number in words.
    """
    if not rows.size:
        return
    owners = panel.owner[rows]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    counts = np.diff(starts, append=rows.size)
    bad = worst.reduceat(values, starts) if values is not None else None
    for at, (start, n) in enumerate(zip(starts.tolist(), counts.tolist(), strict=True)):
        owner, row = int(owners[start]), int(rows[start])
        time = calendar.time(int(panel.firsts[owner] + row - panel.begins[owner]))
        value = None if bad is None else float(bad[at])
        yield Finding(problem, panel.labels[owner], field, time, n, value, say(n, value))
