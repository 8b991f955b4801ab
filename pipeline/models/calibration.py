"""Calibration of probabilities: so often as said, so often it shall come.

Belongs here: the maps, as plain numbers, their fits, and the choice between them. Stays out: on which rows they are
fitted: the latest out-of-fold block alone, never one that the model learned from (`heads`).

| map | what it does | numbers |
|---|---|---|
| `none` | leaves them | 0 |
| `temperature` | flattens or sharpens all alike (Guo et al. 2017) | 1 |
| `one_vs_rest` | each outcome by itself, then scaled to sum to 1: isotonic (Zadrozny & Elkan 2002) where enough pools had it, else Platt's two numbers (Platt 1999) where some had, else as it was | many |

Each outcome by itself needs data: on a few hundred pools it costs more than it mends. So the map is chosen by
cross-fitting over pools within the block, and the simpler one is kept unless another is better by more than the
standard error of the difference.
"""  # noqa: E501  a table row cannot be wrapped

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize, minimize_scalar  # type: ignore[import-untyped]  # scipy ships no types
from scipy.special import expit, softmax  # type: ignore[import-untyped]

from pipeline.models.by_pool import pool_means, pool_weights
from pipeline.models.learner import Classes, Floats
from pipeline.models.learners.states import State, keys, number, packed, unpacked, whole
from pipeline.models.metrics import row_log_loss
from pipeline.tables import OUTCOMES

ISOTONIC_POOLS: Final = 100
"""An outcome is calibrated by isotonic regression where at least so many pools had it, and as many had not."""
PLATT_POOLS: Final = 10
_N_PARTS: Final = 5
_FLOOR: Final = 1e-4
"""No outcome is told to be rarer than this: a map fitted on a few hundred pools cannot know."""
_LEAST: Final = 1e-12
_MOST_STEPS: Final = 100_000


@dataclass(frozen=True, eq=False)
class Step:
    """One outcome's map: from `at` to `to`, linearly between; constant beyond."""

    at: Floats
    to: Floats

    def __call__(self, p: Floats) -> Floats:
        """What is made of (n,) probabilities."""
        return np.asarray(np.interp(p, self.at, self.to))


@dataclass(frozen=True)
class Sigmoid:
    """One outcome's map: the logistic of `slope` times the logit, plus `shift`; (1, 0) leaves it."""

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, p: Floats) -> Floats:
        """What is made of (n,) probabilities."""
        return np.asarray(expit(self.slope * _logit(p) + self.shift))


@dataclass(frozen=True, eq=False)
class Calibrator:
    """A map of probabilities. `temperature` is what log-probabilities are divided by; `maps` is one an outcome."""

    how: str = "none"
    temperature: float = 1.0
    maps: tuple[Step | Sigmoid, ...] = ()

    def __call__(self, p: Floats) -> Floats:
        """(n, 7) probabilities from (n, 7); rows sum to 1, and none is below the floor."""
        if self.how == "temperature":
            p = np.asarray(softmax(np.log(np.maximum(p, _LEAST)) / self.temperature, axis=1))
        elif self.how == "one_vs_rest":
            p = np.stack([one(p[:, k]) for k, one in enumerate(self.maps)], axis=1)
        held = np.maximum(p, _FLOOR)
        return np.asarray(held / held.sum(axis=1, keepdims=True))

    def state(self) -> State:
        """Plain values."""
        return {"how": self.how, "temperature": self.temperature, "maps": [_state(one) for one in self.maps]}


@dataclass(frozen=True)
class Calibrated:
    """A chosen calibrator, and each map's cross-fitted log loss over pools on the block it was fitted on."""

    calibrator: Calibrator
    losses: dict[str, float]


def calibrate(p: Floats, y: Classes, pool: Classes, seed: int) -> Calibrated:
    """The map that serves unseen pools of the block best, fitted on all of the block; see the module's head.

    Whatever was chosen never makes the block's own log loss worse: then probabilities are left as they are.

    Args:
        p: (n, 7) out-of-fold probabilities. y: (n,) outcomes. pool: (n,) any number per pool.
    """
    weight, at = pool_weights(pool), np.unique(pool, return_inverse=True)[1]
    part = np.random.default_rng(seed).permutation(int(at.max()) + 1)[at] % _N_PARTS
    told = {how: _cross_fitted(fit, p, y, weight, pool, part) for how, fit in _FITS.items()}
    by_pool = {how: pool_means(row_log_loss(y, said), pool) for how, said in told.items()}
    best = min(by_pool, key=lambda how: float(by_pool[how].mean()))
    chosen = next(how for how in _FITS if not is_worse(by_pool[how], by_pool[best]))
    calibrator = _FITS[chosen](p, y, weight, pool)
    if _mean_loss(calibrator(p), y, weight) > _mean_loss(Calibrator()(p), y, weight):
        calibrator = Calibrator()
    return Calibrated(calibrator, {how: float(loss.mean()) for how, loss in by_pool.items()})


def is_worse(loss: Floats, best: Floats) -> bool:
    """Whether one's losses lie above another's by more than the standard error of the mean difference.

    Args:
        loss, best: (n_pools,) losses of the same pools.
    """
    off = loss - best
    error = float(off.std(ddof=1) / np.sqrt(len(off))) if len(off) > 1 else 0.0
    return float(off.mean()) > error


