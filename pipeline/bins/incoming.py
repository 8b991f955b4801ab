"""The bars an export is given: nothing gets past here that would not be a sound series.

Belongs here: what is refused and why, and bars as numbers. Stays out: what the directory holds already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.bins.instruments import Identity, is_safe_name
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import EPOCH
from pipeline.errors import InputError

Indices = npt.NDArray[np.int64]

# What pandas can tell as nanoseconds, to the year; its clock is QLib's.
_EARLIEST: Final = datetime(1678, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2262, 1, 1, tzinfo=UTC)
_SHOWN: Final = 5
# Columns and figures of our own beside the fields; no field's name has a colon.
_PLACE: Final = ":place"
_IS_OFF: Final = ":is_off"
_CODE: Final = ":code"
_N_UNNAMED: Final = ":n_unnamed"
_N_UNTIMED: Final = ":n_untimed"


@dataclass(frozen=True, eq=False)
class Incoming:
    """Bars that passed: `bars` has instrument, :place (bars since 1970) and one Float64 column a field.

    `spans` has one row an instrument, sorted: name, and the places of its first and last row.
    """

    bars: pl.LazyFrame
    spans: pl.DataFrame
    n_bars: int
    fields: tuple[str, ...]

    def of(self, names: list[str]) -> "Numbers":
        """The rows of these instruments; `names` sorted, and without leaving one out between its ends."""
        rows = self.bars
        if self.spans.filter(~pl.col("name").is_between(pl.lit(names[0]), pl.lit(names[-1]))).height:
            rows = rows.filter(pl.col("instrument").is_between(pl.lit(names[0]), pl.lit(names[-1])))
        code = pl.col("instrument").cast(pl.Enum(names)).to_physical().alias(_CODE)
        found = rows.select(code, _PLACE, *self.fields).collect(engine="streaming")
        return Numbers(
            found[_CODE].to_numpy().astype(np.int64),
            found[_PLACE].to_numpy(),
            {field: found[field].fill_null(float("nan")).to_numpy() for field in self.fields},
        )


@dataclass(frozen=True, eq=False)
class Numbers:
    """Rows of bars: which of the asked instruments, which place, and the values (NaN where there is none)."""

    codes: Indices
    places: Indices
    values: dict[str, npt.NDArray[np.float64]]


def check_bars(
    bars: pl.DataFrame | pl.LazyFrame, identities: Mapping[str, Identity], spec: BinsSpec, *, may_be_empty: bool = False
) -> Incoming:
    """Bars as an export takes them.

    Args:
        bars: instrument, event_time (UTC) and a numeric column a field, in any order; `factor` may be absent.
        identities: what each instrument's name stands for.
        spec: the fields and the grid.
        may_be_empty: no row at all is a statement too (that nothing is left in a span).

    Raises:
        InputError: a column is missing or of another type, there is no row, a name or time is missing, unsafe or
            outside of what QLib can read, a bar is off the grid, before the calendar or infinite. That no bar
            is there twice is seen where it is put in its place (`series`).
    """
    fields = tuple(sorted(spec.fields))
    checked = _numbered(bars.lazy(), fields, spec)
    place = pl.col(_PLACE)
    per_name = place.min().alias("first"), place.max().alias("last"), pl.len().alias("n")
    by_name = checked.group_by("instrument").agg(*per_name).sort("instrument")
    over_all = checked.select(
        pl.col("instrument").null_count().alias(_N_UNNAMED),
        place.null_count().alias(_N_UNTIMED),
        pl.col(_IS_OFF).sum(),
        *(pl.col(field).is_infinite().sum() for field in fields),
    )
    # Streaming: of a file only one row an instrument is kept.
    spans, faults = pl.collect_all([by_name, over_all], engine="streaming")
    _refuse_faults(faults.row(0, named=True), checked, fields, spec)
    _refuse_spans(spans, identities, spec, may_be_empty)
    return Incoming(
        checked.select("instrument", _PLACE, *fields),
        spans.select(pl.col("instrument").alias("name"), "first", "last"),
        int(spans["n"].sum()),
        fields,
    )


def _numbered(bars: pl.LazyFrame, fields: tuple[str, ...], spec: BinsSpec) -> pl.LazyFrame:
    schema = bars.collect_schema()
    missing = [c for c in ("instrument", "event_time", *fields) if c not in schema and c != "factor"]
    if missing:
        raise InputError(f"bars without the columns {missing!r}, found {schema.names()!r}: give one column a field")
    time = schema["event_time"]
    if not isinstance(time, pl.Datetime) or time.time_zone != "UTC":
        raise InputError(f"event_time must be a UTC time, found {time!r}: attach the zone or convert it first")
    wrong = {f: str(schema[f]) for f in fields if f in schema and not (schema[f].is_numeric() or schema[f] == pl.Null)}
    if schema["instrument"] != pl.String or wrong:
        raise InputError(
            f"instrument must be text and every field a number, found {schema['instrument']!r} and {wrong!r}"
        )
    unit = timedelta(microseconds=1) if time.time_unit != "ms" else timedelta(milliseconds=1)
    step = spec.step // unit * (1000 if time.time_unit == "ns" else 1)
    ticks = pl.col("event_time").to_physical()
    values = (pl.col(f) if f in schema else pl.lit(spec.factor).alias(f) for f in fields)
    return bars.select(
        "instrument",
        "event_time",
        (ticks // step).alias(_PLACE),
        (ticks % step != 0).alias(_IS_OFF),
        *(value.cast(pl.Float64) for value in values),
    )


def _refuse_faults(faults: dict[str, int], checked: pl.LazyFrame, fields: tuple[str, ...], spec: BinsSpec) -> None:
    if faults[_N_UNNAMED] or faults[_N_UNTIMED]:
        raise InputError(
            f"{faults[_N_UNNAMED]} bars without an instrument and {faults[_N_UNTIMED]} without a time: drop or mend"
            " them"
        )
    if faults[_IS_OFF]:
        first = checked.filter(_IS_OFF).select("instrument", "event_time").first().collect(engine="streaming").row(0)
        raise InputError(f"{faults[_IS_OFF]} bars do not start on the UTC grid of {spec.step}, the first is {first!r}")
    infinite = {field: faults[field] for field in fields if faults[field]}
    if infinite:
        field = next(iter(infinite))
        rows = checked.filter(pl.col(field).is_infinite()).select("instrument", "event_time", field)
        at = rows.first().collect(engine="streaming")
        raise InputError(
            f"infinite values, counted by field: {infinite!r}; the first of {field!r} is {at.row(0)!r}: a value that is"
            " not known must be null"
        )


def _refuse_spans(spans: pl.DataFrame, identities: Mapping[str, Identity], spec: BinsSpec, may_be_empty: bool) -> None:
    if spans.is_empty():
        if may_be_empty:
            return
        raise InputError("there is not one bar to export: check the source and the range that was asked for")
    names = spans["instrument"].to_list()
    unsafe = [name for name in names if not is_safe_name(name)]
    if unsafe:
        raise InputError(
            f"{len(unsafe)} instruments have a name that is no safe folder, such as {unsafe[:_SHOWN]!r}: name them with"
            " instrument_name or symbol_name"
        )
    unknown = [name for name in names if not identities.get(name)]
    if unknown:
        raise InputError(f"{len(unknown)} instruments without an identity, such as {unknown[:_SHOWN]!r}: name them all")
    _refuse_times(spans, spec)


def _refuse_times(spans: pl.DataFrame, spec: BinsSpec) -> None:
    early = spans.row(int(spans["first"].arg_min() or 0), named=True)
    late = spans.row(int(spans["last"].arg_max() or 0), named=True)
    if early["first"] < (_EARLIEST - EPOCH) // spec.step or late["last"] >= (_LATEST - EPOCH) // spec.step:
        raise InputError(
            f"bars at times that QLib cannot tell, before {_EARLIEST:%Y} or from {_LATEST:%Y} on, such as those of"
            f" {early['instrument']!r} or {late['instrument']!r}: look for a wrong unit of time"
        )
    if spec.calendar_start and EPOCH + early["first"] * spec.step < spec.calendar_start:
        raise InputError(
            f"bars of {early['instrument']!r} begin at {EPOCH + early['first'] * spec.step!r}, before the calendar,"
            f" which starts at {spec.calendar_start!r}: drop them or start the calendar earlier with mode 'all'"
        )
