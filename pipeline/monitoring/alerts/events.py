"""What may be told: the kinds of events, one event, and the row it becomes.

Belongs here: the vocabulary of `alerts`. Stays out: where events come from (`sources`, the sensors).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

import polars as pl

from pipeline.errors import UsageError
from pipeline.tables import ALERTS
from pipeline.text import inert

type Severity = Literal["info", "warning", "critical"]
type State = Literal["told", "raised", "recovered"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity.__value__)
"""From what may wait to what may not."""


@dataclass(frozen=True)
class Kind:
    """One kind of event: how much it matters unless a rule says otherwise, and what it means."""

    severity: Severity
    meaning: str


KINDS: Final = {
    "drift.harm": Kind("critical", "the world moved, and the champion suffers from it"),
    "quality.floor": Kind("warning", "the quality of a table is below its floor"),
    "freshness.stale": Kind("warning", "the newest row of a table is older than it should be"),
    "schedule.missed": Kind("warning", "a schedule that is switched on did not tick twice in a row"),
    "registry.away": Kind("warning", "the model registry did not answer, and trials wait for it"),
    "run.failed": Kind("warning", "a run failed"),
    "check.failed": Kind("critical", "a blocking check failed, and what depends on it waits"),
    "promotion.promote": Kind("info", "another version took charge"),
    "promotion.rollback": Kind("critical", "a champion was thrown out"),
    "promotion.challenge": Kind("info", "a version waits for its trial"),
    "promotion.shadow": Kind("info", "a trial began"),
    "promotion.reject": Kind("info", "a trial ended without a new champion"),
    "promotion.approve": Kind("info", "a person approved a version"),
    "promotion.veto": Kind("warning", "a person vetoed a version"),
    "promotion.pin": Kind("warning", "a person pinned a model: nothing moves by itself"),
    "promotion.unpin": Kind("info", "a person let a pinned model move again"),
    "alerts.gave_up": Kind("warning", "a receiver could not be told of something for days"),
    "alerts.test": Kind("info", "somebody tried whether alerts arrive"),
}


@dataclass(frozen=True)
class Event:
    """One thing to tell.

    Attributes:
        kind: one of `KINDS`.
        subject: what it is about; a name of ours.
        title: one line in words of ours.
        body: what to know and what to do, in words of ours.
        event_time: when it happened.
        state: told (it has no end), raised, or recovered.
        details: lines that may quote a chain or a person.
        severity: None: its kind's.
        mark: tells apart what has the same key and moment: a run's id.
    """

    kind: str
    subject: str
    title: str
    body: str
    event_time: datetime
    state: State = "told"
    details: tuple[str, ...] = ()
    severity: Severity | None = None
    mark: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no kind of event {self.kind!r}; there are {sorted(KINDS)!r}")

    @property
    def key(self) -> str:
        """What events that say the same have in common."""
        return key_of(self.kind, self.subject)

    @property
    def alert_id(self) -> str:
        """The same for the same event, however often and by whomever it is noticed."""
        told = (self.kind, self.key, self.state, self.event_time.isoformat(), self.mark)
        return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


def key_of(kind: str, subject: str) -> str:
    """What events of one kind about one thing have in common."""
    return f"{kind}:{inert(subject, 100)}"


def rows_of(events: Iterable[Event], now: datetime) -> pl.DataFrame:
    """The events as rows of `alerts`, every text cleaned; what is the same is there once."""
    rows = {event.alert_id: _row(event, now) for event in events}
    return pl.DataFrame(list(rows.values()), ALERTS.schema)


def _row(event: Event, now: datetime) -> dict[str, object]:
    details = "\n".join(line for text in event.details if (line := inert(text)))
    return {
        "alert_id": event.alert_id,
        # A sandbox has a clock of its own, which may be ahead.
        "event_time": min(event.event_time, now),
        "known_at": now,
        "kind": event.kind,
        "state": event.state,
        "severity": event.severity or KINDS[event.kind].severity,
        "subject": inert(event.subject, 100),
        "key": event.key,
        "title": inert(event.title, 150),
        "body": inert(event.body, 1_000),
        "details": details or None,
    }
