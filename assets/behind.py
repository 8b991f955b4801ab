"""Which hours are behind what was told, over every step from an answer to the features.

Belongs here: the steps in their order. Stays out: who asks for a run (the sensors, the command line).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from assets.features import FEATURES, FOLLOWING
from assets.labels import SPEC as LABELS_SPEC
from assets.pools import RAW, TOLD_CANDLES, TOLD_TOKENS, TOLD_TRADES, candles_recipe
from assets.snapshots import recipe_of
from pipeline.calendars import DAY, HOUR, Span, floor
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.pools.waiting import digest
from pipeline.provenance import hours_behind, unmarked

LOOK_BACK = 8 * DAY
"""As far back as a followed pool's history may change."""


def behind(lake: Lake, shelf: Shelf, now: datetime) -> tuple[Span, str] | None:
    """The hours to bring up to date, and a name for what they should be made from; None where nothing is behind.

    The hours that a collection run beginning now asks for anyway are left to it. Where bars came late, the labels of
    the day before them may have waited for them.
    """
    found = list(_steps(lake, shelf, now, _looked_at(now)))
    if not found:
        return None
    first = min(hours[0] - back for hours, back, _ in found)
    last = max(hours[-1] for hours, _, _ in found)
    return Span(floor(first, HOUR), last + HOUR), " ".join(name for _, _, name in found)


def features_behind(lake: Lake, now: datetime) -> int:
    """How many hours of the last days have features that are not those of today's code and inputs."""
    return len(hours_behind(lake, FEATURES, _looked_at(now)))


def _looked_at(now: datetime) -> Span:
    hour = floor(now, HOUR)
    return Span(hour - LOOK_BACK, hour - HOUR)


def _steps(lake: Lake, shelf: Shelf, now: datetime, span: Span) -> Iterator[tuple[list[datetime], timedelta, str]]:
    none = timedelta(0)
    for recipe in (TOLD_TRADES, TOLD_CANDLES):
        if hours := unmarked(lake, recipe, span):
            yield hours, none, f"{recipe.table} {digest(lake, recipe, hours)}"
    for recipe, back in (
        (RAW, none),
        (TOLD_TOKENS, none),
        (candles_recipe(shelf), LABELS_SPEC.look_ahead),
        (recipe_of(shelf, now), LABELS_SPEC.observed_ahead),
        *((recipe, none) for recipe in FOLLOWING),
        (FEATURES, none),
    ):
        if hours := hours_behind(lake, recipe, span):
            yield hours, back, f"{recipe.table} {digest(lake, recipe, hours)}"
