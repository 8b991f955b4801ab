"""Is a QLib provider directory sound? The entry to the health checker.

Belongs here: the order of the questions, and the report. Stays out: the questions themselves (`calendar`,
`instruments`, `files`, `values`, `manifest`) and how a report is shown.
QLib is not imported: a directory that crashes it can be looked at all the same.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from pipeline.bins.health.calendar import Calendar, read_calendar
from pipeline.bins.health.files import (
    Folder,
    folder_names,
    judge_columns,
    judge_extents,
    judge_names,
    read_folder,
)
from pipeline.bins.health.instruments import Lists, judge_ranges, read_lists
from pipeline.bins.health.manifest import Record, judge_absent, judge_folder, read_record
from pipeline.bins.health.panel import panel_of, span_of
from pipeline.bins.health.spec import FINDING_SCHEMA, SEVERITIES, Finding, HealthSpec, Severity, about
from pipeline.bins.health.text import safe
from pipeline.bins.health.values import judge_values
from pipeline.errors import InputError, UsageError

_FREQ: Final = re.compile(r"[0-9a-z]{1,16}")


@dataclass(frozen=True, eq=False)
class HealthReport:
    """What was found, worst first.

    `problems`: severity, problem, instrument, field, time (UTC; the first one), n (how often), value (the worst
    number) and found (in words); one row a problem, instrument and field. `n_files` and `n_bytes` count the series of
    the freq.
    """

    freq: str
    problems: pl.DataFrame
    n_instruments: int
    n_files: int
    n_bytes: int

    @property
    def worst(self) -> Severity | None:
        """The worst severity found; None if nothing was."""
        found = set(self.problems["severity"].unique().to_list())
        return next((severity for severity in SEVERITIES if severity in found), None)

    @property
    def is_healthy(self) -> bool:
        """Nothing was found but what is natural."""
        return self.worst in (None, "info")

    def counts(self) -> pl.DataFrame:
        """severity, problem, findings (rows of `problems`), instruments, n (how often in all), worst first."""
        return (
            self.problems.group_by("severity", "problem")
            .agg(
                pl.len().cast(pl.Int64).alias("findings"),
                pl.col("instrument").drop_nulls().n_unique().cast(pl.Int64).alias("instruments"),
                pl.col("n").sum(),
            )
            .sort("severity", "problem")
        )


def check_bins(directory: Path, freq: str, spec: HealthSpec | None = None) -> HealthReport:
    """Look at every file of a provider directory at one freq, and say what is wrong with it.

    Works on any directory that follows QLib's layout, whoever wrote it. Memory is bounded by `spec.chunk_values`. A
    directory that is replaced meanwhile is looked at as it was at the start.

    Args:
        directory: holds calendars/, instruments/ and features/.
        freq: as it stands in the names of the files: "60min", "day".
        spec: thresholds and severities; the standard ones if none is given.

    Raises:
        InputError: there is no such directory, or it is no provider directory.
        UsageError: `freq` is no freq, or nothing in the directory is of this freq.
    """
    spec = spec or HealthSpec()
    root = provider_root(directory)
    require_freq(root, freq)
    calendar, findings = read_calendar(root, freq)
    lists, bad, strays = read_lists(root)
    names, bad_names = folder_names(root)
    labels = lists.labels()
    record, bad_record = read_record(root, freq)
    findings += [*bad_record, *bad, *strays, *bad_names, *judge_names(names, labels, lists.names)]
    checked = _Checked(root, freq, calendar, lists, record, spec)
    for name in names:
        findings += checked.folder(name, _label(name, names, labels))
    findings += checked.rest()
    return HealthReport(freq, _as_frame(findings, spec), checked.n_instruments, checked.n_files, checked.n_bytes)


def provider_root(directory: Path) -> Path:
    """The directory itself, where links lead.

    Raises:
        InputError: there is no such directory, or it has none of the folders of a provider directory.
    """
    if not directory.is_dir():
        raise InputError(f"cannot read bins from {str(directory)!r}: there is no such directory")
    if not any((directory / part).is_dir() for part in ("calendars", "instruments", "features")):
        raise InputError(
            f"{str(directory)!r} is no QLib provider directory: none of calendars/, instruments/, features/ is there"
        )
    return directory.resolve()


def freqs_of(root: Path) -> list[str]:
    """The freqs that have a calendar, sorted."""
    folder = root / "calendars"
    stems = [path.stem for path in folder.glob("*.txt")] if folder.is_dir() else []
    return sorted(stem for stem in stems if _FREQ.fullmatch(stem))


def require_freq(root: Path, freq: str) -> None:
    """Refuse what is no freq, and a freq of which the directory holds neither a calendar nor a series.

    Raises:
        UsageError: with the freqs that there are.
    """
    if not _FREQ.fullmatch(freq):
        raise UsageError(f"{freq!r} is no freq: freqs are written like '60min' or 'day'")
    if freq not in freqs_of(root) and next((root / "features").glob(f"*/*.{freq}.bin"), None) is None:
        raise UsageError(f"nothing in {str(root)!r} is of the freq {freq!r}: it has {freqs_of(root)!r}")


def _label(name: str, names: list[str], labels: dict[str, str]) -> str:
    """What an instrument is called: as it is listed, unless QLib reads another folder for that name."""
    lower = safe(name).lower()
    return labels.get(lower, safe(name)) if name == lower or lower not in names else safe(name)


class _Checked:
    """Instruments are read one by one and looked at many at a time; what is known of all of them gathers here."""

    def __init__(
        self, root: Path, freq: str, calendar: Calendar, lists: Lists, record: Record | None, spec: HealthSpec
    ) -> None:
        self.root, self.freq, self.calendar, self.record, self.spec = root, freq, calendar, record, spec
        self.n_instruments = self.n_files = self.n_bytes = 0
        self._freqs = freqs_of(root)
        self._listed = _listed_places(lists, calendar)
        self._waiting: list[Folder] = []
        self._n_values = 0
        self._columns: dict[frozenset[str], list[str]] = {}
        self._others: Counter[str] = Counter()

    def folder(self, name: str, label: str) -> Iterator[Finding]:
        """Read one instrument; the values are looked at when enough have gathered."""
        folder, findings, others = read_folder(self.root, name, label, self.freq, len(self.calendar))
        yield from findings
        self._others += others
        if not folder.series and others:
            return  # an instrument of another freq
        folder, findings = judge_extents(folder, self.calendar)
        yield from findings
        extent, listed = folder.extent, self._listed.get(label)
        if extent and listed and listed != [(extent[0], extent[1] - 1)]:
            is_bar, is_only = folder.bars(extent), len(self._freqs) < 2
            yield from judge_ranges(label, extent, is_bar, listed, self.calendar, is_only_freq=is_only)
        if self.record:
            yield from judge_folder(folder, self.record, is_thorough=self.spec.is_thorough)
        self.n_instruments += 1
        self.n_files += len(folder.series)
        self.n_bytes += folder.n_bytes
        self._columns.setdefault(frozenset(folder.series), []).append(label)
        first, end = span_of(folder)
        size = (end - first) * len(folder.series)
        if self._waiting and self._n_values + size > self.spec.chunk_values:
            yield from self._values()
        self._waiting.append(folder)
        self._n_values += size

    def rest(self) -> Iterator[Finding]:
        """The last values, and what can be said only when every instrument was seen."""
        yield from self._values()
        yield from judge_columns(self._columns)
        if self.record:
            yield from judge_absent(chain.from_iterable(self._columns.values()), self.record)
        for freq, n in sorted(self._others.items()):
            if freq not in self._freqs:
                yield about("freq_without_calendar", f"{n} series of {freq[:32]!r}, no calendars/{freq[:32]}.txt", n=n)

    def _values(self) -> Iterator[Finding]:
        yield from judge_values(panel_of(self._waiting), self.calendar, self.spec)
        self._waiting, self._n_values = [], 0


def _listed_places(lists: Lists, calendar: Calendar) -> dict[str, list[tuple[int, int]]]:
    """The places of the listed ranges; none where the calendar is damaged, for then they mean nothing."""
    if not lists.ranges or not len(calendar) or not calendar.is_increasing:
        return {}
    spans = np.array([span for spans in lists.ranges.values() for span in spans], dtype=np.int64)
    firsts, lasts = calendar.places(spans[:, 0], spans[:, 1]).tolist()
    places = iter(zip(firsts, lasts, strict=True))
    return {name: list(islice(places, len(spans))) for name, spans in lists.ranges.items()}


def _as_frame(findings: list[Finding], spec: HealthSpec) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in FINDING_SCHEMA.items() if name != "severity"}
    rows = pl.DataFrame(findings, schema=schema, orient="row")
    severities = [spec.severity(problem) for problem in rows["problem"]]
    return (
        rows.insert_column(0, pl.Series("severity", severities, FINDING_SCHEMA["severity"]))
        .unique(maintain_order=True)
        .sort("severity", "problem", "instrument", "field", "time", "found", nulls_last=False)
    )
