"""How much the days of the reference differ from each other anyhow: what a new day must exceed to be news.

Belongs here: the divergence and the classifier's AUC of single days against the other days. Stays out: the comparison
itself.

Permuting pools is exact if pools are independent. Pools of one day are not: the price of the quote token, gas and the
mood of the market are the same for all of them, so any single day differs from a month "significantly", with no drift
at all. So days are treated as units as well. Of each day of the reference, and of each column, we take the divergence
from the other days beyond what chance gives; a column's scale is its mean over days. The day's figure is its most
unusual column, in scales; what all but a share alpha of days stay below bounds every column at once (the largest
statistic, as Westfall & Young 1993 have it; with fewer than 1/alpha days it is the largest of all).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from pipeline.monitoring.drift.bins import Ints, numeric_bins, numeric_codes, shares_by_pool, text_bins, text_codes
from pipeline.monitoring.drift.classifier import domain_classifier
from pipeline.monitoring.drift.divergence import Floats, js_divergence
from pipeline.monitoring.drift.samples import Sample, kinds_of, numbers, sample_of, texts
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import GROUP

_N_SHUFFLES = 20
_FEW_PERMUTATIONS = 99
"""The AUC of a day is needed, and its p-value is not."""


def usual_js(reference: pl.DataFrame, columns: Sequence[str], spec: WatchSpec) -> dict[str, float]:
    """By column, the divergence beyond chance that days stay below anyhow; empty with too few days.

    Args:
        reference: `network`, `pool`, `born` and the columns.
    """
    kinds, _ = kinds_of(reference, reference, GROUP, list(columns))
    side = sample_of(reference, GROUP, "reference")
    days = _days(reference, side, spec)
    if days is None:
        return {}
    rng = np.random.default_rng([spec.drift.seed, 2])
    shuffles = [rng.permutation(side.n_pools) for _ in range(_N_SHUFFLES)]
    told = [_shares(name, kind, side, spec) for name, kind in kinds.items()]
    excess = np.stack([_excess(shares, days, shuffles) for shares in told], axis=1)
    scale = np.maximum(excess.mean(axis=0), spec.drift.min_js)
    most = float(np.quantile((excess / scale).max(axis=1), 1 - spec.drift.alpha, method="higher"))
    return dict(zip(kinds, (scale * most).tolist(), strict=True))


def usual_auc(reference: pl.DataFrame, columns: Sequence[str], spec: WatchSpec) -> float | None:
    """The best AUC at which one of some days of the reference is told from the others; None with too few days."""
    days = reference.with_columns(day=pl.col("born").dt.truncate("1d"))
    n_pools = days.select(*GROUP, "day").unique().group_by("day").len().filter(pl.col("len") >= spec.min_day_pools)
    if n_pools.height < spec.min_days or not spec.max_days:
        return None
    n_asked = min(n_pools.height, spec.max_days)
    chosen = n_pools["day"].sort().gather(np.arange(n_asked) * n_pools.height // n_asked)  # spread over all of them
    rule = replace(spec.drift, n_permutations=_FEW_PERMUTATIONS)
    found = []
    for day in chosen:
        others, own = days.filter(pl.col("day") != day), days.filter(pl.col("day") == day)
        found.append(domain_classifier(others, own, group=GROUP, columns=columns, spec=rule).auc)
    return max(found)


def _days(reference: pl.DataFrame, side: Sample, spec: WatchSpec) -> Floats | None:
    """(days, pools): 1 where a pool was born on the day; of days with enough pools."""
    born = np.zeros(side.n_pools, dtype=np.int64)
    born[side.pools] = reference["born"].dt.truncate("1d").to_physical().to_numpy()
    moments, n = np.unique(born, return_counts=True)
    kept = moments[n >= spec.min_day_pools]
    return None if len(kept) < spec.min_days else (born == kept[:, None]).astype(np.float64)


def _shares(name: str, kind: str, side: Sample, spec: WatchSpec) -> Floats:
    """(pools, bins) over the bins of the whole reference."""
    if kind == "text":
        told = texts(side.frame[name])
        bins = text_bins(told, side.weights, spec.drift.n_categories)
        codes = text_codes(told, bins)
    else:
        values = numbers(side.frame[name])
        bins = numeric_bins(values, side.weights, spec.drift.n_bins)
        codes = numeric_codes(values, bins)
    return shares_by_pool(codes, side.pools, side.weights, side.n_pools, bins.n)


def _excess(shares: Floats, days: Floats, shuffles: Sequence[Ints]) -> Floats:
    """(days,): how far each day is from the others, less what it would be if its pools were drawn from all days."""
    by_chance = np.mean([_apart(shares[order], days) for order in shuffles], axis=0)
    return np.asarray(np.maximum(_apart(shares, days) - by_chance, 0.0))


def _apart(shares: Floats, days: Floats) -> Floats:
    n = days.sum(axis=1, keepdims=True)
    sums = days @ shares
    others = (shares.sum(axis=0) - sums) / (len(shares) - n)
    return np.asarray(js_divergence(sums / n, others.clip(0)))
