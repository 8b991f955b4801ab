"""Small hand-made paths, as the frames that `label_outcomes` takes. What each must become says `label_oracle`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline import tables
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec

START = datetime(2020, 9, 9, tzinfo=UTC)
BAR = timedelta(minutes=5)
FAR = START + timedelta(days=30)
SOURCE, NETWORK = "recording:small", "eth"


@dataclass(frozen=True)
class Bar:
    """A bar at grid place `slot`; prices and reserve are whole numbers of some small unit."""

    slot: int
    low: int
    high: int
    close: int
    reserve_low: int | None = 100
    late_s: int = 0

    @property
    def known_at(self) -> datetime:
        return START + (self.slot + 1) * BAR + timedelta(seconds=self.late_s)


@dataclass(frozen=True)
class Sight:
    """An observation at grid place `slot`; `is_quiet`: nobody traded in the last five minutes (null: not told)."""

    slot: int
    price: int | None = 100
    reserve: int | None = 100
    is_quiet: bool | None = False

    @property
    def time(self) -> datetime:
        return START + self.slot * BAR


@dataclass(frozen=True)
class Case:
    """One decision with everything its label may depend on; `stills` are seconds after START.

    `sights` None: no observations are given. `asks` are the minutes between two visits that the sampler asks for.
    """

    bars: Sequence[Bar] = ()
    slot: int = 0
    price: int | None = 100
    reserve: int | None = 100
    watched_until: datetime | None = FAR
    now: datetime = FAR
    stills: Sequence[int] = ()
    sights: Sequence[Sight] | None = None
    asks: int = 5
    quote_usd: float = 2.0
    unit: float = 1.0
    pool: str = "0xa"
    spec: LabelsSpec = field(default_factory=lambda: LabelsSpec(horizons_hours=(1,)))

    @property
    def time(self) -> datetime:
        return START + self.slot * BAR


def candles_of(case: Case) -> pl.DataFrame:
    rows = [
        {
            "source": SOURCE,
            "network": NETWORK,
            "pool": case.pool,
            "timeframe": "5min",
            "event_time": START + bar.slot * BAR,
            "known_at": bar.known_at,
            "open": bar.close * case.unit,
            "high": bar.high * case.unit,
            "low": bar.low * case.unit,
            "close": bar.close * case.unit,
            "quote_reserve_low": None if bar.reserve_low is None else bar.reserve_low * case.unit,
            "quote_reserve_close": None if bar.reserve_low is None else bar.reserve_low * case.unit,
        }
        for bar in case.bars
    ]
    return pl.DataFrame(rows, schema=tables.CANDLES.schema)


def decisions_of(case: Case) -> pl.DataFrame:
    row = {
        "source": SOURCE,
        "network": NETWORK,
        "pool": case.pool,
        "event_time": case.time,
        "price_quote": None if case.price is None else case.price * case.unit,
        "quote_reserve": None if case.reserve is None else case.reserve * case.unit,
    }
    names = ("source", "network", "pool", "event_time", "price_quote", "quote_reserve")
    return pl.DataFrame([row], schema={n: tables.SNAPSHOTS.schema[n] for n in names})


def snapshots_of(case: Case) -> pl.DataFrame:
    """The observations as the API tells them: the reserve in USD, of both sides."""
    rows = [
        {
            "source": SOURCE,
            "network": NETWORK,
            "pool": case.pool,
            "event_time": sight.time,
            "known_at": sight.time,
            "price_quote": None if sight.price is None else sight.price * case.unit,
            "price_usd": None if sight.price is None else sight.price * case.unit * case.quote_usd,
            "quote_reserve": None if sight.reserve is None or sight.price else sight.reserve * case.unit,
            "reserve_usd": None if sight.reserve is None else 2 * sight.reserve * case.unit * case.quote_usd,
            "n_buys_m5": None if sight.is_quiet is None else 0,
            "n_sells_m5": None if sight.is_quiet is None else int(not sight.is_quiet),
        }
        for sight in case.sights or ()
    ]
    return pl.DataFrame(rows, schema=tables.SNAPSHOTS.schema)


def observed(*cases: Case) -> Observed | None:
    """What the sampler saw of all the cases' pools; it asks for the first one's interval."""
    if cases[0].sights is None:
        return None
    every = pl.concat([snapshots_of(c) for c in cases])
    return Observed(every, lambda usd: np.full(len(usd), cases[0].asks))


def pools_of(case: Case) -> pl.DataFrame:
    row = {"source": SOURCE, "network": NETWORK, "pool": case.pool, "watched_until": case.watched_until}
    return pl.DataFrame([row], schema=tables.POOLS.schema)


def stills_of(case: Case) -> pl.DataFrame:
    times = [START + timedelta(seconds=s) for s in case.stills]
    rows = [{"source": SOURCE, "network": NETWORK, "event_time": t} for t in times]
    return pl.DataFrame(rows, schema={"source": pl.String, "network": pl.String, "event_time": tables.UTC})


def label(*cases: Case) -> pl.DataFrame:
    """The labels of cases with different pools, in one call; `now`, `stills` and `spec` are the first one's."""
    one = cases[0]
    return label_outcomes(
        pl.concat([decisions_of(c) for c in cases]),
        pl.concat([candles_of(c) for c in cases]),
        pl.concat([pools_of(c) for c in cases]),
        stills_of(one),
        one.now,
        one.spec,
        observed(*cases),
    )
