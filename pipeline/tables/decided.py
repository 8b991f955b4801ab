"""Who is in charge and why: verdicts on two models, and moves."""

from typing import Final

from pipeline.tables.columns import (
    KNOWN_AT,
    Table,
    count_column,
    flag_column,
    real_column,
    text_column,
)

PROCEDURES: Final = ("offline", "trial", "harm")
DEPLOYED_ALIASES: Final = ("champion", "shadow", "challenger", "none")
DEPLOYED_ACTIONS: Final = (
    "promote", "rollback", "challenge", "shadow", "reject", "approve", "veto", "pin", "unpin",
)  # fmt: skip

COMPARISONS = Table(
    "comparisons",
    "promotion",
    "one A/B verdict",
    (
        text_column("comparison_id", "SHA-256 over both sides' losses and the rule"),
        KNOWN_AT,
        text_column("procedure", "how it was reached: offline, on the last block in time; trial, a challenger in the"
                    " champion's shadow; harm, a champion against the one before", values=PROCEDURES),
        text_column("model_name", "the registered model"),
        count_column("challenger_version", "version that asked to take over, or whose harm is looked for", low=1),
        text_column("opponent", "`version:N` of the other model, or `baseline:NAME`"),
        count_column("n_pools", "pools compared; the unit is the pool"),
        text_column("loss", "what both sides are judged by", values=("log_loss", "squared_error")),
        real_column("loss_challenger", "its mean over pools", "nats or squares", 0, nullable=False),
        real_column("loss_opponent", "its mean over pools", "nats or squares", 0, nullable=False),
        real_column("gain_pct", "relative reduction of the loss", "%", nullable=False),
        real_column("gain_low_pct", "lower end of its 95 % interval, bootstrap over pools; null: judged while peeking",
                    "%"),
        real_column("gain_high_pct", "upper end of its 95 % interval", "%"),
        real_column("mcnemar_p", "McNemar's exact p on pools, reported beside the gate", "1", 0, 1),
        real_column("wealth", "of the bets that it is better (trial) or worse (harm); null: offline", "1", 0),
        real_column("wealth_needed", "the wealth that proves it: 1 / alpha", "1", 1),
        real_column("alpha", "the chance of a false proof, under any peeking", "1", 0, 1),
        flag_column("is_passed", "the challenger beat this opponent by the written rule; harm: it is proven",
                    nullable=False),
        text_column("reason", "the verdict in words"),
    ),
    key=("comparison_id",),
    time=None,
    partition_by=(),
)  # fmt: skip

DEPLOYMENTS = Table(
    "deployments",
    "promotion",
    "one move of an alias, or one word of a person on it; append-only, each row bound to the one before by its hash",
    (
        count_column("sequence", "place in the chain, from 1", low=1),
        KNOWN_AT,
        text_column("model_name", "the registered model"),
        text_column("alias", "the alias that moved; none: a person's word", values=DEPLOYED_ALIASES),
        text_column("action", "what happened; what follows from it is in `pipeline.promotion.standing`",
                    values=DEPLOYED_ACTIONS),
        count_column("version", "version the row is about: the alias points to it now, unless the action is `reject`",
                     low=1),
        count_column("previous_version", "version it pointed to before", nullable=True, low=1),
        text_column("model_sha256", "SHA-256 of the model file"),
        text_column("actor", "who moved it"),
        text_column("reason", "why, in words"),
        text_column("evidence", "what justifies it, as JSON: comparisons, of a trial its alpha and the challenger's"
                    " number k in the year"),
        text_column("previous_hash", "`row_hash` of the row before; 64 zeros for the first"),
        text_column("row_hash", "SHA-256 over every other column"),
    ),
    key=("sequence",),
    time=None,
    partition_by=(),
)  # fmt: skip
