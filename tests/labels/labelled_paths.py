"""Small hand-made and random paths, and a slow labeller in plain Python that says what each must become."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl

from pipeline import tables
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
class Case:
    """One decision with everything its label may depend on; `stills` are seconds after START."""

    bars: Sequence[Bar] = ()
    slot: int = 0
    price: int | None = 100
    reserve: int | None = 100
    watched_until: datetime | None = FAR
    now: datetime = FAR
    stills: Sequence[int] = ()
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
    )


def expected(case: Case) -> list[dict[str, object]]:
    """What `label` must give for one case, in exact arithmetic, one bar after the other."""
    return [_expected(case, hours) for hours in case.spec.horizons_hours]


def _expected(case: Case, hours: int) -> dict[str, object]:
    end = case.time + timedelta(hours=hours)
    row: dict[str, object] = dict.fromkeys(tables.LABELS.schema.names())
    row |= {"source": SOURCE, "network": NETWORK, "pool": case.pool, "event_time": case.time, "horizon_hours": hours}
    if not case.price:
        return row | {"status": "censored", "censor_reason": "no_price_at_decision"}
    stop = case.slot + hours * 12
    bars = sorted((b for b in case.bars if case.slot <= b.slot < stop and b.known_at <= case.now), key=lambda b: b.slot)
    stills = sorted(START + timedelta(seconds=s) for s in case.stills)
    still = next((s for s in stills if s > case.time), None)
    rug = next((b.known_at for b in bars if _is_rug(b, case)), None)
    if rug and still and rug > still:
        rug = None
    is_still = still is not None and still <= min(end, case.now)
    nearest = max((START + b.slot * BAR for b in bars), default=START)
    near = bool(bars) and nearest >= end - timedelta(hours=hours) / 10
    is_vouched = case.watched_until is not None and case.watched_until >= end
    patience = end + timedelta(hours=hours) / 10
    if case.watched_until is not None:
        patience = case.watched_until + timedelta(hours=hours)
    is_open = case.now < end or (not near and not is_vouched and case.now <= patience)
    seen = [b for b in bars if rug is None or b.known_at <= rug]
    is_blind = case.reserve is None or any(b.reserve_low is None for b in seen)
    if is_blind:
        rug = None
    if rug is None:
        for applies, status, reason in (
            (is_still, "censored", "clock_stood_still"),
            (is_open, "pending", None),
            (not near and not is_vouched, "censored", "no_observation_at_horizon"),
            (is_blind, "censored", "reserve_not_observed"),
        ):
            if applies:
                return row | {"status": status, "censor_reason": reason}
    close = bars[-1].close if bars else case.price
    row |= {"status": "labelled", "outcome": "RUG" if rug else _band(close, case.price), "rug_at": rug}
    row |= {"label_known_at": rug or max([end, *(b.known_at for b in bars)]), "touch_resolution_s": 300}
    row |= dict(zip(("first_touch", "first_touch_at"), _touch(bars, case.price, end), strict=True))
    if is_open or is_still or not (near or is_vouched):
        return row
    for name, level, best in (("peak", "high", max), ("trough", "low", min)):
        values = [getattr(b, level) for b in bars]
        extreme = best([case.price, *values])
        at = case.time if extreme == case.price else bars[values.index(extreme)].known_at
        row |= {f"return_{name}_pct": _change(extreme, case.price), f"{name}_at": at}
    return row | {"return_end_pct": _change(close, case.price)}


def _is_rug(bar: Bar, case: Case) -> bool:
    assert case.price
    crashed = bar.low * 100 < case.price * 20
    known = case.reserve and bar.reserve_low is not None
    drained = bool(known) and (bar.reserve_low or 0) * 100 < (case.reserve or 0) * 10
    limit = case.spec.rug_drained_pct
    emptied = limit is not None and bool(known) and (bar.reserve_low or 0) * 100 < (case.reserve or 0) * (100 + limit)
    return crashed or emptied or (drained and bar.low * 100 < case.price * 50)


def _band(close: int, price: int) -> str:
    change = Fraction(close, price) * 100 - 100
    for name, is_in in (
        ("MOON", change > 100),
        ("PUMP", change > 30),
        ("DECLINE", change < -30),
        ("STABLE", -5 <= change <= 5),
        ("RISE", change > 5),
    ):
        if is_in:
            return name
    return "DIP"


def _touch(bars: list[Bar], price: int, end: datetime) -> tuple[str, datetime]:
    for bar in bars:
        if bar.low * 100 <= price * 70:
            return "lower", bar.known_at
        if bar.high * 100 >= price * 130:
            return "upper", bar.known_at
    return "vertical", end


def _change(price: int, reference: int) -> float:
    return float(Fraction(price, reference) * 100 - 100)
