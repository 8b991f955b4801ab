"""Folders and files of series: what is there, under which names, and where each series begins and ends.

Belongs here: names, sizes and headers. Stays out: the values (`values`).
A series is read even where its file is damaged, as QLib reads it too, but it is not trusted: not compared with others.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.bins.health.calendar import Calendar
from pipeline.bins.health.spec import FACTOR, REQUIRED, Finding, about
from pipeline.bins.health.text import safe

LARGEST_PLACE: Final = 2**24
"""A place is kept as a float32, which tells neighbours apart up to here."""


@dataclass(frozen=True, eq=False)
class Series:
    """One file: the values that lie in the calendar, the first of them at `first`.

    `is_trusted`: the header and the size are sound, so that the values stand where the file says.
    """

    first: int
    values: npt.NDArray[np.float32]
    is_trusted: bool

    @property
    def end(self) -> int:
        """The place after the last value."""
        return self.first + self.values.size


@dataclass(frozen=True, eq=False)
class Folder:
    """The series of one instrument at one freq; `label` is the instrument's name as listed, or the folder's."""

    label: str
    path: str
    series: dict[str, Series]
    n_bytes: int

    @property
    def extent(self) -> tuple[int, int] | None:
        """Where most of its trusted series begin and end (places, the end excluded); None if there are none."""
        counted = Counter((s.first, s.end) for s in self.series.values() if s.is_trusted and s.values.size)
        return max(counted, key=lambda span: (counted[span], span[1] - span[0])) if counted else None

    def bars(self, extent: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Of each place of an extent, whether a field but the factor holds a value there."""
        first, end = extent
        held = np.zeros(end - first, np.bool_)
        for field, one in self.series.items():
            begin, stop = max(one.first, first), min(one.end, end)
            if field != FACTOR and begin < stop:
                held[begin - first : stop - first] |= ~np.isnan(one.values[begin - one.first : stop - one.first])
        return held


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def folder_names(directory: Path) -> tuple[list[str], list[Finding]]:
    """The folders under features/, sorted, and what else lies there or keeps it from being read."""
    names: list[str] = []
    findings: list[Finding] = []
    try:
        with os.scandir(directory / "features") as entries:
            for entry in entries:
                if _is_folder(entry):
                    names.append(entry.name)
                else:
                    findings.append(about("orphan_file", f"features/{safe(entry.name)} is no folder"))
    except OSError as error:
        findings.append(about("unreadable", f"cannot read features/: {error.strerror}"))
    return sorted(names), sorted(findings)


def judge_names(names: list[str], labels: Mapping[str, str], listed: frozenset[str]) -> Iterator[Finding]:
    """What is wrong with the folders' names beside the lists: case, orphans, and what has no folder."""
    lowered = Counter(safe(name).lower() for name in names)
    known = {name.lower() for name in listed}
    for name in map(safe, names):
        lower = name.lower()
        if lowered[lower] > 1:
            if lower == name or lower not in map(safe, names):
                told = sorted(other for other in map(safe, names) if other.lower() == lower)
                yield about(
                    "folders_differ_in_case", f"{told!r:.200}", instrument=labels.get(lower, lower), n=len(told)
                )
        elif lower != name:
            yield about("upper_case_folder", f"features/{name[:100]}", instrument=labels.get(lower, name))
        if lower not in known:
            yield about("orphan_folder", f"features/{name[:100]} is in no list", instrument=name)
    for lower, label in labels.items():
        if lower not in lowered:
            yield about("listed_without_folder", f"there is no features/{lower[:100]}", instrument=label)


def read_folder(
    root: Path, name: str, label: str, freq: str, n_calendar: int
) -> tuple[Folder, list[Finding], Counter[str]]:
    """All series of a freq in a folder, what is wrong with its files one by one, and files by other freqs."""
    folder = f"{root}/features/{name}"
    series: dict[str, Series] = {}
    findings: list[Finding] = []
    others: Counter[str] = Counter()
    n_bytes = 0
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, _is_file(entry)) for entry in entries)
    except OSError as error:
        return (
            Folder(label, folder, {}, 0),
            [about("unreadable", f"cannot read it: {error.strerror}", instrument=label)],
            others,
        )
    for file, is_file in found:
        told = safe(file)
        field, _, file_freq = told.removesuffix(".bin").lower().rpartition(".")
        if not (is_file and file.endswith(".bin") and field and file_freq):
            findings.append(about("orphan_file", f"{told[:100]!r} is no FIELD.FREQ.bin", instrument=label))
            continue
        if told != told.lower():
            findings.append(about("upper_case_file", f"{told[:100]!r}", instrument=label, field=field))
        if file_freq != freq:
            others[file_freq] += 1
            continue
        one, size, bad = _read(f"{folder}/{file}", label, field, n_calendar)
        n_bytes += size
        findings += bad
        if one is not None:
            series[field] = one
    return Folder(label, folder, series, n_bytes), findings, others


