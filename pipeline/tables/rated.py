"""How sound the data was, report by report."""

from typing import Final

from pipeline.tables.columns import KNOWN_AT, SOURCE, Table, count_column, flag_column, real_column, text_column

QUALITY_PARTS: Final = ("completeness", "validity", "uniqueness", "timeliness", "coverage", "balance")
"""What a score of quality is made of."""

QUALITY_REPORTS = Table(
    "quality_reports",
    "monitoring",
    "report, table, part, subject: how sound what was looked at is",
    (
        SOURCE, KNOWN_AT,
        text_column("table_name", "the table that was looked at"),
        text_column("part", "what of it: a part of the score, the `score` itself, or the `distribution` of a column",
                    values=(*QUALITY_PARTS, "score", "distribution")),
        text_column("subject", "the column or the fault; `all`: the part as a whole"),
        real_column("value", "what was found: a share, a ratio, hours, a median; null: nothing to measure", ""),
        real_column("bound", "beyond which it is a warning; null: it has none", ""),
        flag_column("is_warning", "it is beyond its bound", nullable=False),
        real_column("score", "points of the part, or of all parts together; null: told of the whole only, or does not "
                    "apply", "points", 0, 100),
        count_column("n_rows", "rows that were looked at"),
        count_column("n_pools", "pools they speak of, the unit; rows where they speak of none"),
        text_column("detail", "in words, or the figures of a distribution as JSON", nullable=True),
    ),
    key=("source", "known_at", "table_name", "part", "subject"),
    time="known_at",
    partition_by=("day",),
)  # fmt: skip
