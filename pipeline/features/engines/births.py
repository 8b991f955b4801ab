"""The first minute and the first hour of a pool, told once and for good.

Belongs here: what of the swaps after birth is whole, and what it sums to. Stays out: sliding windows.

Nothing is said of a minute of which only part was told. An answer holds the last 300 swaps of the last day, so as long
as no answer was the first to tell of 300, each either held all of the day or met what was told before, and everything
up to the newest answer is known. So the time from birth to an end e is known whole from the moment of the first swap
that was learned at or after e, if that was less than a day after the birth and no answer had told 300 new swaps by
then. What it sums to then stays: a swap of the first hour that is learned later is passed over. After a week nothing is
said.

Fields (the moment of birth counts, the end of a window does not; null until, and unless, the window is known whole):
    first_minute_buyers   wallets that bought in [birth, birth + 1 min); null if a purchase does not tell who made it
    first_minute_usd, first_hour_usd   USD of purchases in the first minute and the first hour, as known once the hour
                          is whole: a share of the part lived so far would tell the age. Null if a purchase of the hour
                          does not tell its value
"""

from typing import Final

import polars as pl

from pipeline.calendars import HOUR, MINUTE
from pipeline.features.engines.swaps import LATE, PER_USD, SWAPS_AN_ANSWER, US
from pipeline.features.inputs import SINCE_BIRTH

MINUTE_US: Final = MINUTE // US
HOUR_US: Final = HOUR // US
LATE_US: Final = LATE // US
FOLLOWED_US: Final = SINCE_BIRTH // US
_BIRTH: Final = ("pool_no", "born_us")


def attach_births(placed: pl.DataFrame, swaps: pl.DataFrame) -> dict[str, pl.Series]:
    """The three fields, one value a row.

    Args:
        placed: snapshots with `pool_no`, `event_time` and `created_at`.
        swaps: as `read_swaps` gives them.
    """
    born = placed.select(
        "pool_no", pl.col("created_at").dt.epoch("us").alias("born_us"), pl.col("event_time").dt.epoch("us").alias("at")
    )
    told = swaps.select("pool_no", "wallet_no", "event_us", "known_us", "is_buy", "usd", "answer_id")
    lives = born.select(_BIRTH).unique().drop_nulls().join(told, on="pool_no", how="inner")
    since = pl.col("event_us") - pl.col("born_us")
    news = pl.col("known_us") - pl.col("born_us")
    lives = lives.filter(since >= 0, news < LATE_US)
    full_at = _full_at(lives)
    minute = _whole_at(lives, full_at, MINUTE_US)
    hour = _whole_at(lives, full_at, HOUR_US)
    bought = lives.filter(pl.col("is_buy"), since < HOUR_US)
    within = pl.col("known_us") <= pl.col("whole_at")
    in_minute = since < MINUTE_US
    # Nobody having bought is an answer too, so sums are joined to the lives that are whole, not the other way round.
    buyers = _counted(minute, bought.filter(in_minute), within)
    usd = _summed(hour, bought, within, in_minute)
    found = born.join(buyers, on=_BIRTH, how="left", maintain_order="left").join(
        usd, on=_BIRTH, how="left", maintain_order="left", suffix="_of_hour"
    )
    return found.select(
        _said("whole_at", "first_minute_buyers"),
        _said("whole_at_of_hour", "first_minute_usd"),
        _said("whole_at_of_hour", "first_hour_usd"),
    ).to_dict()


def _full_at(lives: pl.DataFrame) -> pl.DataFrame:
    """When first an answer had told of so many new swaps that it may have left some out (`full_at`)."""
    nth = pl.col("known_us").sort().get(SWAPS_AN_ANSWER - 1, null_on_oob=True)
    answers = lives.group_by(*_BIRTH, "answer_id").agg(nth.alias("full_at"))
    return answers.drop_nulls("full_at").group_by(_BIRTH).agg(pl.col("full_at").min())


def _whole_at(lives: pl.DataFrame, full_at: pl.DataFrame, length_us: int) -> pl.DataFrame:
    """The births whose first `length_us` are known whole, and since when (`whole_at`)."""
    return (
        lives.filter(pl.col("known_us") >= pl.col("born_us") + length_us)
        .group_by(_BIRTH)
        .agg(pl.col("known_us").min().alias("whole_at"))
        .join(full_at, on=_BIRTH, how="left")
        .filter((pl.col("full_at") > pl.col("whole_at")).fill_null(value=True))
        .drop("full_at")
    )


def _counted(whole: pl.DataFrame, bought: pl.DataFrame, within: pl.Expr) -> pl.DataFrame:
    known = bought.join(whole, on=_BIRTH, how="inner").filter(within)
    is_named = pl.col("wallet_no").is_not_null().all()
    counted = known.group_by(_BIRTH).agg(
        pl.when(is_named).then(pl.col("wallet_no").n_unique().cast(pl.Int64)).otherwise(-1).alias("first_minute_buyers")
    )
    joined = whole.join(counted, on=_BIRTH, how="left")
    return joined.with_columns(_none_below_zero("first_minute_buyers"))


def _summed(whole: pl.DataFrame, bought: pl.DataFrame, within: pl.Expr, in_minute: pl.Expr) -> pl.DataFrame:
    known = bought.join(whole, on=_BIRTH, how="inner").filter(within)
    usd, is_told = pl.col("usd"), pl.col("usd").is_not_null().all()
    summed = known.group_by(_BIRTH).agg(
        pl.when(is_told).then(usd.filter(in_minute).sum()).otherwise(-1).alias("first_minute_usd"),
        pl.when(is_told).then(usd.sum()).otherwise(-1).alias("first_hour_usd"),
    )
    names = ("first_minute_usd", "first_hour_usd")
    joined = whole.join(summed, on=_BIRTH, how="left")
    return joined.with_columns(_none_below_zero(name).cast(pl.Float64) / PER_USD for name in names)


def _none_below_zero(name: str) -> pl.Expr:
    """Zero where there were no purchases, null where -1 marks that they do not tell."""
    value = pl.col(name).fill_null(0)
    return pl.when(value >= 0).then(value).alias(name)


def _said(since: str, name: str) -> pl.Expr:
    at, born = pl.col("at"), pl.col("born_us")
    return pl.when((at >= pl.col(since)) & (at < born + FOLLOWED_US)).then(pl.col(name)).alias(name)
