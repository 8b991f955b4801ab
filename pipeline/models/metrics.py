"""Figures of merit, each for many weightings of the rows at once.

Belongs here: formulas. Every function takes weights (B, n), one row a weighting, and gives (B,) or (B, 7) values:
a point estimate is the weighting by ones, a bootstrap is a thousand of them (`intervals`). What is not defined, such
as the recall of a class that does not occur, is NaN here and null in any table, never 0.
"""

from typing import Any, Final

import numpy as np

from pipeline.tables import OUTCOMES

type Floats = np.ndarray[Any, np.dtype[np.float64]]
type Ints = np.ndarray[Any, np.dtype[np.int64]]

OVERALL: Final = "all"
MACRO: Final = "macro"
MURPHY: Final = ("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within_bins")


def figures(y: Ints, p: Floats, weights: Floats, *, n_bins: int) -> dict[tuple[str, str], Floats]:
    """Every figure by (metric, outcome | 'macro' | 'all'), each (B,), NaN where not defined.

    Macro is the mean over the outcomes that occur; it is not defined if the figure is not for one of them. `brier`
    and its parts under 'all' are sums over outcomes (Brier 1950), under an outcome that outcome against the rest.

    Args:
        y: (n,) positions in `OUTCOMES`. p: (n, 7) probabilities. weights: (B, n), >= 0.
        n_bins: bins of equal mass for calibration.
    """
    found: dict[tuple[str, str], Floats] = {
        ("accuracy", OVERALL): _mean((p.argmax(axis=1) == y).astype(np.float64), weights),
        ("log_loss", OVERALL): _mean(row_log_loss(y, p), weights),
    }
    truth = np.eye(len(OUTCOMES))[y]
    occurs = weights @ truth > 0
    per_class = {**counts_figures(y, p, weights)}
    for name, ranked in (("roc_auc", roc_auc), ("pr_auc", average_precision)):
        per_class[name] = np.stack([ranked(truth[:, k], p[:, k], weights) for k in range(len(OUTCOMES))], axis=1)
    parts = [murphy(truth[:, k], p[:, k], weights, n_bins=n_bins) for k in range(len(OUTCOMES))]
    for name in parts[0]:
        per_class[name] = np.stack([part[name] for part in parts], axis=1)
    for name, values in per_class.items():
        found |= {(name, outcome): values[:, k] for k, outcome in enumerate(OUTCOMES)}
        if name == "brier" or name in MURPHY:
            found[name, OVERALL] = values.sum(axis=1)
        else:
            found[name, MACRO] = _macro(values, occurs)
    return found


def row_log_loss(y: Ints, p: Floats) -> Floats:
    """-ln of the probability given to what came, per row, in nats; a zero counts as the smallest float."""
    return np.asarray(-np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).tiny)))


def counts_figures(y: Ints, p: Floats, weights: Floats) -> dict[str, Floats]:
    """Precision, recall and F1 of each outcome, (B, 7), the most probable outcome being the answer."""
    one_hot = np.eye(len(OUTCOMES))
    truth, said = one_hot[y], one_hot[p.argmax(axis=1)]
    hits, n_true, n_said = weights @ (truth * said), weights @ truth, weights @ said
    f1 = np.where(n_true > 0, _ratio(2 * hits, n_true + n_said), np.nan)
    return {"precision": _ratio(hits, n_said), "recall": _ratio(hits, n_true), "f1": f1}


def roc_auc(truth: Floats, score: Floats, weights: Floats) -> Floats:
    """Chance that a positive outranks a negative, ties counted half (Mann-Whitney), weighted; (B,).

    >>> roc_auc(np.array([0.0, 1, 1]), np.array([0.1, 0.1, 0.9]), np.ones((1, 3))).tolist()
    [0.75]
    """
    positive, negative = _by_score(truth, score, weights)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    return _ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))


def average_precision(truth: Floats, score: Floats, weights: Floats) -> Floats:
    """Area under precision over recall as a sum over thresholds, without interpolation; (B,)."""
    positive, negative = (part[:, ::-1] for part in _by_score(truth, score, weights))
    hits = np.cumsum(positive, axis=1)
    precision = _ratio(hits, hits + np.cumsum(negative, axis=1))
    return _ratio((positive * np.nan_to_num(precision)).sum(axis=1), positive.sum(axis=1))


def calibration_bins(score: Floats, n_bins: int) -> Ints:
    """A bin for each probability: equal mass by rank, equal values always together.

    Where there are no more than `n_bins` distinct values, each is a bin of its own, and Murphy's parts are exact.
    """
    distinct, at = np.unique(score, return_inverse=True)
    if len(distinct) <= n_bins:
        return at.astype(np.int64)
    first = np.searchsorted(np.sort(score), score, side="left")
    return (first * n_bins // len(score)).astype(np.int64)


def murphy(truth: Floats, score: Floats, weights: Floats, *, n_bins: int) -> dict[str, Floats]:
    """One outcome's Brier score with Murphy's (1973) parts, and its calibration error, each (B,).

    brier = reliability - resolution + uncertainty + within_bins, exactly; the last part is what binning hides
    (Stephenson et al. 2008) and is 0 where each bin holds one probability. `ece` is the mean distance between
    what was said and what came, over bins of equal mass. The bins are those of the unweighted rows.
    """
    inside = np.eye(int(at.max()) + 1)[at] if len(at := calibration_bins(score, n_bins)) else np.zeros((0, 1))
    mass = weights @ inside
    said, came = _ratio(weights @ (inside * score[:, None]), mass), _ratio(weights @ (inside * truth[:, None]), mass)
    total = weights.sum(axis=1)
    share = _ratio(mass, np.broadcast_to(total[:, None], mass.shape))
    base = _mean(truth, weights)
    brier = _mean((score - truth) ** 2, weights)
    reliability = np.nansum(share * (said - came) ** 2, axis=1)
    resolution = np.nansum(share * (came - base[:, None]) ** 2, axis=1)
    uncertainty = base * (1 - base)
    return {
        "brier": brier,
        "brier_reliability": reliability,
        "brier_resolution": resolution,
        "brier_uncertainty": uncertainty,
        "brier_within_bins": brier - (reliability - resolution + uncertainty),
        "ece": np.nansum(share * np.abs(said - came), axis=1),
    }


def _by_score(truth: Floats, score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, rising; each (B, distinct scores)."""
    order = np.argsort(score, kind="stable")
    rising = score[order]
    starts = np.flatnonzero(np.r_[True, rising[1:] != rising[:-1]])
    in_order = weights[:, order]
    positive = in_order * truth[order]
    total = np.add.reduceat(in_order, starts, axis=1)
    hits = np.add.reduceat(positive, starts, axis=1)
    return hits, total - hits


def _macro(values: Floats, occurs: Any) -> Floats:
    """Mean over the outcomes that occur; NaN as soon as one of these is NaN, or where none occurs."""
    n_classes = occurs.sum(axis=1)
    return _ratio(np.where(occurs, values, 0.0).sum(axis=1), n_classes.astype(np.float64))


def _mean(values: Floats, weights: Floats) -> Floats:
    return _ratio(weights @ values, weights.sum(axis=1))


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, NaN where nothing lies below; no warning, since that is expected."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))
