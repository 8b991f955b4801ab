"""Which lists of new pools to read, how far, and which births can then be vouched for.

Belongs here: decisions from what earlier pages held. Stays out: sending the calls, and the pools that are known
already (`sampler`). A *feed* is the list of the newest pools of one network, or (network None) of all networks at once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipeline.calendars import MINUTE
from pipeline.pools.answer import LAST_PAGE, POOLS_A_PAGE
from pipeline.pools.collecting_spec import CollectionSpec

_SHORTEST_MINUTES: Final = 1 / 60
"""The API tells births to the second: nothing shorter can be told from nothing."""


@dataclass(frozen=True)
class Feed:
    """What is known of a feed: when it was last read, how many pools arrive, up to which birth it was read."""

    network: str | None
    visited_at: datetime | None = None
    rate_per_minute: float = 0.0
    births_until: datetime | None = None


def after_visit(
    feed: Feed, visited_at: datetime, pages: Sequence[Sequence[datetime]], n_unknown: int, overlapped: bool,
    spec: CollectionSpec,
) -> Feed:  # fmt: skip
    """The feed after its pages were read at `visited_at`.

    Pages that reach back to the visit before tell how many were born since, and the rate moves towards that; as much as
    one wait between visits is remembered. Else the pages' own span tells the rate.

    Args:
        feed: what was known before.
        visited_at: when the first page was read, UTC.
        pages: births on each page in the order in which they were read.
        n_unknown: how many pools on them, each counted once, were not known before this visit.
        overlapped: the pages reached back to what an earlier visit saw, or to the end of the list.
        spec: page share and waits.
    """
    births = _counted_once(pages)
    rate = _rate_on_pages(visited_at, births)
    if feed.visited_at is not None:
        elapsed = max((visited_at - feed.visited_at) / MINUTE, _SHORTEST_MINUTES)
        if _reaches_back(feed, pages, overlapped):
            # Pools may be known through another feed: they too were born since the last visit.
            n_born = max(n_unknown, sum(feed.births_until is None or birth > feed.births_until for birth in births))
            memory = _wait_minutes(feed.rate_per_minute, spec)
            rate = (feed.rate_per_minute * memory + n_born) / (memory + elapsed)
        else:
            rate = max(rate, n_unknown / elapsed)
    return Feed(feed.network, visited_at, rate, births_seen(feed.births_until, pages, overlapped)[1])


def next_feeds(
    feeds: Iterable[Feed], networks: Collection[str], now: datetime, n_calls: int, spec: CollectionSpec
) -> list[str | None]:
    """The feeds to read now, the most urgent first, at most `n_calls`.

    Either the networks' own feeds are in use or the one of all networks, whichever is expected to cost fewer calls. A
    feed in use is due when `full_page_share` of what must be read is expected to be new, or after
    `longest_discovery_minutes`. The others are read every `probe_minutes`, one at a time and after all that are in use,
    to learn what they would cost. A feed that was never read is due at once.
    """
    known = {feed.network: feed for feed in feeds if not _is_to_come(feed, now, spec)}
    in_use = _in_use(known, networks, spec)
    urgencies = {network: _urgency(known.get(network, Feed(network)), now, spec) for network in _readable(networks)}
    probed = _probed({n for n in urgencies if n not in in_use}, known, now, spec)
    due = [n for n, urgency in urgencies.items() if n in probed or (n in in_use and urgency >= 1)]
    due.sort(key=lambda n: (n in probed and n in known, -urgencies[n]))
    return due[: max(0, n_calls)]


def expected_calls(feeds: Iterable[Feed], networks: Collection[str], minutes: float, spec: CollectionSpec) -> float:
    """How many calls the feeds are expected to take in `minutes` at their present rates, with probes of the others."""
    known = {feed.network: feed for feed in feeds}
    in_use = _in_use(known, networks, spec)
    n_others = len(_readable(networks)) - len(in_use)
    return minutes * (_cost(in_use, known, spec) + n_others / spec.probe_minutes)


def wants_next_page(page: int, n_told: int, births: Sequence[datetime], back_to: datetime | None) -> bool:
    """Whether the page after `page` may hold pools that were missed: the list goes on and was not read back far enough.

    A known pool on the page proves nothing: it may be known from another list, or from a visit that broke off. Nor does
    a short page prove that the list ends: only an empty one does.

    Args:
        page: the page that was read, from 1.
        n_told: how many pools it told of, credible or not.
        births: when the credible ones were born.
        back_to: the moment of the last complete visit, or as much earlier as a pool may be listed late; None: there was
            none, nothing was promised, and one page will do.
    """
    if page >= LAST_PAGE or n_told == 0 or back_to is None:
        return False
    return not births or min(births) > back_to


def births_seen(
    previous_until: datetime | None, pages: Sequence[Sequence[datetime]], overlapped: bool
) -> tuple[datetime | None, datetime | None, bool]:
    """From when to when every listed birth was seen, and whether births before that may have been missed.

    With an overlap births are seen without a break since `previous_until` (None: the feed was never read); without one,
    only since the oldest birth on the pages, and that is a gap. The first visit is no gap: nothing was promised before.
    A list that grows by more than two pages between two calls leaves a hole between them: then only the later pages
    count. Births at the first moment itself may be cut off by the end of a page; those after it are seen.

    Args:
        previous_until: up to where births were seen before.
        pages: births on each page in the order in which they were read, on a page in any order, repeated or not. For
            one network read through the feed of all, give those of all: it is the page that ends, not the network.
        overlapped: the pages reached back to what an earlier visit saw, or to the end of the list.

    Returns:
        `births_from`, `births_until`, `is_gap`; a visit that saw nothing leaves `previous_until` where it was.
    """
    oldest = newest = None
    for page in filter(None, pages):
        # A page that lies wholly above those before it may have slid past births that none of them shows.
        is_beyond = oldest is None or newest is None or min(page) >= newest
        oldest = min(page) if is_beyond or oldest is None else min(oldest, *page)
        newest = max(page) if newest is None else max(newest, *page)
    if oldest is None or newest is None:
        return previous_until, previous_until, False
    if previous_until is None:
        return oldest, newest, False
    if overlapped or oldest <= previous_until:
        return previous_until, max(previous_until, newest), False
    return oldest, newest, True


def _counted_once(pages: Sequence[Sequence[datetime]]) -> list[datetime]:
    """The births without those that slid from one page onto the next: what lies inside the span read so far."""
    births: list[datetime] = []
    for page in pages:
        first, last = min(births, default=None), max(births, default=None)
        births += [birth for birth in page if first is None or last is None or not first <= birth <= last]
    return births


def _reaches_back(feed: Feed, pages: Sequence[Sequence[datetime]], overlapped: bool) -> bool:
    """Whether the pages hold all births since the feed was last read."""
    if overlapped and (not pages or len(pages[-1]) < POOLS_A_PAGE):
        return True
    return feed.births_until is not None and any(birth <= feed.births_until for page in pages for birth in page)


def _rate_on_pages(visited_at: datetime, created_ats: Sequence[datetime]) -> float:
    """Births a minute, as the pages' own span says; where all share an instant, since that instant."""
    if not created_ats:
        return 0.0
    oldest, newest = min(created_ats), max(created_ats)
    if newest > oldest:
        return (len(created_ats) - 1) / max((newest - oldest) / MINUTE, _SHORTEST_MINUTES)
    return len(created_ats) / max((visited_at - oldest) / MINUTE, _SHORTEST_MINUTES)


