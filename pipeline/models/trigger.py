"""When new labels ask for training. A sensor asks this; it decides nothing itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

LABELS_PER_TRAINING = 1_000


@dataclass(frozen=True)
class TrainingRequest:
    """One source whose labels ask for training; `key` names the state that asked, so that it asks once."""

    source: str
    n_labels: int
    key: str


def training_requests(n_labels: Mapping[str, int], cursor: str | None) -> tuple[list[TrainingRequest], str]:
    """Which sources have gathered enough newly known labels since they last asked, and the cursor to keep.

    Args:
        n_labels: labels known by now, a source each.
        cursor: what the last call gave back; None the first time.

    A simulated source never asks: training on it is started by a person, by name.

    >>> asked, cursor = training_requests({"geckoterminal": 1200}, None)
    >>> [r.key for r in asked]
    ['geckoterminal:1:1200']
    >>> training_requests({"geckoterminal": 2100}, cursor)[0]
    []
    >>> training_requests({"geckoterminal": 2200}, cursor)[0][0].n_labels
    2200
    """
    seen = _state(cursor)
    requests = []
    for source, n in sorted(n_labels.items()):
        if source.startswith("simulation:"):
            continue
        known, n_requests = seen.get(source, (0, 0))
        # Labels may become fewer (a recording withdrawn, a rule changed): count anew from there, do not wait for ever.
        known = min(known, n)
        if n - known >= LABELS_PER_TRAINING:
            known, n_requests = n, n_requests + 1
            requests.append(TrainingRequest(source, n, f"{source}:{n_requests}:{n}"))
        seen[source] = (known, n_requests)
    return requests, json.dumps(seen, sort_keys=True)


def _state(cursor: str | None) -> dict[str, tuple[int, int]]:
    """Labels known and requests made at the last request, a source each; a damaged cursor is as good as none."""
    try:
        told = json.loads(cursor or "{}")
        return {str(source): (int(known), int(n_requests)) for source, (known, n_requests) in told.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
