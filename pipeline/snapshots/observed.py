"""From what the API told of a pool to its snapshots.

Belongs here: which observation stands for which grid point, and what of it may be believed together.
Stays out: when a pool is asked for (the collector's), and snapshots of recordings (`recorded`).
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import Span
from pipeline.snapshots.schedule import interval_of
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOL_KEY, POOL_TIME_KEY, SNAPSHOTS, WINDOWS_MINUTES

_TOLD: Final = [c.name for c in SNAPSHOTS.columns if c.nullable]
_TELLING: Final = {"new_pools": 0, "pool": 1, "pools_multi": 2}
"""How much each endpoint knows of a pool; more is better."""

_OF_ALL: Final = ("n_missed", "inclusion_probability")

_SLACK: Final = 1e-9
"""Relative; traded values that differ by less are taken for equal."""


def observed_snapshots(records: pl.DataFrame, span: Span, now: datetime, spec: SnapshotsSpec) -> pl.DataFrame:
    """Every snapshot with `span.start` <= event_time < `span.end` and event_time <= `now`.

    An observation belongs to the first grid point at or after it and at or after the pool's told birth. Of several for
    one grid point the one that tells most stands for it, and of those the last: a list of new pools does not tell
    reserves, and must not hide what a visit told.

    Each column is as that record tells it, null where it tells nothing, except:

    - `n_missed` and `inclusion_probability` are the most that any of them tells.
    - `price_quote` is `price_usd / quote_price_usd` where both are above zero: the API rounds its own quotient.
    - A longer window holds the shorter ones, so it cannot have seen less. Where it says it did, the longer one is
      null, of traded value, purchases and sales each by itself: nobody can say which of the two is stale, and what
      is left does not contradict itself.

    Args:
        records: RAW_POOLS rows of the span and two grid steps before it, in any order.
        span: the moments asked for.
        now: the present; a later grid point may yet be observed again.
        spec: the sampler: its grid, its tiers, how long a pool is followed.

    Returns:
        SNAPSHOTS rows, sorted by key. `event_time` and `known_at` are the grid point, `observed_at` the observation.
    """
    born, slot = pl.col("created_at"), pl.col("slot")
    last = (
        records.lazy()
        .with_columns(slot=_grid_point(pl.max_horizontal("event_time", "created_at"), spec))
        .filter(slot >= span.start, slot < span.end, slot <= now, slot < born + spec.follow)
        .sort(*POOL_KEY, "slot", *_telling(), "event_time", "answer_id", "place")
        .group_by(*POOL_KEY, "slot", maintain_order=True)
        # The first observation after a silence tells of it, also where another of the same grid point stands for both.
        # And whoever was sure to be seen on a list was sure to be seen, drawn for a visit or not.
        .agg(pl.all().exclude(_OF_ALL).last(), pl.col(_OF_ALL).max())
        .with_columns(_price_quote(), *_credible_windows(), is_newborn=slot < born + spec.newborn)
        .collect()
    )
    reserve_usd = last["reserve_usd"].fill_null(float("nan")).to_numpy()
    minutes = interval_of(reserve_usd, last["is_newborn"].to_numpy(), spec)
    found = last.with_columns(
        pl.Series("interval_minutes", minutes), observed_at="event_time", event_time="slot", known_at="slot"
    )
    return found.select(pl.col(name).cast(dtype) for name, dtype in SNAPSHOTS.schema.items()).sort(POOL_TIME_KEY)


def _grid_point(moment: pl.Expr, spec: SnapshotsSpec) -> pl.Expr:
    """The first grid point at or after each moment."""
    return (moment + spec.grid - timedelta(microseconds=1)).dt.truncate(spec.grid)


def _telling() -> list[pl.Expr]:
    """How much a record tells, and what kind of answer it is from: sorted by these, the best is last."""
    return [pl.sum_horizontal(pl.col(_TOLD).is_not_null()), pl.col("endpoint").replace_strict(_TELLING)]


def _price_quote() -> pl.Expr:
    usd, quote_usd = pl.col("price_usd"), pl.col("quote_price_usd")
    quotient = usd / quote_usd
    return (
        pl.when((usd > 0) & (quote_usd > 0) & quotient.is_finite())
        .then(quotient)
        .otherwise("price_quote")
        .alias("price_quote")
    )


def _credible_windows() -> list[pl.Expr]:
    """The trailing sums, from the shortest window to the longest, without those that contradict a shorter one."""
    windows = sorted(WINDOWS_MINUTES, key=WINDOWS_MINUTES.__getitem__)
    found: list[pl.Expr] = []
    for prefix, suffix, slack in (("volume", "_usd", _SLACK), ("n_buys", "", 0), ("n_sells", "", 0)):
        least = pl.lit(None)
        for window in windows:
            told = pl.col(f"{prefix}_{window}{suffix}")
            kept = pl.when((least <= told * (1 + slack)).fill_null(value=True)).then(told)
            least = pl.max_horizontal(least, kept)
            found.append(kept.alias(f"{prefix}_{window}{suffix}"))
    return found
