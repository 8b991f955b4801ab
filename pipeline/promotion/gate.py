"""The offline A/B gate: does a challenger beat an opponent on the same pools, provably?

Belongs here: the paired comparison of two sets of losses and the verdict drawn from several of them.
Stays out: making predictions (the models), shadow running, writing a move down (`ledger`) and making it (`registry`).

The statistical unit is the pool. Snapshots of one pool are not independent, so a pool's rows are averaged first, and
everything after that - means, bootstrap, McNemar - counts pools.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.calendars import require_utc
from pipeline.errors import InputError, UsageError
from pipeline.promotion.spec import Loss, PromotionSpec
from pipeline.tables import COMPARISONS

type Floats = NDArray[np.float64]

_CELLS: Final = 2_000_000
"""Pools drawn at once in the bootstrap: 16 MB an array, whatever the number of pools."""


@dataclass(frozen=True)
class Comparison:
    """One challenger against one opponent, pool by pool.

    Gains are shares: 0.08 means that the challenger's loss is 8 % lower. `n_challenger_only` and
    `n_opponent_only` are the pools that one side alone got right (McNemar's discordant pairs). `digest` is the
    SHA-256 over both sides' rows and the rule, whatever the order of the rows.
    """

    n_pools: int
    n_rows: int
    loss: Loss
    loss_challenger: float
    loss_opponent: float
    gain: float
    gain_low: float
    gain_high: float
    n_challenger_only: int
    n_opponent_only: int
    mcnemar_p: float
    is_passed: bool
    reason: str
    digest: str


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may take charge at once, why, and the opponents it did not beat."""

    is_promoted: bool
    reason: str
    unbeaten: tuple[str, ...]


def compare_offline(
    pools: NDArray[Any],
    loss_challenger: Floats,
    loss_opponent: Floats,
    correct_challenger: NDArray[np.bool_],
    correct_opponent: NDArray[np.bool_],
    *,
    spec: PromotionSpec,
) -> Comparison:
    """Compare two models on the same rows, the pool being the unit.

    Gain = 1 - mean(challenger) / mean(opponent), both means over pools of the pool's mean loss. Its interval is
    the percentile interval of `spec.n_resamples` bootstrap draws of whole pools (Efron & Tibshirani 1993, ch. 13),
    both sides drawn together. The gate: gain > `spec.min_gain`, and the interval's lower end > 0, on at least
    `spec.min_pools` pools. McNemar's exact test (1947) on pools stands beside the gate and decides nothing.

    A side has a pool right when it has more than half of its rows right; exactly half is a tie and counts as wrong,
    for both sides alike. The order of the rows changes nothing, not even the last bit.

    Args:
        pools: (n_rows,) the pool of each row.
        loss_challenger: (n_rows,) the loss that the spec names, finite, >= 0.
        loss_opponent: the same of the opponent.
        correct_challenger: (n_rows,) whether the row was called right.
        correct_opponent: the same of the opponent.
        spec: the rule.

    Raises:
        InputError: no rows, lengths that differ, a loss that is negative or not finite, losses whose mean or ratio no
            float holds, or a pool in which the opponent's loss is zero (`losses` clips, so that none is).

    >>> pools = np.array(["a", "a", "b", "c"])
    >>> right = np.array([True, True, True, False])
    >>> lone = PromotionSpec(min_pools=2)
    >>> done = compare_offline(pools, np.array([1.0, 3, 1, 3]), np.array([2.0, 2, 4, 4]), right, right, spec=lone)
    >>> done.n_pools, done.loss_challenger, round(done.loss_opponent, 4), round(done.gain, 4)
    (3, 2.0, 3.3333, 0.4)
    """
    rows = _Rows.checked(pools, loss_challenger, loss_opponent, correct_challenger, correct_opponent)
    challenger, opponent = rows.by_pool(rows.loss_challenger), rows.by_pool(rows.loss_opponent)
    if opponent.min() <= 0:
        raise InputError("compared two models: the opponent's loss in a pool is 0, so a relative gain has no meaning")
    _require_countable(challenger, opponent)
    gain = float(1 - challenger.mean() / opponent.mean())
    tail = 50 * (1 - spec.confidence)
    low, high = (float(v) for v in np.percentile(_bootstrap_gains(challenger, opponent, spec), [tail, 100 - tail]))
    right, opponent_right = rows.by_pool(rows.correct_challenger) > 0.5, rows.by_pool(rows.correct_opponent) > 0.5
    only, opponent_only = int((right & ~opponent_right).sum()), int((~right & opponent_right).sum())
    is_passed, reason = _judge(gain, low, len(challenger), spec)
    return Comparison(
        n_pools=len(challenger),
        n_rows=len(rows.codes),
        loss=spec.loss,
        loss_challenger=float(challenger.mean()),
        loss_opponent=float(opponent.mean()),
        gain=gain,
        gain_low=low,
        gain_high=high,
        n_challenger_only=only,
        n_opponent_only=opponent_only,
        mcnemar_p=mcnemar_exact(only, opponent_only),
        is_passed=is_passed,
        reason=reason,
        digest=rows.digest(spec),
    )


def mcnemar_exact(n_one_only: int, n_other_only: int) -> float:
    """Two-sided exact p-value of McNemar's test from its two discordant counts; 1 where there are none.

    Twice the lower tail of Binomial(n, 1/2), at most 1, summed in logarithms so that thousands of pools do not
    overflow.

    >>> round(mcnemar_exact(1, 5), 6)  # 2 * (1 + 6) / 2**6
    0.21875
    >>> mcnemar_exact(0, 0)
    1.0
    """
    n, k = n_one_only + n_other_only, min(n_one_only, n_other_only)
    i = np.arange(1, k + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((n - i + 1) / i))])
    log_tail = float(np.logaddexp.reduce(log_choose)) - n * np.log(2)
    return float(min(1.0, 2 * np.exp(log_tail)))


