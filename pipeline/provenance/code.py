"""A stage's code as a hash: what changes it may change rows.

Belongs here: which files, libraries and values go into it. Stays out: which hours are stale for it (`recipe`).
"""

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pipeline.errors import UsageError

NUMERIC: Final = (
    "deltalake", "lightgbm", "numpy", "optuna", "pandas", "pandas-ta", "polars", "polars-talib", "scikit-learn",
    "scipy", "ta-lib", "xgboost", "xgboost-cpu",
)  # fmt: skip
"""The libraries that numbers come from."""
ONLY_TELL: Final = ("pages", "releases", "suites", "verdict")
"""Modules of the expectations that keep no row from being written: they tell of rows, or let people speak."""


def code_of(stage: str, *specs: Any, without: Collection[str] = ()) -> str:
    """SHA-256 over a stage's source files, the vocabulary, the numeric libraries' versions and its specs' values.

    Args:
        stage: name of the stage's package under `pipeline`.
        specs: frozen dataclasses whose fields are plain values.
        without: modules of the package that no row depends on.

    Raises:
        UsageError: the package has no such module, so leaving it out would mean nothing.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(repr(numeric_versions()).encode())
    vocabulary = sorted((root / "tables").glob("*.py"))
    modules = sorted((root / stage).glob("**/*.py"))
    if strange := set(without) - {path.stem for path in modules}:
        raise UsageError(f"cannot leave {sorted(strange)!r} out of the code of {stage!r}: it has no such modules")
    own = [path for path in modules if path.stem not in without]
    for path in [*vocabulary, root / "calendars.py", *own]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    for spec in specs:
        digest.update(json.dumps(asdict(spec), sort_keys=True, default=str).encode())
    return digest.hexdigest()


@cache
def judging() -> str:
    """SHA-256 over what parts sound rows from broken ones before they are written."""
    return code_of("expectations", without=ONLY_TELL)


@cache
def numeric_versions() -> list[tuple[str, str]]:
    """Those of NUMERIC that are installed."""
    found = []
    for name in NUMERIC:
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found
