"""How much of what a model needs a row has.

Belongs here: counting what is there. Stays out: which features a model needs (its file says how many of its training
rows had each), and what is done with rows that have too little (`scoring`).

Half of the features of a quiet pool are null because there is nothing to tell: nobody traded. A model that was trained
on such rows does not miss them. What it needs is what was there in nearly all of its training rows; a row without that
is none of its kind, because a source went silent.
"""

from collections.abc import Collection

import polars as pl


def completeness(needed: Collection[str], columns: Collection[str]) -> pl.Expr:
    """The share of the needed features that a row has, of rows with these columns; 1 where none is needed.

    >>> rows = pl.DataFrame({"a": [1.0, None], "b": [True, False]})
    >>> rows.select(completeness(["a", "b", "gone", "lost"], rows.columns)).to_series().to_list()
    [0.5, 0.25]
    """
    if not needed:
        return pl.lit(1.0).alias("completeness")
    there = [pl.col(name).is_not_null().cast(pl.Float64) for name in sorted(set(needed) & set(columns))]
    return (pl.sum_horizontal(pl.lit(0.0), *there) / len(set(needed))).alias("completeness")
