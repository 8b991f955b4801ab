"""What was found, in words of ours: names of features and outcomes, and numbers; nothing that came from a chain.

Belongs here: the sentence of a report. Stays out: the figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

MOST_NAMED: Final = 5
_SHOWN: Final = {
    "multivariate": "all features together", "prediction": "what is predicted", "label": "what becomes of pools",
}  # fmt: skip


def in_words(found: Sequence[Mapping[str, Any]], is_shift: bool | None, is_harm: bool | None) -> str:
    """What moved and by how much, and what it does to the loss.

    >>> moved = {"kind": "feature", "subject": "volume_1h_usd", "js": 0.31, "q_value": 0.002, "is_drifted": True}
    >>> lost = {"kind": "performance", "subject": "observed", "mean_reference": 0.85, "mean_current": 1.2,
    ...         "is_drifted": True}
    >>> in_words([moved, lost], True, True)
    'drift with harm: volume_1h_usd js 0.31 (q 0.002); observed loss 1.20 against 0.85'
    """
    said = [*_features(found), *_others(found)]
    losses = _losses(found)
    match is_shift, is_harm:
        case None, _:
            head = "too few pools to tell"
        case False, _:
            return "; ".join(["no drift", *losses])
        case True, True:
            head = "drift with harm"
        case _:
            head = "drift without harm" if is_harm is False else "drift, and too few pools to tell of harm"
    return "; ".join([f"{head}: {', '.join(said)}" if said else head, *losses])


def _features(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The features that moved most."""
    moved = [row for row in found if row["kind"] == "feature" and row.get("is_drifted")]
    moved.sort(key=lambda row: (-row["js"], row["subject"]))
    told = [f"{row['subject']} js {row['js']:.2f} (q {row['q_value']:.2g})" for row in moved[:MOST_NAMED]]
    return [*told, f"{len(moved) - MOST_NAMED} more features"] if len(moved) > MOST_NAMED else told


def _others(found: Sequence[Mapping[str, Any]]) -> list[str]:
    told = []
    for kind, name in _SHOWN.items():
        moved = [row for row in found if row["kind"] == kind and row.get("is_drifted")]
        if not moved:
            continue
        if kind == "multivariate":
            told.append(f"{name} AUC {moved[0]['mean_current']:.2f} (p {moved[0]['p_value']:.2g})")
        else:
            most = max(moved, key=lambda row: row["js"])
            told.append(f"{name} js {most['js']:.2f} (q {most['q_value']:.2g})")
    return told


def _losses(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['subject']} loss {row['mean_current']:.2f} against {row['mean_reference']:.2f}"
        for row in found
        if row["kind"] == "performance" and row.get("is_drifted") is not None
    ]
