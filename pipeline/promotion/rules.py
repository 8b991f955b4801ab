"""What no row of the ledger may break.

Belongs here: for each action, why it is refused as things stand, in words. Pure. Stays out: whether a move is deserved
(`gate`, the trial): a move that is allowed may still be wrong.

| never | why |
|---|---|
| two champions, or none after the first | a row moves one alias to one version, and no row takes the champion away |
| a vetoed or barred version at any alias | a person's word and a rollback last until a person approves the version |
| a pinned model moving by itself | only a person's rollback, approval, veto or unpin goes through |
| a version with two files | what the ledger once called version 3 is version 3 |
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.promotion.spec import Approval
from pipeline.promotion.standing import ALIAS_OF, Action, Standing

PERSON: Final = "person:"
"""What the name of an actor begins with who is a human."""
WORDS: Final = tuple(action for action, alias in ALIAS_OF.items() if alias == "none")
"""The actions that only a person may do."""


def why_refused(
    standing: Standing,
    *,
    action: Action,
    version: int,
    model_sha256: str,
    actor: str,
    evidence: str,
    approval: Approval = "none",
) -> str:
    """Why this row may not follow as things stand, in words; empty if it may."""
    is_person = actor.startswith(PERSON) and len(actor) > len(PERSON)
    if action in WORDS and not is_person:
        return f"only a person may {action}, and the actor is {actor!r}, not '{PERSON}NAME'"
    if standing.pinned and action not in WORDS and not (action == "rollback" and is_person):
        return "a person pinned the model, and nothing moves by itself until it is unpinned"
    known = standing.files.get(version)
    if known is not None and known != model_sha256:
        return f"the ledger knows its model file as {known!r}, not {model_sha256!r}"
    if action == "promote" and approval == "required" and version not in standing.approved:
        return "its rule asks for a person's approval, and there is none: `poolcast promotion approve`"
    if action == "shadow" and not _tells_alpha(evidence):
        return f"the evidence of a trial must tell `alpha` in (0, 1) and `k` from 1, found {evidence!r}"
    return _RULES[action](standing, version)


def _promote(standing: Standing, version: int) -> str:
    return _is_out(standing, version) or _in_charge(standing, version)


def _rollback(standing: Standing, version: int) -> str:
    if standing.champion is None:
        return standing.way_back()
    told = f"it never was in charge, so nobody can go back to it; {standing.way_back()}"
    never = "" if version in standing.reigned else told
    return _is_out(standing, version) or _in_charge(standing, version) or never


def _challenge(standing: Standing, version: int) -> str:
    on_trial = standing.shadow is not None and standing.shadow.version == version
    return _is_out(standing, version) or _in_charge(standing, version) or ("it is on trial already" if on_trial else "")


def _shadow(standing: Standing, version: int) -> str:
    if standing.champion is None:
        return "nobody is in charge, so there is no shadow to run in"
    busy = f"version {standing.shadow.version} is on trial, and there is one trial at a time" if standing.shadow else ""
    return _is_out(standing, version) or _in_charge(standing, version) or busy


def _reject(standing: Standing, version: int) -> str:
    on_trial = standing.shadow.version if standing.shadow else None
    return "" if on_trial == version else f"it is not on trial; on trial is {on_trial!r}"


def _approve(standing: Standing, version: int) -> str:
    return "it is approved already" if version in standing.approved else ""


def _veto(standing: Standing, version: int) -> str:
    if standing.champion is not None and standing.champion.version == version:
        return "it is in charge: `poolcast promotion rollback` throws it out"
    return "it is vetoed already" if version in standing.vetoed else ""


def _pin(standing: Standing, version: int) -> str:
    return "it is pinned already" if standing.pinned else _not_in_charge(standing, version)


def _unpin(standing: Standing, version: int) -> str:
    return _not_in_charge(standing, version) if standing.pinned else "it is not pinned"


_RULES: Final[Mapping[Action, Callable[[Standing, int], str]]] = {
    "promote": _promote, "rollback": _rollback, "challenge": _challenge, "shadow": _shadow, "reject": _reject,
    "approve": _approve, "veto": _veto, "pin": _pin, "unpin": _unpin,
}  # fmt: skip


def _is_out(standing: Standing, version: int) -> str:
    if version in standing.vetoed:
        return "a person vetoed it, and only a person's approval takes that back"
    if version in standing.barred:
        return "it was thrown out once, and only a person's approval lets it return"
    return ""


def _in_charge(standing: Standing, version: int) -> str:
    champion = standing.champion
    return "it is in charge already" if champion is not None and champion.version == version else ""


def _not_in_charge(standing: Standing, version: int) -> str:
    champion = standing.champion.version if standing.champion else None
    return "" if champion == version else f"a model is pinned at its champion, which is {champion!r}"


def _tells_alpha(evidence: str) -> bool:
    """Whether the evidence says what the trial may cost, and which challenger of its year it is."""
    told: Any = json.loads(evidence)
    if not isinstance(told, dict):
        return False
    alpha, k = told.get("alpha"), told.get("k")
    is_number = isinstance(alpha, float) and math.isfinite(alpha) and 0 < alpha < 1
    return is_number and isinstance(k, int) and not isinstance(k, bool) and k >= 1
