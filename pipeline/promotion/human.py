"""What a person says about a model: approve, veto, pin, unpin, roll back.

Belongs here: which version is meant and which file it is, and writing the row. Stays out: arguments and screens (the
command line), and whether it is allowed (`rules`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pipeline.errors import RegistryError, TransientError, UsageError
from pipeline.lake import Lake
from pipeline.promotion.moves import Move, Moves
from pipeline.promotion.registry import Registry
from pipeline.promotion.rules import PERSON
from pipeline.promotion.standing import Standing

_NO_CHAMPION: Final = "the ledger has no champion yet"
_LISTED: Final = 10
"""Versions that a message names."""

type Word = Literal["approve", "veto", "pin", "unpin", "rollback"]


@dataclass(frozen=True)
class Said:
    """What came of a person's word.

    Attributes:
        version: the version it was about.
        standing: who stands where now, by the ledger.
        pending: why the registry does not say so yet, in words; empty if it does.
        is_broken: it will not by itself: somebody must put the registry right.
    """

    version: int
    standing: Standing
    pending: str = ""
    is_broken: bool = False


def say(
    lake: Lake,
    registry: Registry | None,
    word: Word,
    *,
    model_name: str,
    version: int | None,
    user: str,
    reason: str,
    at: datetime,
    why_not: str = "",
) -> Said:
    """Write a person's word into the ledger, and make the registry agree at once if it can be reached.

    Args:
        lake: where the ledger rests.
        registry: None where it cannot be reached.
        word: what is said.
        model_name: the registered model.
        version: the version meant; None: the champion for `pin` and `unpin`, the one before it for `rollback`.
        user: who says it.
        reason: why.
        at: when, UTC.
        why_not: why there is no registry, in words.

    Raises:
        UsageError: the word would break a rule, or no version is meant.
        RegistryError: there is no such version, or its file is not what it should be. Nothing was written.
    """
    stands = Moves(lake, None).standing(model_name)
    meant = _meant(stands, word, version, model_name)
    sha256 = _file_of(registry, stands, word, model_name, meant)
    move = Move(model_name, word, meant, sha256, f"{PERSON}{user}", reason)
    stands = Moves(lake, None).move(move, at=at) or stands
    if registry is None:
        return Said(meant, stands, f"the registry cannot be reached: {why_not}")
    try:
        return Said(meant, Moves(lake, registry).reconciled(model_name))
    except (TransientError, RegistryError) as error:
        return Said(meant, stands, str(error), isinstance(error, RegistryError))


def _meant(stands: Standing, word: Word, version: int | None, model_name: str) -> int:
    if version is not None:
        return version
    who = stands.former if word == "rollback" else stands.champion
    if who is None:
        raise UsageError(f"{word} {model_name!r}: {_nobody(stands) if word == 'rollback' else _NO_CHAMPION}")
    return who.version


def _nobody(stands: Standing) -> str:
    """Why nobody is meant by a rollback that names no version."""
    if stands.champion is None or not stands.reigned_before:
        return stands.way_back()
    return f"the ledger keeps nobody to go back to; {stands.way_back()}: name one with --to"


def _file_of(registry: Registry | None, stands: Standing, word: Word, model_name: str, version: int) -> str:
    """The hash of the version's file: what the ledger called it once, else what the registry says.

    Only a veto needs no sound file: it may be why there is one.
    """
    known, is_proven = stands.files.get(version), word in ("approve", "rollback")
    if registry is None:
        if known is not None:
            return known
        raise UsageError(
            f"{word} version {version} of {model_name!r}: the ledger never spoke of it, and the registry, which knows"
            " its file, cannot be reached; try again when it is up"
        )
    if known is not None and not is_proven:
        return known
    told = {entry.version: entry.model_sha256 for entry in registry.versions(model_name)}
    if not told.get(version):
        what = "does not tell its file" if version in told else "has no such version"
        there = stands.way_back() if word == "rollback" else _newest(told)
        raise RegistryError(f"{word} version {version} of {model_name!r}: the registry {what}; {there}")
    return registry.load(model_name, version, expected_sha256=known).model_sha256 if is_proven else told[version]


def _newest(versions: Collection[int]) -> str:
    """Which versions there are: the newest, and how many before them."""
    newest, n_older = sorted(versions)[-_LISTED:], len(versions) - _LISTED
    listed = ", ".join(map(str, newest)) or "none"
    return f"versions there are: {listed}" + (f" and {n_older} older ones" if n_older > 0 else "")
