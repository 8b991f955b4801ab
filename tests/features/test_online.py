"""One pool, event by event: the order that is held, and values at the edge of what a number can be."""

import pytest
from battery_market import HEAD, SPAN, START, rows_of
from feature_battery import is_of_the_market

from pipeline.calendars import MINUTE
from pipeline.errors import UsageError
from pipeline.features.compute import compute_columns
from pipeline.features.online import Event, start, update
from pipeline.features.registry import REGISTRY, features_of
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import CANDLES, SNAPSHOTS, TOKENS

SPEC = FeaturesSpec()
TABLES = {"snapshots": SNAPSHOTS, "candles": CANDLES, "tokens": TOKENS}


def event(table, minutes, known=None, **columns):
    """Something true some minutes after START, known then or later."""
    at, learned = START + minutes * MINUTE, START + (minutes if known is None else known) * MINUTE
    told = {"event_time": [at], "known_at": [learned], **{name: [value] for name, value in columns.items()}}
    named = {"token": "t"} if table == "tokens" else {"pool": "p"}
    return Event(table, rows_of(TABLES[table], told, **named, **HEAD).row(0, named=True))


BAR = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "timeframe": "5min"}


@pytest.mark.parametrize(
    "events",
    [
        [event("snapshots", 10), event("snapshots", 5)],
        [event("snapshots", 10), event("candles", 5, known=10, **BAR)],
        [event("candles", 10, known=20, **BAR), event("candles", 5, known=20, **BAR)],
        [event("tokens", 10, known=20), event("tokens", 5, known=20)],
        [event("snapshots", 10, known=11)],
    ],
    ids=["back in time", "after the decision", "bars turned round", "facts turned round", "a decision learned late"],
)
def test_events_out_of_order_are_refused(events):
    state = start(SPEC)
    for one in events[:-1]:
        update(state, one)
    with pytest.raises(UsageError, match=r"order|moment of decision"):
        update(state, events[-1])


def test_what_is_learned_before_the_decision_or_at_it_is_taken():
    state = start(SPEC, [REGISTRY["close_5m"]])
    update(state, event("candles", 0, known=5, **BAR))
    assert update(state, event("snapshots", 5)) == {"close_5m": 1.0}


@pytest.mark.parametrize("value", [1e200, 1e308, 5e-324, 0.0])
def test_huge_and_tiny_reserves_say_online_what_history_says(value):
    own = [one for one in features_of("core", "trends", "market") if not is_of_the_market(one)]
    moments = [event("snapshots", 5 * i, reserve_usd=value / (1 + i % 2), created_at=START) for i in range(4)]
    state = start(SPEC, own)
    said = [update(state, one) for one in moments]
    names = ("event_time", "known_at", "reserve_usd", "created_at", "pool")
    rows = rows_of(SNAPSHOTS, {name: [one.row[name] for one in moments] for name in names}, **HEAD)
    told = compute_columns(Sources(rows.lazy()), SPAN, SPEC, own)
    for mine, row in zip(said, told.iter_rows(named=True), strict=True):
        assert mine == pytest.approx({name: row[name] for name in mine})


def test_counts_beyond_belief_are_unknown():
    state = start(SPEC, [REGISTRY["buy_pressure_1h"]])
    absurd = event("snapshots", 5, n_buys_h1=2**62, n_sells_h1=2**62)
    assert update(state, absurd) == {"buy_pressure_1h": None}
