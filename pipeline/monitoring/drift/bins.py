"""The bins that a column is cut into, and each pool's shares of them.

Belongs here: bins made from one sample, the shares of another in them. Stays out: comparing shares.

Numbers are cut at values that occur (no interpolation), so that a column and any increasing function of it have the
same bins. A value that holds two quantiles or more gets a bin of its own, and so do zero and what is missing. Texts
become positions: no text leaves this module.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.monitoring.drift.divergence import Floats

type Ints = NDArray[np.int64]
type Kind = Literal["numeric", "boolean", "text"]
_SLACK: Final = 1e-9
"""Weights are sums of fractions: which value a quantile is must not hang on how they were rounded."""


@dataclass(frozen=True)
class Bins:
    """Where a column is cut: `edges` of numbers (each belongs to the bin below it), or the `categories` of a text.

    Zero has a bin of its own, at place `zero`, beside the one around it, which it does not split: cutting there would
    tell signs apart.
    """

    edges: Floats | None
    categories: pl.Series | None
    zero: int = 0

    @property
    def n(self) -> int:
        """How many there are; the last is for what is missing, and of a text the one before it for all others."""
        return len(self.edges) + 3 if self.edges is not None else len(self.categories) + 2  # type: ignore[arg-type]


def numeric_bins(values: Floats, weights: Floats, n_bins: int) -> Bins:
    """Bins of equal weight, of a sample in which missing values are NaN."""
    is_told = ~np.isnan(values) & (values != 0)
    cuts = _quantiles(values[is_told], weights[is_told], n_bins)
    distinct, times = np.unique(cuts, return_counts=True)
    just_below = np.nextafter(distinct[times > 1], -np.inf)
    edges = np.unique(np.concatenate([distinct, just_below]))
    around = int(np.searchsorted(edges, 0.0))
    below = values < 0 if around == 0 else (values < 0) & (values > edges[around - 1])
    return Bins(edges, None, around + int(below.any()))


def text_bins(values: pl.Series, weights: Floats, n_categories: int) -> Bins:
    """The heaviest texts of a sample; of equally heavy ones those that come first in the alphabet."""
    told = pl.DataFrame({"value": values, "weight": weights}).drop_nulls("value")
    heaviest = (
        told.group_by("value").agg(pl.col("weight").sum().round(9)).sort(["weight", "value"], descending=[True, False])
    )
    return Bins(None, heaviest["value"].head(n_categories).sort())


def numeric_codes(values: Floats, bins: Bins) -> Ints:
    """The bin of each number."""
    assert bins.edges is not None  # noqa: S101  # numbers have edges
    codes = np.searchsorted(bins.edges, values)
    codes = np.where(values == 0, bins.zero, codes + (codes >= bins.zero))
    return np.where(np.isnan(values), bins.n - 1, codes)


def text_codes(values: pl.Series, bins: Bins) -> Ints:
    """The bin of each text."""
    assert bins.categories is not None  # noqa: S101  # texts have categories
    n = len(bins.categories)
    places = pl.DataFrame({"value": bins.categories, "code": np.arange(n)}, schema_overrides={"code": pl.Int64})
    codes = pl.DataFrame({"value": values}).join(places, on="value", how="left", maintain_order="left")["code"]
    return np.where(values.is_null().to_numpy(), n + 1, codes.fill_null(n).to_numpy())


def shares_by_pool(codes: Ints, pools: Ints, weights: Floats, n_pools: int, n_bins: int) -> Floats:
    """(pools, bins): each pool's share of rows in each bin; a pool's rows together weigh one."""
    flat = np.bincount(pools * n_bins + codes, weights=weights, minlength=n_pools * n_bins)
    return np.asarray(flat.reshape(n_pools, n_bins), dtype=np.float64)


def _quantiles(values: Floats, weights: Floats, n: int) -> Floats:
    """The values at which k/n of the weight is reached, k from 1 to n-1."""
    if not len(values):
        return np.empty(0)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    wanted = reached[-1] * (np.arange(1, n) / n - _SLACK)
    return np.asarray(values[order][np.searchsorted(reached, wanted)], dtype=np.float64)
