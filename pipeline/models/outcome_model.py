"""A trained outcome model as one JSON file, and the probabilities that follow from it.

Belongs here: the file's form, reading it, and what is asked of a model. Stays out: fitting (`heads`), evaluation,
pickles; what one member's numbers may say (`learners`).

    {"content_sha256", "format": "poolcast-outcomes/1", "attributes": {...}, "outcomes": [...], "feature_names": [...],
     "present": "...", "class_prior": "...", "heads": {"1": {...}, "6": {...}, "24": {...}},
     "signal": {"threshold": 0.4 or null, "words", "max_rate"}}

Keys are sorted and numbers exact, so the same model is the same bytes. The first field is the SHA-256 of the bytes
without it. Trees are XGBoost's and LightGBM's own text, everything else plain numbers.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.errors import InputError
from pipeline.models.head import Head, load_head
from pipeline.models.learner import Classes, Floats, Matrix, matrix
from pipeline.models.learners.states import State, keys, number, packed, unpacked
from pipeline.models.returns.portable_checks import sealed, text, unsealed
from pipeline.models.spec import RISING
from pipeline.models.splits import Mask
from pipeline.tables import OUTCOMES

FORMAT: Final = "poolcast-outcomes/1"
FIELDS: Final = frozenset({
    "content_sha256", "format", "attributes", "outcomes", "feature_names", "present", "class_prior", "heads", "signal",
})  # fmt: skip
ATTRIBUTES: Final = (
    "model_name", "horizon_hours", "source", "learned_until", "training_set_id", "feature_set", "signal_set_until",
)  # fmt: skip
"""What a model says of itself: which horizon is its own, what it learned from, and until when; and the last label that
the signal's threshold was set on, empty where there is no threshold."""
NEEDED_SHARE: Final = 0.5
_MOST_FEATURES: Final = 10_000
_MOST_HEADS: Final = 20
_MOST_HOURS: Final = 10_000


@dataclass(frozen=True)
class Signal:
    """The high signal: scores above `threshold`; None: the model abstains, and `words` say why."""

    threshold: float | None
    words: str
    max_rate: float


@dataclass(frozen=True, eq=False)
class OutcomeModel:
    """A model of what becomes of a pool at several horizons.

    Attributes:
        attributes: `ATTRIBUTES` by name.
        feature_names: what it is fed, in order.
        present: (n_features,) the share of the rows it learned from that had each feature.
        class_prior: (7,) how frequent the outcomes were among them, one observation added to each.
        heads: hours -> head.
    """

    attributes: Mapping[str, str]
    feature_names: tuple[str, ...]
    present: Floats = field(repr=False)
    class_prior: Floats = field(repr=False)
    heads: Mapping[int, Head] = field(repr=False)
    signal_rule: Signal

    @property
    def horizons_hours(self) -> tuple[int, ...]:
        """What it has heads for, rising."""
        return tuple(sorted(self.heads))

    @property
    def horizon_hours(self) -> int:
        """The horizon it is judged by."""
        return int(self.attributes["horizon_hours"])

    @property
    def needed(self) -> tuple[str, ...]:
        """Features that at least half of the rows it learned from had: a row without them is none it knows."""
        return tuple(n for n, share in zip(self.feature_names, self.present, strict=True) if share >= NEEDED_SHARE)

    @property
    def further_hours(self) -> tuple[int, ...]:
        """The other horizons, rising."""
        return tuple(hours for hours in self.horizons_hours if hours != self.horizon_hours)

    def matrix(self, frame: pl.DataFrame) -> Matrix:
        """Its features of a frame as a matrix; errors as of `predict`."""
        return matrix(frame, self.feature_names)

    def predict(self, frame: pl.DataFrame) -> dict[int, Floats]:
        """Hours -> probabilities (rows of `frame`, 7), columns in the order of `OUTCOMES`.

        Raises:
            InputError: `frame` lacks a feature, or one holds NaN or an infinite value.
        """
        x = self.matrix(frame)
        return {hours: self.predict_matrix(x, hours) for hours in self.horizons_hours}

    def predict_proba(self, frame: pl.DataFrame) -> Floats:
        """The probabilities of its own horizon; arguments and errors as of `predict`."""
        return self.predict_matrix(self.matrix(frame), self.horizon_hours)

    def predict_matrix(self, x: Matrix, hours: int) -> Floats:
        """The probabilities of one horizon, for features as a matrix in the order of `feature_names`."""
        with threadpool_limits(1):  # sums over several threads differ in their last bits
            return self.heads[hours].predict(x)

    def signal(self, frame: pl.DataFrame) -> tuple[Floats, Mask | None]:
        """(n,) signal scores, and which are high signals; None where the model abstains. Errors as of `predict`."""
        score = signal_score(self.predict_proba(frame))
        threshold = self.signal_rule.threshold
        return score, None if threshold is None else score > threshold

    @cached_property
    def model_bytes(self) -> bytes:
        """The file."""
        s = self.signal_rule
        content = {
            "format": FORMAT, "attributes": dict(self.attributes), "outcomes": list(OUTCOMES),
            "feature_names": list(self.feature_names), "present": packed(self.present),
            "class_prior": packed(self.class_prior),
            "heads": {str(hours): head.state() for hours, head in self.heads.items()},
            "signal": {"threshold": s.threshold, "words": s.words, "max_rate": s.max_rate},
        }  # fmt: skip
        return sealed(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of `model_bytes`."""
        return hashlib.sha256(self.model_bytes).hexdigest()


def p_rug(p: Floats) -> Floats:
    """(n,) the probability of RUG, from (n, 7)."""
    return np.asarray(p[:, OUTCOMES.index("RUG")])


def p_pump(p: Floats) -> Floats:
    """(n,) the probability of a rise beyond PUMP's threshold, so PUMP or MOON."""
    return np.asarray(sum(p[:, OUTCOMES.index(outcome)] for outcome in RISING))


def signal_score(p: Floats) -> Floats:
    """(n,) the chance of a rise, less the same share of it as there is chance of a rug: `p_pump` * (1 - `p_rug`).

    >>> signal_score(np.array([[0.5, 0.2, 0.2, 0.1, 0.0, 0.0, 0.0]])).tolist()
    [0.2]
    """
    return np.asarray(p_pump(p) * (1 - p_rug(p)))


def load_outcome(model_bytes: bytes) -> OutcomeModel:
    """A model from its file; nothing in it is executed.

    The hash that the file carries is compared first, then every value is checked, and only then does a native parser
    see the trees; at last each head answers two rows. The hash tells a damaged or edited file; a file forged together
    with its hash is only told by comparing its SHA-256 with the ledger's, as the registry does.

    Raises:
        InputError: the bytes are not such a file, or not as they were written.
    """
    try:
        content = unsealed(model_bytes, FIELDS)
        if content["format"] != FORMAT or content["outcomes"] != list(OUTCOMES):
            found = str((content["format"], content["outcomes"]))[:200]
            raise ValueError(f"expected {FORMAT!r} over {OUTCOMES!r}, found {found}")
        return _model(content)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"cannot read an outcome model from {len(model_bytes)} bytes that begin {model_bytes[:40]!r}: "
            f"{repr(error)[:300]}. Take it from the registry again, or train anew"
        ) from error


