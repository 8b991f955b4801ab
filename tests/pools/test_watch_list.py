"""How observations change whom a collector watches, and when."""

from datetime import timedelta
from pathlib import Path

import pytest
from api_records import BIRTH, SOURCE, minutes, observed, records

from pipeline.pools.collecting_spec import CollectionSpec, SamplerSpec
from pipeline.pools.memory import Memory
from pipeline.pools.watch import TakenIn, Watch

SPEC, COLLECTION = SamplerSpec(), CollectionSpec()


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(Memory(tmp_path / "memory.sqlite"), SOURCE, SPEC, COLLECTION)


def due(watch: Watch, at: float) -> list[str]:
    return sorted(watch.due(minutes(at), minutes(at), ["eth"])["pool"])


def test_a_newborn_pool_is_due_at_every_grid_point_and_a_grown_one_as_its_reserve_asks(watch: Watch) -> None:
    assert watch.take_in(records(observed("0xa", 1))) == {"eth": TakenIn(n_found=1, n_observed=1)}
    assert (due(watch, 5), due(watch, 10)) == ([], ["0xa"])
    watch.take_in(records(observed("0xa", 56)))  # seen for 60 min: no longer newborn, 5,000 USD: once an hour
    assert (due(watch, 115), due(watch, 120)) == ([], ["0xa"])
    watch.take_in(records(observed("0xa", 120, reserve_usd=200_000.0, volume_m5_usd=0.0)))
    assert due(watch, 125) == ["0xa"]


def test_an_observation_on_the_grid_point_belongs_to_it_and_one_just_after_to_the_next(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 5), observed("0xb", 5.001)))
    assert (due(watch, 10), due(watch, 15)) == (["0xa"], ["0xa", "0xb"])


def test_only_networks_that_are_watched_are_due_and_claimed_pools_are_not(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 0), observed("0xb", 0), observed("0xc", 0, network="bsc")))
    assert due(watch, 5) == ["0xa", "0xb"]
    watch.claim([("eth", "0xa")], minutes(10))
    assert due(watch, 5) == ["0xb"]
    assert due(watch, 10) == ["0xa", "0xb"]  # a claim lapses: whoever made it may be dead


def test_missed_visits_are_counted_from_when_they_were_due(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 0)))
    assert watch.missed([("eth", "0xa")], minutes(5)) == {}
    assert watch.missed([("eth", "0xa"), ("eth", "0xunknown")], minutes(21)) == {"0xa": 4}


def test_what_was_due_counts_as_observed_and_what_came_after_as_late(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 0)))
    assert watch.take_in(records(observed("0xa", 5))) == {"eth": TakenIn(n_observed=1)}
    assert watch.take_in(records(observed("0xa", 5, answer_id="again"))) == {"eth": TakenIn()}
    assert watch.take_in(records(observed("0xa", 30))) == {"eth": TakenIn(n_observed=1, n_observed_late=1)}
    late = watch.take_in(records(observed("0xb", 30)))
    assert late == {"eth": TakenIn(n_found=1, n_found_late=1, n_observed=1)}


def test_an_answer_that_arrives_out_of_order_changes_nothing(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 120, reserve_usd=50_000.0)))
    watch.take_in(records(observed("0xa", 100, reserve_usd=1.0)))
    assert (due(watch, 130), due(watch, 135)) == ([], ["0xa"])


def test_a_reserve_jump_lifts_a_pool_for_an_hour_and_asks_for_its_swaps(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 120), observed("0xb", 120)))
    watch.take_in(records(observed("0xa", 180, reserve_usd=8_000.0), observed("0xb", 180)))
    assert due(watch, 185) == ["0xa"]
    assert [wanted.pool for wanted in watch.swaps(minutes(180), 9)] == ["0xa"]
    watch.settle("trades_due", watch.swaps(minutes(180), 9)[0], None)
    assert watch.swaps(minutes(999), 9) == []
    for at in range(185, 246, 5):
        watch.take_in(records(observed("0xa", at, reserve_usd=8_000.0)))
    assert due(watch, 250) == ["0xb"]  # the lift has lapsed; 8,000 USD are seen once an hour


