"""Tells everybody what is due, at least once, and keeps book of every try.

Belongs here: one delivery from the lock to the last row. Stays out: who is told what (`outbox`), and the channel
(`courier`). Receivers are served side by side, each for a bounded time, so none can hold up another.

A row is written as soon as a receiver took a message. Killed between the two, the next delivery tells it again: that
may repeat one message a receiver, and loses none.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final

import polars as pl

from pipeline.calendars import Clock
from pipeline.lake import Lake, fsync
from pipeline.lake.disk import locked, reporting
from pipeline.monitoring.alerts.courier import handed
from pipeline.monitoring.alerts.events import Event, Severity
from pipeline.monitoring.alerts.journal import record, remembered
from pipeline.monitoring.alerts.message import Letter, composed
from pipeline.monitoring.alerts.outbox import Message, Plan, decision, plan
from pipeline.monitoring.alerts.receivers import Receiver
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.tables import ALERT_ACKS, ALERT_DELIVERIES, ALERTS

type Courier = Callable[[Receiver, Sequence[Letter], AlertsSpec], Iterator[str]]

_MOST_AT_ONCE: Final = 16
_ROOM_BYTES: Final = 1_000_000


@dataclass(frozen=True)
class Told:
    """What became of one receiver in one delivery: messages it took, messages it did not, and why not."""

    receiver: str
    n_sent: int
    n_failed: int
    reason: str


def due(lake: Lake, receivers: Sequence[Receiver], now: datetime, rules: Rules, spec: AlertsSpec) -> Plan:
    """What a delivery at `now` would do."""
    alerts, deliveries = (remembered(lake, table, now) for table in (ALERTS, ALERT_DELIVERIES))
    acknowledged = set(remembered(lake, ALERT_ACKS, now)["alert_id"])
    return plan(alerts, deliveries, acknowledged, receivers, rules, spec, now)


def deliver(
    lake: Lake,
    folder: Path,
    receivers: Sequence[Receiver],
    clock: Clock,
    *,
    rules: Rules,
    spec: AlertsSpec,
    courier: Courier = handed,
) -> list[Told]:
    """Tell every receiver what is due now. Two deliveries at once tell it once: the second waits, and finds it told.

    Raises:
        StorageError: the tables cannot be read or written, or the disk is full (StorageFullError): nothing is sent that
            could not be written down.
    """
    with locked(folder / "deliver.lock"):
        planned = due(lake, receivers, clock.now(), rules, spec)
        lake.append(ALERT_DELIVERIES, planned.decisions)
        _tell_of_the_given_up(lake, planned.decisions, clock.now())
        busy = [receiver for receiver in receivers if planned.messages[receiver.name]]
        if busy:
            _require_room(folder)
        book = _Book(lake, clock)
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            return list(pool.map(lambda one: _served(one, planned.messages[one.name], book, spec, courier), busy))


def try_out(
    lake: Lake,
    folder: Path,
    receivers: Sequence[Receiver],
    clock: Clock,
    *,
    severity: Severity,
    spec: AlertsSpec,
    courier: Courier = handed,
) -> list[Told]:
    """Tell every receiver of a test now, whatever the rules say; it is not tried again."""
    now = clock.now()
    event = Event(
        kind="alerts.test", subject="test", title="this is a test", event_time=now, severity=severity,
        body="Somebody asked whether alerts arrive here. They do.",
    )  # fmt: skip
    with locked(folder / "deliver.lock"):
        record(lake, [event], now)
        (row,) = remembered(lake, ALERTS, now).filter(pl.col("alert_id") == event.alert_id).to_dicts()
        book = _Book(lake, clock, if_failed="gave_up")

        def tell(receiver: Receiver) -> Told:
            message = Message(receiver.name, "alert", ((row,),), severity)
            return _served(receiver, [message], book, spec, courier)

        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            return list(pool.map(tell, receivers))


def _require_room(folder: Path) -> None:
    """Write and take away again what a row may take: on a full disk the same would be sent at every delivery.

    Raises:
        StorageFullError: no space is left.
    """
    probe = folder / "probe"
    with reporting("keep book of what is sent"):
        probe.write_bytes(bytes(_ROOM_BYTES))
        fsync(probe)
        probe.unlink()


class _Book:
    """Writes rows of `alert_deliveries`, one receiver's thread at a time."""

    def __init__(self, lake: Lake, clock: Clock, if_failed: str = "failed") -> None:
        self._lake, self._clock, self._if_failed, self._pen = lake, clock, if_failed, Lock()

    def note(self, message: Message, why: str) -> None:
        """What became of a message: every alert of it was told, or the try failed."""
        what = self._if_failed if why else "sent"
        rows = message.alerts[:1] if what == "failed" else message.alerts
        with self._pen:
            told = [
                decision(
                    row["alert_id"], message.receiver, self._clock.now(), what,
                    purpose=message.purpose, reason=why or None, message=message,
                )
                for row in rows
            ]  # fmt: skip
            self._lake.append(ALERT_DELIVERIES, pl.DataFrame(told, ALERT_DELIVERIES.schema))


def _served(receiver: Receiver, messages: Sequence[Message], book: _Book, spec: AlertsSpec, courier: Courier) -> Told:
    letters = [composed(message, spec) for message in messages]
    n_sent, n_failed, reason = 0, 0, ""
    for message, why in zip(messages, courier(receiver, letters, spec), strict=False):
        book.note(message, why)
        n_sent, n_failed, reason = n_sent + (not why), n_failed + bool(why), why or reason
    return Told(receiver.name, n_sent, n_failed, reason)


def _tell_of_the_given_up(lake: Lake, decisions: pl.DataFrame, now: datetime) -> None:
    """That a receiver was given up on is an alert of its own: the others hear of it, and it does once it is back."""
    lost = decisions.filter(pl.col("decision") == "gave_up")
    if lost.is_empty():
        return
    # That it was not told of having been given up is no news.
    others = remembered(lake, ALERTS, now).filter(pl.col("kind") != "alerts.gave_up")
    counted = lost.join(others, on="alert_id", how="semi").group_by("receiver").len().sort("receiver")
    events = [
        Event(
            kind="alerts.gave_up", subject=name, title=f"{name} could not be told of {n_lost} alerts", event_time=now,
            body="They are given up; see: poolcast alerts list. Is the address right, and does the service answer?",
        )
        for name, n_lost in counted.iter_rows()
    ]  # fmt: skip
    record(lake, events, now)
