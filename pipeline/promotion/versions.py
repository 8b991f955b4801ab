"""A version of a model, as the registry holds it, and the proof that its file is the one that was registered.

Belongs here: what a version is, and the check of its bytes. Stays out: where it is kept (`registry`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.errors import RegistryError
from pipeline.promotion.kinds import Kind, kind_of


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

    @property
    def kind(self) -> Kind:
        """What kind of model it is; raises RegistryError where its tags do not say."""
        try:
            return kind_of(self.tags)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._untold("classes, or horizons_hours, loader and chosen,") from error

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The model's inputs, in order; raises RegistryError where its tags do not say."""
        try:
            return tuple(json.loads(self.tags["feature_names"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._untold("feature_names") from error

    def _untold(self, what: str) -> RegistryError:
        return RegistryError(
            f"loaded {self.model_name!r} version {self.version}: its tags must tell {what} as JSON, found"
            f" {dict(self.tags)!r}; register the model again"
        )


def made_from(
    versions: Iterable[RegisteredVersion], training_set_id: str, code_version: str
) -> RegisteredVersion | None:
    """The first version that this very set gave under this very code, if there is one: nothing to train again."""
    wanted = (training_set_id, code_version)
    return next((v for v in versions if (v.training_set_id, v.code_version) == wanted), None)


@dataclass(frozen=True)
class LoadedModel:
    """A version's model file, proven to be the one that was registered.

    A classifier's bytes are for `Booster.load_model`, a forecaster's for whoever made them.
    """

    registered: RegisteredVersion
    model_bytes: bytes = field(repr=False)
    model_sha256: str
    feature_names: tuple[str, ...]
    kind: Kind


def proven(entry: RegisteredVersion, model_bytes: bytes, expected: str | None) -> LoadedModel:
    """The version with its file; raises RegistryError where the bytes are not what the tag and the ledger say."""
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != entry.model_sha256 or (expected is not None and found != expected):
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: its model file hashes to {found!r}, the registry's"
            f" tag says {entry.model_sha256!r}, the ledger {expected!r}. Do not use it; find out who changed it, and"
            " promote another version"
        )
    return LoadedModel(entry, model_bytes, found, entry.feature_names, entry.kind)
