"""Figures of merit, each under many weightings of the rows at once.

Belongs here: formulas over sums (`tallies`). Every function gives (B,) or (B, K) values, one a weighting: a point
estimate is the weighting by ones, a bootstrap is a thousand of them (`intervals`). What is not defined, such as the
recall of a class that does not occur, is NaN here and null in any table, never 0.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pipeline.models.tallies import ClassTally, Floats, Ints, Tally, calibration_bins, row_log_loss, tallies
from pipeline.tables import OUTCOMES

__all__ = ["Floats", "Ints", "average_precision", "calibration_bins", "figures", "murphy", "roc_auc", "row_log_loss"]

OVERALL: Final = "all"
MACRO: Final = "macro"
MURPHY: Final = ("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within_bins")
AT_MOST_ONE: Final = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "ece"})
"""Figures that are shares or chances, whatever the classes."""
BINNED: Final = frozenset({"brier_reliability", "brier_resolution", "brier_within_bins", "ece"})
"""Figures that depend on calibration bins."""

type Figures = dict[tuple[str, str], Floats]


def figures(y: Ints, p: Floats, weights: Floats, *, n_bins: int, classes: Sequence[str] = OUTCOMES) -> Figures:
    """Every figure by (metric, class | 'macro' | 'all'), each (B,), NaN where not defined; ranks are exact.

    Args:
        y: (n,) positions in `classes`. p: (n, K) probabilities. weights: (B, n), >= 0.
        n_bins: bins of equal mass for calibration, of the rows as they are given.
    """
    return from_tally(tallies(y, p, np.arange(len(y)), n_bins=n_bins).weighted(weights.T), classes)


def from_tally(tally: Tally, classes: Sequence[str]) -> Figures:
    """Every figure of some sums.

    Macro is the mean over the classes that occur; it is not defined if the figure is not for one of them. `brier`
    and its parts under 'all' are sums over classes (Brier 1950), under a class that class against the rest.
    """
    n_true, n_said = tally.confusion.sum(axis=2), tally.confusion.sum(axis=1)
    hits, total = np.diagonal(tally.confusion, axis1=1, axis2=2), n_true.sum(axis=1)
    found: Figures = {
        ("accuracy", OVERALL): _ratio(hits.sum(axis=1), total),
        ("log_loss", OVERALL): _ratio(tally.loss, total),
    }
    per_class = {
        "precision": _ratio(hits, n_said),
        "recall": _ratio(hits, n_true),
        "f1": np.where(n_true > 0, _ratio(2 * hits, n_true + n_said), np.nan),
        "roc_auc": np.stack([_auc(c.positive, c.negative) for c in tally.classes], axis=1),
        "pr_auc": np.stack([_average_precision(c.positive, c.negative) for c in tally.classes], axis=1),
    }
    parts = [_murphy(c) for c in tally.classes]
    per_class |= {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}
    for name, values in per_class.items():
        found |= {(name, label): values[:, k] for k, label in enumerate(classes)}
        if name == "brier" or name in MURPHY:
            found[name, OVERALL] = values.sum(axis=1)
        else:
            found[name, MACRO] = _macro(values, n_true > 0)
    return found


def roc_auc(truth: Floats, score: Floats, weights: Floats) -> Floats:
    """Chance that a positive outranks a negative, ties counted half (Mann-Whitney), weighted; (B,).

    >>> roc_auc(np.array([0.0, 1, 1]), np.array([0.1, 0.1, 0.9]), np.ones((1, 3))).tolist()
    [0.75]
    """
    return _auc(*_by_score(truth, score, weights))


def average_precision(truth: Floats, score: Floats, weights: Floats) -> Floats:
    """Area under precision over recall as a sum over thresholds, without interpolation; (B,)."""
    return _average_precision(*_by_score(truth, score, weights))


def murphy(truth: Floats, score: Floats, weights: Floats, *, n_bins: int) -> dict[str, Floats]:
    """One outcome's Brier score with Murphy's (1973) parts, and its calibration error, each (B,).

    brier = reliability - resolution + uncertainty + within_bins, exactly; the last part is what binning hides
    (Stephenson et al. 2008) and is 0 where each bin holds one probability. `ece` is the mean distance between
    what was said and what came, over bins of equal mass. The bins are those of the unweighted rows.
    """
    two = np.stack([1 - score, score], axis=1)
    sums = tallies(truth.astype(np.int64), two, np.arange(len(truth)), n_bins=n_bins)
    return _murphy(sums.weighted(weights.T).classes[1])


def _murphy(c: ClassTally) -> dict[str, Floats]:
    inside = c.positive + c.negative
    mass = np.add.reduceat(inside, c.first_level, axis=1) if len(c.first_level) else inside
    hits = np.add.reduceat(c.positive, c.first_level, axis=1) if len(c.first_level) else inside
    total = mass.sum(axis=1)
    said, came = _ratio(c.said, mass), _ratio(hits, mass)
    share = _ratio(mass, np.broadcast_to(total[:, None], mass.shape))
    base = _ratio(hits.sum(axis=1), total)
    brier = _ratio(c.squared, total)
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


def _auc(positive: Floats, negative: Floats) -> Floats:
    """From the weight of positives and negatives at each level, rising."""
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    return _ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))


def _average_precision(positive: Floats, negative: Floats) -> Floats:
    positive, negative = positive[:, ::-1], negative[:, ::-1]
    hits = np.cumsum(positive, axis=1)
    precision = _ratio(hits, hits + np.cumsum(negative, axis=1))
    return _ratio((positive * np.nan_to_num(precision)).sum(axis=1), positive.sum(axis=1))


def _by_score(truth: Floats, score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, rising; each (B, distinct scores)."""
    order = np.argsort(score, kind="stable")
    rising = score[order]
    starts = np.flatnonzero(np.r_[True, rising[1:] != rising[:-1]])
    in_order = weights[:, order]
    total = np.add.reduceat(in_order, starts, axis=1)
    hits = np.add.reduceat(in_order * truth[order], starts, axis=1)
    return hits, total - hits


def _macro(values: Floats, occurs: Any) -> Floats:
    """Mean over the classes that occur; NaN as soon as one of these is NaN, or where none occurs."""
    n_classes = occurs.sum(axis=1)
    return _ratio(np.where(occurs, values, 0.0).sum(axis=1), n_classes.astype(np.float64))


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, NaN where nothing lies below; no warning, since that is expected."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))
