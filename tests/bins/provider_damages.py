"""What can be wrong with a provider directory: each damage, and where the checker has to find it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from tests.bins.sound_provider import FIELDS, FIRST, RANGES, Provider, at, walk

A, B, C = RANGES
PRICES = ("open", "high", "low", "close", "vwap")


class Damage(NamedTuple):
    problem: str
    plant: Callable[[Provider], object]
    instrument: str | None = None
    field: str | None = None
    time: datetime | None = None
    n: int = 1


def numbers(name: str, field: str, change: Callable[[np.ndarray], object]) -> Callable[[Provider], None]:
    def damage(made: Provider) -> None:
        found = made.numbers(name, field)
        changed = change(found)
        made.put(name, field, found if changed is None else changed)  # type: ignore[arg-type]

    return damage


def header(value: float) -> Callable[[Provider], None]:
    return numbers(A, "close", lambda found: found.__setitem__(0, value))


def value(name: str, field: str, place: int, number: float) -> Callable[[Provider], None]:
    return lambda made: made.set(name, field, place, number)


def times(number: int, line: str) -> Callable[[Provider], None]:
    return lambda made: made.replace_line(made.calendar, number, line)


def listed(name: str, first: int, last: int) -> str:
    return f"{name}\t{at(first):%F %T}\t{at(last):%F %T}"


def line(number: int, text: str) -> Callable[[Provider], None]:
    return lambda made: made.replace_line(made.listed, number, text)


def swapped(made: Provider) -> None:
    made.replace_line(made.calendar, 30, f"{at(31):%Y-%m-%d %H:%M:%S}")
    made.replace_line(made.calendar, 31, f"{at(30):%Y-%m-%d %H:%M:%S}")


def without_an_hour(made: Provider) -> None:
    """The calendar jumps over the hour of place 50; what was there is moved one on."""
    moved = [at(place + (place >= 50)) for place in range(100)]
    made.calendar.write_text("".join(f"{time:%Y-%m-%d %H:%M:%S}\n" for time in moved))
    made.listed.write_text("".join(f"{n}\t{moved[a]:%F %T}\t{moved[b - 1]:%F %T}\n" for n, (a, b) in RANGES.items()))


def renamed(made: Provider) -> None:
    (made.root / "features" / B).rename(made.root / "features" / B.upper())


def copied(made: Provider, name: str) -> None:
    for field in FIELDS:
        made.put(name, field, made.numbers(B, field))


def another(made: Provider, name: str) -> None:
    """One more instrument, sound but for its name."""
    copied(made, name.lower())
    made.add_line(made.listed, listed(name, 10, 69))


def step(made: Provider) -> None:
    for field in PRICES:
        found = made.numbers(A, field)
        found[31:] *= 4
        made.put(A, field, found)


def flat(made: Provider) -> None:
    """The same price and a moving volume over sixty bars, with a gap inside."""
    for field in ("open", "high", "low", "close", "vwap"):
        found = made.numbers(A, field)
        found[31:91] = 1.5
        found[50] = np.nan
        made.put(A, field, found)
    made.set(A, "volume", 49, np.nan)
    made.set(A, "factor", 49, np.nan)


def feature(made: Provider) -> None:
    for name, (first, end) in RANGES.items():
        made.put(name, "rsi_14", np.concatenate([[first], walk(end - first)["open"]]))
        for place in range(first + 20, first + 23):
            made.set(name, "rsi_14", place, np.nan)


def sparse_feature(made: Provider) -> None:
    feature(made)
    found = made.numbers(B, "rsi_14")
    found[1:50] = np.nan
    made.put(B, "rsi_14", found)


def without_factor(made: Provider) -> None:
    for name in RANGES:
        made.file(name, "factor").unlink()


def odd_feature(made: Provider) -> None:
    feature(made)
    made.file(B, "rsi_14").unlink()


def mostly_gaps(made: Provider) -> None:
    for field in FIELDS:
        found = made.numbers(B, field)
        found[10:50] = np.nan
        made.put(B, field, found)


def file_of_other_freq(made: Provider) -> None:
    (made.root / "features" / B / "close.5min.bin").write_bytes(bytes(8))


DAMAGES = {
    "calendar deleted": Damage("calendar_missing", lambda m: m.calendar.unlink()),
    "calendar emptied": Damage("calendar_empty", lambda m: m.calendar.write_text("")),
    "calendar with a word": Damage("calendar_unreadable", times(30, "hello")),
    "calendar with bytes": Damage("calendar_unreadable", times(30, "2021-03-02 \x00")),
    "calendar out of order": Damage("calendar_unordered", swapped, None, None, at(30)),
    "calendar with a time twice": Damage("calendar_duplicate", times(31, f"{at(30):%F %T}"), None, None, at(30)),
    "calendar off the grid": Damage(
        "calendar_off_grid", times(30, "2021-03-02 06:30:00"), None, None, FIRST + timedelta(hours=30.5)
    ),
    "calendar without an hour": Damage("calendar_gap", without_an_hour, None, None, at(50)),
    "series of a freq without calendar": Damage("freq_without_calendar", file_of_other_freq),
    "list deleted": Damage("instruments_missing", lambda m: m.listed.unlink()),
    "list emptied": Damage("instruments_empty", lambda m: m.listed.write_text("")),
    "list with a broken line": Damage("instruments_unreadable", line(1, f"{B} 2021-03-01")),
    "list with a range that ends first": Damage("instruments_unreadable", line(1, listed(B, 69, 10))),
    "list with a name twice": Damage(
        "listed_twice", lambda m: m.add_line(m.listed, listed(B, 30, 50)), B, None, at(30), n=2
    ),
    "list with a name in two cases": Damage(
        "listed_twice", lambda m: m.add_line(m.listed, listed(B.upper(), 10, 69)), B, None, at(10), n=2
    ),
    "another list with a stranger": Damage(
        "unknown_instrument", lambda m: (m.root / "instruments/csi300.txt").write_text(listed("xx", 0, 9)), "xx"
    ),
    "name that pandas takes for none": Damage("unsafe_name", lambda m: another(m, "nan"), "nan"),
    "name with a quote": Damage("unsafe_name", lambda m: another(m, 'a"b'), 'a"b'),
    "name that ends in a space": Damage("unsafe_name", lambda m: another(m, "ab "), "ab "),
    "name that is a device": Damage("unportable_name", lambda m: another(m, "con"), "con"),
    "name that is not ASCII": Damage("unportable_name", lambda m: another(m, "mööp"), "mööp"),
    "listed without folder": Damage("listed_without_folder", lambda m: m.add_line(m.listed, listed("yy", 0, 9)), "yy"),
    "listed too late": Damage("range_too_short", line(1, listed(B, 12, 69)), B, None, at(10), 2),
    "listed too short": Damage("range_too_short", line(1, listed(B, 10, 60)), B, None, at(61), 9),
    "listed with a hole": Damage(
        "range_too_short", line(1, f"{listed(B, 10, 49)}\n{listed(B, 53, 69)}"), B, None, at(50), 3
    ),
    "listed for another time too": Damage(
        "range_outside_calendar", lambda m: m.add_line(m.listed, listed(B, 200, 300)), B
    ),
    "listed too early": Damage("range_too_long", line(1, listed(B, 5, 69)), B, None, at(5), 5),
    "listed too long": Damage("range_too_long", line(1, listed(B, 10, 79)), B, None, at(70), 10),
    "folder in capitals": Damage("upper_case_folder", renamed, B),
    "file in capitals": Damage("upper_case_file", lambda m: m.file(B, "low").rename(m.file(B, "LOW")), B, "low"),
    "folder twice": Damage("folders_differ_in_case", lambda m: copied(m, B.upper()), B, n=2),
    "folder nobody lists": Damage("orphan_folder", lambda m: copied(m, "zz"), "zz"),
    "file that is no bin": Damage("orphan_file", lambda m: (m.root / "features" / B / "notes.txt").write_text(""), B),
    "file without freq": Damage("orphan_file", lambda m: (m.root / "features" / B / "close.bin").write_text(""), B),
    "file among folders": Damage("orphan_file", lambda m: (m.root / "features/close.60min.bin").write_text("")),
    "file among lists": Damage("orphan_file", lambda m: (m.root / "instruments/all.csv").write_text("")),
    "column deleted": Damage("missing_column", lambda m: m.file(B, "volume").unlink(), B, "volume"),
    "factor deleted": Damage("missing_column", lambda m: m.file(B, "factor").unlink(), B, "factor"),
    "factor deleted everywhere": Damage("missing_factor", without_factor, None, "factor", n=3),
    "odd column": Damage("uneven_column", odd_feature, B, "rsi_14"),
    "file emptied": Damage("truncated", lambda m: m.file(B, "low").write_bytes(b""), B, "low"),
    "file with a header alone": Damage("truncated", numbers(B, "low", lambda found: found[:1]), B, "low"),
    "file cut within a value": Damage(
        "truncated", lambda m: m.file(B, "low").write_bytes(m.file(B, "low").read_bytes()[:-2]), B, "low"
    ),
    "header NaN": Damage("bad_header", header(np.nan), A, "close"),
    "header infinite": Damage("bad_header", header(np.inf), A, "close"),
    "header negative": Damage("bad_header", header(-1), A, "close"),
    "header no integer": Damage("bad_header", header(0.5), A, "close"),
    "header too large to be exact": Damage("bad_header", header(2**25), A, "close"),
    "header beyond the calendar": Damage("header_beyond_calendar", header(100), A, "close"),
    "series beyond the calendar": Damage(
        "series_beyond_calendar", numbers(A, "low", lambda f: np.append(f, 1)), A, "low"
    ),
    "series that begins elsewhere": Damage(
        "start_mismatch",
        numbers(B, "close", lambda found: found.__setitem__(0, 11)),
        B,
        "close",
        at(10),
    ),
    "series cut after a value": Damage("length_mismatch", numbers(B, "close", lambda f: f[:-1]), B, "close", at(69)),
    "infinite value": Damage("infinite", value(A, "factor", 30, np.inf), A, "factor", at(30)),
    "price of zero": Damage("non_positive_price", value(A, "low", 30, 0), A, "low", at(30)),
    "price below zero": Damage("non_positive_price", value(B, "vwap", 30, -1), B, "vwap", at(30)),
    "volume below zero": Damage("negative_volume", value(A, "volume", 30, -1), A, "volume", at(30)),
    "factor of zero": Damage("non_positive_factor", value(A, "factor", 30, 0), A, "factor", at(30)),
    "factor below zero": Damage("non_positive_factor", value(B, "factor", 31, -1), B, "factor", at(31)),
    "high below low": Damage("high_below_low", value(A, "high", 30, 0.1), A, "high", at(30)),
    "close above high": Damage("price_outside_bar", value(A, "close", 30, 1000), A, "close", at(30)),
    "open below low": Damage("price_outside_bar", value(A, "open", 30, 0.01), A, "open", at(30)),
    "vwap above high": Damage("vwap_outside_bar", value(A, "vwap", 30, 1000), A, "vwap", at(30)),
    "column without a value": Damage(
        "all_missing",
        numbers(B, "factor", lambda found: found.__setitem__(slice(1, None), np.nan)),
        B,
        "factor",
        at(10),
        n=60,
    ),
    "value missing": Damage("missing_value", value(A, "close", 30, np.nan), A, "close", at(30)),
    "extra value missing": Damage("missing_extra", value(A, "vwap", 30, np.nan), A, "vwap", at(30)),
    "column mostly missing": Damage("mostly_missing", sparse_feature, B, "rsi_14", at(10), n=46),
    "mostly gaps": Damage("mostly_gaps", mostly_gaps, B, None, at(19), n=40),
    "step of a price": Damage("large_step", step, A, "low", at(30)),
    "step of a volume": Damage("large_step", value(A, "volume", 30, 9), A, "volume", at(30)),
    "one price over many bars": Damage("stale", flat, A, "close", at(30)),
}
