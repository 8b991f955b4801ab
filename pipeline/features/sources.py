"""What features are made from.

Belongs here: the tables an engine may read. Stays out: reading the lake (the asset does) and computing.
"""

from dataclasses import dataclass, field

import polars as pl

from pipeline.tables import CANDLES, POOLS, TOKENS, TRADES, Table


def _nothing(table: Table) -> pl.LazyFrame:
    return table.empty().lazy()


@dataclass(frozen=True)
class Sources:
    """Rows of the tables that features are made from, in any order; what is not given is empty.

    They must reach as far back as the features' look-back, and hold all pools of a network where features compare a
    pool with the market.
    """

    snapshots: pl.LazyFrame
    pools: pl.LazyFrame = field(default_factory=lambda: _nothing(POOLS))
    tokens: pl.LazyFrame = field(default_factory=lambda: _nothing(TOKENS))
    candles: pl.LazyFrame = field(default_factory=lambda: _nothing(CANDLES))
    trades: pl.LazyFrame = field(default_factory=lambda: _nothing(TRADES))
