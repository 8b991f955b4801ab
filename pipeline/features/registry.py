"""Every feature there is, in the table's order, and the hash that names the whole set.

Belongs here: the list of families. A new family is a module with `@feature` definitions and one entry in `_FAMILIES`;
the battery then tests it unasked. Stays out: formulas.
"""

import ast
import hashlib
import inspect
import json
from dataclasses import asdict
from datetime import timedelta
from types import MappingProxyType, ModuleType
from typing import Final

from pipeline.errors import UsageError
from pipeline.features import activity, core, momentum, patterns, steps, trends
from pipeline.features.feature import Feature
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FEATURES, SNAPSHOTS

_FAMILIES: Final = (core, momentum, trends, patterns, activity)
_CARRIED: Final = ("source", "network", "pool", "event_time", "known_at")


def collect(families: tuple[ModuleType, ...]) -> dict[str, Feature]:
    """The features defined in the modules, by name, in the order of FEATURES.

    Raises:
        UsageError: a name is defined twice, or a feature column of the table is defined nowhere.
    """
    found: dict[str, Feature] = {}
    for module in families:
        for value in vars(module).values():
            if isinstance(value, Feature) and found.setdefault(value.name, value) is not value:
                raise UsageError(f"feature {value.name!r} is defined twice, again in {module.__name__!r}: rename one")
    columns = [column.name for column in FEATURES.columns if column.name not in _CARRIED]
    missing = [name for name in columns if name not in found]
    if missing:
        raise UsageError(f"table 'features' has columns {missing!r} that no family defines: define them or drop them")
    return {name: found[name] for name in columns}


REGISTRY: Final = MappingProxyType(collect(_FAMILIES))
FEATURE_NAMES: Final = tuple(REGISTRY)


def look_back(spec: FeaturesSpec) -> timedelta:
    """How far before a span its snapshots must be given."""
    return max(feature.look_back for feature in REGISTRY.values()) + spec.lag_tolerance


LOOK_BACK: Final = look_back(FeaturesSpec())


def _code(module: ModuleType) -> str:
    """A module's code without comments and docstrings, so that wording does not rename every feature set."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def feature_set_hash(spec: FeaturesSpec | None = None, features: tuple[Feature, ...] | None = None) -> str:
    """SHA-256 that changes with any name, family, input, look-back, formula, threshold or way of looking back.

    It is taken over the formulas as Polars expressions, so it follows functions they call and ignores comments. The
    same in every process; a different release of Polars may write an expression differently and so give another.

    Args:
        spec: thresholds; the default spec if not given.
        features: the set; all registered if not given.
    """
    spec = spec or FeaturesSpec()
    chosen = tuple(REGISTRY.values()) if features is None else features
    stated = [
        {
            "name": f.name,
            "family": f.family,
            "inputs": [read.name for read in f.inputs],
            "look_back_s": f.look_back.total_seconds(),
            "formula": f.expr(spec).meta.serialize(format="json"),
        }
        for f in chosen
    ]
    ranges = [(c.name, c.minimum, c.maximum) for c in SNAPSHOTS.columns]
    whole = {"features": stated, "spec": asdict(spec), "steps": _code(steps), "input_ranges": ranges}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