def test_a_pool_on_a_watch_is_lifted_at_once(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 120)))
    watch.lift([("eth", "0xa", minutes(300))], minutes(125))
    assert due(watch, 125) == ["0xa"]
    watch.take_in(records(observed("0xa", 125)))
    assert due(watch, 130) == ["0xa"]


def test_what_happens_in_a_pools_first_hour_lifts_nobody(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 5)))
    watch.take_in(records(observed("0xa", 10, reserve_usd=50_000.0)))
    assert watch.swaps(minutes(10), 9) == []


def test_a_pool_that_vanished_is_asked_for_less_and_less_but_never_given_up(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 0)))
    waits = []
    at = 5
    for _ in range(8):
        watch.vanish("eth", ["0xa"], minutes(at))
        following = next(k for k in range(at + 1, at + 300) if due(watch, k))
        waits.append(following - at)
        at = following
    assert waits == [5, 10, 20, 40, 80, 160, 240, 240]
    # Asked for less, it was missed no less: every five minutes, as its state had asked when it was last seen.
    assert watch.missed([("eth", "0xa")], minutes(at)) == {"0xa": at // 5 - 1}
    watch.take_in(records(observed("0xa", at)))
    assert watch.missed([("eth", "0xa")], minutes(at)) == {}


def test_bars_are_wanted_after_a_day_and_at_once_of_a_pool_found_late(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 1), observed("0xlate", 30)))
    assert [wanted.pool for wanted in watch.histories(minutes(30), 9)] == ["0xlate"]
    first = watch.histories(minutes(30), 9)[0]
    assert (first.created_at, first.before, first.base_token) == (BIRTH, None, "0xlate-base")
    watch.settle("history_due", first, minutes(30), minutes(20))
    assert watch.histories(minutes(30), 9)[0].before == minutes(20)
    day_later = BIRTH + timedelta(hours=COLLECTION.history_age_hours)
    assert {wanted.pool for wanted in watch.histories(day_later, 9)} == {"0xa", "0xlate"}


def test_a_pool_is_followed_for_a_week(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 0)))
    week = BIRTH + timedelta(days=SPEC.follow_days)
    assert watch.forget(week - timedelta(seconds=1)) == 0
    assert watch.forget(week) == 1
    assert watch.n_watched() == 0


def test_a_pool_too_old_to_be_followed_is_passed_over(watch: Watch) -> None:
    assert watch.take_in(records(observed("0xa", 7 * 24 * 60))) == {}
    assert watch.n_watched() == 0


def test_a_history_that_is_read_page_by_page_is_not_begun_anew_by_other_details(watch: Watch) -> None:
    watch.take_in(records(observed("0xa", 30)))
    (wanted,) = watch.histories(minutes(30), 9)
    watch.settle("history_due", wanted, minutes(30), minutes(20))
    for column in ("trades_due", "info_due"):
        watch.settle(column, wanted, None)
    assert watch.histories(minutes(30), 9)[0].before == minutes(20)


def test_a_lost_watch_list_is_made_again_from_the_records(tmp_path: Path, watch: Watch) -> None:
    told = [observed("0xa", at, reserve_usd=5_000.0 + at) for at in (0, 5, 60, 120)] + [observed("0xb", 7)]
    for row in told:
        watch.take_in(records(row))
    again = Watch(Memory(tmp_path / "again.sqlite"), SOURCE, SPEC, COLLECTION)
    again.restore(records(*told[3:]))
    columns = "SELECT network, pool, created_at, slot, interval_minutes, due_at, reserve_usd FROM watched ORDER BY pool"
    assert again.histories(minutes(300), 9) == []
    assert again.memory.rows(columns) == watch.memory.rows(columns)
