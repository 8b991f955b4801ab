"""The rules: which alerts go where, how often, when they may wait, and who is told when nobody answers.

Belongs here: what a rule is, and what holds when there is no file. Stays out: reading the file (`rule_file`), and
carrying the rules out (`outbox`).
"""

import fnmatch
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final

from pipeline.calendars import HOUR, MINUTE
from pipeline.monitoring.alerts.events import SEVERITIES, Severity

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERYBODY: Final = "all"
ESCALATE: Final = "escalate"
"""Receivers with this tag are told of nothing else, unless a rule names another tag of theirs."""


@dataclass(frozen=True)
class Treatment:
    """What is done with one kind of event.

    Attributes:
        severity: in place of the kind's own; None: as it is.
        to: tags of the receivers who are told; `all`: everybody but those who wait for escalations.
        dedup: within so long, a receiver is told once of what says the same.
        mute: nobody is told; it is recorded all the same.
    """

    severity: Severity | None = None
    to: tuple[str, ...] = (EVERYBODY,)
    dedup: timedelta = 4 * HOUR
    mute: bool = False


@dataclass(frozen=True)
class Quiet:
    """Hours in which only what matters enough is told at once; the rest waits for their end.

    `days` are those on which a stretch begins: Friday from 22:00 until 07:00 ends on Saturday.
    """

    days: tuple[str, ...]
    start: time
    until: time
    let_through: Severity = "critical"

    def holds(self, moment: datetime) -> bool:
        """Whether the moment (UTC) lies in it."""
        now, today = moment.time(), DAYS[moment.weekday()]
        if self.start < self.until:
            return today in self.days and self.start <= now < self.until
        yesterday = DAYS[(moment.weekday() - 1) % 7]
        return (today in self.days and now >= self.start) or (yesterday in self.days and now < self.until)


@dataclass(frozen=True)
class Escalation:
    """Who is told when nobody acknowledged what is critical: `after` so long, and again, `repeat` times in all."""

    after: timedelta = 30 * MINUTE
    repeat: int = 3
    to: tuple[str, ...] = (ESCALATE,)


@dataclass(frozen=True)
class Rules:
    """Everything the rule file says."""

    defaults: Treatment = Treatment()
    per_kind: tuple[tuple[str, Treatment], ...] = ()
    quiet: tuple[Quiet, ...] = ()
    escalation: Escalation = Escalation()
    limit_per_hour: int = 20
    source: str = field(default="built in", compare=False)

    def treatment(self, kind: str) -> Treatment:
        """What is done with a kind: by the first rule whose pattern fits, else by the defaults."""
        found = (treatment for pattern, treatment in self.per_kind if fnmatch.fnmatchcase(kind, pattern))
        return next(found, self.defaults)

    def severity(self, kind: str, own: str) -> str:
        """How much an alert matters, after the rules had their say."""
        return self.treatment(kind).severity or own

    def waits(self, severity: str, moment: datetime) -> bool:
        """Whether an alert of this severity waits at this moment for the end of quiet hours."""
        rank = SEVERITIES.index
        return any(q.holds(moment) and rank(severity) < rank(q.let_through) for q in self.quiet)