def beats_all(comparisons: Mapping[str, Comparison]) -> Verdict:
    """Whether a challenger beats every opponent by the same rule: who does not, stays where it is.

    Demanding all of them needs no correction for many tests: a challenger that does not beat one baseline passes
    with at most the error of that one comparison (intersection-union test, Berger 1982). Opponents that say the same
    (momentum with a slope of 0 is no forecast) are one proof: who beats all is told how many were different.

    Args:
        comparisons: opponent (`baseline:NAME`, `version:N`) -> its comparison.

    Raises:
        UsageError: there is nothing to compare with.
    """
    if not comparisons:
        raise UsageError("asked for a verdict without one opponent to beat: compare with every baseline first")
    unbeaten = tuple(name for name, done in comparisons.items() if not done.is_passed)
    if not unbeaten:
        told = f"beats all {len(comparisons)} opponents: {', '.join(comparisons)}{_twins(comparisons)}"
        return Verdict(True, told, ())
    told = "; ".join(f"{name}: {comparisons[name].reason}" for name in unbeaten)
    return Verdict(False, f"does not beat {len(unbeaten)} of {len(comparisons)} opponents. {told}", unbeaten)


def _twins(comparisons: Mapping[str, Comparison]) -> str:
    """Which opponents lost the same on every row as one before them, and how many differ; empty where all do."""
    first: dict[str, str] = {}
    same = [
        f"{name} has the losses of {first[done.digest]}"
        for name, done in comparisons.items()
        if first.setdefault(done.digest, name) != name
    ]
    return f" (different ones: {len(first)}, as {' and '.join(same)})" if same else ""


def comparison_row(
    comparison: Comparison, *, model_name: str, challenger_version: int, opponent: str, known_at: datetime
) -> pl.DataFrame:
    """The comparison as one row of `tables.COMPARISONS`; the same comparison always gets the same `comparison_id`.

    Args:
        comparison: what was measured.
        model_name: the registered model.
        challenger_version: the version that asked to take over.
        opponent: `version:N` or `baseline:NAME`.
        known_at: when the verdict was reached, UTC.
    """
    sides = json.dumps([comparison.digest, model_name, challenger_version, opponent])
    row = {
        "comparison_id": hashlib.sha256(sides.encode()).hexdigest(),
        "known_at": require_utc(known_at),
        "procedure": "offline",
        "model_name": model_name,
        "challenger_version": challenger_version,
        "opponent": opponent,
        "n_pools": comparison.n_pools,
        "loss": comparison.loss,
        "loss_challenger": comparison.loss_challenger,
        "loss_opponent": comparison.loss_opponent,
        "gain_pct": 100 * comparison.gain,
        "gain_low_pct": 100 * comparison.gain_low,
        "gain_high_pct": 100 * comparison.gain_high,
        "mcnemar_p": comparison.mcnemar_p,
        "is_passed": comparison.is_passed,
        "reason": comparison.reason,
    }
    return pl.DataFrame([row], schema=COMPARISONS.schema)


