"""When the watch speaks: a shift, with harm, seen more than once, and not again and again.

Belongs here: what one report sees, and what follows from many. Pure. Stays out: the figures (`report`), asking for a
run (the sensors).

A shift alone is no alarm: worlds move, and most of it does a model no harm. A loss alone is none either: that is what
the trial against the champion before and the test against the class prior are for. So an alarm needs both at once.

It stands after `n_confirmed` reports in a row that saw both, and falls after as many in a row that did not. Two reports
of nearly the same pools are one: only those count whose window ends `apart` after the last that counted. A report with
too few pools counts for nothing. An alarm that stands asks for training once, and again only after the cool-down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipeline.calendars import DAY
from pipeline.monitoring.drift.watch_spec import WatchSpec

SEEN: Final = "seen"
STANDS: Final = "stands"
ASKS: Final = "asks"
"""Subjects of the kind `alarm`: this report sees a shift with harm; the alarm stands; training is asked for now."""
_FRESH: Final = DAY


@dataclass(frozen=True)
class Look:
    """What one report saw, and what it did. `is_seen` None: too few pools to tell."""

    known_at: datetime
    window_end: datetime
    is_seen: bool | None
    is_asking: bool = False


@dataclass(frozen=True)
class Alarm:
    """What follows now."""

    is_standing: bool
    is_asking: bool


def alarm(looks: Sequence[Look], spec: WatchSpec) -> Alarm:
    """What follows from the reports on one champion, oldest first; the last is that of now.

    >>> from pipeline.calendars import EPOCH, HOUR
    >>> seen = [Look(EPOCH + h * HOUR, EPOCH + h * HOUR, True) for h in (0, 1, 6)]
    >>> alarm(seen[:2], WatchSpec()), alarm(seen, WatchSpec())
    (Alarm(is_standing=False, is_asking=False), Alarm(is_standing=True, is_asking=True))
    """
    is_standing, streak = False, 0
    counted: Look | None = None
    for look in looks:
        is_near = counted is not None and look.window_end < counted.window_end + spec.apart
        is_turn = counted is None or look.is_seen != counted.is_seen
        if look.is_seen is None or (is_near and not is_turn):
            continue
        streak = 1 if is_turn else streak + 1
        counted = look
        if streak >= spec.n_confirmed:
            is_standing = look.is_seen
    asked = max((look.known_at for look in looks[:-1] if look.is_asking), default=None)
    is_cool = bool(looks) and (asked is None or looks[-1].known_at >= asked + spec.cooldown)
    is_seen_now = bool(looks) and looks[-1].is_seen is True
    return Alarm(is_standing, is_standing and is_cool and is_seen_now)


def is_fresh(asked_at: datetime, now: datetime) -> bool:
    """Whether a report that asked may still be heard: an older one was missed, and the watch goes on by itself.

    >>> from pipeline.calendars import EPOCH, HOUR
    >>> is_fresh(EPOCH, EPOCH + 24 * HOUR), is_fresh(EPOCH, EPOCH + 25 * HOUR)
    (True, False)
    """
    return asked_at >= now - _FRESH