def _readable(networks: Collection[str]) -> tuple[str | None, ...]:
    """The feeds that may be worth a call: for one network that of all is not, it lists at least what its own does."""
    return (*sorted(networks), None) if len(networks) > 1 else tuple(networks)


def _is_to_come(feed: Feed, now: datetime, spec: CollectionSpec) -> bool:
    """Whether a feed was read so far ahead that the clock was wrong then; another collector's may be a little ahead."""
    return feed.visited_at is not None and feed.visited_at - now > spec.longest_discovery_minutes * MINUTE


def _in_use(known: dict[str | None, Feed], networks: Collection[str], spec: CollectionSpec) -> Collection[str | None]:
    """The cheaper of the networks' own feeds and the one of all; as long as that was never read, their own."""
    everything = known.get(None, Feed(None))
    of_networks = sum(known.get(network, Feed(network)).rate_per_minute for network in networks)
    if everything.visited_at is None:
        return networks
    # The feed of all lists at least what the networks' own do, even if it has not been read for a while.
    cost_of_one = _calls_per_minute(max(everything.rate_per_minute, of_networks), spec)
    return (None,) if cost_of_one < _cost(networks, known, spec) else networks


def _cost(in_use: Collection[str | None], known: dict[str | None, Feed], spec: CollectionSpec) -> float:
    return sum(_calls_per_minute(known.get(n, Feed(n)).rate_per_minute, spec) for n in in_use)


def _wait_minutes(rate_per_minute: float, spec: CollectionSpec) -> float:
    """How long after a visit the next is due.

    A visit reads again what was born shortly before the last one, for pools may be listed late. It is worth its calls
    when `full_page_share` of what it reads is new, and a page of the list must be left when it is done.
    """
    late = spec.listed_late_s / 60
    if rate_per_minute <= 0:
        return spec.longest_discovery_minutes
    share = spec.full_page_share
    worthwhile = max(share * POOLS_A_PAGE / rate_per_minute, late * share / (1 - share))
    longest = (LAST_PAGE - 1) * POOLS_A_PAGE / rate_per_minute - late
    return min(spec.longest_discovery_minutes, max(_SHORTEST_MINUTES, min(worthwhile, longest)))


def _calls_per_minute(rate_per_minute: float, spec: CollectionSpec) -> float:
    """What a feed costs; the last page of a visit is half full of what is wanted, on average."""
    wait = _wait_minutes(rate_per_minute, spec)
    n_pages = rate_per_minute * (wait + spec.listed_late_s / 60) / POOLS_A_PAGE + 0.5
    return min(LAST_PAGE, max(1.0, n_pages)) / wait


def _probed(
    others: Collection[str | None], known: dict[str | None, Feed], now: datetime, spec: CollectionSpec
) -> set[str | None]:
    """Of the feeds not in use those that were never read, or the one whose turn it is; turns are spread evenly."""
    never = {n for n in others if n not in known or known[n].visited_at is None}
    visits = {n: visited for n in others if n in known and (visited := known[n].visited_at) is not None}
    if never or not visits:
        return never
    longest_ago = min(visits, key=lambda n: (visits[n], n or ""))
    waited, since_last = ((now - visit) / MINUTE for visit in (visits[longest_ago], max(visits.values())))
    is_turn = waited >= spec.probe_minutes and since_last >= spec.probe_minutes / len(visits)
    return {longest_ago} if is_turn else set()


def _urgency(feed: Feed, now: datetime, spec: CollectionSpec) -> float:
    """1 when a feed in use is due, more the longer it has been."""
    if feed.visited_at is None:
        return float("inf")
    return (now - feed.visited_at) / MINUTE / _wait_minutes(feed.rate_per_minute, spec)
