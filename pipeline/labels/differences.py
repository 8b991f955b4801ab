"""Why our verdict on a pool differs from somebody else's: what happened to it, from its own reserve history.

Belongs here: sorting differing pools by what became of their price and reserve. Stays out: counting agreement
(`agreement`), applying the rule (`outcomes`), and reading files.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from pipeline.labels.spec import LabelsSpec

HAPPENED: Final = {
    "not_judged": "our rule could not say: no price or reserve at the decision, or a gap in the record",
    "no_update_after": "nothing happened after the decision",
    "drained_before": "the reserve had fallen by the rule's share before we decided, and was not refilled",
    "rug_before": "it had met our rule against its first price before we decided",
    "rug_later": "it meets our rule, but after our horizon",
    "drained_later": "the reserve falls by the rule's share after our horizon, with the price not down enough",
    "drained_at_unmoved_price": "the reserve fell by the rule's share, with the price not down enough",
    "price_fell_with_reserve_left": "a rug by price alone, the reserve did not fall by the rule's share",
    "drained_and_down": "the reserve fell by the rule's share and the price with it",
    "price_fell_short": "the price fell by more than half, the reserve did not follow",
    "nothing_of_the_kind": "neither price nor reserve fell so far",
}
"""What may have happened, in the order in which it is asked for, except where our verdict settles it."""


def classified(paired: pl.DataFrame, decisions: pl.DataFrame, candles: pl.DataFrame, spec: LabelsSpec) -> pl.DataFrame:
    """What happened to each pool of `paired`, from its bars against the decision's price and reserve.

    Args:
        paired: `pool`, `is_rug` (ours, null: not judged), `is_rug_theirs`.
        decisions: `pool`, `event_time`, `price_quote`, `quote_reserve`, one a pool.
        candles: CANDLES rows of these pools over their whole lives, with reserves.
        spec: the rule; its longest horizon is ours.

    Returns:
        `paired` with `happened` (a name of `HAPPENED`), `price_low_pct` and `reserve_low_pct` (the lowest after the
        decision, against it).
    """
    price, reserve = pl.col("low") / pl.col("price_quote"), pl.col("quote_reserve_low") / pl.col("quote_reserve")
    is_after = pl.col("bar") >= pl.col("decided_at")
    is_dump = price < spec.beyond(spec.rug_price_pct)
    is_drain = reserve < spec.beyond(spec.rug_reserve_pct)
    is_rug = is_dump | (is_drain & (price < spec.beyond(spec.rug_reserve_price_pct)))
    opening, opening_reserve = pl.col("open").first().over("pool"), pl.col("quote_reserve_close").first().over("pool")
    was_rug = (pl.col("low") / opening < spec.beyond(spec.rug_price_pct)) | (
        (pl.col("quote_reserve_low") / opening_reserve < spec.beyond(spec.rug_reserve_pct))
        & (pl.col("low") / opening < spec.beyond(spec.rug_reserve_price_pct))
    )
    end = pl.col("decided_at") + timedelta(hours=max(spec.horizons_hours))
    lives = (
        candles.join(paired.select("pool").unique(), on="pool", how="semi")
        .sort("pool", "event_time")
        .with_columns(bar="event_time")
        .join(decisions.select("pool", "price_quote", "quote_reserve", decided_at="event_time"), on="pool")
        .with_columns(was_rug=was_rug & ~is_after)
        .group_by("pool")
        .agg(
            is_after.any().alias("has_update"),
            pl.col("was_rug").any(),
            (is_rug & is_after & (pl.col("bar") >= end)).any().alias("is_later"),
            (is_drain & is_after & (pl.col("bar") < end)).any().alias("is_drained"),
            (is_drain & is_after & (pl.col("bar") >= end)).any().alias("is_drained_later"),
            _was_drained(is_after, spec).alias("was_drained"),
            price.filter(is_after & (pl.col("bar") < end)).min().alias("price_low"),
            reserve.filter(is_after & (pl.col("bar") < end)).min().alias("reserve_low"),
        )
    )
    joined = paired.join(lives, on="pool", how="left")
    return joined.with_columns(
        _happened(spec).alias("happened"),
        ((pl.col("price_low") - 1) * 100).alias("price_low_pct"),
        ((pl.col("reserve_low") - 1) * 100).alias("reserve_low_pct"),
    ).drop(
        "has_update", "was_rug", "was_drained", "is_later", "is_drained", "is_drained_later", "price_low", "reserve_low"
    )


def _was_drained(is_after: pl.Expr, spec: LabelsSpec) -> pl.Expr:
    """Whether a pool's last reserve before the decision was that far below its highest."""
    before = pl.col("quote_reserve_close").filter(~is_after)
    return (before.last() < spec.beyond(spec.rug_reserve_pct) * before.max()).fill_null(value=False)


def _happened(spec: LabelsSpec) -> pl.Expr:
    drained, rug = pl.col("is_drained"), pl.col("is_rug")
    return (
        pl.when(rug.is_null())
        .then(pl.lit("not_judged"))
        .when(rug & drained)
        .then(pl.lit("drained_and_down"))
        .when(rug)
        .then(pl.lit("price_fell_with_reserve_left"))
        .when(drained)
        .then(pl.lit("drained_at_unmoved_price"))
        .when("was_rug")
        .then(pl.lit("rug_before"))
        .when("was_drained")
        .then(pl.lit("drained_before"))
        .when(~pl.col("has_update").fill_null(value=False))
        .then(pl.lit("no_update_after"))
        .when("is_later")
        .then(pl.lit("rug_later"))
        .when("is_drained_later")
        .then(pl.lit("drained_later"))
        .when(pl.col("price_low") < spec.beyond(spec.rug_reserve_price_pct))
        .then(pl.lit("price_fell_short"))
        .otherwise(pl.lit("nothing_of_the_kind"))
    )
