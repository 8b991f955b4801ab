"""JSON as the model files of this project are written, and nothing beyond.

Belongs here: parsing. Stays out: what the values mean (`portable_checks`).
"""

import json
import math
from typing import Any


def strict_json(text: bytes | str) -> Any:
    """The value of a JSON text without NaN, infinities, numbers beyond a double and names told twice.

    Raises:
        ValueError: the text is no such JSON, not UTF-8, or nested too deeply to be a model's.

    >>> strict_json('{"a": 1e999}')
    Traceback (most recent call last):
    ValueError: the number '1e999'
    """
    try:
        return json.loads(
            text.decode() if isinstance(text, bytes) else text,
            parse_float=_finite, parse_constant=_finite, object_pairs_hook=_once,
        )  # fmt: skip
    except RecursionError as e:
        raise ValueError("nested too deeply") from e


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text!r}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("a name told twice")
    return told
