"""Can new pools be told from old ones by all columns together?

Belongs here: the multivariate test, which sees what no single column shows (two columns that no longer go together).
Stays out: naming columns (`comparison`).

A pool is one row: the mean normal score of each numeric column, the shares of the frequent texts, the shares of
missing values. A kernel ridge classifier is fitted on four fifths of the pools and answers for the last fifth, so that
no pool is answered by itself. Folds, scores and kernel do not know which pool is new; and what the classifier answers
is a linear function of who is. So all permutations are one product of matrices, each as if fitted anew, and the
p-value of its area under the ROC curve is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from scipy.stats import rankdata  # type: ignore[import-untyped]  # scipy ships no types

from pipeline.monitoring.drift.bins import Kind, shares_by_pool, text_bins, text_codes
from pipeline.monitoring.drift.divergence import Floats
from pipeline.monitoring.drift.permutation import dealings
from pipeline.monitoring.drift.ranks import normal_scores
from pipeline.monitoring.drift.samples import Sample, kinds_of, numbers, sample_of, texts, thinned
from pipeline.monitoring.drift.spec import DriftSpec

N_FOLDS: Final = 5
_RIDGE: Final = 1.0
"""Added to the kernel's diagonal, about one: more sees shifts a little sooner, less sees columns that go together."""
_MOST_POOLS: Final = 1_000
"""On a side; of more, so many are drawn. A thousand tell what there is to tell, and a kernel has their square."""
_MOST_PERMUTATIONS: Final = 999
_TIES: Final = 1e-9


@dataclass(frozen=True)
class DomainTest:
    """How well new pools are told from old ones.

    Attributes:
        auc: chance that a new pool looks newer than an old one, out of fold; 0.5 where nothing tells them apart.
        p_value: (1 + permutations with an AUC as high) / (1 + permutations), pools permuted.
        is_drifted: p_value <= alpha, with `min_pools` on each side.
        n_reference_pools, n_current_pools: pools that were used.
    """

    auc: float
    p_value: float
    is_drifted: bool
    n_reference_pools: int
    n_current_pools: int

    @property
    def n_pools(self) -> int:
        """Pools of both sides."""
        return self.n_reference_pools + self.n_current_pools


def domain_classifier(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    group: Sequence[str],
    columns: Sequence[str] | None = None,
    spec: DriftSpec,
) -> DomainTest:
    """Tell new pools from old ones by all columns at once; arguments and errors as of `comparison.compare`."""
    kinds, _ = kinds_of(reference, current, group, columns)
    before, after = sample_of(reference, group, "reference"), sample_of(current, group, "current rows")
    before, after = thinned(before, after, list(kinds), spec.seed)
    rng = np.random.default_rng([spec.seed, 1])
    kept_before = _drawn(before.n_pools, rng)
    kept_after = before.n_pools + _drawn(after.n_pools, rng)
    table = np.concatenate([_described(name, kind, before, after, spec) for name, kind in kinds.items()], axis=1)
    kept = np.concatenate([kept_before, kept_after])
    answers = _answers(_kernel(table[kept]), rng)
    n_permutations = min(spec.n_permutations, _MOST_PERMUTATIONS)
    labels = dealings(len(kept_before), len(kept_after), n_permutations, rng).astype(np.float64)
    seen = np.r_[np.zeros(len(kept_before)), np.ones(len(kept_after))]
    labels = np.concatenate([seen[None], labels]).T
    aucs = _aucs(answers @ labels, labels)
    p_value = float((1 + (aucs[1:] >= aucs[0] - _TIES).sum()) / (1 + n_permutations))
    is_judged = min(before.n_pools, after.n_pools) >= spec.min_pools
    return DomainTest(float(aucs[0]), p_value, is_judged and p_value <= spec.alpha, len(kept_before), len(kept_after))


def _drawn(n: int, rng: np.random.Generator) -> Any:
    return np.arange(n) if n <= _MOST_POOLS else np.sort(rng.choice(n, _MOST_POOLS, replace=False))


def _described(name: str, kind: Kind, before: Sample, after: Sample, spec: DriftSpec) -> Floats:
    """(pools, figures) of a column."""
    pools = np.concatenate([before.pools, before.n_pools + after.pools])
    weights, n = np.concatenate([before.weights, after.weights]), before.n_pools + after.n_pools
    if kind == "text":
        values = pl.concat([texts(side.frame[name]) for side in (before, after)])
        bins = text_bins(values, weights, spec.n_bins)
        return shares_by_pool(text_codes(values, bins), pools, weights, n, bins.n)
    told = np.concatenate([numbers(side.frame[name]) for side in (before, after)])
    missing = np.bincount(pools, weights=weights * np.isnan(told), minlength=n)
    return np.stack([normal_scores(told, pools, weights, n), missing], axis=1)


def _kernel(table: Floats) -> Floats:
    """How alike two pools are: half a linear kernel, which sees shifts, half a Gaussian one, which sees the rest."""
    spread = table.std(axis=0)
    table = (table - table.mean(axis=0))[:, spread > _TIES] / spread[spread > _TIES]
    if not table.shape[1]:
        return np.eye(len(table))
    product = table @ table.T
    square = np.diag(product)
    apart = np.maximum(square[:, None] + square[None, :] - 2 * product, 0)
    nearness = np.exp(-apart / np.median(apart[apart > _TIES]))
    return np.asarray((product / square.mean() + nearness) / 2, dtype=np.float64)


def _answers(kernel: Floats, rng: np.random.Generator) -> Floats:
    """(pools, pools): times who is new, what the classifier that has not seen a pool says of it."""
    n = len(kernel)
    fold = rng.permutation(n) % N_FOLDS
    answers = np.zeros((n, n))
    for k in range(N_FOLDS):
        asked, learned = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        if len(asked) and len(learned):
            within = kernel[np.ix_(learned, learned)] + _RIDGE * np.eye(len(learned))
            weights = np.linalg.solve(within, kernel[np.ix_(learned, asked)]).T
            # The labels' mean in the training folds is taken off: who is not like anybody gets no answer.
            answers[np.ix_(asked, learned)] = weights - weights.mean(axis=1, keepdims=True)
    return answers


def _aucs(scores: Floats, labels: Floats) -> Floats:
    """Area under the ROC curve of each column (Mann & Whitney), ties half."""
    ranks = rankdata(scores.round(9), axis=0)
    n_new = labels.sum(axis=0)
    above = (ranks * labels).sum(axis=0) - n_new * (n_new + 1) / 2
    return np.asarray(above / (n_new * (len(labels) - n_new)), dtype=np.float64)
