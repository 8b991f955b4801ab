"""Which lists of new pools are read, and which births can be vouched for afterwards."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calendars import MINUTE
from pipeline.pools.answer import LAST_PAGE, POOLS_A_PAGE
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.pools.discovery import Feed, after_visit, births_seen, expected_calls, next_feeds, wants_next_page

SPEC = CollectionSpec()
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
ALL = None
SECOND = timedelta(seconds=1)


def read(network: str | None, minutes_ago: float, rate: float) -> Feed:
    return Feed(network, NOW - minutes_ago * MINUTE, rate, NOW - minutes_ago * MINUTE)


def births(*seconds_ago: int) -> list[datetime]:
    return [NOW - s * SECOND for s in seconds_ago]


def test_a_feed_that_was_never_read_is_due_at_once() -> None:
    assert set(next_feeds([], ["eth", "solana"], NOW, 9, SPEC)) == {"eth", "solana", ALL}
    assert next_feeds([], ["eth", "solana"], NOW, 1, SPEC) == ["eth"]
    assert next_feeds([], ["eth"], NOW, 0, SPEC) == []


def test_a_feed_is_due_when_its_page_is_mostly_new_or_the_longest_wait_is_over() -> None:
    others = [read(ALL, 1, 500.0)]
    for minutes_ago, rate, is_due in (
        (1.0, 13.9, False), (1.0, 14.1, True), (0.5, 28.1, False), (0.59, 28.1, True),
        (1.4, 0.0, False), (1.51, 0.0, True),
        (0.3, 300.0, False), (0.36, 300.0, True), (0.59, 100.0, True), (0.57, 100.0, False),
    ):  # fmt: skip
        due = next_feeds([read("eth", minutes_ago, rate), *others], ["eth"], NOW, 9, SPEC)
        assert due == (["eth"] if is_due else []), (minutes_ago, rate)


def test_the_most_urgent_feed_comes_first_and_the_budget_is_kept() -> None:
    feeds = [read("calm", 2, 0.0), read("busy", 1, 100.0), read("late", 30, 1.0), read(ALL, 1, 900.0)]
    networks = ["calm", "busy", "late"]
    assert next_feeds(feeds, networks, NOW, 9, SPEC) == ["late", "busy", "calm"]
    assert next_feeds(feeds, networks, NOW, 2, SPEC) == ["late", "busy"]


def test_the_feed_of_all_networks_is_used_where_it_costs_fewer_calls() -> None:
    networks = [f"n{i}" for i in range(10)]
    quiet = [read(n, 2, 0.5) for n in networks]
    assert next_feeds([*quiet, read(ALL, 2, 8.0)], networks, NOW, 99, SPEC) == [ALL]
    # 1.5 minutes of births and 15 seconds read again make 0.7 pages, and half a page is read in vain.
    a_visit = 8 * 1.75 / POOLS_A_PAGE + 0.5
    assert expected_calls([*quiet, read(ALL, 2, 8.0)], networks, 6, SPEC) == pytest.approx(4 * a_visit + 10 * 6 / 30)
    crowded = [*quiet, read(ALL, 2, 200.0)]
    assert next_feeds(crowded, networks, NOW, 99, SPEC) == networks
    assert expected_calls(crowded, networks, 6, SPEC) == pytest.approx(40 + 6 / 30)


def test_a_list_not_in_use_is_read_now_and_then_to_learn_its_cost() -> None:
    feeds = [read("eth", 0.1, 1.0), read("bsc", 0.1, 1.0), read(ALL, 29, 200.0)]
    assert next_feeds(feeds, ["eth", "bsc"], NOW, 9, SPEC) == []
    feeds[-1] = read(ALL, 31, 200.0)
    assert next_feeds(feeds, ["eth", "bsc"], NOW, 9, SPEC) == [ALL]


@pytest.mark.parametrize("rate", [0.0, 1.0, 20.0, 900.0])
def test_with_one_network_the_list_of_all_is_never_read_as_it_lists_at_least_as_much(rate: float) -> None:
    assert next_feeds([], ["eth"], NOW, 9, SPEC) == ["eth"]
    own = read("eth", 0.001, rate)
    alone = expected_calls([own], ["eth"], 6, SPEC)
    for everything in (read(ALL, 31, 0.0), read(ALL, 31, rate), read(ALL, 10_000, 2 * rate)):
        # Also a list that was read before, when there were more networks.
        assert next_feeds([own, everything], ["eth"], NOW, 9, SPEC) == []
        assert next_feeds([everything], ["eth"], NOW, 9, SPEC) == ["eth"]
        assert expected_calls([own, everything], ["eth"], 6, SPEC) == alone
    two = expected_calls([own, read("bsc", 1, rate)], ["eth", "bsc"], 6, SPEC)
    assert two == pytest.approx(2 * alone + 6 / SPEC.probe_minutes)


def test_a_list_that_a_wrong_clock_read_in_the_future_is_read_as_if_it_never_had_been() -> None:
    feeds = [read("eth", -480, 1.0), read("bsc", 0.1, 1.0), read(ALL, -480, 200.0)]
    assert next_feeds(feeds, ["eth", "bsc"], NOW, 9, SPEC) == ["eth", ALL]
    # Another collector, which looked at the clock a little later, is reading it.
    feeds[0] = read("eth", -0.05, 1.0)
    assert next_feeds(feeds, ["eth", "bsc"], NOW, 9, SPEC) == [ALL]


def test_lists_not_in_use_are_read_one_at_a_time_and_after_those_in_use() -> None:
    networks = [f"n{i}" for i in range(10)]
    feeds: dict[str | None, Feed] = {n: read(n, 31, 1.0) for n in networks} | {ALL: read(ALL, 2, 9.0)}
    assert next_feeds(feeds.values(), networks, NOW, 99, SPEC) == [ALL, "n0"]
    early: list[Feed] = [read(n, 20, 1.0) for n in networks]
    assert next_feeds([*early, read(ALL, 2, 9.0)], networks, NOW, 99, SPEC) == [ALL]
    feeds["n0"] = read("n0", 2.9, 1.0)
    assert next_feeds(feeds.values(), networks, NOW, 99, SPEC) == [ALL]
    feeds["n0"] = read("n0", 3.1, 1.0)
    assert next_feeds(feeds.values(), networks, NOW, 99, SPEC) == [ALL, "n1"]


def test_no_feed_waits_for_ever_under_a_budget_that_is_too_small() -> None:
    networks = [f"n{i}" for i in range(10)]
    feeds = {n: read(n, 0, 300.0 if n == "n0" else 1.0) for n in networks} | {ALL: read(ALL, 0, 900.0)}
    visited: dict[str | None, int] = dict.fromkeys(feeds, 0)
    for second in range(0, 1_200, 20):
        now = NOW + second * SECOND
        for network in next_feeds(feeds.values(), networks, now, 1, SPEC):
            visited[network] += 1
            feeds[network] = replace(feeds[network], visited_at=now)
    assert min(visited[n] for n in networks) >= 1


def test_pages_are_read_back_to_the_last_visit_the_end_of_the_list_or_the_last_page() -> None:
    page, back_to = births(*range(1, POOLS_A_PAGE + 1)), NOW - 30 * SECOND
    assert wants_next_page(1, POOLS_A_PAGE, page, back_to)
    assert not wants_next_page(1, POOLS_A_PAGE, page, NOW - POOLS_A_PAGE * SECOND)
    assert not wants_next_page(1, POOLS_A_PAGE, page, None)
    assert not wants_next_page(LAST_PAGE, POOLS_A_PAGE, page, back_to)
    # A short page, or one without a credible pool, is not the end of the list; an empty one is.
    assert wants_next_page(1, 7, page[:7], back_to)
    assert wants_next_page(1, POOLS_A_PAGE, [], back_to)
    assert not wants_next_page(1, 0, [], back_to)


def test_births_are_vouched_for_since_the_last_visit_only_with_an_overlap() -> None:
    until, seen = NOW - 90 * SECOND, births(3, 40, 12)
    assert births_seen(until, [seen], overlapped=True) == (until, NOW - 3 * SECOND, False)
    assert births_seen(until, [seen], overlapped=False) == (NOW - 40 * SECOND, NOW - 3 * SECOND, True)


def test_the_first_visit_is_no_gap_and_starts_at_the_oldest_birth_seen() -> None:
    assert births_seen(None, [births(3, 40)], overlapped=False) == (NOW - 40 * SECOND, NOW - 3 * SECOND, False)
    assert births_seen(None, [], overlapped=True) == (None, None, False)


def test_an_empty_list_changes_nothing() -> None:
    assert births_seen(NOW, [], overlapped=False) == (NOW, NOW, False)
    assert births_seen(NOW, [[]], overlapped=False) == (NOW, NOW, False)


def test_births_in_disorder_repeated_or_all_at_once_are_read_the_same() -> None:
    until = NOW - 60 * SECOND
    assert births_seen(until, [births(9, 2, 9, 30, 2)], False) == births_seen(until, [births(2, 9, 30)], False)
    assert births_seen(until, [births(5, 5, 5)], False) == (NOW - 5 * SECOND, NOW - 5 * SECOND, True)
    assert births_seen(until, [births(5, 61)], overlapped=False) == (until, NOW - 5 * SECOND, False)
    assert births_seen(until, [births(61, 70)], overlapped=True) == (until, until, False)


def test_a_list_that_slid_past_the_reader_is_vouched_for_only_from_the_later_page_on() -> None:
    until, first, second, third = NOW - 60 * SECOND, births(30, 40), births(10, 20), births(15, 35)
    assert births_seen(until, [first, second], False) == (NOW - 20 * SECOND, NOW - 10 * SECOND, True)
    assert births_seen(until, [first, second, third], False) == (NOW - 35 * SECOND, NOW - 10 * SECOND, True)
    assert births_seen(until, [first, births(20, 31)], False) == (NOW - 40 * SECOND, NOW - 20 * SECOND, True)
    assert births_seen(until, [first, second, third], True) == (until, NOW - 10 * SECOND, False)


def test_the_rate_is_first_read_off_the_page() -> None:
    assert after_visit(Feed("eth"), NOW, [births(0, 30, 60)], 3, False, SPEC).rate_per_minute == pytest.approx(2)
    at_once = after_visit(Feed("eth"), NOW, [births(*[120] * 20)], 20, False, SPEC)
    assert at_once.rate_per_minute == pytest.approx(10)
    assert after_visit(Feed("eth"), NOW, [births(0, 0, 0)], 3, False, SPEC).rate_per_minute == pytest.approx(180)
    nothing = after_visit(Feed("eth"), NOW, [], 0, True, SPEC)
    assert (nothing.rate_per_minute, nothing.visited_at, nothing.births_until) == (0.0, NOW, None)


def test_a_rate_that_was_guessed_too_high_is_given_up_within_a_few_visits() -> None:
    feed, now, n_visits = replace(read("eth", 0, 1_200.0)), NOW, 0
    while now < NOW + 10 * MINUTE:
        now += SECOND
        if next_feeds([feed, read(ALL, 0, 9_999.0)], ["eth"], now, 1, SPEC) == ["eth"]:
            feed = after_visit(feed, now, [births(600)], 0, True, SPEC)
            n_visits += 1
    assert n_visits < 20
    assert feed.rate_per_minute < 1


def test_the_rate_counts_births_that_were_known_through_another_list() -> None:
    page = births(*range(10, 310, 15))
    assert after_visit(read("eth", 5, 4.0), NOW, [page], 0, True, SPEC).rate_per_minute == pytest.approx(4, rel=0.05)
    slid = [page, [*page[5:], *births(310, 325)]]
    assert after_visit(read("eth", 5, 4.0), NOW, slid, 0, True, SPEC).rate_per_minute == pytest.approx(4, rel=0.05)


def test_pages_that_do_not_reach_back_to_the_feeds_own_last_visit_tell_the_rate_by_their_span() -> None:
    page = births(*range(0, 60, 3))
    assert after_visit(read("eth", 30, 1.0), NOW, [page], 2, True, SPEC).rate_per_minute == pytest.approx(20)


def test_one_quiet_wait_does_not_silence_a_busy_feed() -> None:
    assert 8 < after_visit(read("eth", 0.5, 20.0), NOW, [births(31)], 0, True, SPEC).rate_per_minute < 14


@pytest.mark.parametrize("rate", [2, 40, 300])
def test_the_rate_follows_a_feed_that_wakes_up(rate: int) -> None:
    feed, now = read("eth", 0, 0.0), NOW
    for _ in range(12):
        now += MINUTE / 2
        n = rate // 2
        page = [now - i * MINUTE / rate for i in range(POOLS_A_PAGE)]
        feed = after_visit(feed, now, [page], min(n, POOLS_A_PAGE), n < POOLS_A_PAGE, SPEC)
    assert feed.rate_per_minute == pytest.approx(rate, rel=0.15)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.2, 400), st.floats(0.5, 8))
def test_a_birth_that_is_vouched_for_was_seen_whatever_the_list_does_while_it_is_read(
    seed: int, rate: float, seconds_a_call: float
) -> None:
    """A list that grows under the reader, to the second, with records that slide from page to page."""
    rng = random.Random(seed)
    gaps = np.random.default_rng(seed).exponential(60 / rate, int(rate * 20))
    born = [NOW + int(s) * SECOND for s in np.cumsum(gaps)]
    known: set[int] = set()
    feed, now, back_to, vouched = Feed("eth"), NOW + 3 * MINUTE, NOW, list[tuple[datetime, datetime]]()
    for _ in range(12):
        before, page, started, overlapped = set(known), 0, now, False
        seen, pages = set[int](), list[list[datetime]]()
        while True:
            page += 1
            listed = [i for i, moment in enumerate(born) if moment <= now][::-1][: LAST_PAGE * POOLS_A_PAGE]
            records = listed[(page - 1) * POOLS_A_PAGE : page * POOLS_A_PAGE]
            seen |= set(records)
            pages.append([born[i] for i in records])
            overlapped |= len(records) < POOLS_A_PAGE or (back_to is not None and min(pages[-1]) <= back_to)
            now += seconds_a_call * SECOND
            if not wants_next_page(page, len(pages[-1]), pages[-1], back_to):
                break
        back_to = started
        start, until, _ = births_seen(feed.births_until, pages, overlapped)
        known |= seen
        feed = after_visit(feed, started, pages, len(seen - before), overlapped, SPEC)
        if start is not None and until is not None:
            vouched.append((start, until))
        assert feed.births_until == until
        now += rng.random() * 2 * MINUTE
    # Births in the last second of a page may still follow within that second: the next visit brings them.
    promised = {i for i, moment in enumerate(born) for start, until in vouched[:-1] if start < moment < until}
    assert promised <= known
