"""Every table: its columns, dtypes, units, key, partition columns and as-of column. The vocabulary.

Belongs here: what a column is called, means, may hold. The expectation suites, the docs, Dagster's column
schemas and the lake's own checks are all made from these specs, so a fact about a column is written once.
Stays out: how a value is computed (the stages) and when (the graph).

Three words on time, the same in every table: `event_time` is when the row was true, `known_at` is when we
learned it, and a table's `as_of` column is what a reader must compare with the moment of decision.
"""

from typing import Final

from pipeline.errors import UsageError
from pipeline.tables.alerted import ALERT_ACKS, ALERT_DELIVERIES, ALERTS, SEVERITIES
from pipeline.tables.columns import (
    EVENT_TIME,
    HORIZONS_HOURS,
    KNOWN_AT,
    NETWORK,
    OUTCOMES,
    POOL,
    POOL_KEY,
    POOL_TIME_KEY,
    SOURCE,
    UTC,
    WINDOWS_MINUTES,
    Column,
    Table,
)
from pipeline.tables.decided import COMPARISONS, DEPLOYMENTS
from pipeline.tables.drifted import DRIFT_KINDS, DRIFT_REPORTS
from pipeline.tables.featured import (
    BAR_MINUTES,
    EXTRA_COLUMNS,
    FAMILY_COLUMNS,
    FAMILY_TABLE_NAMES,
    FAMILY_TABLES,
    FEATURE_HEAD,
    FEATURES,
    TECHNICAL_FIELDS,
)
from pipeline.tables.kept import BIN_EXPORTS, PARTITIONS
from pipeline.tables.learned import CENSOR_REASONS, LABEL_STATUS, LABELS, MARKET_LABELS
from pipeline.tables.observed import (
    ANSWERS,
    API_WINDOWS,
    CANDLES,
    COLLECTIONS,
    ENDPOINTS,
    POOLS,
    RAW_CANDLES,
    RAW_POOLS,
    RESERVES,
    SNAPSHOTS,
    TOKENS,
    TRADES,
)
from pipeline.tables.rated import QUALITY_PARTS, QUALITY_REPORTS
from pipeline.tables.refused import QUARANTINE, RELEASES
from pipeline.tables.served import (
    PERFORMANCE_REPORTS,
    PREDICTION_OUTCOMES,
    PREDICTIONS,
    ROLES,
    TIERS,
    UNSCORED,
    UNSCORED_REASONS,
)
from pipeline.tables.trained import (
    EVALUATIONS,
    FIGURES,
    RETURN_DATASETS,
    RETURN_EVALUATIONS,
    RETURN_FIGURES,
    TRAINING_SETS,
)

TABLES: Final = {
    t.name: t
    for t in (
        ANSWERS, COLLECTIONS, RAW_POOLS, RESERVES, POOLS, TRADES, TOKENS, RAW_CANDLES, CANDLES, QUARANTINE,
        RELEASES, SNAPSHOTS, *FAMILY_TABLES.values(), FEATURES, LABELS, MARKET_LABELS, BIN_EXPORTS, TRAINING_SETS,
        EVALUATIONS, FIGURES, RETURN_DATASETS, RETURN_EVALUATIONS, RETURN_FIGURES, PREDICTIONS, UNSCORED,
        PREDICTION_OUTCOMES, PERFORMANCE_REPORTS, DRIFT_REPORTS, QUALITY_REPORTS, COMPARISONS,
        DEPLOYMENTS, ALERTS, ALERT_DELIVERIES, ALERT_ACKS, PARTITIONS,
    )
}  # fmt: skip


def table(name: str) -> Table:
    """The table called `name`.

    Raises:
        UsageError: there is no such table.
    """
    if name not in TABLES:
        raise UsageError(f"there is no table {name!r}; there are {sorted(TABLES)}")
    return TABLES[name]


__all__ = [
    "ALERTS",
    "ALERT_ACKS",
    "ALERT_DELIVERIES",
    "ANSWERS",
    "API_WINDOWS",
    "BAR_MINUTES",
    "BIN_EXPORTS",
    "CANDLES",
    "CENSOR_REASONS",
    "COLLECTIONS",
    "COMPARISONS",
    "DEPLOYMENTS",
    "DRIFT_KINDS",
    "DRIFT_REPORTS",
    "ENDPOINTS",
    "EVALUATIONS",
    "EVENT_TIME",
    "EXTRA_COLUMNS",
    "FAMILY_COLUMNS",
    "FAMILY_TABLES",
    "FAMILY_TABLE_NAMES",
    "FEATURES",
    "FEATURE_HEAD",
    "FIGURES",
    "HORIZONS_HOURS",
    "KNOWN_AT",
    "LABELS",
    "LABEL_STATUS",
    "MARKET_LABELS",
    "NETWORK",
    "OUTCOMES",
    "PARTITIONS",
    "PERFORMANCE_REPORTS",
    "POOL",
    "POOLS",
    "POOL_KEY",
    "POOL_TIME_KEY",
    "PREDICTIONS",
    "PREDICTION_OUTCOMES",
    "QUALITY_PARTS",
    "QUALITY_REPORTS",
    "QUARANTINE",
    "RAW_CANDLES",
    "RAW_POOLS",
    "RELEASES",
    "RESERVES",
    "RETURN_DATASETS",
    "RETURN_EVALUATIONS",
    "RETURN_FIGURES",
    "ROLES",
    "SEVERITIES",
    "SNAPSHOTS",
    "SOURCE",
    "TABLES",
    "TECHNICAL_FIELDS",
    "TIERS",
    "TOKENS",
    "TRADES",
    "TRAINING_SETS",
    "UNSCORED",
    "UNSCORED_REASONS",
    "UTC",
    "WINDOWS_MINUTES",
    "Column",
    "Table",
    "table",
]
