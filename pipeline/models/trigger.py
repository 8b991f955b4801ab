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
    ['geckoterminal:1200']
    >>> training_requests({"geckoterminal": 2100}, cursor)[0]
    []
    >>> training_requests({"geckoterminal": 2200}, cursor)[0][0].n_labels
    2200
    """
    seen: dict[str, int] = json.loads(cursor) if cursor else {}
    requests = []
    for source, n in sorted(n_labels.items()):
        if source.startswith("simulation:"):
            continue
        # Labels may become fewer (a recording withdrawn, a rule changed): count anew from there, do not wait for ever.
        seen[source] = min(seen.get(source, 0), n)
        if n - seen[source] >= LABELS_PER_TRAINING:
            seen[source] = n
            requests.append(TrainingRequest(source, n, f"{source}:{n}"))
    return requests, json.dumps(seen, sort_keys=True)