def _model(content: State) -> OutcomeModel:
    names = _names(content["feature_names"])
    keys(content["attributes"], *ATTRIBUTES)
    attributes = {name: _attribute(name, value) for name, value in content["attributes"].items()}
    present, prior = unpacked(content["present"], len(names)), unpacked(content["class_prior"], len(OUTCOMES))
    if (present < 0).any() or (present > 1).any() or (prior <= 0).any() or abs(float(prior.sum()) - 1) > 1e-9:
        raise ValueError("shares that are none")
    heads = _heads(content["heads"], len(names))
    if int(attributes["horizon_hours"]) not in heads:
        raise ValueError(f"no head for its own horizon, {attributes['horizon_hours']!r} h")
    return OutcomeModel(attributes, names, present, prior, heads, _signal(content["signal"]))


def _names(said: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(said, list) or not 1 <= len(said) <= _MOST_FEATURES:
        raise ValueError(f"expected up to {_MOST_FEATURES} features, found {str(said)[:80]}")
    names = tuple(text(name) for name in said)
    if len(set(names)) != len(names):
        raise ValueError("a feature named twice")
    return names


def _attribute(name: str, value: Any) -> str:
    return "" if name == "signal_set_until" and value == "" else text(value)


def _heads(said: Any, n_features: int) -> dict[int, Head]:
    if not isinstance(said, dict) or not 1 <= len(said) <= _MOST_HEADS:
        raise ValueError(f"heads {str(said)[:80]}")
    found = {}
    for hours, state in said.items():
        if not hours.isdecimal() or str(int(hours)) != hours or not 1 <= int(hours) <= _MOST_HOURS:
            raise ValueError(f"a head for {hours[:80]!r} hours")
        found[int(hours)] = _tried(load_head(state, n_features), n_features)
    return found


def _tried(head: Head, n_features: int) -> Head:
    """The head, after it has answered two rows."""
    rows = np.stack([np.full(n_features, np.nan, np.float32), np.zeros(n_features, np.float32)])
    p = head.predict(rows)
    if p.shape != (2, len(OUTCOMES)) or not np.isfinite(p).all() or np.abs(p.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError(f"a trial answer of {p!r}, expected two rows of probabilities")
    return head


def _signal(said: Any) -> Signal:
    keys(said, "threshold", "words", "max_rate")
    threshold = said["threshold"]
    if threshold is not None and not (type(threshold) in (int, float) and math.isfinite(threshold)):
        raise ValueError(f"a threshold of {str(threshold)[:80]}")
    return Signal(threshold, text(said["words"]), number(said["max_rate"], 0, 1))


def used_columns(heads: Mapping[int, Head]) -> Classes:
    """Places of all features that any head sees, rising."""
    return np.asarray(np.unique(np.concatenate([head.columns for head in heads.values()])), np.int64)
