"""What observations say of a window nobody vouches for, in plain Python."""

from datetime import datetime, timedelta
from itertools import pairwise

from labelled_paths import BAR, NETWORK, SOURCE, START, Bar, Case, Sight

from pipeline import tables

Sightings = list[tuple[int, Bar, datetime]]


def watched(case: Case, hours: int) -> dict[str, object]:
    """The row of a decision with price and reserve, judged by its sightings; without what lies beside the window."""
    from label_oracle import band

    assert case.price
    length = timedelta(hours=hours)
    end, gap = case.time + length, length / 2
    sights = sorted((s for s in case.sights or () if s.time <= case.now and s.slot > case.slot), key=lambda s: s.slot)
    told = [Sight(case.slot, case.price, case.reserve), *(s for s in sights if s.reserve is not None)]
    last = _last_before_a_hole(told, end, gap)
    until = min(last.time + gap, end)
    rows = _sightings(case, sights, end)
    minutes = (case.time.timestamp() / 60 + hours * 60) % case.asks
    is_planned = 2 * case.asks <= hours * 30 and minutes <= hours * 6
    rug, rug_at, kind = _rug(case, rows, until) if is_planned else (None, None, None)
    tolerance = length / 10
    is_near = any(s.price and end - tolerance <= s.time <= end for s in [*sights, told[0]])
    is_near = is_near or any(r == 1 and START + b.slot * BAR >= end - tolerance for r, b, _ in rows)
    is_covered = until >= end
    silent_at = max(end + gap, last.time + timedelta(hours=8))
    is_silent = is_planned and not is_covered and not any(last.time < s.time <= silent_at for s in told)
    is_emptied = (last.reserve or 0) * 100 < (case.reserve or 0) * 10
    patience = silent_at if is_silent and is_emptied else end + timedelta(hours=case.spec.patience_hours)
    is_open = case.now < end or (is_planned and not (is_covered and is_near) and case.now <= patience)
    still = min((m for s in case.stills if (m := START + timedelta(seconds=s)) > case.time), default=None)
    is_still = still is not None and still <= min(end, case.now)
    if rug_at and still and is_still and rug_at > still:
        rug_at = kind = None
    is_lost = is_silent and not is_open and not rug_at and is_emptied
    if is_lost:
        rug_at, kind = silent_at, "drained"
    row: dict[str, object] = dict.fromkeys(tables.LABELS.schema.names())
    row |= {"source": SOURCE, "network": NETWORK, "pool": case.pool, "event_time": case.time, "horizon_hours": hours}
    if rug_at is None:
        for applies, status, reason in (
            (is_still, "censored", "clock_stood_still"),
            (is_open, "pending", None),
            (not is_planned, "censored", "seen_too_rarely"),
            (is_silent, "censored", "stopped_answering"),
            (not is_near, "censored", "no_observation_at_horizon"),
            (not is_covered, "censored", "reserve_not_observed"),
        ):
            if applies:
                return row | {"status": status, "censor_reason": reason}
    close = rows[-1][1].close if rows else case.price
    row |= {"status": "labelled", "outcome": "RUG" if rug_at else band(close, case.price)}
    row |= {"rug_at": rug_at, "rug_kind": kind, "label_known_at": rug_at or max([end, *(k for _, _, k in rows)])}
    row["touch_resolution_s"] = _resolution_s(case, told, last, min(_end(rug), until) if rug else until)
    row |= _barrier(case, rows, None if is_lost else end)
    is_whole = not is_open and not is_still and is_near and is_covered
    row["path_known_at"] = max([end, *(k for _, _, k in rows)]) if is_whole else None
    return row | _extremes(case, rows, close) if is_whole else row


def _last_before_a_hole(told: list[Sight], end: datetime, gap: timedelta) -> Sight:
    last = told[0]
    for sight in told[1:]:
        if sight.time > end or sight.time - last.time > gap:
            break
        last = sight
    return last


def _rug(case: Case, rows: Sightings, until: datetime) -> tuple[Bar | None, datetime | None, str | None]:
    """The first sighting that was a rug, since when that was known, and its kind."""
    from label_oracle import rug_kind

    met = [(rank, bar, known, kind) for rank, bar, known in rows if (kind := rug_kind(bar.low, bar.reserve_low, case))]
    if not met:
        return None, None, None
    _, first, known, kind = met[0]
    if _end(first) > until:
        return first, None, None
    alone = next(((bar, seen, told) for rank, bar, seen, told in met if rank == 0), None)
    if alone and _end(alone[0]) <= until and alone[1] <= known:
        return first, alone[1], alone[2]
    return first, known, kind


def _barrier(case: Case, rows: Sightings, end: datetime | None) -> dict[str, object]:
    assert case.price
    for _, bar, _ in rows:
        if bar.low * 100 <= case.price * 70:
            return {"first_touch": "lower", "first_touch_at": _end(bar)}
        if bar.high * 100 >= case.price * 130:
            return {"first_touch": "upper", "first_touch_at": _end(bar)}
    return {"first_touch": "vertical" if end else None, "first_touch_at": end}


def _extremes(case: Case, rows: Sightings, close: int) -> dict[str, object]:
    from label_oracle import change_of

    assert case.price
    found: dict[str, object] = {"return_end_pct": change_of(close, case.price)}
    for name, level, best in (("peak", "high", max), ("trough", "low", min)):
        values = [getattr(b, level) for _, b, _ in rows]
        extreme = best([case.price, *values])
        moment = case.time if extreme == case.price else _end(rows[values.index(extreme)][1])
        found |= {f"return_{name}_pct": change_of(extreme, case.price), f"{name}_at": moment}
    return found


def _sightings(case: Case, sights: list[Sight], end: datetime) -> Sightings:
    """(0 for an observation or 1 for a bar, the bar or the moment as a bar, since when it is known), in order."""
    rows: Sightings = []
    by_slot = {s.slot - 1: s for s in sights}
    for slot in range(case.slot, case.slot + (end - case.time) // BAR):
        sight = by_slot.get(slot)
        if sight and sight.price:
            rows.append((0, Bar(slot, sight.price, sight.price, sight.price, sight.reserve), sight.time))
        for bar in case.bars:
            if bar.slot == slot and bar.known_at <= case.now:
                known = [r for r in (bar.reserve_low, sight.reserve if sight else None) if r is not None]
                merged = Bar(slot, bar.low, bar.high, bar.close, min(known, default=None), bar.late_s)
                rows.append((1, merged, bar.known_at))
    return rows


def _end(bar: Bar) -> datetime:
    return START + (bar.slot + 1) * BAR


def _resolution_s(case: Case, told: list[Sight], last: Sight, needed: datetime) -> int:
    """The longest stretch up to `needed` in which somebody may have traded without a bar of it being known."""
    slots = {b.slot for b in case.bars if b.known_at <= case.now}
    longest = timedelta(minutes=5)
    for before, sight in pairwise(told):
        is_quiet = sight.is_quiet is True and sight.slot - before.slot == 1
        is_full = slots >= set(range(before.slot, sight.slot))
        if not is_quiet and not is_full:
            longest = max(longest, sight.time - before.time)
        if sight.time >= needed or sight is last:
            break
    if last is told[0]:
        longest = timedelta(minutes=5)
    tail = max(needed - last.time, timedelta(0))
    return int(max(longest, tail).total_seconds())
