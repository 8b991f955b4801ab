"""Every feature there is, in the table's order, and the hash that names the whole set.

Belongs here: the list of families. A new family is a module with `@feature` definitions, its columns in
`pipeline.tables.featured`, and one entry in `_FAMILIES`; the battery then tests it unasked. Stays out: formulas.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, get_args

from pipeline.errors import UsageError
from pipeline.features.engine_list import ENGINES
from pipeline.features.families import (
    activity,
    core,
    correlation,
    flow,
    market,
    momentum,
    patterns,
    sentiment,
    smart_money,
    technical,
    trends,
)
from pipeline.features.feature import Family, Feature
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_COLUMNS, SNAPSHOTS, TOKENS

_FAMILIES: Final = (
    core, momentum, smart_money, trends, patterns, sentiment, activity, technical, market, correlation, flow,
)  # fmt: skip
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
_NEAR: Final = 5
"""Names that stand for one that there is not."""


def collect(families: Iterable[ModuleType], columns: Mapping[str, Iterable[Any]]) -> dict[str, Feature]:
    """The features defined in the modules, by name, in the order of the tables.

    A module defines features by name, or many at once in a dictionary.

    Raises:
        UsageError: a name is defined twice, or a feature column of a table is defined nowhere.
    """
    found: dict[str, Feature] = {}
    for module in families:
        for value in vars(module).values():
            for one in value.values() if isinstance(value, dict) else (value,):
                if isinstance(one, Feature) and found.setdefault(one.name, one) is not one:
                    raise UsageError(f"feature {one.name!r} is defined twice, again in {module.__name__!r}: rename one")
    wanted = [column.name for family in columns.values() for column in family]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UsageError(f"`pipeline.tables.featured` has columns {missing!r} that no family defines: define or drop")
    return {name: found[name] for name in wanted}


REGISTRY: Final = MappingProxyType(collect(_FAMILIES, FAMILY_COLUMNS))
FEATURE_NAMES: Final = tuple(REGISTRY)


def named(name: str) -> Feature:
    """The feature called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in REGISTRY:
        within = [known for known in REGISTRY if name and name.lower() in known]
        near = list(dict.fromkeys([*get_close_matches(name.lower(), REGISTRY), *within]))[:_NEAR]
        meant = f": did you mean {', '.join(near)}?" if near else ";"
        raise UsageError(f"there is no feature {name!r}{meant} `poolcast features list` shows all {len(REGISTRY)}")
    return REGISTRY[name]


def features_of(*families: str) -> tuple[Feature, ...]:
    """The features of the families, in the order of the tables.

    Raises:
        UsageError: there is no such family.
    """
    unknown = [family for family in families if family not in FAMILIES]
    if unknown:
        raise UsageError(f"there is no family {unknown!r}; there are {FAMILIES!r}")
    return tuple(feature for feature in REGISTRY.values() if feature.family in families)


def look_backs(features: Iterable[Feature], spec: FeaturesSpec) -> dict[str, timedelta]:
    """How far before a span each table must be given for the features, by the table's name."""
    reach = {"snapshots": spec.lag_tolerance}
    for read in (read for feature in features for read in feature.inputs):
        engine = ENGINES[read.engine]
        for table in engine.tables:
            reach[table] = max(reach.get(table, timedelta(0)), read.look_back + engine.tolerance(spec))
    return reach


def look_back(spec: FeaturesSpec) -> timedelta:
    """How far before a span any table must be given."""
    return max(look_backs(REGISTRY.values(), spec).values())


LOOK_BACK: Final = look_back(FeaturesSpec())


def wordless(file: Path) -> ast.Module:
    """A module's code without comments and docstrings, so that wording does not rename every feature set."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [one for one in node.body if not _is_text(one)]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    """Whether it is a docstring, or a text under a constant."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


@cache
def _engines_code() -> Mapping[str, str]:
    """The code by which inputs are computed over history; the online half must give the same, and names no model.

    Read once: a process runs the code that it imported, whatever is written to the files afterwards.
    """
    here = Path(__file__).parent
    engines = [file for file in (here / "engines").glob("*.py") if not file.stem.startswith(("online", "__"))]
    beside = [here / f"{name}.py" for name in ("algebra", "engine", "engine_list", "feature", "inputs", "spec")]
    files = sorted([*engines, *beside])
    return MappingProxyType({file.stem: ast.dump(wordless(file)) for file in files})


def stated(one: Feature, spec: FeaturesSpec) -> dict[str, Any]:
    """What a feature's own definition says: everything but the code that computes its inputs."""
    return {
        "name": one.name,
        "family": one.family,
        "inputs": [repr(read) for read in one.inputs],
        "formula": one.expr(spec).meta.serialize(format="json"),
        "range": (one.column.minimum, one.column.maximum),
    }


def feature_set_hash(spec: FeaturesSpec | None = None, features: Iterable[Feature] | None = None) -> str:
    """SHA-256 that changes with any name, family, input, formula, threshold or way of computing an input.

    It is taken over the formulas as Polars expressions, so it follows functions they call and ignores comments. The
    same in every process; a different release of Polars may write an expression differently and so give another.

    Args:
        spec: thresholds; the default spec if not given.
        features: the set; all registered if not given.
    """
    spec = spec or FeaturesSpec()
    chosen = tuple(REGISTRY.values()) if features is None else tuple(features)
    ranges = [(c.name, c.minimum, c.maximum) for table in (SNAPSHOTS, TOKENS) for c in table.columns]
    whole = {
        "features": [stated(one, spec) for one in chosen],
        "spec": asdict(spec),
        "engines": dict(_engines_code()),
        "input_ranges": ranges,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
