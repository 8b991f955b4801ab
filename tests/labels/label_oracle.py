"""A slow labeller in plain Python: what each case must become, in exact arithmetic, one bar after the other."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from labelled_paths import BAR, NETWORK, SOURCE, START, Bar, Case
from scipy import stats
from watched_oracle import watched

from pipeline import tables

Row = dict[str, object]


def expected(case: Case) -> list[Row]:
    """What `label` must give for one case, in exact arithmetic, one bar after the other."""
    return [_expected(case, hours) for hours in case.spec.horizons_hours]


def _expected(case: Case, hours: int) -> Row:
    """By the bars; where nobody vouches and there are observations, by those alone."""
    is_watched = case.sights is not None and case.watched_until is None
    row = watched(case, hours) if is_watched and case.price and case.reserve else by_bars(case, hours)
    end = case.time + timedelta(hours=hours)
    if row["status"] == "labelled" and case.now >= end:
        row |= {"average_uniqueness": _uniqueness(case, hours)}
    if row["return_end_pct"] is None:
        return row
    change = row["return_end_pct"]
    assert isinstance(change, float)
    row["direction"] = "up" if change > 5 + 1e-6 else "down" if change < -5 - 1e-6 else "flat"
    is_vouched = case.watched_until is not None and case.watched_until >= end
    row |= {"direction_confidence": _confidence(case, hours)} | _executable(case, hours, is_vouched=is_vouched)
    return row


def by_bars(case: Case, hours: int) -> Row:
    end = case.time + timedelta(hours=hours)
    row: dict[str, object] = dict.fromkeys(tables.LABELS.schema.names())
    row |= {"source": SOURCE, "network": NETWORK, "pool": case.pool, "event_time": case.time, "horizon_hours": hours}
    if not case.price:
        return row | {"status": "censored", "censor_reason": "no_price_at_decision"}
    stop = case.slot + hours * 12
    bars = sorted((b for b in case.bars if case.slot <= b.slot < stop and b.known_at <= case.now), key=lambda b: b.slot)
    stills = sorted(START + timedelta(seconds=s) for s in case.stills)
    still = next((s for s in stills if s > case.time), None)
    first = next((b for b in bars if rug_kind(b.low, b.reserve_low, case)), None)
    rug = first.known_at if first else None
    is_still = still is not None and still <= min(end, case.now)
    if rug and still and is_still and rug > still:
        rug = None
    nearest = max((START + b.slot * BAR for b in bars), default=START)
    near = bool(bars) and nearest >= end - timedelta(hours=hours) / 10
    is_vouched = case.watched_until is not None and case.watched_until >= end
    patience = end + timedelta(hours=case.spec.patience_hours)
    if case.watched_until is not None:
        patience = case.watched_until + timedelta(hours=hours)
    is_open = case.now < end or (not near and not is_vouched and case.now <= patience)
    seen = [b for b in bars if rug is None or first is None or b.slot <= first.slot]
    is_watched = case.sights is not None and case.watched_until is None
    is_blind = case.reserve is None or is_watched or any(b.reserve_low is None for b in seen)
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
    row |= {"status": "labelled", "outcome": "RUG" if rug else band(close, case.price), "rug_at": rug}
    row |= {"rug_kind": rug_kind(first.low, first.reserve_low, case) if rug and first else None}
    row |= {"label_known_at": rug or max([end, *(b.known_at for b in bars)]), "touch_resolution_s": 300}
    row |= dict(zip(("first_touch", "first_touch_at"), touch(bars, case.price, end), strict=True))
    if is_open or is_still or not (near or is_vouched):
        return row
    for name, level, best in (("peak", "high", max), ("trough", "low", min)):
        values = [getattr(b, level) for b in bars]
        extreme = best([case.price, *values])
        at = case.time if extreme == case.price else over(bars[values.index(extreme)])
        row |= {f"return_{name}_pct": change_of(extreme, case.price), f"{name}_at": at}
    row["path_known_at"] = max([end, *(b.known_at for b in bars)])
    return row | {"return_end_pct": change_of(close, case.price)}


def rug_kind(low: int, reserve: int | None, case: Case) -> str | None:
    """Which of the rug's conditions a price and a reserve meet at one moment; None: neither."""
    assert case.price
    is_known = bool(case.reserve) and reserve is not None
    left = Fraction(reserve or 0, case.reserve or 1)
    is_dumped = low * 100 < case.price * 20
    is_drained = is_known and left < Fraction(10, 100) and low * 100 < case.price * 50
    limit = case.spec.rug_drained_pct
    if limit is not None:
        is_drained = is_drained or (is_known and left < 1 + Fraction(limit) / 100)
    return {(True, True): "both", (True, False): "dumped", (False, True): "drained"}.get((is_dumped, is_drained))


