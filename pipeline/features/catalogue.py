"""What there is to know of each feature, in words: for the command line and the docs page.

Belongs here: one description of a feature, made from its definition and the vocabulary. Stays out: printing.
"""

import inspect
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypedDict

from pipeline.calendars import DAY, HOUR, MINUTE
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
        window=_length(feature.look_back),
        null_when=feature.null_rule,
        example_given=dict(feature.example.given),
        example_gives=feature.value(feature.example.given, spec),
    )


def _length(length: timedelta) -> str:
    """How far back it looks, in the largest unit that fits.

    >>> _length(timedelta(0)), _length(timedelta(hours=1)), _length(timedelta(days=7)), _length(timedelta(hours=25))
    ('none', '1 h', '7 d', '25 h')
    """
    if not length:
        return "none"
    for unit, name in ((DAY, "d"), (HOUR, "h")):
        if length % unit == timedelta(0) and (unit is HOUR or length > DAY):
            return f"{length // unit} {name}"
    return f"{length // MINUTE} min"


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
