"""Whether a model's file says something that can be forecast from, before anything is built from it.

Belongs here: the file's hash, and each kind's state as plain values. Stays out: forecasting (`portable`), the text of
trees (`portable_trees`).

Everything here raises ValueError, KeyError or TypeError; `portable.load_returns` says them in our words.
"""

import base64
import hashlib
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from pipeline.models.returns.portable_json import strict_json
from pipeline.models.returns.portable_trees import check_lightgbm, check_xgboost

MOST_BYTES: Final = 256 * 2**20
"""Some hundred times the largest file of the default spec."""
_MOST_FEATURES, _MOST_HORIZONS, _MOST_MEMBERS, _LONGEST_NAME = 10_000, 100, 1_000, 1_000
_LARGEST: Final = 1e30
"""A finite number beyond this is none of ours, and products of two of them are still finite."""
_HASH: Final = re.compile(rb'\{"content_sha256":"([0-9a-f]{64})",')

type Content = dict[str, Any]


def sealed(canonical: bytes) -> bytes:
    """A canonical JSON object with its own SHA-256 as its first field.

    >>> sealed(b'{"kind":1}')[:36]
    b'{"content_sha256":"f4dba115030c86344'
    """
    return b'{"content_sha256":"' + hashlib.sha256(canonical).hexdigest().encode() + b'",' + canonical[1:]


def unsealed(model_bytes: bytes, fields: Collection[str] | None = None) -> Content:
    """The content of a sealed file; the hash is compared before a parser sees a byte.

    Args:
        fields: what the file must tell, no more and no less; None: what a return model's does.

    It tells damage and edits from the file that was written. It proves nothing about who wrote it: whoever forges the
    content can forge the hash, which is what the ledger's `model_sha256` is for.
    """
    if len(model_bytes) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    told = _HASH.match(model_bytes)
    if told is None:
        raise ValueError("it does not begin with the hash of its content")
    found = hashlib.sha256(b"{" + model_bytes[told.end() :]).hexdigest()
    if found != told[1].decode():
        raise ValueError(f"its content hashes to {found!r}, it says {told[1].decode()!r}: it was damaged or edited")
    content = strict_json(model_bytes)
    if set(content) != set(_FIELDS if fields is None else fields):
        raise ValueError(f"fields {sorted(content)!r}")
    return {name: value for name, value in content.items() if name != "content_sha256"}


_FIELDS: Final = {
    "content_sha256", "format", "model_name", "dataset_id", "source", "learned_until", "spec_sha256", "features",
    "horizons",
}  # fmt: skip


def features_of(listed: Sequence[Any]) -> dict[str, str | None]:
    """Name -> expression, in order."""
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST_FEATURES:
        raise ValueError(f"expected up to {_MOST_FEATURES} features, found {str(listed)[:80]}")
    features = {text(name): None if expression is None else text(expression) for name, expression in listed}
    if len(features) != len(listed):
        raise ValueError("a feature listed twice")
    return features


def text(value: Any) -> str:
    """The value, a string that is neither empty nor endless."""
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_NAME:
        raise ValueError(f"expected a name, found {str(value)[:80]!r}")
    return value


def horizons_of(content: Mapping[str, Any]) -> dict[int, Content]:
    """Hours -> what the file says of them, each checked."""
    if not 1 <= len(content["horizons"]) <= _MOST_HORIZONS:
        raise ValueError(f"{len(content['horizons'])} horizons")
    if any(not re.fullmatch("[1-9][0-9]{0,5}", hours) for hours in content["horizons"]):
        raise ValueError(f"horizons {sorted(content['horizons'])[:9]!r}, expected positive hours")
    found = {int(hours): said for hours, said in content["horizons"].items()}
    for said in found.values():
        _check_horizon(said, len(content["features"]))
    return found


def _check_horizon(said: Content, n_features: int) -> None:
    _keys(said, "kind", "slope", "clip", "centre", "width", "members")
    _number(said["slope"])
    _vector(said["centre"], n_features)
    # A float32 of less would be no number to divide by.
    if not 0 < _number(said["clip"]) <= 1e6 or min(_vector(said["width"], n_features)) < 1e-37:
        raise ValueError(f"a clip of {said['clip']!r} or a width that is not positive")
    if said["kind"] not in _CHECKS or not 1 <= len(said["members"]) <= _MOST_MEMBERS:
        raise ValueError(f"kind {said['kind']!r} with {len(said['members'])} members")
    for member in said["members"]:
        _whole(member["seed"], 0, 2**63 - 1)
        _CHECKS[said["kind"]]({name: value for name, value in member.items() if name != "seed"}, n_features)


def _linear(state: Content, n_features: int) -> None:
    _keys(state, "coefficients", "intercept")
    _vector(state["coefficients"], n_features)
    _number(state["intercept"])


def _lightgbm(state: Content, n_features: int) -> None:
    _keys(state, "trees")
    check_lightgbm(_trees(state), n_features)


def _xgboost(state: Content, n_features: int) -> None:
    _keys(state, "trees")
    check_xgboost(_trees(state), n_features)


def _double_ensemble(state: Content, n_features: int) -> None:
    _keys(state, "members", "weights")
    members = state["members"]
    if not 1 <= len(members) <= _MOST_MEMBERS or min(_vector(state["weights"], len(members))) <= 1e-9:
        raise ValueError(f"{len(members)} sub-models weighed by {state['weights']!r}")
    for member in members:
        _keys(member, "trees", "columns")
        columns = [_whole(at, 0, n_features - 1) for at in member["columns"]]
        if len(set(columns)) != len(columns):
            raise ValueError("a column named twice")
        check_lightgbm(_trees(member), len(columns))


def _transformer(state: Content, n_features: int) -> None:
    """Also that the network its numbers describe is no larger than the weights that are there."""
    _keys(state, "weights", "n_bars", "n_features", "width", "n_heads", "n_layers")
    _whole(state["n_bars"], 1, 1_000)
    _whole(state["n_features"], n_features, n_features)
    width, layers = _whole(state["width"], 2, 65_536), _whole(state["n_layers"], 1, 1_000)
    if width % 2 or width % _whole(state["n_heads"], 1, width):
        raise ValueError(f"a width of {width} for {state['n_heads']} heads")
    held = sum(len(base64.b64decode(said, validate=True)) // 4 for said in state["weights"].values())
    # Attention is 4 matrices of width x width a layer (Vaswani et al. 2017, sec. 3.2).
    if layers * 4 * width**2 + n_features * width > held:
        raise ValueError(f"{held} weights for {layers} layers of width {width}")


_CHECKS: Final[dict[str, Callable[[Content, int], None]]] = {
    "linear": _linear,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "double_ensemble": _double_ensemble,
    "transformer": _transformer,
}


def _keys(said: Mapping[str, Any], *names: str) -> None:
    if set(said) != set(names):
        raise ValueError(f"expected {sorted(names)!r}, found {str(sorted(said))[:200]}")


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > _LARGEST:
        raise ValueError(f"expected a finite number, found {str(value)[:80]}")
    return float(value)


def _whole(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"expected a whole number from {low} to {high}, found {str(value)[:80]}")
    return value


def _vector(values: Any, length: int) -> list[float]:
    if not isinstance(values, list) or len(values) != length:
        raise ValueError(f"expected {length} numbers, found {str(values)[:80]}")
    return [_number(value) for value in values]


def _trees(state: Content) -> str:
    if not isinstance(state["trees"], str):
        raise TypeError(f"trees that are no text: {str(state['trees'])[:80]}")
    return state["trees"]
