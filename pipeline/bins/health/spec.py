"""What the health checker looks for: every problem with its severity, the thresholds, and what a finding is.

Belongs here: the vocabulary. Stays out: how a problem is found (the other modules of this package).

    error    a reader gets wrong numbers, misses what is promised, or crashes
    warning  readable, but suspicious
    info     natural for pools, which trade when somebody trades: gaps and large steps
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple

import polars as pl

from pipeline.errors import UsageError

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")

PRICES: Final = ("open", "high", "low", "close", "vwap")
VOLUME: Final = "volume"
FACTOR: Final = "factor"
REQUIRED: Final = ("open", "high", "low", "close", VOLUME, FACTOR)


class Problem(NamedTuple):
    """A kind of damage: how bad it is unless the spec says otherwise, and what it means."""

    severity: Severity
    meaning: str


PROBLEMS: Final[Mapping[str, Problem]] = {
    # the calendar
    "calendar_missing": Problem("error", "calendars/FREQ.txt is absent or cannot be read"),
    "calendar_empty": Problem("error", "the calendar holds no time"),
    "calendar_unreadable": Problem("error", "a line of the calendar is no time"),
    "calendar_unordered": Problem("error", "a time of the calendar lies before the one above it"),
    "calendar_duplicate": Problem("error", "a time stands in the calendar twice in a row"),
    "calendar_off_grid": Problem("warning", "a time of a calendar of minutes is no multiple of its step"),
    "calendar_gap": Problem("warning", "times are absent from a calendar of minutes; n counts them"),
    "freq_without_calendar": Problem("warning", "there are series of a freq that has no calendar; n counts the files"),
    # the lists of instruments
    "instruments_missing": Problem("error", "instruments/all.txt is absent or cannot be read"),
    "instruments_empty": Problem("error", "instruments/all.txt names no instrument"),
    "instruments_unreadable": Problem("error", "a line of a list is not NAME, FIRST, LAST, or its range ends first"),
    "listed_twice": Problem("warning", "all.txt names an instrument twice, with ranges that overlap or in other case"),
    "unknown_instrument": Problem("warning", "another list names an instrument that all.txt does not name"),
    "unsafe_name": Problem("error", "QLib reads this name as another one, or as none, or as a path"),
    "unportable_name": Problem("warning", "a name that some file systems cannot hold"),
    "listed_without_folder": Problem("error", "all.txt names an instrument that has no folder of series"),
    "range_too_short": Problem("error", "the listed range leaves out bars that the series hold; n counts them"),
    "range_outside_calendar": Problem(
        "warning", "a listed range that begins after the calendar or ends before it; n counts them"
    ),
    "range_too_long": Problem("warning", "the listed range promises bars before or after the series; n counts them"),
    # folders and files
    "upper_case_folder": Problem("error", "QLib looks for the folder in lower case and does not find it"),
    "upper_case_file": Problem("error", "QLib looks for the file in lower case and does not find it"),
    "folders_differ_in_case": Problem("error", "two folders differ in nothing but case; QLib reads one of them"),
    "orphan_folder": Problem("warning", "a folder that no list names"),
    "orphan_file": Problem("warning", "a file that QLib reads under no name"),
    "unreadable": Problem("error", "a folder or a file cannot be read"),
    "missing_column": Problem("error", "open, high, low, close or volume is absent, or a factor that others have"),
    "missing_factor": Problem("warning", "no instrument has a factor: QLib reads and trades, but unadjusted prices"),
    "uneven_column": Problem("warning", "a column that this instrument has or lacks, other than most"),
    # series
    "truncated": Problem("error", "a file whose size is no multiple of 4, or that holds no value"),
    "bad_header": Problem("error", "the first place is not a whole number from 0 to 2^24"),
    "header_beyond_calendar": Problem("error", "the series begins after the calendar's end"),
    "series_beyond_calendar": Problem("error", "the series runs beyond the calendar's end; n counts the values"),
    "start_mismatch": Problem("error", "the series begins at another bar than most fields of its instrument"),
    "length_mismatch": Problem("error", "the series has another length than most fields of its instrument"),
    # values
    "infinite": Problem("error", "values that are infinite"),
    "non_positive_price": Problem("error", "prices of zero or less"),
    "negative_volume": Problem("error", "volumes below zero"),
    "non_positive_factor": Problem("error", "factors of zero or less: QLib divides by them"),
    "high_below_low": Problem("error", "high is below low"),
    "price_outside_bar": Problem("error", "open or close is above high or below low"),
    "vwap_outside_bar": Problem("warning", "vwap is above high or below low"),
    "all_missing": Problem("warning", "a required column that holds no value at all"),
    "missing_value": Problem("warning", "a required column is missing in bars that have other values"),
    "missing_extra": Problem("info", "a further column is missing in bars that have other values"),
    "mostly_missing": Problem("warning", "a column is missing in more than `missing_share` of the instrument's bars"),
    "mostly_gaps": Problem("info", "more than `missing_share` of the instrument's range are bars without any value"),
    "gap": Problem("info", "bars of the range without any value; n counts the bars"),
    "large_step": Problem("info", "a price or a volume that changes by more than the threshold from bar to bar"),
    "stale": Problem("warning", "the same price or volume over `stale_bars` bars or more; n counts such runs"),
    # exports of ours
    "manifest_unreadable": Problem("error", "the export's own record is absent or cannot be read"),
    "manifest_mismatch": Problem("error", "the files are not those that the export's own record tells of"),
    "content_mismatch": Problem("error", "the bytes of the files are not those that were exported (thorough only)"),
    "map_mismatch": Problem("error", "instruments.json names other instruments than there are"),
}
"""Every problem there is."""


@dataclass(frozen=True)
class HealthSpec:
    """Thresholds of the health checker.

    `price_step` and `volume_step` are the largest |x_t / x_(t-1) - 1| of consecutive bars that is no large step; QLib's
    own checker has the same two. `missing_share` is a share of bars. `stale_bars` counts bars with a value.
    `tolerance` is relative: prices are rounded to float32 and may leave [low, high] by two units in the last place,
    2^-22. `is_thorough` also hashes every file of an export of ours. `severities` replaces those of `PROBLEMS`, by
    name. `chunk_values` bounds the memory: so many float32 are looked at together, or one instrument if that
    has more.

    Raises:
        UsageError: `severities` names a problem or a severity that does not exist, or a threshold is negative or NaN.
    """

    price_step: float = 0.5
    volume_step: float = 3.0
    missing_share: float = 0.5
    stale_bars: int = 48
    tolerance: float = 2.0**-22
    is_thorough: bool = False
    severities: Mapping[str, Severity] = field(default_factory=dict)
    chunk_values: int = 8_000_000

    def __post_init__(self) -> None:
        for name, severity in self.severities.items():
            if name not in PROBLEMS or severity not in SEVERITIES:
                raise UsageError(
                    f"cannot give {name!r} the severity {severity!r}: problems are {', '.join(PROBLEMS)};"
                    f" severities are {', '.join(SEVERITIES)}"
                )
        for name in ("price_step", "volume_step", "missing_share", "stale_bars", "tolerance"):
            if not getattr(self, name) >= 0:  # also NaN
                raise UsageError(f"{name} must be 0 or more, found {getattr(self, name)!r}")

    def severity(self, problem: str) -> Severity:
        """How bad a problem is under this spec."""
        return self.severities.get(problem, PROBLEMS[problem].severity)


class Finding(NamedTuple):
    """One problem of one instrument and field; None where it is about more than one, or about no time or number.

    `time` is the first time it was found at, `n` how often, `value` the worst number, `found` says it in words.
    """

    problem: str
    instrument: str | None
    field: str | None
    time: datetime | None
    n: int
    value: float | None
    found: str


FINDING_SCHEMA: Final = pl.Schema(
    {
        "severity": pl.Enum(list(SEVERITIES)),
        "problem": pl.String(),
        "instrument": pl.String(),
        "field": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "n": pl.Int64(),
        "value": pl.Float64(),
        "found": pl.String(),
    }
)


def about(
    problem: str,
    found: str,
    *,
    instrument: str | None = None,
    field: str | None = None,
    time: datetime | None = None,
    n: int = 1,
    value: float | None = None,
) -> Finding:
    """A finding, named field by field."""
    return Finding(problem, instrument, field, time, n, value, found)
