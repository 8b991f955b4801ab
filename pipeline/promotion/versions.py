"""A version of a model, as the registry holds it, and the proof that its file is the one that was registered.

Belongs here: what a version is, and the check of its bytes. Stays out: where it is kept (`registry`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from pipeline.errors import RegistryError
from pipeline.promotion.kinds import Kind, kind_of


@dataclass(frozen=True)
class RegisteredVersion:
    """One version in the registry; texts are empty where somebody registered it by hand and left the tag out.

    Two are equal when they are the same version of the same bytes, whatever their tags tell of it by now.
    """

    model_name: str
    version: int
    run_id: str
    model_sha256: str
    training_set_id: str
    feature_set: str
    code_version: str
    tags: Mapping[str, str] = field(repr=False, compare=False)

    @classmethod
    def from_tags(cls, model_name: str, version: int, run_id: str, tags: Mapping[str, str]) -> Self:
        """The version that these tags describe."""
        return cls(
            model_name,
            version,
            run_id,
            model_sha256=tags.get("model_sha256", ""),
            training_set_id=tags.get("training_set_id", ""),
            feature_set=tags.get("feature_set", ""),
            code_version=tags.get("code_version", ""),
            tags=tags,
        )

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


@dataclass(frozen=True)
class Pointers:
    """Where the aliases of a model point, and the hash of the ledger's row that the registry remembers."""

    aliases: Mapping[str, int] = field(default_factory=dict)
    ledger_head: str | None = None


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


def proven(
    entry: RegisteredVersion, model_bytes: bytes, expected: str | None, feature_set: str | None = None
) -> LoadedModel:
    """The version with its file, proven to be what the tag and the ledger say, and fed with what the caller has.

    Args:
        entry: what the registry says of the version.
        model_bytes: its file.
        expected: the SHA-256 that the ledger says; None: only the tag is compared.
        feature_set: the hash of the features that the caller will feed it with; None: not compared.

    Raises:
        RegistryError: one of them differs.
    """
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != entry.model_sha256 or (expected is not None and found != expected):
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: its model file hashes to {found!r}, the registry's"
            f" tag says {entry.model_sha256!r}, the ledger {expected!r}. Do not use it; find out who changed it, and"
            " promote another version"
        )
    if feature_set is not None and feature_set != entry.feature_set:
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: it was trained on the feature set"
            f" {entry.feature_set!r}, and would be fed with {feature_set!r}. Train a version on the features of today,"
            " or run the code of then"
        )
    return LoadedModel(entry, model_bytes, found, entry.feature_names, entry.kind)
