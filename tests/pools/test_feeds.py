"""From when to when births were seen: told once, without holes that are not called gaps."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from api_records import SOURCE, minutes

from pipeline.lake import Lake
from pipeline.pools.cycle import Counts, row_of
from pipeline.pools.discovery import Feed
from pipeline.pools.drain import drain
from pipeline.pools.feeds import Births, Feeds
from pipeline.pools.journal import Journal
from pipeline.pools.memory import Memory
from pipeline.tables import COLLECTIONS


@pytest.fixture
def feeds(tmp_path: Path) -> Feeds:
    return Feeds(Memory(tmp_path / "memory.sqlite"), SOURCE)


def visit(feeds: Feeds, at: float, *births: float, overlapped: bool, networks: Sequence[str] = ("eth",)) -> None:
    feeds.advance(networks, [[minutes(birth) for birth in births]], minutes(at), is_overlapped=overlapped)


def report(feeds: Feeds, at: float, networks: Sequence[str] = ("eth",)) -> dict[str, Births]:
    told: dict[str, Births] = {}

    def row(network: str, births: Births) -> dict[str, Any]:
        told[network] = births
        return row_of(SOURCE, network, minutes(at), minutes(at), "me", Counts(), 0, births)

    feeds.report(networks, row)
    return told


def test_a_feed_is_remembered_as_it_was_put(feeds: Feeds) -> None:
    told = [Feed("eth", minutes(3), 1.5, minutes(2)), Feed(None, minutes(1), 9.0, None)]
    for feed in told:
        feeds.put(feed)
    assert sorted(feeds.all(), key=str) == sorted(told, key=str)


def test_births_are_seen_from_visit_to_visit_and_each_stretch_is_told_once(feeds: Feeds) -> None:
    visit(feeds, 10, 9, 7, overlapped=False)
    assert report(feeds, 10) == {"eth": (minutes(7), minutes(10), False)}
    visit(feeds, 12, 11, overlapped=True)
    visit(feeds, 14, overlapped=True)
    assert report(feeds, 15) == {"eth": (minutes(10), minutes(14), False)}
    assert report(feeds, 20) == {"eth": (minutes(14), minutes(14), False)}


def test_pages_that_do_not_reach_back_leave_a_gap_that_is_told_once(feeds: Feeds) -> None:
    visit(feeds, 10, 9, overlapped=False)
    report(feeds, 10)
    visit(feeds, 60, 59, 55, overlapped=False)
    visit(feeds, 61, 60, 59, overlapped=True)
    assert report(feeds, 65) == {"eth": (minutes(55), minutes(61), True)}
    assert report(feeds, 70) == {"eth": (minutes(61), minutes(61), False)}


def test_a_network_that_was_never_visited_promises_nothing(feeds: Feeds) -> None:
    assert report(feeds, 5) == {"eth": (None, None, False)}
    visit(feeds, 6, overlapped=True)
    assert report(feeds, 10) == {"eth": (minutes(6), minutes(6), False)}


def test_a_list_of_all_networks_speaks_for_each_of_them(feeds: Feeds) -> None:
    visit(feeds, 10, 9, overlapped=True, networks=("eth", "bsc"))
    visit(feeds, 20, 19, 12, overlapped=False, networks=("eth",))
    assert (feeds.births_until("eth"), feeds.births_until("bsc")) == (minutes(20), minutes(10))
    told = report(feeds, 20, ("eth", "bsc"))
    assert told == {"eth": (minutes(12), minutes(20), True), "bsc": (minutes(9), minutes(10), False)}


def test_a_cycle_that_was_killed_before_its_report_leaves_no_hole(tmp_path: Path, feeds: Feeds) -> None:
    visit(feeds, 10, 9, overlapped=False)
    report(feeds, 10)
    visit(feeds, 12, 11, overlapped=True)  # killed here: no report of this cycle
    again = Feeds(Memory(tmp_path / "memory.sqlite"), SOURCE)
    visit(again, 20, 19, 11, overlapped=True)
    report(again, 20)
    lake = Lake(tmp_path / "lake")
    drain(Journal(feeds.memory), lake)
    rows = lake.scan(COLLECTIONS).sort("event_time").collect()
    stretches: list[tuple[datetime, datetime, bool]] = list(
        rows.select("births_from", "births_until", "is_gap").iter_rows()
    )
    assert stretches == [(minutes(9), minutes(10), False), (minutes(10), minutes(20), False)]
