"""Who is told what now: a fold over `alerts` and `alert_deliveries`, without any memory of its own.

Belongs here: deduplication, rate limit, quiet hours, escalation, back-off, giving up. Pure: frames and
a moment in, messages and decisions out. Stays out: composing a message (`message`), sending it (`deliver`).

An alert is told to a receiver once; what says the same within the window is not, and the next message says how often
that was. What the limit or quiet hours hold back waits, and is told together. A receiver that fails is left alone for
longer and longer.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from pipeline.calendars import HOUR
from pipeline.monitoring.alerts.events import SEVERITIES
from pipeline.monitoring.alerts.receivers import Receiver
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.tables import ALERT_DELIVERIES

type Row = dict[str, Any]
DECIDED: Final = ("sent", "suppressed", "gave_up")
ENROLLED: Final = "enrolled"


@dataclass(frozen=True)
class Message:
    """What one receiver is told in one piece.

    `groups`: alerts that say the same, newest first, so that the first speaks for them. `n_same` of the same were not
    told since the last message about it.
    """

    receiver: str
    purpose: str
    groups: tuple[tuple[Row, ...], ...]
    severity: str
    n_same: int = 0

    @property
    def alerts(self) -> list[Row]:
        """Every alert that is told of."""
        return [row for group in self.groups for row in group]

    @property
    def message_id(self) -> str:
        """The same for the same alerts to the same receiver."""
        ids = sorted(row["alert_id"] for row in self.alerts)
        return hashlib.sha256("\0".join([self.receiver, self.purpose, *ids]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """What is to be sent now, by receiver, and what was decided without sending, as rows of `alert_deliveries`."""

    messages: dict[str, list[Message]]
    decisions: pl.DataFrame

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.decisions.is_empty() and not any(self.messages.values())


class _Books:
    """What one receiver was told, and what it knows of; everything is looked up, for there may be thousands."""

    def __init__(self, told: list[Row], alerts: dict[str, Row]) -> None:
        self.told, self.alerts = told, alerts
        self._same: dict[tuple[str, str], list[Row]] = {}
        self._escalated: dict[str, list[datetime]] = {}
        for row in told:
            if (about := alerts.get(row["alert_id"])) is not None:
                self._same.setdefault((about["key"], about["state"]), []).append(row)
            if (row["decision"], row["purpose"]) == ("sent", "escalation"):
                self._escalated.setdefault(row["alert_id"], []).append(row["known_at"])

    def since(self) -> datetime | None:
        return min((row["known_at"] for row in self.told if row["decision"] == ENROLLED), default=None)

    def decided(self) -> set[str]:
        return {r["alert_id"] for r in self.told if r["decision"] in DECIDED and r["purpose"] == "alert"}

    def sent(self) -> list[Row]:
        return [row for row in self.told if row["decision"] == "sent"]

    def failed(self) -> list[Row]:
        return [row for row in self.told if row["decision"] == "failed"]

    def failures_in_a_row(self, one_delivery: timedelta) -> list[datetime]:
        """When it failed since it last took something; what failed in one delivery counts once."""
        last = max((row["known_at"] for row in self.sent()), default=None)
        found: list[datetime] = []
        for moment in sorted({row["known_at"] for row in self.failed() if last is None or row["known_at"] > last}):
            if not found or moment >= found[-1] + one_delivery:
                found.append(moment)
        return found

    def escalated(self, alert_id: str) -> list[datetime]:
        """When it was told again of an alert that nobody acknowledged."""
        return self._escalated.get(alert_id, [])

    def of_the_same(self, key: str, state: str) -> list[Row]:
        """What was decided about alerts that say the same."""
        return self._same.get((key, state), [])


def plan(
    alerts: pl.DataFrame,
    deliveries: pl.DataFrame,
    acknowledged: set[str],
    receivers: Sequence[Receiver],
    rules: Rules,
    spec: AlertsSpec,
    now: datetime,
) -> Plan:
    """What is to be done at `now`.

    Args:
        alerts: rows of `alerts`, of as long ago as anything may still be told.
        deliveries: rows of `alert_deliveries`.
        acknowledged: ids of alerts that a person acknowledged.
        receivers: who may be told.
        rules: what the user wants.
        spec: pauses and patience.
        now: UTC.
    """
    rows = {row["alert_id"]: row for row in alerts.sort("known_at", "event_time", "alert_id").iter_rows(named=True)}
    messages, decisions = {}, []
    for receiver in receivers:
        told = deliveries.filter(pl.col("receiver") == receiver.name).sort("known_at").to_dicts()
        desk = _Desk(receiver, _Books(told, rows), rules, spec, now)
        ready = [*desk.escalations(acknowledged), *desk.alerts()]
        decisions += desk.decisions
        messages[receiver.name] = desk.allowed(ready)
    return Plan(messages, pl.DataFrame(decisions, ALERT_DELIVERIES.schema))


class _Desk:
    """Decides for one receiver at one moment."""

    def __init__(self, receiver: Receiver, books: _Books, rules: Rules, spec: AlertsSpec, now: datetime) -> None:
        self.receiver, self.books, self.rules, self.spec, self.now = receiver, books, rules, spec, now
        self.decisions: list[Row] = []
        enrolled = books.since()
        if enrolled is None:
            self.decisions.append(decision(ENROLLED, receiver.name, now, ENROLLED))
        self.since = (enrolled or now) - spec.enrol_back

    def alerts(self) -> list[Message]:
        """The messages that are due, whatever the limit."""
        decided = self.books.decided()
        pending = [row for row in self.books.alerts.values() if row["alert_id"] not in decided and self._is_meant(row)]
        alive = [row for row in pending if not self._is_given_up(row)]
        due = [row for row in alive if not self.rules.waits(self._severity(row), self.now)]
        return [message for group in _alike(due) if (message := self._message(group)) is not None]

    def escalations(self, acknowledged: set[str]) -> list[Message]:
        """What is critical, that nobody acknowledged for too long."""
        rule = self.rules.escalation
        if not self.receiver.is_meant(rule.to) or not rule.repeat:
            return []
        over = {row["key"]: row["known_at"] for row in self.books.alerts.values() if row["state"] == "recovered"}
        critical = [
            row
            for row in self.books.alerts.values()
            if self._severity(row) == "critical" and row["state"] != "recovered" and row["known_at"] >= self.since
            and over.get(row["key"], row["known_at"]) <= row["known_at"] and not self.rules.treatment(row["kind"]).mute
        ]  # fmt: skip
        found = []
        for group in _alike(critical):
            times = self.books.escalated(group[0]["alert_id"])
            waited = self.now - max([group[0]["known_at"], *times])
            is_known = any(row["alert_id"] in acknowledged for row in group)
            if not is_known and len(times) < rule.repeat and waited >= rule.after:
                found.append(Message(self.receiver.name, "escalation", ((group[0],),), "critical"))
        return found

    def allowed(self, ready: list[Message]) -> list[Message]:
        """As many of the messages as back-off and limit allow; the last may hold several."""
        failures = self.books.failures_in_a_row(timedelta(seconds=self.spec.send_seconds))
        if failures and self.now < failures[-1] + self.spec.pause(len(failures)):
            return []
        lately = {row["message_id"] for row in self.books.sent() if row["known_at"] > self.now - HOUR}
        slots = self.rules.limit_per_hour - len(lately)
        if slots <= 0 or not ready:
            return []
        tried = {row["message_id"] for row in self.books.failed()}
        # What failed before goes last: one letter that a service does not take must not stand in the way of others.
        ready.sort(key=lambda m: (m.message_id in tried, -_rank(m.severity), m.alerts[0]["known_at"]))
        escalations = [message for message in ready if message.purpose == "escalation"][:slots]
        alerts, left = [message for message in ready if message.purpose == "alert"], slots - len(escalations)
        if len(alerts) > left:
            alerts = [*alerts[: left - 1], _together(alerts[left - 1 :])] if left else []
        return escalations + alerts

    def _is_meant(self, row: Row) -> bool:
        treatment = self.rules.treatment(row["kind"])
        return not treatment.mute and row["known_at"] >= self.since and self.receiver.is_meant(treatment.to)

    def _severity(self, row: Row) -> str:
        # That something is over never matters more than the rule says it does while it lasts.
        return row["severity"] if row["state"] == "recovered" else self.rules.severity(row["kind"], row["severity"])

    def _is_given_up(self, row: Row) -> bool:
        is_late: bool = self.now - row["known_at"] > self.spec.give_up_after
        if is_late:
            why = f"could not be told for {self.spec.give_up_after.days} days"
            self.decisions.append(decision(row["alert_id"], self.receiver.name, self.now, "gave_up", reason=why))
        return is_late

    def _message(self, group: tuple[Row, ...]) -> Message | None:
        """The message of alerts that say the same, or None where it was told within the window."""
        same = self.books.of_the_same(group[0]["key"], group[0]["state"])
        last = max((row["known_at"] for row in same if row["decision"] == "sent"), default=None)
        if last is not None and self.now - last < self.rules.treatment(group[0]["kind"]).dedup:
            why = f"the same was told at {last:%Y-%m-%d %H:%M} UTC"
            self.decisions += [
                decision(row["alert_id"], self.receiver.name, self.now, "suppressed", reason=why) for row in group
            ]
            return None
        n_same = sum(r["decision"] == "suppressed" and (last is None or r["known_at"] > last) for r in same)
        severity = max((self._severity(row) for row in group), key=_rank)
        return Message(self.receiver.name, "alert", (group,), severity, n_same)


def decision(
    alert_id: str, receiver: str, now: datetime, what: str, *, purpose: str = "alert", reason: str | None = None,
    message: Message | None = None,
) -> Row:  # fmt: skip
    """A row of `alert_deliveries`."""
    return {
        "alert_id": alert_id,
        "receiver": receiver,
        "known_at": now,
        "purpose": purpose,
        "decision": what,
        "message_id": None if message is None else message.message_id,
        "n_alerts": None if message is None else len(message.alerts),
        "reason": reason,
    }


def _alike(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """The rows in groups that say the same, each newest first; groups in the order of their first row."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["key"], row["state"]), []).append(row)
    return [tuple(reversed(group)) for group in groups.values()]


def _together(messages: Sequence[Message]) -> Message:
    if len(messages) == 1:
        return messages[0]
    severity = max((message.severity for message in messages), key=_rank)
    groups = tuple(group for message in messages for group in message.groups)
    return Message(messages[0].receiver, "alert", groups, severity, sum(message.n_same for message in messages))


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)  # the table holds no other
