"""The bytes of an export: QLib's provider directory, file by file, before anything touches a disk.

Belongs here: the format. Stays out: where the files go (`export`) and what the pools are called (`instruments`).

    calendars/60min.txt                  every hour from the first bar to the last, naive UTC, one a line
    instruments/all.txt                  name, first bar, last bar; tab separated
    features/NAME/FIELD.60min.bin        little-endian float32: the first bar's place in the calendar, then the values
    instruments.json                     which pool each name is; QLib passes over it

All series are laid into one buffer, in the order of the files, so that a file is a slice of it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.bins.bars import BAR_KEY, BAR_VALUES
from pipeline.bins.instruments import INSTRUMENTS_FILE, instrument_name, instruments_json
from pipeline.bins.spec import BinsSpec
from pipeline.errors import InputError, UsageError

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Runs:
    """Bars sorted by name and time: each instrument is one run of rows, from `begins` to `ends` inclusive.

    `codes` numbers a row's run, `places` is a row's hour in the calendar.
    """

    codes: Indices
    places: Indices
    begins: Indices
    ends: Indices

    @property
    def lengths(self) -> Indices:
        """Floats in a bin of each run: its place, then every hour from its first bar to its last."""
        return self.places[self.ends] - self.places[self.begins] + 2


@dataclass(frozen=True, eq=False)
class Layout:
    """An export in memory: `series` holds every bin, the bin of instrument i and field k at `starts[i, k]`."""

    names: tuple[str, ...]
    fields: tuple[str, ...]
    freq: str
    series: npt.NDArray[np.float32]
    starts: Indices
    lengths: Indices
    texts: dict[str, bytes]
    n_bars: int
    n_unrepresentable: int
    first_time: datetime | None
    last_time: datetime | None

    def files(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Relative path and content of every file, sorted by the parts of the path."""
        yield f"calendars/{self.freq}.txt", self.texts["calendar"]
        # An empty memoryview cannot be cast, and an empty export has no bin.
        content = memoryview(self.series).cast("B") if self.series.size else memoryview(b"")
        for name, starts, length in zip(self.names, self.starts.tolist(), self.lengths.tolist(), strict=True):
            for field, start in zip(self.fields, starts, strict=True):
                yield f"features/{name}/{field}.{self.freq}.bin", content[4 * start : 4 * (start + length)]
        yield "instruments/all.txt", self.texts["instruments"]
        yield INSTRUMENTS_FILE, self.texts["map"]

    @property
    def n_bytes(self) -> int:
        """Size of all feature files."""
        return int(self.series.nbytes)

    def export_id(self) -> str:
        """SHA-256 over every file: path, a zero byte, the size in eight bytes (big-endian), the content."""
        digest = hashlib.sha256()
        for path, content in self.files():
            digest.update(path.encode() + b"\0" + len(content).to_bytes(8, "big"))
            digest.update(content)
        return digest.hexdigest()


def lay_out(bars: pl.DataFrame, spec: BinsSpec) -> Layout:
    """Everything an export of `bars` consists of.

    Args:
        bars: as `pipeline.bins.bars.hourly_bars` gives them, of one source, in any order. An hour that is absent
            and a value that is null become NaN. So does a value that float32 cannot hold (beyond 3.4e38, or so
            small that it would read as 0); those are counted in `n_unrepresentable`.
        spec: the fields and the grid.

    Raises:
        UsageError: the bars come from several sources; an export has one provenance.
        InputError: a column or a key is missing, a bar is off the grid or there twice, or the bars span more hours
            than a bin can number.
    """
    step = timedelta(minutes=spec.bar_minutes)
    _check(bars, step)
    named, pools = _named(bars)
    first, last = _bounds(named, step, spec)
    fields = tuple(sorted(spec.fields))
    runs = _runs(named, step)
    starts, series, n_lost = _filled(named, fields, spec, runs)
    return Layout(
        names=tuple(named["name"].gather(runs.begins).to_list()),
        fields=fields,
        freq=spec.freq,
        series=series,
        starts=starts,
        lengths=runs.lengths,
        texts={
            "calendar": _calendar(first, last, step),
            "instruments": _instruments(named, runs),
            "map": instruments_json(pools),
        },
        n_bars=named.height,
        n_unrepresentable=n_lost,
        first_time=first,
        last_time=last,
    )


