"""What figures of a million predictions cost, beside scikit-learn; and how often the intervals hold the truth.

    python benchmarks/evaluation.py [--rows 1000000] [--pools 100000] [--json]
    python benchmarks/evaluation.py --coverage [--trials 1000] [--json]

The time is the process's own (CPU), so that a busy machine does not count. scikit-learn gives the point figures only:
a bootstrap with it would take that time once a resample. Coverage: three classes, four rows a pool that share most of
their outcome, an overconfident model; the truth is that of 400,000 pools.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn import metrics as sk

from pipeline.models.intervals import interval, resampled, with_intervals
from pipeline.models.metrics import AT_MOST_ONE, figures
from pipeline.tables import OUTCOMES

ABC = ("a", "b", "c")
WATCHED = (
    ("accuracy", "all"), ("log_loss", "all"), ("f1", "macro"), ("roc_auc", "macro"), ("pr_auc", "macro"),
    ("brier", "all"), ("brier_reliability", "all"), ("brier_resolution", "all"), ("ece", "macro"),
)  # fmt: skip
CONTEXT: dict[str, Any] = {"predictor": "m", "block": "b", "decision_age_hours": None}


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def of_scikit_learn(y: Any, p: Any) -> None:
    """The same point figures, in scikit-learn's fastest words for them."""
    said = p.argmax(axis=1)
    sk.accuracy_score(y, said)
    sk.precision_recall_fscore_support(y, said, zero_division=0)
    sk.log_loss(y, p)
    for k in range(p.shape[1]):
        sk.roc_auc_score(y == k, p[:, k])
        sk.average_precision_score(y == k, p[:, k])
        sk.brier_score_loss(y == k, p[:, k])


def cost(n_rows: int, n_pools: int) -> dict[str, float]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 7, n_rows)
    p = rng.dirichlet(np.ones(7), n_rows) + 0.3 * np.eye(7)[y]
    p /= p.sum(axis=1, keepdims=True)
    pool = rng.integers(0, n_pools, n_rows)

    def ours(n_resamples: int) -> float:
        rules = {"n_resamples": n_resamples, "confidence": 0.95, "n_bins": 10, "seed": 1}
        return seconds(lambda: with_intervals(y, p, pool, classes=OUTCOMES, **rules, **CONTEXT))

    theirs, point = seconds(lambda: of_scikit_learn(y, p)), ours(0)
    whole = ours(1_000)
    return {
        "rows": n_rows,
        "pools": n_pools,
        "scikit_learn_point_s": theirs,
        "point_s": point,
        "point_over_scikit_learn": point / theirs,
        "point_and_1000_resamples_s": whole,
        "bootstrap_over_1000_times_scikit_learn": whole / (1_000 * theirs),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def world(rng: np.random.Generator, n_pools: int, n_each: int = 4) -> tuple[Any, Any, Any]:
    logits = np.array([0.0, 0.5, -1.2]) + rng.normal(size=(n_pools, 1, 3)) + 0.5 * rng.normal(size=(n_pools, n_each, 3))
    shared = (logits[:, :1] + rng.gumbel(size=(n_pools, 1, 3))).argmax(axis=2)
    own = (logits + rng.gumbel(size=logits.shape)).argmax(axis=2)
    y = np.where(rng.random(own.shape) < 0.7, shared, own)
    p = np.exp(1.4 * logits)
    p /= p.sum(axis=2, keepdims=True)
    return y.ravel(), p.reshape(-1, 3), np.repeat(np.arange(n_pools), n_each)


def coverage(n_pools: int, n_trials: int) -> dict[str, float]:
    rng = np.random.default_rng(1)
    y, p, _ = world(rng, 400_000)
    one = np.ones((1, len(y)))
    truth = {key: value[0] for key, value in figures(y, p, one, n_bins=10, classes=ABC).items()}
    held: dict[tuple[str, str], list[bool]] = {key: [] for key in WATCHED}
    for trial in range(n_trials):
        y, p, pool = world(rng, n_pools)
        draws = resampled(y, p, pool, n_resamples=400, n_bins=10, seed=trial, classes=ABC)
        point = figures(y, p, np.ones((1, len(y))), n_bins=10, classes=ABC)
        for key in WATCHED:
            ceiling = 1.0 if key[0] in AT_MOST_ONE else np.inf
            low, high = interval(draws[key], point[key][0], n_pools, 0.95, ceiling)
            if low is not None and high is not None:
                held[key].append(low <= truth[key] <= high)
    return {f"{metric}/{outcome}": float(np.mean(found)) for (metric, outcome), found in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pools", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    if told.coverage:
        found = [{"pools": n, **coverage(n, told.trials)} for n in (10, 30, 100, 300)]
    else:
        found = [cost(told.rows, n) for n in told.pools]
    if told.json:
        print(json.dumps(found, indent=1))
        return
    table = Table(*found[0])
    for row in found:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for value in row.values()))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
