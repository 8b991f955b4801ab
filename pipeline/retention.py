"""What is let go for its age: what was collected live, and no training ever read.

Only what an API told us live grows for ever, so only that expires: recordings and simulations stay, as do the pools
themselves, and whatever was decided. Raw answers go first: they are large, and all they say is in the rows made from
them. An hour that a training set was made from stays whole: its model can be trained again, row for row. As a training
learns from every hour there is, a source that is trained on is kept from its beginning to its last training.
Predictions that are evidence stay for ever, with their outcomes, because the ledger rests on them; what went into them
goes after the term, and what was said with hindsight goes altogether.

Stays out: files (`Lake.vacuum` frees the space once older versions may go), and what may be computed again
(`provenance`, which is told before anything goes).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pipeline import provenance
from pipeline.calendars import DAY, EPOCH, HOUR, Span, ceil, floor
from pipeline.errors import StorageError, UsageError
from pipeline.lake import Lake
from pipeline.tables import (
    ANSWERS,
    CANDLES,
    FAMILY_TABLES,
    FEATURES,
    LABELS,
    MARKET_LABELS,
    PREDICTION_OUTCOMES,
    PREDICTIONS,
    RAW_CANDLES,
    RAW_POOLS,
    SNAPSHOTS,
    TOKENS,
    TRADES,
    TRAINING_SETS,
    UNSCORED,
    UTC,
    Table,
)

ROWS: Final = (
    RAW_POOLS, TRADES, TOKENS, RAW_CANDLES, CANDLES, SNAPSHOTS, *FAMILY_TABLES.values(), FEATURES, LABELS,
    MARKET_LABELS, UNSCORED,
)  # fmt: skip
"""Tables whose rows expire; answers have a term of their own, predictions are thinned out instead."""
EXPIRED: Final = pl.Schema(
    {"table": pl.String(), "source": pl.String(), "start": UTC, "end": UTC, "n_rows": pl.Int64()}
)
BEFORE_A_SET: Final = 8 * DAY
"""How far before its first decision a training set's rows may reach: a followed pool's life, and a look-back."""
AFTER_A_SET: Final = 25 * HOUR
"""How far after its last decision: the longest horizon, and the hour in which it ends."""


@dataclass(frozen=True)
class RetentionSpec:
    """How long what was collected live is kept.

    Raises:
        UsageError: rows would go before the answers they can be made from, or at once.
    """

    answers_days: int = 30
    rows_days: int = 90
    live_sources: tuple[str, ...] = ("geckoterminal",)

    def __post_init__(self) -> None:
        if not 1 <= self.answers_days <= self.rows_days:
            raise UsageError(
                f"answers must be kept for at least a day and at most as long as rows, found {self.answers_days!r} and "
                f"{self.rows_days!r} days"
            )

    def days_of(self, target: Table) -> int:
        """How long rows of the table are kept."""
        return self.answers_days if target is ANSWERS else self.rows_days


def pinned_versions(lake: Lake, target: Table) -> set[int]:
    """The versions of a table that training sets were read from, which a vacuum must leave readable.

    Raises:
        StorageError: a training set does not say it in JSON: nothing can be vacuumed safely.
    """
    found = set()
    for told in lake.scan(TRAINING_SETS).select("lake_versions").collect()["lake_versions"]:
        try:
            version = json.loads(told).get(target.name)
            found |= set() if version is None else {int(version)}
        except (ValueError, TypeError, AttributeError) as error:
            raise StorageError(
                f"could not tell which versions training sets need: lake_versions holds {told[:200]!r} ({error}); "
                f"restore the table {TRAINING_SETS.name!r} from a copy"
            ) from error
    return found


def expire(lake: Lake, now: datetime, spec: RetentionSpec) -> pl.DataFrame:
    """Let go what is over its term. Each table's rows of one stretch go at once, and running it again is harmless.

    Cheap where nothing is due: the log says which files may hold rows that old.

    Args:
        lake: where the tables lie.
        now: UTC.
        spec: the terms.

    Returns:
        What went, as `EXPIRED`: one row a table, source and stretch of hours, with the number of rows.

    Raises:
        CommitConflictError: a writer that does not take the lock kept changing a table.
        StorageError: the disk is full, or a table is damaged; what was let go before stays gone.
    """
    kept = _spans_of_sets(lake)
    gone: list[tuple[str, str, datetime, datetime, int]] = []
    for target in (ANSWERS, *ROWS):
        due = Span(EPOCH, max(EPOCH, floor(now - spec.days_of(target) * DAY, HOUR)))
        for source in spec.live_sources:
            gone += _expire(lake, target, source, without(due, kept.get(source, [])))
    gone += _thinned(lake, Span(EPOCH, max(EPOCH, floor(now - spec.rows_days * DAY, DAY))), spec.live_sources)
    return pl.DataFrame(gone, EXPIRED, orient="row")


def without(span: Span, kept: Iterable[Span]) -> list[Span]:
    """What is left of a span when others are taken out of it, in order.

    >>> at = EPOCH.replace
    >>> [(s.start.hour, s.end.hour) for s in without(Span(at(hour=0), at(hour=9)), [Span(at(hour=2), at(hour=5))])]
    [(0, 2), (5, 9)]
    """
    left, start = [], span.start
    for other in sorted(kept):
        if other.start > start:
            left.append(Span(start, min(other.start, span.end)))
        start = max(start, other.end)
        if start >= span.end:
            break
    if start < span.end:
        left.append(Span(start, span.end))
    return [piece for piece in left if piece.start < piece.end]


def _expire(
    lake: Lake, target: Table, source: str, spans: Sequence[Span]
) -> list[tuple[str, str, datetime, datetime, int]]:
    gone = []
    for span in spans:
        due = lake.scan(target, span, sources=[source]).select(_hour(target)).group_by("hour").len().collect()
        if due.is_empty():
            continue
        hours = due.sort("hour")["hour"]
        held = Span(hours[0], hours[-1] + HOUR)
        # The record first: killed in between, the rows are still there, and the next run finds and removes them.
        provenance.expire(lake, target, _left(lake, target, source, held, hours))
        n_rows = lake.discard(target, [source], held).n_rows
        gone.append((target.name, source, held.start, held.end, n_rows))
    return gone


def _thinned(lake: Lake, due: Span, sources: Sequence[str]) -> list[tuple[str, str, datetime, datetime, int]]:
    """Of predictions past their term: no inputs any more, and none whose outcome is known and is no evidence.

    Predictions first: killed in between, the next run finds the day by the outcomes that are left, and ends it.
    """
    gone = []
    is_ours, is_doubtful = pl.col("source").is_in(list(sources)), ~pl.col("is_evidence")
    for day in _days_to_thin(lake, due, sources):
        span = Span(day, day + DAY)
        said, ended = (lake.scan(target, span).collect() for target in (PREDICTIONS, PREDICTION_OUTCOMES))
        proves = ended.filter(~is_doubtful | ~is_ours)
        told = said.join(ended.filter(is_doubtful, is_ours), on=PREDICTIONS.key, how="anti")
        bare = told.with_columns(pl.when(~is_ours).then("inputs").alias("inputs"))
        for target, before, left in ((PREDICTIONS, said, bare), (PREDICTION_OUTCOMES, ended, proves)):
            lake.replace(target, left, span)
            lost = before.join(left, on=target.key, how="anti").group_by("source").len().sort("source")
            gone += [(target.name, source, span.start, span.end, n_rows) for source, n_rows in lost.iter_rows()]
    return gone


def _days_to_thin(lake: Lake, due: Span, sources: Sequence[str]) -> list[datetime]:
    """The days with inputs, or with outcomes that are no evidence."""
    held = lake.scan(PREDICTIONS, due, sources=sources).filter(pl.col("inputs").is_not_null())
    doubtful = lake.scan(PREDICTION_OUTCOMES, due, sources=sources).filter(~pl.col("is_evidence"))
    days = [frame.select(pl.col("event_time").dt.truncate("1d").alias("day").unique()) for frame in (held, doubtful)]
    return pl.concat(days).unique().sort("day").collect()["day"].to_list()


def _left(lake: Lake, target: Table, source: str, held: Span, hours: pl.Series) -> dict[datetime, int]:
    """How many rows each of the hours will hold when those of the source are gone."""
    others = lake.scan(target, held).filter(pl.col("source") != source)
    counts = dict(others.select(_hour(target)).group_by("hour").len().collect().iter_rows())
    return {hour: counts.get(hour, 0) for hour in hours}


def _hour(target: Table) -> pl.Expr:
    return pl.col(str(target.time)).dt.truncate("1h").alias("hour")


def _spans_of_sets(lake: Lake) -> dict[str, list[Span]]:
    """The hours that training sets were made from, by source."""
    sets = lake.scan(TRAINING_SETS).select("source", "first_time", "last_time").collect()
    spans: dict[str, list[Span]] = {}
    for source, first, last in sets.iter_rows():
        spans.setdefault(source, []).append(Span(floor(first - BEFORE_A_SET, HOUR), ceil(last + AFTER_A_SET, HOUR)))
    return spans
