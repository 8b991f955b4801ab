"""Multinomial logistic regression over squashed, standardised and imputed features, as plain coefficients.

Belongs here: the design matrix, which training rows alone make, and the coefficients. Stays out: which columns.

Features of pools span twenty orders of magnitude, so a number becomes asinh((x - median) / half its interquartile
range), which is linear near the median and logarithmic far out, over its standard deviation. Missing is the median, 0
by then; where missing means something (a share of the rows, and not that of a column before it), an indicator says so.
"""

import warnings
from typing import Any, Final

import numpy as np
from scipy.special import softmax  # type: ignore[import-untyped]  # scipy ships no types

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import Params, State, keys, packed, shares, unpacked, unpacked_whole, whole
from pipeline.tables import OUTCOMES

DEFAULTS: Final[Params] = {"c": 0.03, "n_iterations": 150}
_MISSING: Final = 0.02
"""A column gets an indicator where at least this share of the rows lacks it, and this share has it."""
_FARTHEST: Final = 10.0
"""Standard units beyond which a value is held: one row must not steer alone."""


class Design:
    """How features become the columns of a regression.

    Args:
        centre, width: (n_features,) median, and what half the interquartile range and the deviation after it come to.
        spread: (n_features,) standard deviation after squashing.
        indicated: which features have an indicator of being missing.
    """

    def __init__(self, centre: Floats, width: Floats, spread: Floats, indicated: Classes) -> None:
        self.centre, self.width, self.spread, self.indicated = centre, width, spread, indicated

    @classmethod
    def of(cls, x: Matrix) -> "Design":
        """The design that these training rows make."""
        wide = x.astype(np.float64)
        is_missing = np.isnan(wide)
        # A column that no row has is 0 for everyone; NumPy would warn of it.
        held = np.where(is_missing.all(axis=0), 0.0, wide)
        low, centre, high = np.nanquantile(held, [0.25, 0.5, 0.75], axis=0)
        half = (high - low) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.nan_to_num(np.nanstd(held, axis=0), posinf=0.0)
        width = np.where(half > 0, half, np.where(deviation > 0, deviation, 1.0))
        squashed = _squashed(wide, centre, width)
        spread = squashed.std(axis=0)
        return cls(centre, width, np.where(spread > 1e-9, spread, 1.0), _indicated(is_missing))

    def __call__(self, x: Matrix) -> Floats:
        """(n, n_features + n_indicators) columns."""
        wide = x.astype(np.float64)
        near = np.clip(_squashed(wide, self.centre, self.width) / self.spread, -_FARTHEST, _FARTHEST)
        return np.hstack([near, np.isnan(wide[:, self.indicated]).astype(np.float64)])


class Logistic:
    """A fitted regression: probabilities are the softmax of `design(x) @ coefficients.T + constants`."""

    def __init__(self, design: Design, coefficients: Floats, constants: Floats) -> None:
        self._design, self._coefficients, self._constants = design, coefficients, constants

    def predict(self, x: Matrix) -> Floats:
        """Probabilities (rows of `x`, 7)."""
        return np.asarray(softmax(self._design(x) @ self._coefficients.T + self._constants, axis=1))

    def importance(self) -> Floats:
        """Mean size of a feature's coefficients, its indicator's included."""
        size = np.abs(self._coefficients).mean(axis=0)
        n = len(self._design.centre)
        of_feature = size[:n].copy()
        np.add.at(of_feature, self._design.indicated, size[n:])
        return shares(of_feature)

    def state(self) -> State:
        """The design's numbers and the coefficients."""
        d = self._design
        return {
            "n_indicated": len(d.indicated), "indicated": packed(d.indicated.astype(np.float64)),
            "centre": packed(d.centre), "width": packed(d.width), "spread": packed(d.spread),
            "coefficients": packed(self._coefficients), "constants": packed(self._constants),
        }  # fmt: skip


def suggest(trial: Any) -> Params:
    """Parameters worth trying: how strongly coefficients are held to 0."""
    return {**DEFAULTS, "c": trial.suggest_float("c", 0.001, 1.0, log=True)}


def fit(x: Matrix, y: Classes, weight: Floats, seed: int, params: Params) -> Logistic:
    """Fit on all rows; every outcome must occur among them. Nothing is drawn, so the seed is of no account."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  takes a second
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    del seed
    design = Design.of(x)
    model = LogisticRegression(C=float(params["c"]), max_iter=int(params["n_iterations"]))
    with warnings.catch_warnings():
        # The bound on iterations is part of what is fitted; the last digits of a coefficient are not sought.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(design(x), y, sample_weight=weight)
    return Logistic(design, model.coef_, model.intercept_)


def load(state: State, n_features: int) -> Logistic:
    """The model of a state; raises ValueError, KeyError or TypeError where it is none."""
    keys(state, "n_indicated", "indicated", "centre", "width", "spread", "coefficients", "constants")
    n = whole(state["n_indicated"], 0, n_features)
    indicated = unpacked_whole(state["indicated"], n, 0, n_features - 1)
    centre, width, spread = (unpacked(state[name], n_features) for name in ("centre", "width", "spread"))
    # Subnormal widths would overflow the quotient.
    if len(np.unique(indicated)) != n or min(width) < 1e-300 or min(spread) < 1e-12:
        raise ValueError("an indicator named twice, or a width that is not positive")
    coefficients = unpacked(state["coefficients"], len(OUTCOMES), n_features + n)
    return Logistic(Design(centre, width, spread, indicated), coefficients, unpacked(state["constants"], len(OUTCOMES)))


def _squashed(wide: Floats, centre: Floats, width: Floats) -> Floats:
    """asinh of the distance from the centre in widths; missing is 0."""
    with np.errstate(over="ignore"):
        far = np.nan_to_num((wide - centre) / width, nan=0.0)
    return np.asarray(np.arcsinh(far))


def _indicated(is_missing: Any) -> Classes:
    """Columns that lack a share of the rows, each pattern of gaps once."""
    share = is_missing.mean(axis=0)
    seen: set[bytes] = set()
    found = []
    for k in np.flatnonzero((share >= _MISSING) & (share <= 1 - _MISSING)):
        pattern = is_missing[:, k].tobytes()
        if pattern not in seen:
            seen.add(pattern)
            found.append(int(k))
    return np.asarray(found, dtype=np.int64)