def _check(bars: pl.DataFrame, step: timedelta) -> None:
    missing = [c for c in (*BAR_KEY, *BAR_VALUES) if c not in bars.columns]
    if missing:
        raise InputError(f"bars without the columns {missing}, found {bars.columns}: make them with hourly_bars")
    key = bars.select(BAR_KEY)
    nulls = key.null_count().row(0, named=True)
    if any(nulls.values()):
        raise InputError(f"bars whose source, network, pool or time is missing, counted by column: {nulls!r}")
    if key["source"].n_unique() > 1:
        raise UsageError(f"bars of several sources, {sorted(key['source'].unique())!r}: export one source at a time")
    off = key.filter(pl.col("event_time") != pl.col("event_time").dt.truncate(step))
    if off.height:
        raise InputError(f"{off.height} bars do not start on the grid of {step}, the first at {off['event_time'][0]!r}")
    twice = int(key.is_duplicated().sum())
    if twice:
        raise InputError(f"{twice} bars share a pool and a time with another: keep one bar a pool and hour")


def _named(bars: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, tuple[str, str]]]:
    pools = bars.select("network", "pool").unique()
    names = [instrument_name(network, pool) for network, pool in pools.iter_rows()]
    known = dict(zip(names, pools.iter_rows(), strict=True))
    joined = bars.join(
        pools.with_columns(pl.Series("name", names, dtype=pl.String)), on=["network", "pool"], validate="m:1"
    )
    return joined.sort("name", "event_time"), known


def _bounds(named: pl.DataFrame, step: timedelta, spec: BinsSpec) -> tuple[datetime | None, datetime | None]:
    if named.is_empty():
        return None, None
    first, last = named.select(pl.col("event_time").min(), pl.col("event_time").max().alias("last")).row(0)
    if (last - first) // step > spec.largest_index:
        raise InputError(
            f"bars from {first!r} to {last!r} need {(last - first) // step} places of {step}, a bin can number"
            f" {spec.largest_index}: look for a wrong time among them; nothing was written"
        )
    return first, last


def _runs(named: pl.DataFrame, step: timedelta) -> _Runs:
    codes = named["name"].rle_id().to_numpy().astype(np.int64)
    microseconds = named["event_time"].dt.epoch("us").to_numpy()
    places = (microseconds - microseconds.min(initial=np.iinfo(np.int64).max)) // (step // timedelta(microseconds=1))
    edges = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
    return _Runs(codes, places, edges[:-1], edges[1:] - 1)


def _filled(
    named: pl.DataFrame, fields: tuple[str, ...], spec: BinsSpec, runs: _Runs
) -> tuple[Indices, npt.NDArray[np.float32], int]:
    sizes = runs.lengths * len(fields)
    starts = (np.cumsum(sizes) - sizes)[:, None] + runs.lengths[:, None] * np.arange(len(fields))
    series = np.full(int(sizes.sum()), np.nan, dtype="<f4")
    within = runs.places - runs.places[runs.begins][runs.codes]
    n_lost = 0
    for at, field in enumerate(fields):
        series[starts[:, at]] = runs.places[runs.begins]
        values, lost = _single(_values(named, field, spec))
        series[starts[runs.codes, at] + 1 + within] = values
        n_lost += lost
    return starts, series, n_lost


def _values(named: pl.DataFrame, field: str, spec: BinsSpec) -> npt.NDArray[np.float64]:
    if field == "factor":
        return np.full(named.height, spec.factor)
    return named[field].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _single(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], int]:
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    lost = ~np.isnan(values) & (~np.isfinite(single) | ((single == 0) & (values != 0)))
    single[lost] = np.nan
    return single, int(lost.sum())


def _calendar(first: datetime | None, last: datetime | None, step: timedelta) -> bytes:
    if first is None or last is None:
        return b""
    return _lines(pl.datetime_range(first, last, step, eager=True).dt.strftime(_TIME_FORMAT))


def _instruments(named: pl.DataFrame, runs: _Runs) -> bytes:
    times = named["event_time"].dt.strftime(_TIME_FORMAT)
    spans = zip(named["name"].gather(runs.begins), times.gather(runs.begins), times.gather(runs.ends), strict=True)
    return _lines(pl.Series(["\t".join(span) for span in spans], dtype=pl.String))


def _lines(rows: pl.Series) -> bytes:
    return "".join(f"{row}\n" for row in rows.to_list()).encode()
