"""Model files edited at random and given the hash of what they then say, each loaded and asked for a forecast.

Run as a program with the folder of a model file, since a native parser that is handed nonsense may end the process:

    python returns_forger.py FOLDER N_EXAMPLES

It says each edit before the file is loaded, and ends with 0 if each was refused in our words or forecast finitely.
"""

import json
import random
import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import RegistryError
from pipeline.models.returns.portable import ReturnModel, load_returns
from pipeline.models.returns.portable_checks import sealed

VALUES = (None, True, -1, 0, 1, 3, 9_999_999, 2**31, 10**400, 1e300, -2.5, "", "x", "NaN", [], {}, [[1.0]], ["0"])


def forged(content: dict[str, object]) -> bytes:
    """A file of any content, whose hash is right."""
    content = {name: value for name, value in content.items() if name != "content_sha256"}
    return sealed(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def edited(content: object, draw: random.Random) -> str:
    """Change one value somewhere in the content, in place; the texts of trees are opened as well."""
    at = content
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = draw.choice(keys)
        value = at[key]
        if key == "trees" and isinstance(value, str):
            at[key], said = edited_trees(value, draw)
            return said
        if isinstance(value, dict | list) and value and draw.random() < 0.9:
            at = value
            continue
        if draw.random() < 0.2:
            del at[key]
            return f"without {key!r}"
        if isinstance(at, list) and draw.random() < 0.2:
            at.append(value)
            return f"{key!r} once more"
        at[key] = draw.choice(VALUES)
        return f"{key!r} = {str(at[key])[:20]!r} for {str(value)[:20]!r}"


def edited_trees(text: str, draw: random.Random) -> tuple[str, str]:
    how = draw.random()
    if how < 0.1:
        cut = draw.randrange(len(text))
        return text[:cut], f"trees cut at {cut}"
    if how < 0.5 and text.startswith("{"):
        content = json.loads(text)
        said = edited(content["learner"]["gradient_booster"]["model"], draw)
        return json.dumps(content), said
    numbers = list(re.finditer(r"(?<=[=\[, ])-?\d[\d.e-]*", text.split("end of trees", maxsplit=1)[0]))
    found = draw.choice(numbers)
    number = draw.choice(("0", "-1", "1", "2", "5", "9999999", "-9999999", "2000000000", "nan", "1e999", "0.5", ""))
    return resized(
        text[: found.start()] + number + text[found.end() :]
    ), f"{number!r} for {found[0]!r} at {found.start()}"


def resized(text: str) -> str:
    """LightGBM's text with the sizes its trees have now; any other text as it is."""
    parts = re.split(r"(?m)^(?=Tree=|end of trees$)", text)
    sizes = "tree_sizes=" + " ".join(str(len(part)) for part in parts[1:-1])
    return re.sub(r"(?m)^tree_sizes=.*$", sizes, text, count=1)


def outcome(model_bytes: bytes) -> ReturnModel | None:
    """The model, once it has forecast, or None if it was refused."""
    try:
        model = load_returns(model_bytes)
    except RegistryError:
        return None
    x = np.random.default_rng(3).normal(size=(20, len(model.features))).astype(np.float32)
    for horizon in model.horizons:
        said = model.forecast(pl.DataFrame(x, schema=list(model.features), orient="row"), horizon)
        assert said.shape == (20,)
        assert np.isfinite(said).all()
    return model


def main(file: Path, n_examples: int) -> None:
    whole, n_refused = file.read_bytes(), 0

    @settings(max_examples=n_examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=True))
    def every_edit_is_refused_or_forecasts(draw: random.Random) -> None:
        nonlocal n_refused
        content = json.loads(whole)
        sys.stdout.write(f"{edited(content, draw)}\n")
        sys.stdout.flush()
        n_refused += outcome(forged(content)) is None

    assert outcome(forged(json.loads(whole))) is not None
    every_edit_is_refused_or_forecasts()
    assert n_refused > n_examples / 3


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