def band(close: int, price: int) -> str:
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


def over(bar: Bar) -> datetime:
    """When the bar was over, whenever it was learned."""
    return START + (bar.slot + 1) * BAR


def touch(bars: Sequence[Bar], price: int, end: datetime) -> tuple[str, datetime]:
    for bar in bars:
        if bar.low * 100 <= price * 70:
            return "lower", over(bar)
        if bar.high * 100 >= price * 130:
            return "upper", over(bar)
    return "vertical", end


def change_of(price: int, reference: int) -> float:
    return float(Fraction(price, reference) * 100 - 100)


def _uniqueness(case: Case, hours: int) -> float:
    """Five minutes after five minutes: one over the windows of the pool that hold them (the way of mlfinlab)."""
    starts = {case.slot, *(s.slot for s in case.sights or () if s.time <= case.now)}
    n = hours * 12
    alive = [sum(s <= at < s + n for s in starts) for at in range(case.slot, case.slot + n)]
    return sum(1 / k for k in alive) / n


def _confidence(case: Case, hours: int) -> float | None:
    assert case.price
    inside = [b for b in case.bars if case.slot <= b.slot < case.slot + hours * 12 and b.known_at <= case.now]
    closes = [case.price, *(b.close for b in sorted(inside, key=lambda b: b.slot))]
    if len(closes) <= case.spec.direction_bars or not all(closes) or len(set(closes)) == 1:
        return None
    moves = [math.log(b / a) for a, b in pairwise(closes)]
    return 1 - float(stats.ttest_1samp(moves, 0).pvalue)


def _executable(case: Case, hours: int, *, is_vouched: bool) -> Row:
    """Hand-made Uniswap v2, in fractions."""
    end = case.time + timedelta(hours=hours)
    sights = sorted((s for s in case.sights or () if case.time < s.time <= min(end, case.now)), key=lambda s: s.slot)
    if not sights or sights[0].time > case.time + timedelta(hours=hours) / 4:
        return {}
    bought = sights[0]
    if not bought.price or not bought.reserve:
        return {}
    bars = sorted((b for b in case.bars if b.known_at <= case.now and case.time <= START + b.slot * BAR < end),
                  key=lambda b: b.slot)  # fmt: skip
    # Where the record is whole, its bars say what came after the entry.
    last = bought if is_vouched else sights[-1]
    at = last.time
    price, reserve = last.price, last.reserve
    if bars and bars[-1].reserve_low is not None:
        closed = START + (bars[-1].slot + 1) * BAR
        if closed > bought.time and (closed >= at or reserve is None):
            price, reserve, at = bars[-1].close, bars[-1].reserve_low, closed
    if reserve is None or (price is None and reserve) or not (is_vouched or at >= end - timedelta(hours=hours) / 10):
        return {}
    unit, kept = Fraction(case.unit), 1 - Fraction(3, 1000)
    paid = 1000 / Fraction(case.quote_usd)
    base = Fraction(bought.reserve, bought.price)
    got = base * paid * kept / (bought.reserve * unit + paid * kept) * kept
    received = Fraction(0)
    if reserve and price:
        received = reserve * unit * got / (Fraction(reserve, price) + got)
    return {
        "return_executable_pct": float(received / paid * 100 - 100),
        "executable_entry_at": bought.time,
    }