@dataclass(frozen=True)
class _Rows:
    """Rows in one canonical order, `codes` numbering the pools from 0, so that sums do not depend on the caller's."""

    names: NDArray[Any]
    codes: NDArray[np.int64]
    loss_challenger: Floats
    loss_opponent: Floats
    correct_challenger: Floats
    correct_opponent: Floats

    @classmethod
    def checked(cls, pools: NDArray[Any], *columns: NDArray[Any]) -> "_Rows":
        """The rows, ordered; raises InputError where the columns do not make a comparison."""
        values = [np.asarray(column, dtype=np.float64) for column in columns]
        if len(pools) == 0:
            raise InputError("compared two models: there is no row, so there is nothing to compare")
        if any(v.shape != (len(pools),) for v in values):
            raise InputError(
                f"compared two models: {len(pools)} pools and columns of shapes {[v.shape for v in values]};"
                " every row needs one value of each"
            )
        for name, loss in zip(("challenger", "opponent"), values, strict=False):
            n_bad = len(loss) - int((np.isfinite(loss) & (loss >= 0)).sum())
            if n_bad:
                raise InputError(
                    f"compared two models: {n_bad:,} of the {len(loss):,} losses of the {name} are negative, NaN or"
                    " infinite; a loss must be finite and >= 0"
                )
        names, codes = np.unique(np.asarray(pools), return_inverse=True)
        order = np.lexsort([*reversed(values), codes])
        return cls(names, codes[order].astype(np.int64), *(v[order] for v in values))

    def by_pool(self, values: Floats) -> Floats:
        """(n_pools,) the mean of each pool's rows."""
        means: Floats = np.bincount(self.codes, weights=values) / np.bincount(self.codes)
        return means

    def digest(self, spec: PromotionSpec) -> str:
        """SHA-256 over the rows and the rule."""
        told = hashlib.sha256(json.dumps([asdict(spec), self.names.astype(str).tolist()], sort_keys=True).encode())
        told.update(self.codes.astype("<i8").tobytes())
        for values in (self.loss_challenger, self.loss_opponent, self.correct_challenger, self.correct_opponent):
            told.update(values.astype("<f8").tobytes())
        return told.hexdigest()


def _require_countable(challenger: Floats, opponent: Floats) -> None:
    """Raise InputError where a sum over pools, or a gain in per cent, could leave the range of floats in some draw."""
    for name, losses in (("challenger", challenger), ("opponent", opponent)):
        if not math.isfinite(float(losses.max()) * len(losses)):
            raise InputError(
                f"compared two models: the {name}'s losses are so large that no float holds their mean over"
                f" {len(losses):,} pools"
            )
    if not math.isfinite(100 * float(challenger.max()) / float(opponent.min())):
        raise InputError(
            f"compared two models: losses from {float(opponent.min()):.3g} to {float(challenger.max()):.3g} are too far"
            " apart for a relative gain"
        )


def _bootstrap_gains(challenger: Floats, opponent: Floats, spec: PromotionSpec) -> Floats:
    """(n_resamples,) gains of samples of whole pools, drawn with replacement, a bounded number at a time."""
    rng = np.random.default_rng(spec.seed)
    n_pools, gains = len(challenger), np.empty(spec.n_resamples)
    step = max(1, _CELLS // n_pools)
    for start in range(0, spec.n_resamples, step):
        drawn = rng.integers(0, n_pools, size=(min(step, spec.n_resamples - start), n_pools))
        gains[start : start + len(drawn)] = 1 - challenger[drawn].mean(axis=1) / opponent[drawn].mean(axis=1)
    return gains


def _judge(gain: float, low: float, n_pools: int, spec: PromotionSpec) -> tuple[bool, str]:
    """The written rule, and the verdict in words."""
    named = spec.loss.replace("_", " ")
    side = "lower" if gain >= 0 else "higher"
    found = f"{named} {100 * abs(gain):.1f} % {side} over {n_pools} pools, lower end of the gain {100 * low:.1f} %"
    if n_pools < spec.min_pools:
        return False, f"{found}: fewer than {spec.min_pools} pools prove nothing"
    if gain <= spec.min_gain:
        return False, f"{found}: the gain must exceed {100 * spec.min_gain:g} %"
    if low <= 0:
        return False, f"{found}: the interval's lower end must lie above 0"
    return True, f"{found}: passes"
