"""Do the lists of instruments name what can be read?

Belongs here: reading instruments/*.txt and what is wrong with them by themselves. Stays out: folders (`files`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.bins.health.calendar import Calendar, as_time, is_time, parse_times
from pipeline.bins.health.spec import Finding, about
from pipeline.bins.health.text import lines_of, read_text, safe

# What pandas, with which QLib reads a list, takes for "no name"; a quote swallows the lines up to the next one.
_NO_NAMES: Final = frozenset(
    ("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA")
) | {"NULL", "NaN", "None", "n/a", "nan", "null"}
_UNSAFE: Final = re.compile(r"""["/\\\x00-\x1f\x7f]""")
_UNPORTABLE: Final = re.compile(r"[<>:|?*]|[^ -~]|[. ]$")
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_LONGEST: Final = 255


@dataclass(frozen=True, eq=False)
class Lists:
    """What the lists name: `ranges` of all.txt (microseconds), `names` of all lists, and how many each has.

    An instrument may have several ranges, such as a share that was out of an index for a while.
    """

    ranges: Mapping[str, Sequence[tuple[int, int]]]
    n_names: Mapping[str, int]
    names: frozenset[str]

    def labels(self) -> dict[str, str]:
        """The listed name that QLib finds in a folder, by the folder's name in lower case."""
        return {name.lower(): name for name in reversed(list(self.ranges))}


@dataclass(frozen=True, eq=False)
class _List:
    market: str
    names: list[str]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]


def read_lists(directory: Path) -> tuple[Lists, list[Finding], list[Finding]]:
    """Every list of a provider directory, what is wrong with them, and files among them that are no list."""
    findings: list[Finding] = []
    strays: list[Finding] = []
    lists: dict[str, _List] = {}
    folder = directory / "instruments"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix != ".txt" or not path.is_file():
            told = safe(path.name)
            strays.append(about("orphan_file", f"instruments/{told} is no list"))
            continue
        try:
            raw = read_text(path)
        except OSError as error:
            findings.append(about("unreadable", f"cannot read instruments/{safe(path.name)}: {error.strerror}"))
            continue
        market = safe(path.stem)
        lists[market], bad = _parsed(market, raw)
        findings += bad
    found = lists.get("all")
    if found is None:
        findings.append(about("instruments_missing", "there is no instruments/all.txt, or it cannot be read"))
    elif not found.names:
        findings.append(about("instruments_empty", "instruments/all.txt names no instrument"))
    ranges = _ranges(found) if found else {}
    for one in lists.values():
        findings += _unknown(one, ranges) if found and one.market != "all" else ()
    findings += _twice(found) if found else ()
    names = frozenset(name for one in lists.values() for name in one.names)
    findings += (finding for name in sorted(names) for finding in _named(name))
    n_names = {market: len(set(one.names)) for market, one in lists.items()}
    return Lists(ranges, n_names, names), findings, strays


def judge_ranges(
    label: str,
    extent: tuple[int, int],
    is_bar: npt.NDArray[np.bool_],
    listed: Sequence[tuple[int, int]],
    calendar: Calendar,
    *,
    is_only_freq: bool,
) -> Iterator[Finding]:
    """Whether the ranges that all.txt gives an instrument are those of its series.

    Args:
        label: the instrument.
        extent: where its series begin and end (places, the end excluded).
        is_bar: for each place of the extent, whether the series hold a value there.
        listed: the first and the last place of each listed range; the last before the first where the calendar has no
            bar in it.
        calendar: what the places stand for; strictly increasing.
        is_only_freq: all.txt is shared by all freqs of a directory, so a range may reach further for another's sake.
    """
    (first, end), told = extent, _in_words(calendar, listed, extent)
    is_listed = np.zeros(len(calendar), np.bool_)
    for begin, last in listed:
        is_listed[begin : last + 1] = True
    hidden = first + np.flatnonzero(is_bar & ~is_listed[first:end])
    if hidden.size:
        yield about("range_too_short", told, instrument=label, time=calendar.time(int(hidden[0])), n=hidden.size)
    if not is_only_freq:
        return
    is_listed[first:end] = False
    promised = np.flatnonzero(is_listed)
    if promised.size:
        yield about("range_too_long", told, instrument=label, time=calendar.time(int(promised[0])), n=promised.size)
    outside = [span for span in listed if span[0] == len(calendar) or span[1] < 0]
    if outside:
        yield about("range_outside_calendar", told, instrument=label, n=len(outside))


