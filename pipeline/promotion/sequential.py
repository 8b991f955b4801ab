"""The sequential gate: paired losses, pool after pool, until they prove something. Valid under any peeking.

Belongs here: from pairs to one difference a pool, in order; when a wealth decides; the three questions it answers.
Stays out: the bets (`betting`), whose losses these are and when a pool has matured (whoever builds the pairs).

**A pool matures when its whole window is over**: birth + age of the last decision + horizon. Not when its label
happened to be known. Rugs are known early, so by `label_known_at` the rugs of a cohort come first, and a challenger
that is better on rugs and worse elsewhere looks better for a while, which is all that a gate with early looks needs:
the figures are in docs/promotion.md.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.promotion.betting import Floats, wealth_blocks
from pipeline.promotion.spec import BETTER, HARM, BettingSpec
from pipeline.tables import UTC

type Decision = Literal["promote", "continue", "reject"]

LOSSES: Final = ("loss_champion", "loss_challenger")
PAIRS: Final = ("pool", "matured_at", *LOSSES)


@dataclass(frozen=True)
class SequentialVerdict:
    """What the pairs prove by now.

    Attributes:
        decision: what to do.
        wealth: of the bets that the challenger is better, after the last pool that counted.
        wealth_worse: of the mirrored bets; 1 throughout where nobody asked whether it is worse.
        bound: 1/alpha; the first wealth at or above it decides, and nothing after it counts.
        n_pools: pools that counted: up to the decision, or all.
        stopped_at: when the deciding pool matured; None while it continues.
        reason: the same in words.
        path: one row a pool that counted: pool, matured_at, difference, wealth, wealth_worse.
    """

    decision: Decision
    wealth: float
    wealth_worse: float
    bound: float
    n_pools: int
    stopped_at: datetime | None
    reason: str
    path: pl.DataFrame


def sequential_verdict(
    pairs: pl.DataFrame,
    *,
    alpha: float,
    margin: float = 0.0,
    max_pools: int | None = None,
    spec: BettingSpec = BETTER,
    is_mirrored: bool = True,
) -> SequentialVerdict:
    """Is the challenger better by more than the margin? Asked after every pool, at one error rate for all looks.

    Several rows of a pool are averaged; the pool enters once, when its last row matured. Pools of one moment enter in
    the order of their names, which knows nothing of losses. d = clip(loss_champion - loss_challenger, -1, 1) - margin.

    - *promote*: the bets on d > 0 have made 1/alpha of 1. If the mean of d given the past is never above 0, this
      happens with a probability of at most alpha, however often one looks.
    - *reject*: the mirrored bets, on d < 0, have; a challenger that is better by the margin or more suffers this with a
      probability of at most alpha. So at a margin above 0 a challenger that is as good as the champion is rejected too,
      sooner or later: it is not worth the move. Or: `max_pools` pools have passed and proved nothing.
    - *continue*: nothing is proved yet.

    What is tested is the mean of the *clipped* difference: of 0/1 errors the accuracy, of log losses a mean in which no
    pool weighs more than one nat.

    Args:
        pairs: `pool`, `matured_at` (any time zone, not naive), `loss_champion`, `loss_challenger` (finite).
        alpha: chance of promoting a challenger that is not better; `alpha.alpha_of` shares it out.
        margin: by how much it must be better, in units of the loss; in (-1, 1).
        max_pools: the budget; None: no end.
        spec: the bets.
        is_mirrored: whether it may also be rejected for being worse.

    Raises:
        InputError: a column is missing or of the wrong type, there is no row, or a value is null or not finite.
        UsageError: alpha, margin or budget lies outside its range, or alpha is so small that no float holds 2/alpha.
    """
    _require_rule(alpha, margin, max_pools)
    pools = pools_of(pairs)
    return _verdict(pools, alpha, margin, max_pools, spec, is_mirrored=is_mirrored)


def sequential_verdicts(
    pairs: pl.DataFrame,
    by: str,
    *,
    alpha: float,
    margin: float = 0.0,
    max_pools: int | None = None,
    spec: BettingSpec = BETTER,
) -> Iterator[tuple[Any, SequentialVerdict]]:
    """`sequential_verdict` of each experiment, in order of the column `by`; the pairs are sorted once for all of them.

    Raises:
        InputError: see there; also where an experiment is null.
    """
    _require_rule(alpha, margin, max_pools)
    pools = pools_of(pairs, by)
    ends = np.flatnonzero(np.append(pools[by].rle_id().diff(null_behavior="drop").to_numpy() != 0, True)) + 1
    names, pools = pools[by], pools.drop(by)
    for start, end in zip(np.concatenate([[0], ends[:-1]]).tolist(), ends.tolist(), strict=True):
        yield names[start], _verdict(pools[start:end], alpha, margin, max_pools, spec, is_mirrored=True)


def harm_verdict(
    pairs: pl.DataFrame, *, alpha: float = 0.01, margin: float = 0.0, spec: BettingSpec = HARM
) -> SequentialVerdict:
    """Is the model in charge worse than the one before it, which stayed in shadow?

    The same test, sides named by office. *promote* means harm: give the office back. Nothing is ever rejected: that a
    champion was better yesterday is no reason to stop watching it.

    Args:
        pairs: `loss_champion` of the model in charge, `loss_challenger` of the former one, since the change of office.
        alpha: chance of a rollback in its whole reign, if it is never worse.
        margin: harm below this is borne.
        spec: the bets.
    """
    return sequential_verdict(pairs, alpha=alpha, margin=margin, spec=spec, is_mirrored=False)


def pools_of(pairs: pl.DataFrame, *by: str) -> pl.DataFrame:
    """One row a pool, in the order in which they enter: `by`, pool, matured_at, `difference` (clipped).

    Raises:
        InputError: see `sequential_verdict`.
    """
    _require_sound(pairs, by)
    keys, losses = [*by, "pool"], pl.col(*LOSSES).cast(pl.Float64)
    rows = pairs.select(*keys, pl.col("matured_at").dt.convert_time_zone("UTC").cast(UTC), losses)
    if rows.select(keys).is_duplicated().any():
        # Sorted, so that a mean does not depend on the order of the rows, to the last bit.
        ordered = rows.sort(*keys, *LOSSES)
        rows = ordered.group_by(keys, maintain_order=True).agg(pl.col("matured_at").max(), pl.col(LOSSES).mean())
        _require_finite(rows, "pools whose mean of {name!r} no float holds: losses are that large")
    difference = (pl.col("loss_champion") - pl.col("loss_challenger")).clip(-1.0, 1.0)
    return rows.select(*keys, "matured_at", difference=difference).sort(*by, "matured_at", "pool")


def _verdict(
    pools: pl.DataFrame,
    alpha: float,
    margin: float,
    max_pools: int | None,
    spec: BettingSpec,
    *,
    is_mirrored: bool,
) -> SequentialVerdict:
    """The verdict over pools in order."""
    within = pools.head(min(max_pools, pools.height)) if max_pools else pools
    difference = within["difference"].to_numpy() - margin
    path = _path(difference, alpha, 1 + abs(margin), spec, is_mirrored=is_mirrored)
    better, worse = (float(v) for v in path[-1])
    n, bound = len(path), 1 / alpha
    told = {"difference": difference[:n], "wealth": path[:, 0], "wealth_worse": path[:, 1]}
    counted = pl.DataFrame([within["pool"][:n], within["matured_at"][:n], *(pl.Series(*item) for item in told.items())])
    decision, reason = _judge(better, worse, n, bound, margin, max_pools)
    stopped_at = None if decision == "continue" else counted["matured_at"][-1]
    return SequentialVerdict(decision, better, worse, bound, n, stopped_at, reason, counted)


def _path(difference: Floats, alpha: float, reach: float, spec: BettingSpec, *, is_mirrored: bool) -> Floats:
    """(n, 2) the wealth of both sides, up to and with the first that reaches 1/alpha.

    The wealth itself is compared, as `_judge` does, and not its logarithm: exp(-log(alpha)) is mostly not 1/alpha to
    the last bit, and a path that stopped a bit early would never be judged.
    """
    sides = np.stack([difference, -difference] if is_mirrored else [difference], axis=1)
    blocks = []
    for logs in wealth_blocks(sides, alpha=alpha, reach=reach, spec=spec):
        with np.errstate(over="ignore"):  # only beyond the crossing, where nothing counts
            wealth = np.exp(logs)
        crossed = np.flatnonzero((wealth >= 1 / alpha).any(axis=1))
        blocks.append(wealth[: crossed[0] + 1] if len(crossed) else wealth)
        if len(crossed):
            break
    path: Floats = np.concatenate(blocks)
    return path if is_mirrored else np.column_stack([path, np.ones(len(path))])


def _judge(
    better: float, worse: float, n: int, bound: float, margin: float, max_pools: int | None
) -> tuple[Decision, str]:
    """The decision, and why, in words."""
    by = f" by more than {margin:g}" if margin else ""
    if better >= bound:
        return "promote", f"better{by}: a wealth of {better:.1f} after {n} pools, {bound:.4g} was asked for"
    if worse >= bound:
        what = f"not better{by}" if margin else "worse"
        return "reject", f"{what}: the mirrored wealth is {worse:.1f} after {n} pools, {bound:.4g} was asked for"
    if max_pools and n >= max_pools:
        return (
            "reject",
            f"the budget of {max_pools} pools is spent, the wealth {better:.3g}; {bound:.4g} was asked for",
        )
    return "continue", f"nothing is proved: a wealth of {better:.3g} after {n} pools, {bound:.4g} is asked for"


def _require_rule(alpha: float, margin: float, max_pools: int | None) -> None:
    if not (0 < alpha < 1 and -1 < margin < 1 and (max_pools is None or max_pools >= 1)):
        budget = "no budget" if max_pools is None else f"a budget of {max_pools!r} pools"
        raise UsageError(
            f"cannot judge at alpha {alpha!r}, margin {margin!r}, {budget}: it needs alpha in"
            " (0, 1), a margin in (-1, 1) and a budget of one pool or more, or none"
        )
    if not math.isfinite(2 / float(alpha)):  # the wealth that decides is below twice the bound
        raise UsageError(
            f"cannot judge at alpha {alpha!r}: no float holds twice 1/alpha, so no wealth reaches it; raise it"
        )


def _require_sound(pairs: pl.DataFrame, by: tuple[str, ...]) -> None:
    """Raise InputError for the first thing that makes these rows no pairs."""
    lacking = [name for name in (*by, *PAIRS) if name not in pairs.columns]
    if lacking:
        raise InputError(f"read pairs: no columns {lacking!r} among {pairs.columns!r}; needed are {(*by, *PAIRS)!r}")
    if pairs.is_empty():
        raise InputError("read pairs: there is no row, so there is nothing to judge")
    moment = pairs.schema["matured_at"]
    if not isinstance(moment, pl.Datetime) or moment.time_zone is None:
        raise InputError(f"read pairs: 'matured_at' holds {moment}, not moments with a time zone: say which, best UTC")
    for name in LOSSES:
        if not (pairs.schema[name].is_numeric() or pairs.schema[name] == pl.Boolean):
            raise InputError(f"read pairs: {name!r} holds {pairs.schema[name]}, not numbers")
    nulls = {name: n for name in (*by, *PAIRS) if (n := pairs[name].null_count())}
    if nulls:
        raise InputError(f"read pairs: missing values, by column: {nulls!r}; leave out what has not matured")
    _require_finite(pairs, "values of {name!r} are NaN or infinite: clip probabilities first")


def _require_finite(rows: pl.DataFrame, told: str) -> None:
    for name in LOSSES:
        n_bad = int((~rows[name].cast(pl.Float64).is_finite()).sum())
        if n_bad:
            raise InputError(f"read pairs: {n_bad:,} {told.format(name=name)}")
