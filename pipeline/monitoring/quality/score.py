"""From what was measured to points: each part of the score from 0 to 100, and the score over all of them.

    score = (weighted mean of the parts + worst part but for balance) / 2

Belongs here: the formulas, as functions of measured figures, so that worse figures never give more points. Half of a
score is its worst part: what one part has lost the others cannot make up for. Balance
is no such part, since a quiet market is no fault of the data. A part that does not apply is left out
and the weights of the others count for more. Stays out: measuring.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pipeline.monitoring.quality.columns import Measured
from pipeline.monitoring.quality.rows import evenness
from pipeline.monitoring.quality.spec import QualitySpec


@dataclass(frozen=True)
class Usual:
    """What was usual in earlier reports: medians over those that were above the floor. Empty: nobody knows.

    `null` and `outlying` are shares by column; `null_spread` and `outlying_spread` are how far they stray: three times
    the standard deviation that a normal distribution of their MAD has.
    """

    null: Mapping[str, float]
    outlying: Mapping[str, float]
    null_spread: Mapping[str, float] = field(default_factory=dict)
    outlying_spread: Mapping[str, float] = field(default_factory=dict)

    def allowed_null(self, column: str, margin: float) -> float:
        """How much of a column may be missing."""
        return _allowed(self.null.get(column, 0.0), self.null_spread.get(column, 0.0), margin)

    def allowed_outlying(self, column: str, margin: float) -> float:
        """How much of a column may lie far off."""
        return _allowed(self.outlying.get(column, 0.0), self.outlying_spread.get(column, 0.0), margin)


UNKNOWN: Final = Usual({}, {})


def score_of(parts: Mapping[str, float | None], spec: QualitySpec) -> float | None:
    """The score; None: no part applies.

    >>> from pipeline.monitoring.quality.spec import QUALITY
    >>> score_of({"completeness": 60.0, "uniqueness": 100.0, "balance": None}, QUALITY)
    68.88888888888889
    """
    told = {name: points for name, points in parts.items() if points is not None}
    if not told:
        return None
    weight = sum(spec.weights[name] for name in told)
    mean = sum(spec.weights[name] * points for name, points in told.items()) / weight
    faults = [points for name, points in told.items() if name != "balance"]
    return _within((mean + min(faults, default=mean)) / 2)


def completeness(columns: Sequence[Measured], usual: Usual, required: Sequence[str], spec: QualitySpec) -> float | None:
    """What is there of what should be, over the worst columns.

    Of a column that must not be missing (`required`) every missing value counts. Of another, what is missing beyond
    what is usual by more than it strays and than `max_null_share`; where nobody knows what is usual it does not count.
    """
    lost = []
    for one in columns:
        if one.column in required:
            lost.append(one.share_null)
        elif one.column in usual.null:
            lost.append(_beyond(one.share_null, usual.allowed_null(one.column, spec.max_null_share)))
    return _of_worst(lost, spec)


def validity(columns: Sequence[Measured], usual: Usual, spec: QualitySpec, *, is_anybodys: bool) -> float | None:
    """What can be true of what is there, over the worst columns.

    What cannot be counts in full. Outliers count beyond what is usual by more than they stray and than
    `max_outlying_share`; where nobody knows what is usual they count only in a file of anybody's (`is_anybodys`),
    beyond that share. What the isolation forest finds is told and does not count: many outliers of one kind are no
    outliers to it.
    """
    bad = []
    for one in columns:
        is_judged = is_anybodys or one.column in usual.outlying
        allowed = usual.allowed_outlying(one.column, spec.max_outlying_share) if is_judged else 1.0
        bad.append(min(1.0, one.share_invalid + _beyond(one.share_outlying or 0.0, allowed)))
    return _of_worst(bad, spec)


def uniqueness(share_repeated: float | None) -> float | None:
    """The share of rows that repeat no other."""
    return None if share_repeated is None else _within(100 * (1 - share_repeated))


def timeliness(age: timedelta | None, allowed: timedelta | None, spec: QualitySpec) -> float | None:
    """100 up to the age that is allowed, 0 from `late_until` times that on; nothing at all is as late as can be.

    >>> from pipeline.monitoring.quality.spec import QUALITY
    >>> [timeliness(timedelta(hours=h), timedelta(hours=1), QUALITY) for h in (1, 2.5, 9)]
    [100.0, 50.0, 0.0]
    """
    if allowed is None:
        return None
    if age is None:
        return 0.0
    return _within(100 * (spec.late_until - age / allowed) / (spec.late_until - 1))


def coverage(share_seen: float | None) -> float | None:
    """What was seen of what was due."""
    return None if share_seen is None else _within(100 * share_seen)


def balance(shares: Mapping[str, float], classes: Sequence[str], spec: QualitySpec) -> float | None:
    """100 for outcomes at least as even as two at `max_imbalance` to one, and less in proportion."""
    found = evenness(dict(shares), classes)
    if found is None:
        return None
    least = 1 / (1 + spec.max_imbalance)
    enough = evenness({"rare": least, "frequent": 1 - least})
    return _within(100 * found / (enough or 1.0))


def _of_worst(lost: Sequence[float], spec: QualitySpec) -> float | None:
    """100 less the mean of the worst columns: one that is gone of a hundred is a nuisance, ten are a family."""
    if not lost:
        return None
    worst = sorted(lost, reverse=True)[: max(1, math.ceil(spec.worst_share * len(lost)))]
    return _within(100 * (1 - sum(worst) / len(worst)))


def _allowed(usual: float, spread: float, margin: float) -> float:
    """What is usual, and the margin or what it strays by: half of what is left at most, or a total loss were usual.

    >>> [round(_allowed(usual, spread, 0.1), 2) for usual, spread in ((0.0, 0.0), (0.0, 0.2), (0.6, 0.9), (0.95, 0.0))]
    [0.1, 0.2, 0.8, 1.05]
    """
    return usual + max(margin, min(spread, (1 - usual) / 2))


def _beyond(share: float, allowed: float) -> float:
    """How much of what could be lost beyond the allowed share is lost."""
    return max(0.0, (share - allowed) / (1 - allowed)) if allowed < 1 else 0.0


def _within(points: float) -> float:
    return max(0.0, min(100.0, points))
