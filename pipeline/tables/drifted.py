"""What was found of drift: has the world moved away from what the champion learned from, and does it harm."""

from typing import Final

from pipeline.tables.columns import (
    KNOWN_AT,
    SOURCE,
    Table,
    count_column,
    flag_column,
    real_column,
    text_column,
    time_column,
)

DRIFT_KINDS: Final = ("feature", "multivariate", "prediction", "label", "performance", "concept", "alarm")
"""What may move: one feature, all of them together, what the champion says, what becomes of pools, what it loses, the
relation between the two; and the verdict over all."""

DRIFT_REPORTS = Table(
    "drift_reports",
    "monitoring",
    "model version, moment, kind, subject: how far it moved since the champion learned",
    (
        SOURCE, KNOWN_AT,
        text_column("model_name", "the registered model"),
        count_column("model_version", "the version in charge", low=1),
        text_column("kind", "what may have moved", values=DRIFT_KINDS),
        text_column("subject", "which of the kind: a feature, an outcome, `observed` or `estimated` loss, the verdict"),
        text_column("reference_id", "SHA-256 of the reference it is compared with, frozen with the model"),
        time_column("window_start", "the pools looked at were born after this"),
        time_column("window_end", "and at the latest then"),
        count_column("n_reference_pools", "pools of the reference"),
        count_column("n_current_pools", "pools looked at; the unit is the pool"),
        real_column("share_null_reference", "share of the reference where it is missing", "1", 0, 1),
        real_column("share_null_current", "share of what was looked at where it is missing", "1", 0, 1),
        real_column("mean_reference", "share, probability, loss or AUC in the reference, a mean over pools",
                    "1 or nats", 0),
        real_column("mean_current", "the same of what was looked at", "1 or nats", 0),
        real_column("js", "Jensen-Shannon divergence, base 2, over bins frozen with the reference", "1", 0, 1),
        real_column("usual", "the most that a single day of the reference differs from its other days, in the figure"
                    " that is judged: js, AUC or nats; null: the reference has too few days", "1 or nats", 0),
        real_column("psi", "population stability index over the same bins", "1", 0),
        real_column("increase_low", "lower bound of the loss's increase, bootstrap over pools", "nats"),
        real_column("p_value", "by permuting pools", "1", 0, 1),
        real_column("q_value", "the same after Benjamini-Hochberg over what was looked at together", "1", 0, 1),
        flag_column("is_drifted", "it moved (of an alarm: it speaks); null: too few pools to tell"),
        text_column("words", "what was found, in words of ours", nullable=True),
    ),
    key=("source", "known_at", "model_name", "model_version", "kind", "subject"),
    time="known_at",
    partition_by=("day",),
)  # fmt: skip
