"""A trained return model as one JSON file, and the forecasts that follow from it.

Belongs here: the file's form, and every kind's forecast from plain values. Stays out: fitting, QLib, pickles;
what a file may say (`portable_checks`, `portable_trees`).

    {"content_sha256", "format": "poolcast-returns/1", "model_name", "dataset_id", "source", "learned_until",
     "spec_sha256", "features": [[name, expression or null], ...],
     "horizons": {"1": {"kind", "slope", "clip", "centre": [...], "width": [...], "members": [{"seed", ...}, ...]}}}

A forecast is `slope` times the mean of the members' answers to the scaled features. Float32 numbers are written as the
shortest decimals that give them back, keys are sorted: the same model is the same bytes. The first field is the SHA-256
of the bytes without it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError, RegistryError
from pipeline.models.returns.dataset import Floats
from pipeline.models.returns.portable_checks import features_of, horizons_of, sealed, text, unsealed
from pipeline.models.returns.processors import Matrix, Scale
from pipeline.models.returns.sequences import sequences

FORMAT: Final = "poolcast-returns/1"
_TRIAL_KEYS: Final = pl.DataFrame({"instrument": ["a", "b"], "event_time": [datetime(2020, 1, 1, tzinfo=UTC)] * 2})

type State = dict[str, Any]
type Answer = Callable[[Matrix, pl.DataFrame], Floats]
"""(scaled features, the rows' `instrument` and `event_time`) -> (n,) raw forecasts."""


@dataclass(frozen=True, eq=False)
class HorizonModel:
    """One horizon's chosen kind, its members (seed, state) and what their mean is multiplied by."""

    kind: str
    slope: float
    scale: Scale
    members: Sequence[tuple[int, State]]

    def forecast(self, x: Matrix, keys: pl.DataFrame) -> Floats:
        """(n,) forecasts of the target from (n, n_features) unscaled features."""
        return self.slope * self.raw(self.scale(x), keys)

    def raw(self, scaled: Matrix, keys: pl.DataFrame) -> Floats:
        """(n,) mean answers of the members to scaled features, before calibration."""
        return np.asarray(np.mean([said(scaled, keys) for said in self._answers], axis=0))

    def check(self) -> None:
        """Read every member now rather than at the first forecast.

        Raises:
            UsageError: a Transformer where PyTorch is not installed.
            ValueError, KeyError, TypeError: a member that is not one of this kind.
        """
        _ = self._answers

    @cached_property
    def _answers(self) -> list[Answer]:
        return [answer(self.kind, state) for _, state in self.members]


@dataclass(frozen=True, eq=False)
class ReturnModel:
    """A loaded model.

    Attributes:
        features: name -> QLib expression, or None for what is counted from the bars.
        learned_until: the last moment anything it learned from was known at.
    """

    model_name: str
    dataset_id: str
    source: str
    learned_until: datetime
    spec_sha256: str
    features: Mapping[str, str | None]
    horizons: Mapping[int, HorizonModel]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """In the order of the matrix."""
        return tuple(self.features)

    def forecast(self, features: pl.DataFrame, horizon: int) -> Floats:
        """(n,) forecasts of the target, row for row.

        Args:
            features: the feature columns, null where not defined. A transformer also reads `instrument` and
                `event_time`: what a pool's earlier rows in this frame say.

        Raises:
            InputError: a horizon it does not know, or columns that are missing.
        """
        if horizon not in self.horizons:
            raise InputError(f"model forecasts {sorted(self.horizons)!r} h, asked for {horizon!r} h")
        missing = [name for name in self.features if name not in features.columns]
        if missing:
            raise InputError(f"rows without {len(missing)} of {len(self.features)} features, the first {missing[0]!r}")
        columns = [pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in self.features]
        x = np.ascontiguousarray(features.select(columns).to_numpy(), dtype=np.float32)
        return self.horizons[horizon].forecast(x, features)

    def to_bytes(self) -> bytes:
        """The file."""
        horizons = {
            str(h): {
                "kind": m.kind, "slope": m.slope, "clip": m.scale.clip,
                "centre": _numbers(m.scale.centre), "width": _numbers(m.scale.width),
                "members": [{"seed": seed, **state} for seed, state in m.members],
            } for h, m in self.horizons.items()
        }  # fmt: skip
        content = {
            "format": FORMAT, "model_name": self.model_name, "dataset_id": self.dataset_id, "source": self.source,
            "learned_until": self.learned_until.isoformat(), "spec_sha256": self.spec_sha256,
            "features": [[name, expression] for name, expression in self.features.items()], "horizons": horizons,
        }  # fmt: skip
        return sealed(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())

    @property
    def sha256(self) -> str:
        """SHA-256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def load_returns(model_bytes: bytes) -> ReturnModel:
    """A model from its file; nothing in it is executed.

    The hash that the file carries is compared first, then every value is checked, and only then does a native parser
    see the trees. At last each horizon forecasts two rows. The hash tells a damaged or edited file; a file forged
    together with its hash is only told by comparing its SHA-256 with the ledger's, as the registry does.

    Raises:
        RegistryError: the bytes are not such a file, or not as they were written.
        UsageError: a Transformer where PyTorch is not installed.
    """
    try:
        content = unsealed(model_bytes)
        if content["format"] != FORMAT:
            raise ValueError(f"expected the form {FORMAT!r}, found {str(content['format'])[:80]!r}")
        features = features_of(content["features"])
        until = datetime.fromisoformat(content["learned_until"])
        if until.utcoffset() != timedelta(0):
            raise ValueError(f"learned until {content['learned_until']!r}, expected a time in UTC")
        name, dataset_id, source, spec_sha256 = (
            text(content[field]) for field in ("model_name", "dataset_id", "source", "spec_sha256")
        )
        horizons = {hours: _horizon(said, len(features)) for hours, said in horizons_of(content).items()}
        return ReturnModel(name, dataset_id, source, until, spec_sha256, features, horizons)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as e:
        start, why = model_bytes[:40], repr(e)[:300]
        raise RegistryError(
            f"cannot read a return model from {len(model_bytes)} bytes that begin {start!r}: {why}. Take it from the "
            "registry again, or train anew"
        ) from e


def _horizon(said: State, n_features: int) -> HorizonModel:
    """From checked values; a trial forecast shows that they go together."""
    scale = Scale(np.asarray(said["centre"], np.float32), np.asarray(said["width"], np.float32), float(said["clip"]))
    members = [(m["seed"], {k: v for k, v in m.items() if k != "seed"}) for m in said["members"]]
    model = HorizonModel(said["kind"], float(said["slope"]), scale, members)
    model.check()
    rows = np.stack([np.full(n_features, np.nan, np.float32), np.zeros(n_features, np.float32)])
    found = model.forecast(rows, _TRIAL_KEYS)
    if found.shape != (2,) or not np.isfinite(found).all():
        raise ValueError(f"a trial forecast of {found!r}, expected two finite numbers")
    return model


def answer(kind: str, state: State) -> Answer:
    """What a fitted member answers.

    Raises:
        ValueError, KeyError: the state is not one of this kind's.
    """
    return _ANSWERS[kind](state)


def _linear(state: State) -> Answer:
    coefficients, intercept = np.asarray(state["coefficients"], np.float64), float(state["intercept"])
    return lambda x, _: np.asarray(x @ coefficients + intercept)


def _lightgbm(state: State) -> Answer:
    booster = _booster(state["trees"])
    return lambda x, _: np.asarray(booster.predict(x, num_threads=1), np.float64)


def _double_ensemble(state: State) -> Answer:
    members = [(_booster(m["trees"]), np.asarray(m["columns"], np.int64)) for m in state["members"]]
    weights = np.asarray(state["weights"], np.float64)

    def said(x: Matrix, _: pl.DataFrame) -> Floats:
        each = [b.predict(np.ascontiguousarray(x[:, at]), num_threads=1) for b, at in members]
        return np.asarray(np.average(each, axis=0, weights=weights), np.float64)

    return said


def _booster(text: str) -> Any:
    import lightgbm  # noqa: PLC0415  takes a second

    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as e:
        raise ValueError(f"trees that LightGBM cannot read: {e}") from e


def _xgboost(state: State) -> Answer:
    import xgboost  # noqa: PLC0415  takes a second

    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(state["trees"].encode()))
    except xgboost.core.XGBoostError as e:
        raise ValueError(f"trees that XGBoost cannot read: {e}") from e
    return lambda x, _: np.asarray(booster.inplace_predict(x), np.float64)


def _transformer(state: State) -> Answer:
    from pipeline.models.returns.transformer import network  # noqa: PLC0415  needs PyTorch

    said = network(state)
    return lambda x, keys: said(sequences(x, keys, int(state["n_bars"])))


_ANSWERS: Final[dict[str, Callable[[State], Answer]]] = {
    "linear": _linear,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "double_ensemble": _double_ensemble,
    "transformer": _transformer,
}


def _numbers(values: Matrix) -> list[float]:
    """Float32 as the shortest decimals that give them back."""
    return [float(str(value)) for value in values]
