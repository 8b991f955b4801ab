"""Whether the loss went up: observed where labels are out, estimated where they are not.

Belongs here: the increase of a mean over pools, its p-value, its lower bound. Stays out: which rows are compared
(`windows`), what follows from it (`alarm`).

**Observed** is the log loss of what came. **Estimated** is the loss that the model's own probabilities expect,
sum -p ln p, their entropy: the loss itself as far as the model is calibrated (confidence-based performance estimation;
Garg et al. 2022, "Leveraging unlabeled data to predict out-of-distribution performance"; Kivimäki et al. 2025,
"Confidence-based estimators for predictive performance in model monitoring"). Both sides are estimated in the same way,
so a constant error of calibration cancels. It sees pools becoming harder to tell apart. It does not see that the same
features came to mean something else: a model that is wrong with confidence expects no loss. Only labels tell that.

**Three conditions**, as none of them suffices. The p-value permutes pools, and is exact if pools are independent;
pools of one day are not, so the increase must also exceed what single days of the reference differ by anyhow (`usual`);
and an increase that is certain may be too small to matter, so it has a floor.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from pipeline.monitoring.drift.divergence import Floats
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import mean_of_pools
from pipeline.tables import OUTCOMES

SMALLEST: Final = 1e-15
"""A probability below this counts as this much, as it does in `outcomes`."""
_BLOCK: Final = 200


@dataclass(frozen=True)
class Harm:
    """The increase of a mean loss over pools; figures are None where there are too few pools to tell."""

    n_reference_pools: int
    n_current_pools: int
    mean_reference: float | None = None
    mean_current: float | None = None
    increase_low: float | None = None
    usual: float | None = None
    p_value: float | None = None
    is_up: bool | None = None


def with_losses(rows: pl.DataFrame, label: str | None) -> pl.DataFrame:
    """Rows with `p_OUTCOME` and, as `loss`, the log loss of what came (`label`) or what they expect (None)."""
    told = {outcome: pl.col(f"p_{outcome}").clip(SMALLEST, 1.0) for outcome in OUTCOMES}
    if label is None:
        return rows.with_columns(loss=-pl.sum_horizontal(p * p.log() for p in told.values()))
    came = pl.coalesce(pl.when(pl.col(label) == outcome).then(p) for outcome, p in told.items())
    return rows.with_columns(loss=-came.log()).filter(pl.col("loss").is_not_null())


def loss_up(reference: pl.DataFrame, current: pl.DataFrame, spec: WatchSpec, seed: int) -> Harm:
    """Whether the mean loss of pools is higher than in the reference.

    Args:
        reference: `network`, `pool`, `born`, `loss`, one or more rows a pool.
        current: the same of what is looked at.
        seed: of permutations and draws.
    """
    before, after = (mean_of_pools(rows, ["loss"]) for rows in (reference, current))
    if min(before.height, after.height) < spec.min_pools:
        return Harm(before.height, after.height)
    old, new = before["loss"].to_numpy(), after["loss"].to_numpy()
    rng = np.random.default_rng(seed)
    increase = float(new.mean() - old.mean())
    p_value = _permuted_p(old, new, spec.n_resamples, rng)
    low = _lower_bound(old, new, spec.n_resamples, spec.harm_alpha, rng)
    usual = day_to_day(before, spec)
    is_up = p_value <= spec.harm_alpha and low > 0 and increase >= spec.min_increase and increase > (usual or 0.0)
    return Harm(before.height, after.height, float(old.mean()), float(new.mean()), low, usual, p_value, is_up)


def day_to_day(before: pl.DataFrame, spec: WatchSpec) -> float | None:
    """The most that a day's mean lies above that of the other days; None with too few days.

    Args:
        before: `loss` and `day`, one row a pool.
    """
    _, day = np.unique(before["day"].to_physical().to_numpy(), return_inverse=True)
    n, total = np.bincount(day), np.bincount(day, weights=before["loss"].to_numpy())
    told = n >= spec.min_day_pools
    if told.sum() < spec.min_days:
        return None
    return max(0.0, float(np.max((total / n - (total.sum() - total) / (n.sum() - n))[told])))


def _permuted_p(old: Floats, new: Floats, n_draws: int, rng: np.random.Generator) -> float:
    """(1 + the permutations of pools whose increase is no smaller) / (1 + permutations), one-sided."""
    both, n_new = np.concatenate([old, new]), len(new)
    # The total is the same in every permutation, so the increase grows with the sum of the new ones alone.
    observed, seen = float(new.sum()), 0
    for start in range(0, n_draws, _BLOCK):
        shuffled = rng.permuted(np.tile(both, (min(_BLOCK, n_draws - start), 1)), axis=1)
        seen += int((shuffled[:, :n_new].sum(axis=1) >= observed - 1e-9).sum())
    return (1 + seen) / (1 + n_draws)


def _lower_bound(old: Floats, new: Floats, n_draws: int, alpha: float, rng: np.random.Generator) -> float:
    """The alpha-quantile of the increase over draws of pools with replacement, each side by itself."""
    draws = []
    for start in range(0, n_draws, _BLOCK):
        rows = min(_BLOCK, n_draws - start)
        means = [side[rng.integers(0, len(side), (rows, len(side)))].mean(axis=1) for side in (new, old)]
        draws.append(means[0] - means[1])
    return float(np.quantile(np.concatenate(draws), alpha))
