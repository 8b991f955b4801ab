"""How far our rug rule agrees with the verdicts of others, pool by pool.

Belongs here: comparing two sets of pool verdicts. Stays out: applying our rule (`outcomes`) and reading files.
Other teams' labels are oracles to compare with, never training targets.
"""

from typing import Final

import polars as pl

from pipeline.errors import InputError

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_OURS, _THEIRS = pl.col("is_rug"), pl.col("is_rug_theirs")


def agreement(labels_by_rule: pl.DataFrame, labels_a: pl.DataFrame, labels_b: pl.DataFrame) -> pl.DataFrame:
    """Compare rug verdicts with two independent label sets, one row per rule and set.

    Only pools that both sides judged enter the table of four; `n_unjudged_ours` and `n_unjudged_theirs` count the pools
    of the label set that one side left undecided. Kappa is Cohen's (1960): the agreement beyond what the two rates of
    rugs alone would give. `lag_q*_hours` are quantiles of our rug time minus theirs, over pools both call a rug, where
    theirs is stated.

    Args:
        labels_by_rule: `rule`, `pool`, `is_rug` (null: our rule could not say), `rug_at` (UTC, null: none).
        labels_a: `pool`, `is_rugpull` (1, 0 or null), `rug_time` (seconds since 1970, null: none).
        labels_b: `pool`, `Label` (true: rug).

    Returns:
        `rule, label_set, n_both, n_ours_only, n_theirs_only, n_neither, n_unjudged_ours, n_unjudged_theirs,
        agreement, kappa, n_lags, lag_q05_hours ... lag_q95_hours`.

    Raises:
        InputError: a rule judges a pool twice.
    """
    if labels_by_rule.select("rule", "pool").is_duplicated().any():
        raise InputError("agreement needs one verdict per rule and pool, found a pool judged twice: reduce to one")
    paired = pl.concat([pair_verdicts(labels_by_rule, theirs) for theirs in _verdicts(labels_a, labels_b)])
    return (
        paired.group_by("rule", "label_set").agg(*_counts(), *_lags()).with_columns(*_rates()).sort("label_set", "rule")
    )


def pair_verdicts(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Every pool of `theirs` beside each of our rules' verdicts on it; null where a rule has none."""
    rules = ours.select("rule").unique()
    return rules.join(theirs, how="cross").join(ours, on=["rule", "pool"], how="left")


def _verdicts(labels_a: pl.DataFrame, labels_b: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    seconds = (pl.col("rug_time") * 1_000_000).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    a = labels_a.select(
        pl.lit("a").alias("label_set"),
        "pool",
        (pl.col("is_rugpull") == 1).alias("is_rug_theirs"),
        seconds.alias("rug_at_theirs"),
    )
    b = labels_b.select(
        pl.lit("b").alias("label_set"),
        "pool",
        pl.col("Label").alias("is_rug_theirs"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("rug_at_theirs"),
    )
    return a, b


def _counts() -> list[pl.Expr]:
    return [
        (_OURS & _THEIRS).sum().alias("n_both"),
        (_OURS & ~_THEIRS).sum().alias("n_ours_only"),
        (~_OURS & _THEIRS).sum().alias("n_theirs_only"),
        (~_OURS & ~_THEIRS).sum().alias("n_neither"),
        (_OURS.is_null() & _THEIRS.is_not_null()).sum().alias("n_unjudged_ours"),
        _THEIRS.is_null().sum().alias("n_unjudged_theirs"),
    ]


def _lags() -> list[pl.Expr]:
    lag = (pl.col("rug_at") - pl.col("rug_at_theirs")).dt.total_seconds().filter(_OURS & _THEIRS) / 3600
    quantiles = [lag.quantile(q, "linear").alias(f"lag_q{round(q * 100):02d}_hours") for q in QUANTILES]
    return [lag.count().alias("n_lags"), *quantiles]


def _rates() -> list[pl.Expr]:
    both, neither = pl.col("n_both").cast(pl.Float64), pl.col("n_neither").cast(pl.Float64)
    ours, theirs = both + pl.col("n_ours_only"), both + pl.col("n_theirs_only")
    n = both + neither + pl.col("n_ours_only") + pl.col("n_theirs_only")
    observed = (both + neither) / n
    by_chance = (ours * theirs + (n - ours) * (n - theirs)) / (n * n)
    # 0/0: nothing was judged by both, or both sides say the same of every pool. Neither figure exists then.
    return [
        pl.when(n > 0).then(observed).alias("agreement"),
        pl.when((n > 0) & (by_chance < 1)).then((observed - by_chance) / (1 - by_chance)).alias("kappa"),
    ]
