"""What a run is told by whoever asks for it: why, for which hours, of which source. Dagster shows it beside the run.

Belongs here: the tags of a run, and which source it is about. Stays out: whether to ask (the sensors and schedules).
"""

from datetime import timedelta
from typing import Any

from assets.hours import range_tags
from pipeline.calendars import Span

WHY = "poolcast/trigger"
HOURS = "poolcast/hours"
MOST_LETTERS = 400


def tags(why: str, span: Span | None = None) -> dict[str, str]:
    """Tags that say why a run was asked for, and ask for the hours of `span` where one is given.

    >>> from datetime import datetime, UTC
    >>> tags("pools waiting", Span(datetime(2024, 3, 1, 22, tzinfo=UTC), datetime(2024, 3, 2, 0, tzinfo=UTC)))[HOURS]
    '2024-03-01 22:00 to 2024-03-02 00:00 UTC, 2 h'
    """
    told = {WHY: why[:MOST_LETTERS]}
    if span is None:
        return told
    hours = (span.end - span.start) // timedelta(hours=1)
    in_words = f"{span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M} UTC, {hours:,} h"
    return {**range_tags(span), **told, HOURS: in_words}


def of_source(name: str) -> dict[str, Any]:
    """The configuration of a run about one source.

    >>> of_source("geckoterminal")
    {'resources': {'source': {'config': {'name': 'geckoterminal'}}}}
    """
    return {"resources": {"source": {"config": {"name": name}}}}
