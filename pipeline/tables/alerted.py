"""What happened that somebody should know, who was told, and who said that they know."""

from typing import Final

from pipeline.tables.columns import KNOWN_AT, Table, count_column, text_column, time_column

SEVERITIES: Final = ("info", "warning", "critical")
ALERT_STATES: Final = ("told", "raised", "recovered")
"""Told: it has no end. Raised: it is so until the same key is recovered."""
DELIVERY_DECISIONS: Final = ("enrolled", "sent", "failed", "suppressed", "gave_up")
DELIVERY_PURPOSES: Final = ("alert", "escalation")

ALERTS = Table(
    "alerts",
    "monitoring",
    "one thing that happened, began or ended, and that somebody should know",
    (
        text_column("alert_id", "hash over kind, key, state and moment; what `poolcast alerts ack` takes"),
        time_column("event_time", "when it happened"),
        KNOWN_AT,
        text_column("kind", "what kind of thing, such as `run.failed`"),
        text_column("state", "told (it has no end), raised, recovered", values=ALERT_STATES),
        text_column("severity", "how much it matters, before the rules have their say", values=SEVERITIES),
        text_column("subject", "what it is about: a table, a job, a model"),
        text_column("key", "equal for alerts that say the same: within a window a receiver is told once"),
        text_column("title", "one line, in words of ours"),
        text_column("body", "what to know and what to do, in words of ours"),
        text_column("details", "lines that may quote a chain or a person, cleaned; null: none", nullable=True),
    ),
    key=("alert_id",),
    time="known_at",
    partition_by=("day",),
)  # fmt: skip

ALERT_DELIVERIES = Table(
    "alert_deliveries",
    "monitoring",
    "one try to tell one receiver of one alert, or one decision about it; append-only",
    (
        text_column("alert_id", "the alert; of `enrolled`, the word itself"),
        text_column("receiver", "the receiver's kind of address and a salted hash of the address, never the address"),
        KNOWN_AT,
        text_column("purpose", "to tell, or to tell again because nobody acknowledged", values=DELIVERY_PURPOSES),
        text_column("decision", "sent; failed; suppressed: the same was told within the window; gave_up; enrolled: the"
                    " receiver was seen for the first time", values=DELIVERY_DECISIONS),
        text_column("message_id", "the message it was told in, or would have been; alerts told together share it",
                    nullable=True),
        count_column("n_alerts", "alerts of that message", nullable=True),
        text_column("reason", "why, in words of ours", nullable=True),
    ),
    key=("alert_id", "receiver", "known_at", "purpose", "decision"),
    time="known_at",
    partition_by=("day",),
)  # fmt: skip

ALERT_ACKS = Table(
    "alert_acks",
    "monitoring",
    "one word of a person that they know of an alert",
    (
        text_column("alert_id", "the alert"),
        KNOWN_AT,
        text_column("actor", "who said so"),
        text_column("reason", "what they said", nullable=True),
    ),
    key=("alert_id", "known_at"),
    time="known_at",
    partition_by=("day",),
)
