"""Features of one pool, event by event.

Belongs here: the state of one pool and its one operation. Formulas and thresholds are those of history; only the
inputs are kept differently (`online_*`), so that an event costs the same whether it is the hundredth or the hundred
thousandth. Stays out: where events come from, and many pools at once (`compute`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from pipeline.errors import UsageError
from pipeline.features.engine import Event, Online, Scalar, micros
from pipeline.features.engine_list import ENGINES
from pipeline.features.feature import Feature
from pipeline.features.inputs import EngineName, Values
from pipeline.features.registry import REGISTRY
from pipeline.features.spec import FeaturesSpec

_IN_TIME: Final = ("candles", "tokens")
__all__ = ["Event", "State", "start", "update"]


@dataclass
class State:
    """What is remembered of one pool. It is changed by `update` and not to be shared between threads."""

    features: tuple[Feature, ...]
    spec: FeaturesSpec
    engines: MappingProxyType[EngineName, Online]
    last: tuple[datetime, bool, str, datetime] | None = None


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


def _take_place(state: State, event: Event) -> None:
    """Hold the order of events; what came in another one would be seen by some inputs and not by others.

    Raises:
        UsageError: the event is out of place.
    """
    known_at, is_decision = event.row["known_at"], event.table == "snapshots"
    if state.last is not None:
        before, was_decision, table, happened = state.last
        is_early = known_at < before or (known_at == before and was_decision and not is_decision)
        is_same = event.table in _IN_TIME and (event.table, known_at) == (table, before)
        is_mixed = is_same and event.row["event_time"] < happened
        if is_early or is_mixed:
            raise UsageError(
                f"events must come in the order in which they were learned: found one of {event.table!r} of "
                f"{event.row['event_time']!r}, known at {known_at!r}, after one of {table!r} known at {before!r}; sort "
                "them by known_at and event_time, snapshots after all that was learned at the same moment"
            )
    if is_decision and known_at != event.row["event_time"]:
        raise UsageError(
            f"a snapshot is a moment of decision and is known at it: found event_time {event.row['event_time']!r} and "
            f"known_at {known_at!r}"
        )
    state.last = (known_at, is_decision, event.table, event.row["event_time"])


def update(state: State, event: Event) -> dict[str, Scalar]:
    """Take note of one event, and give every feature if it is a snapshot (nothing otherwise).

    Events of one pool and its market come in the order in which they were learned; of those learned at one moment, bars
    and token facts in the order in which they happened, and a snapshot last, since it is the moment of decision.

    Returns:
        A value or None for each feature, by name, equal to what `compute_features` says of that snapshot.

    Raises:
        UsageError: the event is out of that order, or a snapshot was learned later than it was true.

    >>> from datetime import UTC
    >>> noon = datetime(2020, 9, 8, 12, tzinfo=UTC)
    >>> state = start(FeaturesSpec(), [REGISTRY["reserve_usd"]])
    >>> update(state, Event("snapshots", {"event_time": noon, "known_at": noon, "reserve_usd": 7500.0}))
    {'reserve_usd': 7500.0}
    """
    _take_place(state, event)
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
