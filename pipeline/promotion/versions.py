"""A version of a model, as the registry holds it, and the proof that its file is the one that was registered.

Belongs here: what a version is, and the check of its bytes. Stays out: where it is kept (`registry`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import RegistryError

MODEL_FILE: Final = "model.ubj"


@dataclass(frozen=True)
class RegisteredVersion:
    """One version in the registry; texts are empty where somebody registered it by hand and left the tag out."""

    model_name: str
    version: int
    run_id: str
    model_sha256: str
    training_set_id: str
    feature_set: str
    code_version: str
    tags: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class LoadedModel:
    """A version's model file, proven to be the one that was registered; parse it with `Booster.load_model`."""

    registered: RegisteredVersion
    model_bytes: bytes = field(repr=False)
    model_sha256: str
    feature_names: tuple[str, ...]
    classes: tuple[str, ...]


def proven(entry: RegisteredVersion, model_bytes: bytes, expected: str | None) -> LoadedModel:
    """The version with its file; raises RegistryError where the bytes are not what the tag and the ledger say."""
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != entry.model_sha256 or (expected is not None and found != expected):
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: its model file hashes to {found!r}, the registry's"
            f" tag says {entry.model_sha256!r}, the ledger {expected!r}. Do not use it; find out who changed it, and"
            " promote another version"
        )
    try:
        names, classes = (tuple(json.loads(entry.tags[tag])) for tag in ("feature_names", "classes"))
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: its tags feature_names and classes must be JSON"
            f" lists, found {dict(entry.tags)!r}; register the model again"
        ) from error
    return LoadedModel(entry, model_bytes, found, names, classes)
