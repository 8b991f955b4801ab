"""How much a row counts: the average uniqueness of its label among the labels of its pool.

Belongs here: weights that come from overlap. Stays out: class weights, which would spoil the probabilities.
"""

import polars as pl


def average_uniqueness(frame: pl.DataFrame, *, end: str) -> pl.Series:
    """Mean over a label's life of 1 / (labels of its pool that are alive then), in (0, 1].

    Lopez de Prado, Advances in Financial Machine Learning (2018), ch. 4, with time taken as continuous instead of
    in bars. Between two consecutive starts or ends the number of labels alive is constant, so the integral of
    1/count is a cumulative sum over those stretches, and a label's share is a difference of two of its values.

    Args:
        frame: one row a label: `network`, `pool`, `event_time`, and the column `end` of later UTC times.

    Returns:
        `weight` (f64), in the order of `frame`'s rows.

    >>> from datetime import UTC, datetime, timedelta
    >>> t = datetime(2020, 9, 8, tzinfo=UTC)
    >>> rows = pl.DataFrame({"network": "eth", "pool": "0x", "event_time": [t, t + timedelta(hours=1)],
    ...                      "end": [t + timedelta(hours=2), t + timedelta(hours=3)]})
    >>> average_uniqueness(rows, end="end").to_list()
    [0.75, 0.75]
    """
    keys, start = ["network", "pool"], "event_time"
    edges = pl.concat(
        [
            frame.select(*keys, pl.col(start).alias("edge"), pl.lit(1, pl.Int64).alias("step")),
            frame.select(*keys, pl.col(end).alias("edge"), pl.lit(-1, pl.Int64).alias("step")),
        ]
    )
    alive = pl.col("step").cum_sum().over(keys)
    length = (pl.col("edge").shift(-1).over(keys) - pl.col("edge")).dt.total_microseconds()
    integral = (
        edges.group_by([*keys, "edge"])
        .agg(pl.col("step").sum())
        .sort([*keys, "edge"])
        .with_columns(pl.when(alive > 0).then(length / alive).otherwise(0.0).fill_null(0.0).alias("piece"))
        .select(*keys, "edge", (pl.col("piece").cum_sum() - pl.col("piece")).over(keys).alias("until"))
    )
    opened = frame.join(integral.rename({"edge": start}), on=[*keys, start], how="left", maintain_order="left")
    closed = frame.join(integral.rename({"edge": end}), on=[*keys, end], how="left", maintain_order="left")
    life = (frame[end] - frame[start]).dt.total_microseconds()
    return ((closed["until"] - opened["until"]) / life).alias("weight")
