"""What is asked of a pool beside its state: its bars, its swaps, its token's facts.

Belongs here: which of them are worth the calls that are left over, and when they are wanted again. Stays out: visits to
pools (`sampler`), and what the answers say (`parse`).
"""

from collections.abc import Callable, Iterator
from datetime import datetime

import polars as pl

from pipeline.calendars import DAY
from pipeline.pools.answer import BARS_A_CALL, Call, ohlcv, token_info, trades
from pipeline.pools.watch import Detail, Wanted, Watch

HISTORY_EVERY = DAY
"""A pool's bars are asked for once a day while it is followed: one call holds 1,000 of them."""


def next_details(watch: Watch, now: datetime, limit: int) -> Iterator[tuple[Detail, Wanted, Call]]:
    """At most `limit` calls: bars first (labels wait for them), then swaps where something happened, then tokens."""
    n_left = limit
    asked: tuple[tuple[Detail, Callable[[datetime, int], list[Wanted]]], ...] = (
        ("history_due", watch.histories),
        ("trades_due", watch.swaps),
        ("info_due", watch.infos),
    )
    for column, wanted_of in asked:
        for wanted in wanted_of(now, n_left):
            yield column, wanted, _call(column, wanted)
            n_left -= 1


def _call(column: Detail, wanted: Wanted) -> Call:
    if column == "history_due":
        return ohlcv(wanted.network, wanted.pool, wanted.before)
    if column == "trades_due":
        return trades(wanted.network, wanted.pool)
    return token_info(wanted.network, wanted.base_token)


def settle(watch: Watch, column: Detail, wanted: Wanted, now: datetime, bars: pl.DataFrame) -> None:
    """Note that the call was answered, or refused for good; `bars` are the RAW_CANDLES rows it told, if any.

    A full answer whose oldest bar is younger than the pool is read on from there, backwards, while that leads back.
    """
    if column != "history_due":
        watch.settle(column, wanted, None)
        return
    oldest = bars["event_time"].min()
    if (
        isinstance(oldest, datetime)
        and bars.height >= BARS_A_CALL - 1
        and oldest > wanted.created_at
        and (wanted.before is None or oldest < wanted.before)
    ):
        watch.settle(column, wanted, now, oldest)
    else:
        watch.settle(column, wanted, now + HISTORY_EVERY)


def put_off(watch: Watch, column: Detail, wanted: Wanted, until: datetime) -> None:
    """Note that the call was not answered: the same is wanted again then."""
    watch.settle(column, wanted, until, wanted.before)
