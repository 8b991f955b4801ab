"""Features of one pool, event by event.

Belongs here: the state of one pool and its one operation. Formulas and thresholds are those of history; only the
inputs are kept differently (`online_*`), so that an event costs the same whether it is the hundredth or the hundred
thousandth. Stays out: where events come from, and many pools at once (`compute`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pipeline.errors import UsageError
from pipeline.features.engine import Event, Online, Scalar, micros
from pipeline.features.engine_list import ENGINES
from pipeline.features.feature import Feature
from pipeline.features.inputs import EngineName, Values
from pipeline.features.registry import REGISTRY
from pipeline.features.spec import FeaturesSpec

__all__ = ["Event", "State", "start", "update"]


@dataclass
class State:
    """What is remembered of one pool. It is changed by `update` and not to be shared between threads."""

    features: tuple[Feature, ...]
    spec: FeaturesSpec
    engines: MappingProxyType[EngineName, Online]
    last_known_at: datetime | None = None


def start(spec: FeaturesSpec, features: Iterable[Feature] | None = None) -> State:
    """The state of a pool of which nothing is known yet.

    Args:
        spec: thresholds.
        features: which to compute; all registered that can be followed if not given.
    """
    chosen = tuple((one for one in REGISTRY.values() if is_online(one)) if features is None else features)
    inputs: dict[EngineName, list[Any]] = {}
    for read in dict.fromkeys(read for feature in chosen for read in feature.inputs):
        inputs.setdefault(read.engine, []).append(read)
    engines = {name: ENGINES[name].online(wanted, spec) for name, wanted in inputs.items()}
    return State(chosen, spec, MappingProxyType(engines))


def is_online(one: Feature) -> bool:
    """Whether the feature can be followed event by event: extra indicators of pandas-ta cannot."""
    return all(read.engine != "extra" for read in one.inputs)


def update(state: State, event: Event) -> dict[str, Scalar]:
    """Take note of one event, and give every feature if it is a snapshot (nothing otherwise).

    Events of one pool and its market come in the order in which they were learned; of those learned at one moment, a
    snapshot comes last, since it is the moment of decision.

    Returns:
        A value or None for each feature, by name, equal to what `compute_features` says of that snapshot.

    Raises:
        UsageError: the event was learned before the one before it.

    >>> from datetime import UTC
    >>> noon = datetime(2020, 9, 8, 12, tzinfo=UTC)
    >>> state = start(FeaturesSpec(), [REGISTRY["reserve_usd"]])
    >>> update(state, Event("snapshots", {"event_time": noon, "known_at": noon, "reserve_usd": 7500.0}))
    {'reserve_usd': 7500.0}
    """
    known_at = event.row["known_at"]
    if state.last_known_at is not None and known_at < state.last_known_at:
        raise UsageError(
            f"events must come in the order in which they were learned: found one of {event.table!r} known at "
            f"{known_at!r} after one known at {state.last_known_at!r}; sort them by known_at, snapshots last"
        )
    state.last_known_at = known_at
    for engine in state.engines.values():
        engine.observe(event)
    if event.table != "snapshots":
        return {}
    at = micros(event.row["event_time"])
    row: dict[str, Scalar] = {}
    for engine in state.engines.values():
        row.update(engine.values(event.row, at))
    values = Values(row)
    return {feature.name: feature.of(values, state.spec) for feature in state.features}
