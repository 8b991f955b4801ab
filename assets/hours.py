"""Hourly assets: the one partitions definition, and how an asset brings its hours up to date.

Belongs here: what every hourly asset does in the same way. Stays out: any table's own logic.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import dagster as dg
import polars as pl

from assets.aside import admitted, put_aside_in, stopped_hours
from assets.metadata import Seen
from pipeline.calendars import HOUR, Span
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.lake.failures import in_words
from pipeline.provenance import PIECE, Recipe, refresh, rows_on_record
from pipeline.tables import ANSWERS, table


class _Hours(dg.HourlyPartitionsDefinition):
    """Dagster's hours, counted at once.

    Dagster lists every key for each input of each step and check, only to see that there are too many to look at. Its
    own listing asks cron for each hour: 0.4 s a time, half of a five-minute cycle.
    """

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: Any = None
    ) -> Sequence[str]:
        """Every key up to now, as Dagster's own method has them."""
        if current_time is not None:
            return super().get_partition_keys(current_time, dynamic_partitions_store)
        last = self.get_last_partition_key()
        return [] if last is None else list(_keys_between(self.start, _hour(last)))


HOURS = _Hours(start_date="2020-01-01-00:00", timezone="UTC", end_offset=2)
"""Every hour since 2020, the running one and the next: what is observed now may belong to a grid point on the hour."""

_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"
_SINGLE = "dagster/partition"
_FORMAT = "%Y-%m-%d-%H:%M"


def hourly_asset(**options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset with one partition an hour, whose backfills of any length are one run."""

    def decorate(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is beta; the version is pinned
            made: dg.AssetsDefinition = dg.asset(
                partitions_def=HOURS, backfill_policy=dg.BackfillPolicy.single_run(), **options
            )(compute)
            return made

    return decorate


def span_of(tags: Mapping[str, str]) -> Span | None:
    """The hours a run was asked for, from its tags; None when it was not asked for any."""
    single = tags.get(_SINGLE)
    first, last = tags.get(_RANGE_START, single), tags.get(_RANGE_END, single)
    return None if first is None or last is None else Span(_hour(first), _hour(last) + HOUR)


def asked_span(context: dg.AssetExecutionContext) -> Span:
    """The hours the run was asked for.

    Raises:
        UsageError: it was not asked for any.
    """
    span = span_of(context.run.tags)
    if span is None:
        raise UsageError("this asset works on the hours of a run: materialise it for a range of hours")
    return span


def told_in(lake: Lake, span: Span, *endpoints: str) -> pl.DataFrame:
    """The answers of some endpoints that arrived in the span."""
    return lake.scan(ANSWERS, span).filter(pl.col("endpoint").is_in(endpoints)).collect()


def hours_of(rows: pl.DataFrame) -> list[datetime]:
    """The hours that hold rows."""
    return rows["event_time"].dt.truncate("1h").unique().sort().to_list()


def range_tags(span: Span) -> dict[str, str]:
    """Run tags that ask for all hours of `span`."""
    return {_RANGE_START: _key(span.start), _RANGE_END: _key(span.end - HOUR)}


def refreshed(
    context: dg.AssetExecutionContext,
    lake: Lake,
    recipe: Recipe,
    compute: Callable[[Span], pl.DataFrame],
    *,
    piece: timedelta = PIECE,
) -> dg.MaterializeResult[Any]:
    """Bring the run's hours of the recipe's table up to date, and say what was done in metadata and log.

    Rows that break what their table says are put aside before the others are written (`assets.aside`). What was seen
    of the rows (nulls, a preview) is told with the last hour of the run. `piece` is how much is computed and committed
    at once.
    """
    span, target = Span(*context.partition_time_window), table(recipe.table)
    seen = Seen(target)

    def sound(part: Span) -> pl.DataFrame:
        return admitted(lake, target, compute(part), part)

    def progress(done: Span, rows: pl.DataFrame) -> None:
        seen.add(rows)
        if rows.is_empty():
            return
        context.log.info(
            f"{recipe.table}: {rows.height:,} rows for {done.start:%Y-%m-%d %H:%M} to {done.end:%Y-%m-%d %H:%M}"
        )

    def stopped(part: Span) -> list[datetime]:
        return stopped_hours(lake, target, part)

    # On record from the start: killed before its check runs, a stopped hour would pass for an empty one for good.
    with in_words(f"bring {recipe.table!r} up to date"):
        done = refresh(lake, recipe, span, sound, progress=progress, piece=piece, stopped=stopped)
    context.log.info(
        f"{recipe.table}: {done.n_hours_computed:,} hours computed, {done.n_hours_unchanged:,} unchanged and left alone"
    )
    # Dagster writes the result's metadata to every hour's event: tables there would be written thousands of times.
    context.add_asset_metadata(seen.metadata(), partition_key=_key(span.end - HOUR))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows_on_record(lake, recipe.table),
            "rows_in_the_hours_asked_for": done.n_rows,
            "hours_computed": done.n_hours_computed,
            "hours_unchanged": done.n_hours_unchanged,
            "put_aside": put_aside_in(lake, target, span).height,
        }
    )


def _key(hour: datetime) -> str:
    return hour.strftime(_FORMAT)


@lru_cache(maxsize=2)
def _keys_between(first: datetime, last: datetime) -> tuple[str, ...]:
    return tuple(pl.datetime_range(first, last, HOUR, eager=True).dt.strftime(_FORMAT))


def _hour(key: str) -> datetime:
    return datetime.strptime(key + "+0000", f"{_FORMAT}%z")
