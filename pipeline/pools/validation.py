"""Which told records are credible, and which rule the others break.

Belongs here: the rules, each with its short name. Stays out: reading files (`recording`), the quarantine's form
(`quarantine`). Every rule takes the records that passed the rules before it and gives a reason or null for each.
"""

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from functools import reduce

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text, is_address, is_identifier

POOL_NOTES = ("decimals_not_credible", "text_cleaned")
"""Reasons under which a pool's record is kept in the quarantine while the pool itself, mended, stays."""

MISDATED = ("clock_stood_still", "time_runs_backwards")
"""Reasons that doubt an update's time alone: the reserves it tells are true."""

CHAIN_ORDER = ("network_id", "block", "tx_index", "log_index", "pool_id", "place")
_EVENT = ("network_id", "block", "tx_index", "log_index", "pool_id")
_POOL_TEXTS = ("pool", "network", "dex", "base_token", "quote_token")
_ADDRESSES = ("pool", "base_token", "quote_token")
_DECIMALS = ("base_decimals", "quote_decimals")

Rule = Callable[[pl.DataFrame], pl.Series]


def judge_pools(told: pl.DataFrame, spec: PoolsSpec, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pools split into (accepted, refused); the refused carry `reason` and `detail`, both carry `place`."""
    rows = told.with_row_index("place").with_columns(_at_microseconds("created_at"))
    reason = _first(
        (pl.any_horizontal(pl.col(*_POOL_TEXTS, "created_at").is_null()), "null_field"),
        (pl.any_horizontal(pl.col(*_ADDRESSES).str.strip_chars() == ""), "empty_address"),
        (pl.any_horizontal([~is_address(pl.col(c), spec) for c in _ADDRESSES]), "address_not_credible"),
        (~is_identifier(pl.col("network"), spec), "network_not_credible"),
        (clean_text(pl.col("dex"), spec).is_null(), "dex_not_credible"),
        (pl.col("created_at") > now, "in_the_future"),
    )
    accepted, refused = _apply(rows, (_from(reason), _repeated_pools))
    said = pl.format("pool {}, created at {}, against {}", _told("pool"), _told("created_at"), pl.lit(now.isoformat()))
    return accepted, refused.with_columns(said.alias("detail"), event_time=pl.col("created_at"))


def note_pools(accepted: pl.DataFrame, spec: PoolsSpec) -> pl.DataFrame:
    """Records of accepted pools of which a part was not credible, one row a note, with `reason` and `detail`."""
    strange = pl.any_horizontal([~_is_credible_decimals(c, spec) for c in _DECIMALS])
    said_decimals = pl.format("base_decimals {}, quote_decimals {}: taken as unknown", *(_told(c) for c in _DECIMALS))
    unclean = pl.any_horizontal([clean_text(pl.col(c), spec).ne_missing(pl.col(c)) for c in ("dex", "quote_symbol")])
    notes = [
        accepted.filter(strange).with_columns(reason=pl.lit(POOL_NOTES[0]), detail=said_decimals),
        accepted.filter(unclean).with_columns(
            reason=pl.lit(POOL_NOTES[1]), detail=pl.lit("dex or quote_symbol holds what cannot be shown as told")
        ),
    ]
    return pl.concat(notes).with_columns(event_time=pl.col("created_at"))


def credible_decimals(column: str, spec: PoolsSpec) -> pl.Expr:
    """The decimals as told, null where they are not credible."""
    return pl.when(_is_credible_decimals(column, spec)).then(pl.col(column)).cast(pl.Int32).alias(column)


def judge_updates(told: pl.DataFrame, pools: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reserve updates split into (accepted in chain order, refused with `reason` and `detail`); both carry `place`."""
    rows = _placed(told, pools)
    reserves = pl.col("base_reserve", "quote_reserve")
    price = pl.col("quote_reserve") / pl.col("base_reserve")
    reason = _first(
        (pl.any_horizontal(pl.col(*told.columns).is_null()), "null_field"),
        (~pl.all_horizontal(reserves.is_finite()), "not_finite"),
        (pl.any_horizontal(reserves <= 0), "not_positive"),
        (~(price.is_finite() & (price > 0)), "price_not_finite"),
        (pl.any_horizontal(pl.col("block", "tx_index", "log_index") < 0), "place_not_credible"),
        (pl.col("pool_id").is_null(), "unknown_pool"),
        (pl.col("time") < pl.col("created_at"), "before_creation"),
        (pl.col("time") > now, "in_the_future"),
    )
    accepted, refused = _apply(rows, (_from(reason), _repeated_events, _stood_still, _runs_backwards))
    return accepted, refused.with_columns(_update_detail(now).alias("detail"), event_time=pl.col("time"))


def _placed(told: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """The updates with their place in the file and their pool's small numbers, in chain order."""
    known = pools.select(
        "pool",
        "network",
        "created_at",
        pl.col("network").rank("dense").cast(pl.UInt32).alias("network_id"),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("pool_id"),
    )
    rows = told.with_row_index("place").with_columns(
        _at_microseconds("time"), pl.col("block", "tx_index", "log_index").cast(pl.Int64, strict=False)
    )
    return rows.join(known, on="pool", how="left").sort(CHAIN_ORDER)


def _update_detail(now: datetime) -> pl.Expr:
    return pl.format(
        "base_reserve {}, quote_reserve {}, time {}, block {}; the pool was created at {}, it is {}",
        *(_told(c) for c in ("base_reserve", "quote_reserve", "time", "block", "created_at")),
        pl.lit(now.isoformat()),
    )


def _apply(rows: pl.DataFrame, rules: tuple[Rule, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    refused = [rows.clear().with_columns(pl.lit(None, pl.String).alias("reason"))]
    for rule in rules:
        reason = rule(rows)
        if reason.null_count() < rows.height:
            refused.append(rows.with_columns(reason.alias("reason")).filter(pl.col("reason").is_not_null()))
            rows = rows.filter(reason.is_null())
    return rows, pl.concat(refused)


def _from(reason: pl.Expr) -> Rule:
    return lambda rows: rows.select(reason.alias("reason"))["reason"]


def _first(*rules: tuple[pl.Expr, str]) -> pl.Expr:
    """The name of the first rule that is broken; a comparison with null breaks none."""
    nothing = pl.lit(None, pl.String)
    return reduce(
        lambda later, rule: pl.when(rule[0].fill_null(False)).then(pl.lit(rule[1])).otherwise(later),
        reversed(rules),
        nothing,
    )


def _repeated_pools(rows: pl.DataFrame) -> pl.Series:
    told = pl.struct(pl.all().exclude("place"))
    conflict = told.n_unique().over("pool") > 1
    copy = ~told.is_first_distinct()
    return _from(_first((conflict, "conflicting_duplicates"), (copy, "duplicate")))(rows)


def _repeated_events(rows: pl.DataFrame) -> pl.Series:
    """Copies of one event lie side by side in chain order; if they disagree nobody can say which is true."""
    same = pl.all_horizontal([pl.col(c) == pl.col(c).shift() for c in _EVENT]).fill_null(False)
    differs = pl.any_horizontal(
        [pl.col(c) != pl.col(c).shift() for c in ("time", "base_reserve", "quote_reserve")]
    ).fill_null(False)
    marks = rows.select(same.alias("same"), (same & differs).alias("differs"))
    if not marks["same"].any():
        return pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    event = (~pl.col("same")).cum_sum()
    conflict = pl.col("differs").any().over(event)
    return _from(_first((conflict, "conflicting_duplicates"), (pl.col("same"), "duplicate")))(marks)


def _stood_still(rows: pl.DataFrame) -> pl.Series:
    """Two blocks of a chain never share an instant: where they do, the recorded clock did not move."""
    instant = ("network_id", "time")
    shared = pl.col("block").min().over(instant) != pl.col("block").max().over(instant)
    return _from(_first((shared, "clock_stood_still")))(rows)


def _runs_backwards(rows: pl.DataFrame) -> pl.Series:
    """The fewest rows without which time never runs against the order of the chain."""
    refused = np.zeros(rows.height, dtype=bool)
    times = rows["time"].to_physical().to_numpy()
    networks = rows["network_id"].to_numpy()
    for network in np.unique(networks):
        of_network = np.flatnonzero(networks == network)
        refused[of_network[_out_of_order(times[of_network])]] = True
    marks = pl.DataFrame({"refused": refused})
    return _from(_first((pl.col("refused"), "time_runs_backwards")))(marks)


def _out_of_order(times: NDArray[np.int64]) -> NDArray[np.intp]:
    """Places outside a longest non-decreasing subsequence (patience sorting, n log n).

    Only rows that take part in an inversion are walked: the others belong to every such subsequence. They are walked
    from the end, so that of two equally good answers the one that keeps the earlier rows is given.
    """
    above_a_later = times > np.minimum.accumulate(times[::-1])[::-1]
    below_an_earlier = times < np.maximum.accumulate(times)
    involved = np.flatnonzero(above_a_later | below_an_earlier)
    tops: list[int] = []
    top_places: list[int] = []
    before = np.full(involved.size, -1)
    for place, time in enumerate((-times[involved][::-1]).tolist()):
        pile = bisect_right(tops, time)
        before[place] = top_places[pile - 1] if pile else -1
        tops[pile : pile + 1] = [time]
        top_places[pile : pile + 1] = [place]
    kept = np.zeros(involved.size, dtype=bool)
    place = top_places[-1] if top_places else -1
    while place >= 0:
        kept[place] = True
        place = int(before[place])
    refused: NDArray[np.intp] = involved[~kept[::-1]]
    return refused


def _is_credible_decimals(column: str, spec: PoolsSpec) -> pl.Expr:
    return pl.col(column).is_between(0, spec.max_decimals).fill_null(True)


def _at_microseconds(column: str) -> pl.Expr:
    return pl.col(column).dt.cast_time_unit("us")


def _told(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).fill_null("null")
