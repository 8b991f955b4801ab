"""Random histories of exports, and what a directory must hold after one: a model of a few lines, row by row.

The model knows nothing of files: it keeps rows in dictionaries, and a full export of what it keeps is the oracle.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from hypothesis import strategies as st

from pipeline.bins.export import Export, export_all, fix, update
from pipeline.bins.spec import BinsSpec, Freq
from pipeline.calendars import Span

NAMES = ("a", "b", "c", "d")
FIELDS = ("close", "factor", "volume")
BEGIN = datetime(2020, 9, 8, tzinfo=UTC)
SPAN_OF_PLACES = 24

Row = tuple[float | None, float | None, float | None]
Rows = dict[tuple[str, int], Row]


@dataclass(frozen=True)
class Step:
    """One call: rows by instrument and place (bars since BEGIN); for a fix, places are taken modulo what is there."""

    mode: Literal["all", "update", "within", "fix"]
    freq: Freq
    rows: Rows
    spans: tuple[tuple[int, int], ...] = ()


def spec_of(freq: Freq, calendar_start: datetime | None = None) -> BinsSpec:
    return BinsSpec(freq=freq, fields=FIELDS, calendar_start=calendar_start)


def frame_of(rows: Rows, freq: Freq, *, reverse: bool = False) -> pl.DataFrame:
    step = spec_of(freq).step
    told = [(name, BEGIN + place * step, *row) for (name, place), row in rows.items()]
    schema = {"instrument": pl.String, "event_time": pl.Datetime("us", "UTC"), **dict.fromkeys(FIELDS, pl.Float64)}
    return pl.DataFrame(told[::-1] if reverse else told, schema=schema, orient="row")


IDENTITIES = {name: (name,) for name in NAMES}


def is_bar(row: Row) -> bool:
    """Whether a float32 can hold any of the values."""
    return any(value == 0 or 1e-45 < abs(value) < 3.4e38 for value in row if value is not None)


@dataclass
class Model:
    """What was told so far: the rows of each bar length."""

    calendar_start: datetime | None = None
    told: dict[Freq, Rows] = field(default_factory=dict)

    def apply(self, step: Step) -> None:
        before = {} if step.mode == "all" else self.told.get(step.freq, {})
        # Where nothing is held yet this is a full export.
        spans = step.spans if step.freq in self.told else ()
        kept = {at: row for at, row in before.items() if not any(a <= at[1] < b for a, b in spans)}
        after = kept | step.rows
        for name in NAMES:
            reach = [place for who, place in before | step.rows if who == name]
            if reach and any(min(reach) < b and max(reach) >= a for a, b in spans):
                bars = [place for (who, place), row in after.items() if who == name and is_bar(row)]
                inside = range(min(bars), max(bars) + 1) if bars else range(0)
                after = {at: row for at, row in after.items() if at[0] != name or at[1] in inside}
        self.told[step.freq] = after

    def mended(self, step: Step) -> Step:
        """A fix of rows that are there: every place moved into its instrument's range."""
        rows: Rows = {}
        for (name, place), row in step.rows.items():
            reach = [at for who, at in self.told.get(step.freq, {}) if who == name]
            if reach:
                rows[name, min(reach) + place % (max(reach) - min(reach) + 1)] = row
        return Step("fix", step.freq, rows)

    def export(self, directory: Path) -> None:
        """One full export a bar length."""
        for freq in sorted(self.told):
            export_all(frame_of(self.told[freq], freq), IDENTITIES, directory, spec_of(freq, self.calendar_start))


def run(step: Step, directory: Path, calendar_start: datetime | None) -> Export:
    spec, bars = spec_of(step.freq, calendar_start), frame_of(step.rows, step.freq, reverse=True)
    if step.mode == "within":
        spans = [Span(BEGIN + a * spec.step, BEGIN + b * spec.step) for a, b in step.spans]
        return update(bars, IDENTITIES, directory, spec, within=spans)
    call = {"all": export_all, "update": update, "fix": fix}[step.mode]
    return call(bars, IDENTITIES, directory, spec)


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


VALUES = st.none() | st.sampled_from([float("nan"), -0.0, 0.0, 1.0, 1e-60, 3.5e38, -2.5]) | st.floats(-9, 9, width=32)
ROWS = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.integers(0, SPAN_OF_PLACES)), st.tuples(VALUES, VALUES, VALUES), max_size=12
)
SPANS = st.tuples(st.integers(-2, SPAN_OF_PLACES), st.integers(0, 9)).map(lambda t: (t[0], t[0] + t[1]))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    mode = draw(st.sampled_from(["update", "update", "within", "fix", "all"]))
    freq = draw(st.sampled_from(["60min", "60min", "day", "5min"]))
    spans = tuple(draw(st.lists(SPANS, min_size=1, max_size=2))) if mode == "within" else ()
    return Step(mode, freq, draw(ROWS), spans)


HISTORIES = st.lists(steps(), min_size=1, max_size=6)