def _read(path: str, label: str, field: str, n_calendar: int) -> tuple[Series | None, int, list[Finding]]:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - 14,000 times, and building a Path costs as much again
            size = os.fstat(file.fileno()).st_size
            # No further than the calendar reaches: a file may claim to be as large as it likes.
            raw = file.read(min(size, 4 * (n_calendar + 1)))
    except OSError as error:
        return None, 0, [about("unreadable", f"{error.strerror}", instrument=label, field=field)]
    if size < 8:
        told = f"{size} bytes; a series has 8 at least"
        return (
            Series(0, np.empty(0, np.float32), is_trusted=False),
            size,
            [about("truncated", told, instrument=label, field=field)],
        )
    findings: list[Finding] = []
    if size % 4:
        findings.append(about("truncated", f"{size} bytes, no multiple of 4", instrument=label, field=field))
    numbers = np.frombuffer(raw, "<f4", count=len(raw) // 4)
    return _placed(numbers, size // 4 - 1, label, field, n_calendar, findings), size, findings


def _placed(
    numbers: npt.NDArray[np.float32], n: int, label: str, field: str, n_calendar: int, findings: list[Finding]
) -> Series:
    """The series at its place; notes in `findings` what keeps it from being trusted."""
    header, values = float(numbers[0]), numbers[1:]
    first = int(header) if np.isfinite(header) and abs(header) <= LARGEST_PLACE else n_calendar
    if first != header or first < 0:
        findings.append(
            about("bad_header", f"the first place is {header!r}", instrument=label, field=field, value=header)
        )
    elif first >= n_calendar > 0:  # where there is no calendar at all, that is what is wrong
        told = f"begins at place {first}, the calendar has {n_calendar}"
        findings.append(about("header_beyond_calendar", told, instrument=label, field=field, value=header))
    is_trusted = not findings and first < n_calendar
    if is_trusted and first + n > n_calendar:
        told = f"{n} values from place {first}, the calendar has {n_calendar}"
        findings.append(about("series_beyond_calendar", told, instrument=label, field=field, n=first + n - n_calendar))
    begin = min(max(first, 0), n_calendar)
    return Series(begin, values[begin - first : n_calendar - first] if first < n_calendar else values[:0], is_trusted)


def judge_extents(folder: Folder, calendar: Calendar) -> tuple[Folder, list[Finding]]:
    """Which series begin or end elsewhere than most of their instrument; those are no longer trusted."""
    extent = folder.extent
    if extent is None:
        return folder, []
    first, end = extent
    findings: list[Finding] = []
    series = dict(folder.series)
    for field, one in folder.series.items():
        if not one.is_trusted or (one.first, one.end) == extent:
            continue
        if one.first != first:
            told = f"begins at place {one.first}, most fields at {first}"
            time = calendar.time(min(one.first, first))
            findings.append(
                about("start_mismatch", told, instrument=folder.label, field=field, time=time, value=one.first)
            )
        if one.values.size != end - first:
            told = f"{one.values.size} values, most fields have {end - first}"
            time = calendar.time(min(one.end, end))
            findings.append(
                about("length_mismatch", told, instrument=folder.label, field=field, time=time, value=one.values.size)
            )
        series[field] = Series(one.first, one.values, is_trusted=False)
    return Folder(folder.label, folder.path, series, folder.n_bytes), findings


def judge_columns(fields: Mapping[frozenset[str], list[str]]) -> Iterator[Finding]:
    """Columns that are required and absent, and columns that only some instruments have.

    Args:
        fields: the instruments by the set of columns they have.
    """
    n_with = Counter(dict.fromkeys(REQUIRED, 0))
    for have, labels in fields.items():
        n_with.update(dict.fromkeys(have, len(labels)))
    n_all = sum(map(len, fields.values()))
    if n_all and not n_with[FACTOR]:
        yield about("missing_factor", "no instrument has a factor", field=FACTOR, n=n_all)
    for have, labels in fields.items():
        for field, n in sorted(n_with.items()):
            is_odd = (2 * n >= n_all) != (field in have)
            if field == FACTOR and not n:
                continue
            if field in REQUIRED and field not in have:
                told = [
                    about("missing_column", f"there is no {field}", instrument=label, field=field) for label in labels
                ]
            elif field not in REQUIRED and is_odd and 0 < n < n_all:
                words = "has it" if field in have else "lacks it"
                told = [
                    about(
                        "uneven_column", f"{words}; {n} of {n_all} instruments have it", instrument=label, field=field
                    )
                    for label in labels
                ]
            else:
                continue
            yield from told
