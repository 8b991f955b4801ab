"""What a message says: a title and lines, in no format yet. Pure.

Stays out: which alerts it tells of (`outbox`), and the format of a channel (`post`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.monitoring.alerts.outbox import Message, Row
from pipeline.monitoring.alerts.spec import AlertsSpec


@dataclass(frozen=True)
class Letter:
    """A message as it is handed to a channel: `mood` is its colour there."""

    title: str
    lines: tuple[str, ...]
    mood: str


def composed(message: Message, spec: AlertsSpec) -> Letter:
    """The message in words."""
    first = message.groups[0][0]
    if len(message.groups) > 1:
        return _of_many(message, spec)
    head = "over" if first["state"] == "recovered" else message.severity
    again = "nobody acknowledged: " if message.purpose == "escalation" else ""
    lines = [first["body"], *(first["details"] or "").splitlines(), *_often(message)]
    if first["state"] != "recovered":
        lines.append(f"Severity {message.severity}. To acknowledge: poolcast alerts ack {first['alert_id']}")
    return Letter(f"poolcast {head}: {again}{first['title']}", tuple(filter(None, lines)), _mood(message))


def _of_many(message: Message, spec: AlertsSpec) -> Letter:
    n_more = len(message.groups) - 1
    shown = [_line(group[0]) for group in message.groups[: spec.bundle_lines]]
    n_left = len(message.groups) - len(shown)
    lines = [*shown, *([f"and {n_left} more. See: poolcast alerts list"] if n_left else []), *_often(message)]
    title = f"poolcast {message.severity}: {message.groups[0][0]['title']} and {n_more} more"
    return Letter(title, tuple(lines), _mood(message))


def _line(row: Row) -> str:
    return f"{row['event_time']:%Y-%m-%d %H:%M} {row['severity']}: {row['title']}"


def _often(message: Message) -> Iterator[str]:
    """How often it happened, where that was more than once."""
    n_times = len(message.alerts) - len(message.groups)
    if n_times:
        first = min(row["event_time"] for row in message.alerts)
        yield f"{n_times} more of the same since {first:%Y-%m-%d %H:%M} UTC."
    if message.n_same:
        yield f"{message.n_same} of the same were not told since the last message about it."


def _mood(message: Message) -> str:
    if all(row["state"] == "recovered" for row in message.alerts):
        return "success"
    return {"critical": "failure", "warning": "warning"}.get(message.severity, "info")
