"""What there is to know of each feature, in words: for the command line and the docs page.

Belongs here: one description of a feature, made from its definition and the vocabulary. Stays out: printing.
"""

import inspect
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypedDict

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.features.engine_list import ENGINES
from pipeline.features.feature import Feature
from pipeline.features.registry import FAMILIES, features_of
from pipeline.features.spec import FeaturesSpec

_TYPES: Final = {"Float64": "number", "Int64": "whole number", "Boolean": "yes or no"}


class Entry(TypedDict):
    """One feature, in words."""

    name: str
    family: str
    meaning: str
    formula: str
    type: str
    unit: str
    range: str
    inputs: list[str]
    window: str
    null_when: str
    example_given: dict[str, float | bool | None]
    example_gives: float | bool | None


def described(feature: Feature, spec: FeaturesSpec) -> Entry:
    """Everything about a feature; what its example gives is computed, not copied."""
    column = feature.column
    return Entry(
        name=feature.name,
        family=feature.family,
        meaning=column.meaning,
        formula=inspect.cleandoc(feature.formula.__doc__ or ""),
        type=_TYPES[str(column.dtype)],
        unit=column.unit,
        range=column.bounds or "any",
        inputs=[read.name for read in feature.inputs],
        window=_window(feature, spec),
        null_when=feature.null_rule,
        example_given=dict(feature.example.given),
        example_gives=feature.value(feature.example.given, spec),
    )


def _window(feature: Feature, spec: FeaturesSpec) -> str:
    """How far back other rows are looked at; where no input says it, how far its engine goes at most."""
    if feature.look_back:
        return _length(feature.look_back)
    engines = [ENGINES[read.engine] for read in feature.inputs if read.engine != "snapshots"]
    if not engines:  # a day that the snapshot itself counts over is no reason to look at other rows
        return "the snapshot alone"
    return f"up to {_length(max(engine.tolerance(spec) for engine in engines))}"


def _length(length: timedelta) -> str:
    """A length in the largest unit that fits, or in two.

    >>> [_length(timedelta(minutes=n)) for n in (15, 60, 25 * 60, 25 * 60 + 15, 7 * 24 * 60)]
    ['15 min', '1 h', '25 h', '25 h 15 min', '7 d']
    """
    if length > DAY and not length % DAY:
        return f"{length // DAY} d"
    hours, minutes = length // HOUR, length % HOUR // MINUTE
    told = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min")) if n]
    return " ".join(told)


def as_markdown(spec: FeaturesSpec, families: Iterable[str] = FAMILIES) -> str:
    """The docs page: one table a family."""
    lines = [
        "# Features",
        "",
        "Every feature there is, made from the registry by `poolcast features list --markdown`; a test holds this page",
        "to it. t is the moment of decision: the snapshot's `event_time`. Nothing later than t, and nothing learned",
        "later, enters. Missing is null, never zero. *Window*: how far back other rows are looked at. `poolcast",
        "features explain NAME` shows a feature with its example worked.",
    ]
    for family in families:
        lines += ["", f"## {family.replace('_', ' ').capitalize()}", ""]
        lines += ["| feature | meaning | formula | unit | range | window | null when |", "|" + "---|" * 7]
        for feature in features_of(family):
            e = described(feature, spec)
            cells = (f"`{e['name']}`", e["meaning"], e["formula"], e["unit"] or e["type"], e["range"], e["window"])
            lines.append("| " + " | ".join(map(_cell, (*cells, e["null_when"]))) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