def load_calibrator(said: Any) -> Calibrator:
    """The calibrator of a state; raises ValueError, KeyError or TypeError where it is none."""
    keys(said, "how", "temperature", "maps")
    n = len(OUTCOMES) if said["how"] == "one_vs_rest" else 0
    if said["how"] not in _FITS or not isinstance(said["maps"], list) or len(said["maps"]) != n:
        raise ValueError(f"a calibrator {str(said['how'])[:80]!r} with the maps {str(said['maps'])[:80]}")
    return Calibrator(said["how"], number(said["temperature"], 1e-3, 1e3), tuple(_map(one) for one in said["maps"]))


def fit_temperature(p: Floats, y: Classes, weight: Floats, _pool: Classes) -> Calibrator:
    """The temperature of least log loss."""
    logs = np.log(np.maximum(p, _LEAST))

    def loss(log_t: float) -> float:
        return _mean_loss(np.asarray(softmax(logs / np.exp(log_t), axis=1)), y, weight)

    found = minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded")
    return Calibrator("temperature", temperature=float(np.exp(found.x)))


def fit_one_vs_rest(p: Floats, y: Classes, weight: Floats, pool: Classes) -> Calibrator:
    """Each outcome by itself; how, by how many pools had it."""
    maps: list[Step | Sigmoid] = []
    for k in range(len(OUTCOMES)):
        came = y == k
        n_had, n_had_not = len(np.unique(pool[came])), len(np.unique(pool[~came]))
        if min(n_had, n_had_not) >= ISOTONIC_POOLS:
            maps.append(isotonic(p[:, k], came.astype(np.float64), weight))
        elif min(n_had, n_had_not) >= PLATT_POOLS:
            maps.append(platt(p[:, k], came.astype(np.float64), weight))
        else:
            maps.append(Sigmoid())
    return Calibrator("one_vs_rest", maps=tuple(maps))


def isotonic(p: Floats, came: Floats, weight: Floats) -> Step:
    """The rising steps of least squared error, each step's share with one observation of the mean added.

    Pure steps say 0 and 1 at the ends, which a log loss does not forgive.
    """
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  takes a second

    fitted = IsotonicRegression(out_of_bounds="clip").fit(p, came, sample_weight=weight).predict(p)
    steps, which = np.unique(fitted, return_inverse=True)
    mass = np.bincount(which, weights=weight)
    base = float(weight @ came / weight.sum())
    to = np.maximum.accumulate((steps * mass + base) / (mass + 1))
    low, high = np.full(len(steps), np.inf), np.full(len(steps), -np.inf)
    np.minimum.at(low, which, p)
    np.maximum.at(high, which, p)
    at, both = np.stack([low, high], axis=1).ravel(), np.repeat(to, 2)
    keep = np.concatenate([[True], np.diff(at) > 0])
    return Step(at[keep], both[keep])


def platt(p: Floats, came: Floats, weight: Floats) -> Sigmoid:
    """Platt's two numbers, towards targets a little off 0 and 1, as he has them; a slope that falls is none."""
    n_had, n_had_not = float(weight @ came), float(weight @ (1 - came))
    target = np.where(came > 0, (n_had + 1) / (n_had + 2), 1 / (n_had_not + 2))
    logit, mass = _logit(p), weight / weight.sum()

    def loss(theta: Floats) -> tuple[float, Floats]:
        z = theta[0] * logit + theta[1]
        off = mass * (expit(z) - target)
        return float(mass @ (np.logaddexp(0, z) - target * z)), np.array([off @ logit, off.sum()])

    slope, shift = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, 20), (-20, 20)]).x
    return Sigmoid(float(slope), float(shift))


type _Fit = Callable[[Floats, Classes, Floats, Classes], Calibrator]

_FITS: Final[dict[str, _Fit]] = {
    "none": lambda _p, _y, _weight, _pool: Calibrator(),
    "temperature": fit_temperature,
    "one_vs_rest": fit_one_vs_rest,
}
"""Simplest first."""


def _cross_fitted(fit: _Fit, p: Floats, y: Classes, weight: Floats, pool: Classes, part: Classes) -> Floats:
    """What a map fitted on the other parts makes of each part."""
    made = np.empty_like(p)
    for k in range(_N_PARTS):
        own = part == k
        if own.any():
            others = ~own if not own.all() else own
            made[own] = fit(p[others], y[others], weight[others], pool[others])(p[own])
    return made


def _mean_loss(p: Floats, y: Classes, weight: Floats) -> float:
    return float(weight @ row_log_loss(y, p) / weight.sum())


def _logit(p: Floats) -> Floats:
    held = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(held) - np.log1p(-held))


def _state(one: Step | Sigmoid) -> State:
    if isinstance(one, Sigmoid):
        return {"slope": one.slope, "shift": one.shift}
    return {"n": len(one.at), "at": packed(one.at), "to": packed(one.to)}


def _map(said: Any) -> Step | Sigmoid:
    if "slope" in said:
        keys(said, "slope", "shift")
        return Sigmoid(number(said["slope"], 0, 20), number(said["shift"], -20, 20))
    keys(said, "n", "at", "to")
    n = whole(said["n"], 1, _MOST_STEPS)
    at, to = unpacked(said["at"], n), unpacked(said["to"], n)
    if (np.diff(at) <= 0).any() or (np.diff(to) < 0).any() or to.min() < 0 or to.max() > 1:
        raise ValueError("steps that do not rise from 0 to 1")
    return Step(at, to)
