"""What each feature is by itself, as a hash: what a model learned from stays the same while other features change.

Belongs here: which code, thresholds and ranges a feature's values follow from. Stays out: the hash that names the whole
set (`registry`), and who compares (the promotion stage).

A change counts for a feature where it can change the feature's values: its formula, inputs, range and reach; the
modules that compute its inputs; and of the spec and of the observed columns' ranges those that these modules name. So a
new feature, a new threshold and a new kind of input leave all others alone, and a change to an engine counts for every
feature that it feeds: rather once too often than once too seldom. Only names are looked at; no engine is run.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pipeline.features.engine_list import ENGINES
from pipeline.features.feature import Feature
from pipeline.features.registry import REGISTRY, stated, wordless
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import SNAPSHOTS, TOKENS

_DIGITS: Final = 16
"""Hex digits kept of each hash: no two definitions meet by accident, and a version's tag holds all it uses."""
_OF_ROWS: Final = "from_snapshots"
"""The module that makes the rows which every engine adds to."""
_SPEC: Final = frozenset(
    [one.name for one in fields(FeaturesSpec)] + [k for k, v in vars(FeaturesSpec).items() if isinstance(v, property)]
)
"""Everything a formula or an engine may read of the spec."""


@dataclass(frozen=True)
class _Module:
    """A module of the engines: its code's hash, and what it names."""

    code: str
    imported: frozenset[str]
    attributes: frozenset[str]
    texts: frozenset[str]


def feature_definitions(spec: FeaturesSpec | None = None, features: Iterable[Feature] | None = None) -> dict[str, str]:
    """Feature -> a hash that changes with its own definition and with no other feature's.

    Two features may differ in their hashes and give the same values. Of what lies outside this package (how rows of
    other tables are made, numeric libraries) it says nothing. As `feature_set_hash`, it is the same in every process
    and may change with the release of Polars or of Python.

    Args:
        spec: thresholds; the default spec if not given.
        features: those asked for; all registered if not given.
    """
    spec, modules = spec or FeaturesSpec(), _modules()
    chosen = REGISTRY.values() if features is None else features
    return {one.name: _hash(_definition(one, spec, modules)) for one in chosen}


def _definition(one: Feature, spec: FeaturesSpec, modules: Mapping[str, _Module]) -> dict[str, Any]:
    engines = [ENGINES[name] for name in sorted({read.engine for read in one.inputs})]
    computing = [engine.over_history for engine in engines if engine.over_history is not None]
    used = _with_imported({_OF_ROWS, *(each.__module__.rpartition(".")[2] for each in computing)}, modules)
    texts = {text for name in used for text in modules[name].texts}
    texts |= {column for read in one.inputs if isinstance(column := getattr(read, "column", None), str)}
    read_of_spec = sorted(_SPEC & {name for module in used for name in modules[module].attributes})
    return {
        **stated(one, spec),
        "reach": [str(read.look_back) for read in one.inputs] + [str(engine.tolerance(spec)) for engine in engines],
        "engines": {name: modules[name].code for name in sorted(used)},
        "thresholds": {name: repr(getattr(spec, name)) for name in read_of_spec},
        "input_ranges": [
            (table.name, column.name, column.minimum, column.maximum)
            for table in (SNAPSHOTS, TOKENS)
            for column in table.columns
            if column.name in texts
        ],
    }


@cache
def _modules() -> Mapping[str, _Module]:
    """The engines over history and what they share, by name; the online half must give the same. Read once."""
    here = Path(__file__).parent
    files = [file for file in (here / "engines").glob("*.py") if not file.stem.startswith(("online", "__"))]
    return MappingProxyType({file.stem: _module(wordless(file)) for file in [*files, here / "engine.py"]})


def _module(tree: ast.Module) -> _Module:
    nodes = list(ast.walk(tree))
    return _Module(
        hashlib.sha256(ast.dump(tree).encode()).hexdigest(),
        frozenset(_imported(nodes)),
        frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute)),
        frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)),
    )


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Last names of whatever is imported: of modules, and of what may be a module in a package."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.rpartition(".")[2]
            yield from (alias.name for alias in node.names)


def _with_imported(names: set[str], modules: Mapping[str, _Module]) -> set[str]:
    """The modules and those of the same kind that they import, directly or not."""
    found: set[str] = set()
    while names:
        found |= names
        names = {name for one in names for name in modules[one].imported if name in modules} - found
    return found


def _hash(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:_DIGITS]
