"""The bars of one source, read from one version of the lake, a bounded part at a time.

Belongs here: which rows are read together. Stays out: what a bar is (`bars`), which days an export needs
(`changed_days`, `from_lake`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Self

import polars as pl

from pipeline.bins.bars import BAR_HEAD, bars_of, features_in, identities_of
from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import DAY, Span, require_utc
from pipeline.errors import InputError, UsageError
from pipeline.lake import Lake
from pipeline.lake.files import may_hold
from pipeline.tables import CANDLES, FEATURES

ROWS_AT_ONCE: Final = 3_000_000
"""Candles that are made into bars at once: about 1 GB."""

type Progress = Callable[[Span, int], None]
"""Told each stretch that was read, and how many bars it gave."""

_MOMENT: Final = timedelta(microseconds=1)


def _silent(_span: Span, _n_bars: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Bars:
    """Bars in the form the writer takes, and which pool each instrument is."""

    frame: pl.DataFrame
    identities: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class LakeBars:
    """The bars of one source at one version of the tables that they are made of, as far as they are over.

    `until` is the moment of reading, UTC: of the running bar there is a part, and nothing would tell it from a whole.
    `features_version` is None where no field is a feature, or there is no such table yet: then there is none to know.
    """

    lake: Lake
    source: str
    spec: BinsSpec
    until: datetime
    candles_version: int
    features_version: int | None

    @classmethod
    def newest(cls, lake: Lake, source: str, spec: BinsSpec, until: datetime) -> Self:
        """As the lake is now; what is written from here on does not show.

        Raises:
            UsageError: the lake has no such field.
            InputError: there are no candles at all.
        """
        features_version = lake.version(FEATURES) if features_in(spec.fields) else None
        version = lake.version(CANDLES)
        if version is None:
            raise InputError(f"the lake holds no {CANDLES.name!r}: collect or import some first")
        return cls(lake, source, spec, require_utc(until), version, features_version)

    def days(self, span: Span | None = None) -> list[date]:
        """The days that may hold bars (that start within the span), in order."""
        known = sorted(self._rows_by_day())
        return known if span is None else [day for day in known if _meets(day, span)]

    def pools_called(self, instruments: Collection[str]) -> pl.DataFrame:
        """`network`, `pool` and `instrument` of those that are called so, by the name in QLib or by the address.

        Raises:
            UsageError: the source has no candle of one of them.
        """
        candles = self.lake.scan(CANDLES, version=self.candles_version, sources=[self.source])
        pools = candles.select("network", "pool").unique().collect(engine="streaming").sort("network", "pool")
        names = pl.Series("instrument", [instrument_name(*pool) for pool in pools.iter_rows()], pl.String)
        wanted = set(instruments)
        if strange := sorted(wanted - set(names) - set(pools["pool"])):
            raise UsageError(
                f"{self.source!r} has no bar of {strange[:5]!r} ({len(strange)} of {len(wanted)} asked for): give "
                f"names such as {names[:1].to_list()!r} or addresses such as {pools['pool'][:1].to_list()!r}"
            )
        return pools.with_columns(names).filter(pl.any_horizontal(pl.col("instrument", "pool").is_in(list(wanted))))

    def read(self, days: Sequence[date], progress: Progress = _silent, pools: pl.DataFrame | None = None) -> Bars:
        """The bars that start on the days, of all pools or of some, in no promised order."""
        parts, identities = [self._empty()], dict[str, tuple[str, ...]]()
        for piece in self._pieces(days):
            found = self._read(piece, pools)
            identities |= identities_of(found)
            parts.append(found.select(parts[0].columns))
            progress(piece.span, found.height)
        return Bars(pl.concat(parts), identities)

    def _read(self, piece: "_Piece", pools: pl.DataFrame | None) -> pl.DataFrame:
        candles = self.lake.scan(CANDLES, piece.span, version=self.candles_version, sources=[self.source])
        if pools is not None:
            candles = candles.join(pools.lazy(), on=["network", "pool"], how="semi")
        bars = bars_of(candles.filter(piece.holds_pool()), self.spec, self._features(piece))
        return bars.filter(pl.col("event_time") <= self.until - self.spec.step)

    def _features(self, piece: "_Piece") -> pl.LazyFrame | None:
        if not features_in(self.spec.fields):
            return None
        if self.features_version is None:
            return FEATURES.empty().lazy()
        # A bar sees what lies in (start, end]: the next day's first moment belongs to the last bar of this one.
        seen = piece.span.widened(ahead=_MOMENT)
        features = self.lake.scan(FEATURES, seen, version=self.features_version, sources=[self.source])
        return features.filter(piece.holds_pool())

    def _empty(self) -> pl.DataFrame:
        shown = [name for name in BAR_HEAD if name not in ("source", "network", "pool")]
        made = bars_of(CANDLES.empty(), self.spec, FEATURES.empty())
        return made.select(*shown, *(name for name in made.columns if name not in BAR_HEAD))

    def _rows_by_day(self) -> dict[date, int]:
        stored = self.lake.listing(CANDLES, version=self.candles_version)
        if stored is None:
            return {}
        n_rows = pl.col("n_rows").fill_null(ROWS_AT_ONCE).sum()
        return dict(stored.files.filter(may_hold([self.source])).group_by("day").agg(n_rows).iter_rows())

    def _pieces(self, days: Sequence[date]) -> Iterator["_Piece"]:
        """Runs of consecutive days that hold `ROWS_AT_ONCE` at most; of a day that holds more, shares of its pools."""
        known = self._rows_by_day()
        run: list[date] = []
        held = 0
        for day in sorted(days):
            n_rows = known.get(day, 0)
            if run and (day != run[-1] + DAY or held + n_rows > ROWS_AT_ONCE):
                yield from _shares(run, held)
                run, held = [], 0
            run, held = [*run, day], held + n_rows
        if run:
            yield from _shares(run, held)


@dataclass(frozen=True)
class _Piece:
    """What is read at once: a stretch of whole days, and of its pools the share number `number` of `n`."""

    span: Span
    number: int
    n: int

    def holds_pool(self) -> pl.Expr:
        return pl.lit(value=True) if self.n == 1 else pl.col("pool").hash(seed=0) % self.n == self.number


def _shares(run: list[date], n_rows: int) -> Iterator[_Piece]:
    n = max(1, -(-n_rows // ROWS_AT_ONCE))
    return (_Piece(span_of_days(run[0], run[-1]), number, n) for number in range(n))


def _meets(day: date, span: Span) -> bool:
    of_day = span_of_days(day, day)
    return of_day.start < span.end and span.start < of_day.end


def span_of_days(first: date, last: date) -> Span:
    """From the first day's start to the last day's end."""
    return Span(datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + DAY)