def _in_words(calendar: Calendar, listed: Sequence[tuple[int, int]], extent: tuple[int, int]) -> str:
    many = f" in {len(listed)} ranges" if len(listed) > 1 else ""
    begin, last = min(span[0] for span in listed), max(span[1] for span in listed)
    return (
        f"listed {_shown(calendar, begin)} to {_shown(calendar, last)}{many}, the series are"
        f" {_shown(calendar, extent[0])} to {_shown(calendar, extent[1] - 1)}"
    )


def _shown(calendar: Calendar, place: int) -> str:
    time = calendar.time(place)
    return "outside the calendar" if time is None else f"{time:%Y-%m-%d %H:%M}"


def _parsed(market: str, raw: bytes) -> tuple[_List, list[Finding]]:
    lines = [(at, line) for at, line in enumerate(lines_of(raw), 1) if line.strip()]
    cells = [line.split("\t") for _, line in lines]
    first = parse_times([row[1].strip() if len(row) > 1 else "" for row in cells])
    last = parse_times([row[2].strip() if len(row) > 2 else "" for row in cells])
    named = np.array([bool(row[0].strip()) for row in cells], dtype=bool)
    good = is_time(first) & is_time(last) & (first <= last) & named
    bad = np.flatnonzero(~good)
    findings = []
    if bad.size:
        at, line = lines[bad[0]]
        findings.append(
            about("instruments_unreadable", f"line {at} of instruments/{market}.txt is {line[:80]!r}", n=bad.size)
        )
    kept = np.flatnonzero(good)
    return _List(market, [cells[k][0] for k in kept], first[kept], last[kept]), findings


def _ranges(listed: _List) -> dict[str, list[tuple[int, int]]]:
    ranges: dict[str, list[tuple[int, int]]] = {}
    for name, first, last in zip(listed.names, listed.first.tolist(), listed.last.tolist(), strict=True):
        ranges.setdefault(name, []).append((first, last))
    return ranges


def _unknown(one: _List, known: Mapping[str, object]) -> Iterator[Finding]:
    for name in sorted(set(one.names) - known.keys()):
        yield about("unknown_instrument", f"instruments/{one.market}.txt names it, all.txt does not", instrument=name)


def _twice(listed: _List) -> Iterator[Finding]:
    """Two lines of all.txt that lead to the same folder: at the same time, or under names of other case."""
    if len({name.lower() for name in listed.names}) == len(listed.names):
        return
    lines: dict[str, list[tuple[int, int, str]]] = {}
    for name, first, last in zip(listed.names, listed.first.tolist(), listed.last.tolist(), strict=True):
        lines.setdefault(name.lower(), []).append((first, last, name))
    for spans in lines.values():
        spans.sort()
        for (_, until, one), (begin, _, other) in pairwise(spans):
            if begin <= until or one != other:
                told = f"listed as {one[:80]!r} and as {other[:80]!r}, again from {as_time(begin):%Y-%m-%d %H:%M:%S}"
                yield about("listed_twice", told, instrument=other, time=as_time(begin), n=len(spans))
                break


def _named(name: str) -> Iterator[Finding]:
    if name in _NO_NAMES or name in (".", "..") or name != name.strip() or _UNSAFE.search(name):
        yield about("unsafe_name", f"{name[:80]!r}", instrument=name)
    elif _UNPORTABLE.search(name) or _DEVICES.fullmatch(name) or len(name.encode()) > _LONGEST:
        yield about("unportable_name", f"{name[:80]!r}, {len(name.encode())} bytes", instrument=name)
