"""What a QLib provider directory holds: a summary of any of them, ours or another's.

Belongs here: counting. Stays out: judging (`health`).
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from pipeline.bins.health.calendar import Calendar, as_time, is_time, read_calendar
from pipeline.bins.health.check import freqs_of, provider_root, require_freq
from pipeline.bins.health.files import Folder, folder_names, read_folder
from pipeline.bins.health.instruments import read_lists
from pipeline.bins.health.manifest import export_id_of
from pipeline.bins.health.panel import panel_of, span_of
from pipeline.bins.health.spec import FACTOR, HealthSpec
from pipeline.bins.health.text import safe


@dataclass(frozen=True)
class Described:
    """One freq of a directory.

    `calendar_first` and `calendar_last` are its ends (UTC), `n_times` its length. `first_range` and `last_range` are
    the instruments that begin first and end last: name, first and last bar. `n_bars` counts bars that hold a value
    other than the factor; `missing_shares` gives for each field the share of the instruments' ranges that holds none,
    and `gap_share` the share that holds nothing at all.
    """

    freq: str
    fields: tuple[str, ...]
    calendar_first: datetime | None
    calendar_last: datetime | None
    n_times: int
    n_instruments: int
    n_files: int
    n_bytes: int
    n_bars: int
    gap_share: float
    missing_shares: dict[str, float]
    first_range: tuple[str, datetime | None, datetime | None] | None
    last_range: tuple[str, datetime | None, datetime | None] | None


@dataclass(frozen=True)
class Description:
    """A directory: its freqs, the names in each of its lists, and the export's id if it is one of ours."""

    export_id: str | None
    lists: dict[str, int]
    freqs: tuple[Described, ...]


def describe_bins(directory: Path, freq: str | None = None) -> Description:
    """Count what a provider directory holds, at one freq or at each that has a calendar. Damaged files count too.

    Raises:
        InputError: there is no such directory, or it is no provider directory.
        UsageError: nothing in the directory is of this freq.
    """
    root = provider_root(directory)
    if freq is not None:
        require_freq(root, freq)
    lists, _, _ = read_lists(root)
    return Description(
        export_id=export_id_of(root),
        lists=dict(lists.n_names),
        freqs=tuple(_described(root, one) for one in ([freq] if freq else freqs_of(root))),
    )


def _described(root: Path, freq: str) -> Described:
    calendar, _ = read_calendar(root, freq)
    counted = _Counted(calendar)
    for name in folder_names(root)[0]:
        folder, _, _ = read_folder(root, name, safe(name), freq, len(calendar))
        if folder.series:
            counted.add(folder)
    counted.flush()
    times = calendar.microseconds[is_time(calendar.microseconds)]
    return Described(
        freq=freq,
        fields=tuple(sorted(counted.n_rows)),
        calendar_first=as_time(int(times.min())) if times.size else None,
        calendar_last=as_time(int(times.max())) if times.size else None,
        n_times=len(calendar),
        n_instruments=counted.n_instruments,
        n_files=counted.n_files,
        n_bytes=counted.n_bytes,
        n_bars=counted.n_bars,
        gap_share=1 - counted.n_bars / counted.n_places if counted.n_places else 0.0,
        missing_shares={f: 1 - counted.n_held[f] / n if n else 1.0 for f, n in sorted(counted.n_rows.items())},
        first_range=counted.range_of(counted.earliest),
        last_range=counted.range_of(counted.latest),
    )


class _Counted:
    """Sums over instruments, many at a time."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.n_instruments = self.n_files = self.n_bytes = self.n_bars = self.n_places = 0
        self.n_rows: Counter[str] = Counter()
        self.n_held: Counter[str] = Counter()
        self.earliest: tuple[int, int, str] | None = None
        self.latest: tuple[int, int, str] | None = None
        self._waiting: list[Folder] = []
        self._n_values = 0

    def add(self, folder: Folder) -> None:
        """Take note of one instrument."""
        first, end = span_of(folder)
        self.n_instruments += 1
        self.n_files += len(folder.series)
        self.n_bytes += folder.n_bytes
        self.n_places += end - first
        self.n_rows.update(dict.fromkeys(folder.series, end - first))
        if end > first:
            span = (first, end, folder.label)
            self.earliest = min(self.earliest or span, span)
            self.latest = max(self.latest or span, span, key=lambda one: (one[1], one[2]))
        self._waiting.append(folder)
        self._n_values += (end - first) * len(folder.series)
        if self._n_values > HealthSpec.chunk_values:
            self.flush()

    def flush(self) -> None:
        """Count what waits."""
        panel = panel_of(self._waiting)
        self._waiting, self._n_values = [], 0
        is_bar = np.zeros(panel.n_rows, np.bool_)
        for field, values in panel.values.items():
            held = ~np.isnan(values)
            self.n_held[field] += int(held.sum())
            if field != FACTOR:
                is_bar |= held
        self.n_bars += int(is_bar.sum())

    def range_of(self, span: tuple[int, int, str] | None) -> tuple[str, datetime | None, datetime | None] | None:
        """A range as name, first and last bar."""
        return span and (span[2], self.calendar.time(span[0]), self.calendar.time(span[1] - 1))
