"""A version of a model, as the registry holds it, and the proof that its file is the one that was registered.

Belongs here: what a version is, the check of its bytes, and whether it can still be asked. Stays out: where it is kept
(`registry`), and what features are (the features stage).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from pipeline.errors import RegistryError
from pipeline.promotion.kinds import Kind, kind_of

DEFINITIONS: Final = "feature_definitions"
"""The tag of a version that tells how each of its inputs was defined, as JSON: name -> hash."""
LABEL_RULE: Final = "label_rule"
"""The tag of a version that tells by which thresholds the labels it learned were made, as JSON: name -> number."""
_NAMED: Final = 5
"""Features that a message names; of more it says how many."""
_SHOWN: Final = 80
"""Characters of a tag that a message shows."""


@dataclass(frozen=True)
class Fed:
    """What models are fed with: the hash of the whole set of features, and of each feature's own definition.

    The whole changes with every change to any feature, and each definition with that feature alone.
    """

    feature_set: str
    definitions: Mapping[str, str] = field(repr=False)


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
    def feature_definitions(self) -> Mapping[str, str]:
        """The hash of each input's definition; empty for a version that tells of its whole set of features alone.

        Raises RegistryError where the tag is none of ours.
        """
        try:
            return {str(name): str(found) for name, found in json.loads(self.tags.get(DEFINITIONS, "{}")).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise self._untold(DEFINITIONS) from error

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
            f" { ({name: str(value)[:_SHOWN] for name, value in self.tags.items()})!r}; register the model again"
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


def why_mute(entry: RegisteredVersion, fed: Fed) -> str:
    """Why a version cannot be asked any more of what there is to feed it with, in words; empty if it can.

    It can while every feature that it takes is defined as it was when it learned, whatever became of the others. For a
    version that was registered without definitions of its own, the whole set must be the same.

    Raises:
        RegistryError: its tags do not tell what it takes.

    >>> one = RegisteredVersion.from_tags("m", 1, "run", {
    ...     "feature_set": "f", "feature_names": '["a", "b"]', "feature_definitions": '{"a": "1", "b": "2"}'})
    >>> why_mute(one, Fed("g", {"a": "1", "b": "2", "new": "3"}))
    ''
    >>> why_mute(one, Fed("g", {"a": "9"}))
    "of its 2 features 1 is defined otherwise since it learned ('a') and 1 is gone ('b')"
    """
    if entry.feature_set == fed.feature_set:
        return ""
    own = entry.feature_definitions
    if not own:
        return "features have changed since it learned, and it was registered without saying how its own were defined"
    names = entry.feature_names
    gone = [name for name in names if name not in fed.definitions]
    other = [name for name in names if name in fed.definitions and fed.definitions[name] != own.get(name)]
    found = [
        *([f"{len(other)} {_is(other)} defined otherwise since it learned ({_named(other)})"] if other else []),
        *([f"{len(gone)} {_is(gone)} gone ({_named(gone)})"] if gone else []),
    ]
    return f"of its {len(names)} features {' and '.join(found)}" if found else ""


def asked_otherwise(entry: RegisteredVersion, label_rule: Mapping[str, float | None]) -> str:
    """By which thresholds a version learned that are others now, in words; empty if none is, or its tags do not tell.

    It can be asked all the same: its figures are then of a question that it did not learn, which a verdict must say.

    >>> one = RegisteredVersion.from_tags("m", 1, "run", {"label_rule": '{"rug_price_pct": -80.0, "moon_pct": 100.0}'})
    >>> asked_otherwise(one, {"rug_price_pct": -60.0, "moon_pct": 100.0})
    'rug_price_pct was -80.0, is -60.0'
    """
    try:
        then = dict(json.loads(entry.tags.get(LABEL_RULE, "{}")))
    except (TypeError, ValueError):  # a note is no reason to hold a version for one that cannot be asked
        return ""
    return otherwise(then, label_rule)


def otherwise(then: Mapping[str, object], label_rule: Mapping[str, float | None]) -> str:
    """Which thresholds of labels were others then, in words; empty if none was, or nothing was told of them.

    >>> otherwise({"moon_pct": 100.0, "rug_price_pct": -80.0}, {"moon_pct": 100.0, "rug_price_pct": -60.0})
    'rug_price_pct was -80.0, is -60.0'
    """
    other = [name for name in sorted({*then, *label_rule}) if then and then.get(name) != label_rule.get(name)]
    was = (f"{name[:_SHOWN]} was {str(then.get(name))[:_SHOWN]}, is {label_rule.get(name)}" for name in other[:_NAMED])
    return "; ".join(was)


def proven(entry: RegisteredVersion, model_bytes: bytes, expected: str | None, fed: Fed | None = None) -> LoadedModel:
    """The version with its file, proven to be what the tag and the ledger say, and to take what the caller has.

    Args:
        entry: what the registry says of the version.
        model_bytes: its file.
        expected: the SHA-256 that the ledger says; None: only the tag is compared.
        fed: what the caller will feed it with; None: not compared.

    Raises:
        RegistryError: a hash differs, or it cannot be asked any more (`why_mute`).
    """
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != entry.model_sha256 or (expected is not None and found != expected):
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: its model file hashes to {found!r}, the registry's"
            f" tag says {entry.model_sha256!r}, the ledger {expected!r}. Do not use it; find out who changed it, and"
            " promote another version"
        )
    mute = why_mute(entry, fed) if fed is not None else ""
    if mute:
        raise RegistryError(
            f"loaded {entry.model_name!r} version {entry.version}: it cannot be asked any more: {mute}. Train a version"
            " on the features of today, or run the code of then"
        )
    return LoadedModel(entry, model_bytes, found, entry.feature_names, entry.kind)


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _named(names: Sequence[str]) -> str:
    """The first of them, and how many there are besides."""
    shown = ", ".join(repr(name[:_SHOWN]) for name in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
