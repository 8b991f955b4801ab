"""Who is told what, and when: on a moved clock, with a receiver that a test switches off and on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from itertools import pairwise
from pathlib import Path
from time import process_time

import polars as pl
import pytest

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.monitoring.alerts.events import rows_of
from pipeline.monitoring.alerts.journal import acknowledge, listed, remembered
from pipeline.monitoring.alerts.message import Letter
from pipeline.monitoring.alerts.outbox import decision, plan
from pipeline.monitoring.alerts.receivers import Receiver, receivers_of
from pipeline.monitoring.alerts.rules import DAYS, Quiet, Rules, Treatment
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.tables import ALERT_DELIVERIES, ALERTS
from tests.monitoring.alert_bench import NOON, Bench, Web, event, free_port


@dataclass
class Post:
    """Stands where the sending process stands, so that hours take no time."""

    is_up: bool = True
    refuses: str = ""
    got: list[tuple[str, Letter]] = field(default_factory=list)
    n_tries: int = 0

    def __call__(self, receiver: Receiver, letters: Sequence[Letter], spec: AlertsSpec) -> Iterator[str]:
        n_failures = 0
        for letter in letters:
            self.n_tries += 1
            if self.is_up and not (self.refuses and self.refuses in letter.title):
                self.got.append((receiver.name, letter))
                n_failures = 0
                yield ""
            elif n_failures < 2:
                n_failures += 1
                yield "it is down"
            else:
                return

    @property
    def titles(self) -> list[str]:
        return [letter.title for _name, letter in self.got]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, to="json://one.example")


@pytest.fixture
def post() -> Post:
    return Post()


def decisions(bench: Bench) -> Counter[str]:
    return Counter(remembered(bench.lake, ALERT_DELIVERIES, bench.clock.now())["decision"])


def test_the_receiver_is_down_for_an_hour_and_then_each_alert_arrives_once(tmp_path: Path) -> None:
    web = Web(free_port())
    bench = Bench(tmp_path, to=f"json://127.0.0.1:{web.port}/")
    for minute in range(0, 60, 6):
        bench.happens(*(event(f"job-{n}", mark=str(minute), at=bench.clock.now()) for n in range(10)))
        if minute % 18 == 0:
            bench.delivers()
        bench.clock.move(minutes=6)
    assert remembered(bench.lake, ALERTS, bench.clock.now()).height == 100
    assert web.got == []
    with web.up():
        bench.clock.move(minutes=15)
        bench.delivers()
        assert sorted(web.titles) == [f"poolcast warning: job-{n}: a run failed" for n in range(10)]
        assert all("9 more of the same since 2026-03-04 12:00 UTC." in message for message in web.messages)
        for _ in range(6):
            bench.clock.move(minutes=10)
            bench.delivers()
        assert len(web.got) == 10
        # Within the window the same is not told again, and after it the next one says how often it was not.
        bench.happens(event("job-3", mark="again", at=bench.clock.now()))
        bench.delivers()
        assert len(web.got) == 10
        bench.clock.move(hours=4)
        bench.happens(event("job-3", mark="and again", at=bench.clock.now()))
        bench.delivers()
    assert len(web.got) == 11
    assert "1 of the same were not told since the last message about it." in web.messages[-1]
    sent = remembered(bench.lake, ALERT_DELIVERIES, bench.clock.now()).filter(pl.col("decision") == "sent")
    assert sent["alert_id"].n_unique() == sent.height == 101


def test_one_that_fails_is_left_alone_for_longer_and_longer(bench: Bench, post: Post) -> None:
    bench.happens(event())
    post.is_up = False
    tried = []
    for second in range(0, 1200, 30):
        before = post.n_tries
        bench.delivers(courier=post)
        tried += [second] if post.n_tries > before else []
        bench.clock.move(seconds=30)
    assert [b - a for a, b in pairwise(tried)] == [30, 60, 120, 240, 480]
    post.is_up = True
    bench.clock.move(minutes=15)
    bench.delivers(courier=post)
    assert len(post.got) == 1


def test_two_letters_that_fail_in_one_delivery_are_one_failure(bench: Bench, post: Post) -> None:
    bench.happens(event("a"), event("b"), event("c"))
    post.is_up = False

    def slow(receiver: Receiver, letters: Sequence[Letter], spec: AlertsSpec) -> Iterator[str]:
        for why in post(receiver, letters, spec):
            bench.clock.move(seconds=1)
            yield why

    tried = []
    for second in range(0, 600, 30):
        before, bench.clock.moment = post.n_tries, NOON + timedelta(seconds=second)
        bench.delivers(courier=slow)
        tried += [second] if post.n_tries > before else []
    assert [b - a for a, b in pairwise(tried)] == [60, 90, 150, 270]  # the pause, from the failure on


def test_thousands_of_alerts_are_planned_in_no_time() -> None:
    happened = rows_of((event(f"job-{n}", kind="check.failed") for n in range(3000)), NOON)
    name = receivers_of("escalate=json://one.example", b"salt")
    told = [decision(row, name[0].name, NOON, "sent") for row in happened["alert_id"]]
    deliveries = pl.DataFrame(told, ALERT_DELIVERIES.schema)
    started = process_time()
    plan(happened, deliveries, set(), name, Rules(), AlertsSpec(), NOON + HOUR)
    assert process_time() - started < 3.0


def test_what_could_not_be_told_for_days_is_given_up_and_that_is_told(bench: Bench, post: Post) -> None:
    bench.happens(event("first"))
    post.is_up = False
    for _ in range(9):
        bench.delivers(courier=post)
        bench.clock.move(hours=8)
    assert decisions(bench)["gave_up"] == 0
    bench.clock.move(minutes=1)
    bench.delivers(courier=post)
    assert decisions(bench)["gave_up"] == 1
    post.is_up = True
    bench.clock.move(hours=1)
    bench.delivers(courier=post)
    (title,) = post.titles
    assert "could not be told of 1 alerts" in title


def test_that_nobody_was_told_of_having_been_given_up_is_no_news(bench: Bench, post: Post) -> None:
    bench.happens(event("first"))
    post.is_up = False
    for _ in range(12):
        bench.delivers(courier=post)
        bench.clock.move(hours=25)
    kinds = remembered(bench.lake, ALERTS, bench.clock.now())["kind"].to_list()
    assert sorted(kinds) == ["alerts.gave_up", "run.failed"]
    assert decisions(bench)["gave_up"] == 2


def test_a_letter_that_a_service_never_takes_stands_in_nobodys_way(bench: Bench, post: Post) -> None:
    post.refuses = "poison"
    bench.happens(*(event(f"poison-{n}", kind="check.failed") for n in range(3)))
    for _ in range(2):
        bench.delivers(courier=post)
        bench.clock.move(minutes=20)
    for n in range(3):
        bench.clock.move(minutes=20)
        bench.happens(event(f"job-{n}", at=bench.clock.now()))
        bench.delivers(courier=post)
    assert len(post.got) == 3


def test_a_hundred_different_alerts_at_once_are_nineteen_letters_and_one_of_many(bench: Bench, post: Post) -> None:
    bench.happens(*(event(f"job-{n:03}") for n in range(100)), event("late", kind="check.failed"))
    bench.delivers(courier=post)
    assert len(post.got) == 20
    assert post.titles[0].startswith("poolcast critical: late")  # what matters most comes first
    assert post.titles[-1].endswith("and 81 more")
    assert post.got[-1][1].lines[-1] == "and 72 more. See: poolcast alerts list"
    assert decisions(bench)["sent"] == 101
    bench.happens(event("next"))
    bench.delivers(courier=post)
    assert len(post.got) == 20
    bench.clock.move(minutes=61)
    bench.delivers(courier=post)
    assert len(post.got) == 21


def test_in_quiet_hours_only_what_is_critical_is_told_and_the_rest_comes_after(bench: Bench, post: Post) -> None:
    bench.rules = Rules(quiet=(Quiet(DAYS, time(11), time(13)),))
    bench.happens(event("minor"), event("major", kind="check.failed"))
    bench.delivers(courier=post)
    assert post.titles == ["poolcast critical: major: a run failed"]
    bench.clock.move(minutes=61)
    bench.delivers(courier=post)
    assert post.titles[1:] == ["poolcast warning: minor: a run failed"]


def test_what_is_critical_and_acknowledged_by_nobody_escalates_so_often_and_no_more(bench: Bench, post: Post) -> None:
    bench.to = "json://one.example escalate=json://boss.example"
    boss = bench.receivers[1].name
    bench.happens(event("a", kind="check.failed"), event("b", kind="check.failed"), event("c"))
    for _ in range(20):
        bench.delivers(courier=post)
        bench.clock.move(minutes=10)
        if bench.clock.now() == NOON + 40 * MINUTE:  # after the first escalation
            found = listed(bench.lake, bench.clock.now()).filter(pl.col("subject") == "b")["alert_id"].item()
            acknowledge(bench.lake, found[:9], "somebody", "on it", bench.clock.now())
    told = Counter(letter.title for name, letter in post.got if name == boss)
    assert told == {
        "poolcast critical: nobody acknowledged: a: a run failed": 3,
        "poolcast critical: nobody acknowledged: b: a run failed": 1,
    }
    assert sum(name != boss for name, _letter in post.got) == 3


def test_what_is_over_does_not_escalate(bench: Bench, post: Post) -> None:
    bench.to = "escalate=json://boss.example"
    bench.happens(event("a", kind="check.failed"))
    bench.clock.move(minutes=20)
    bench.happens(event("a", kind="check.failed", state="recovered", severity="info", at=bench.clock.now()))
    bench.clock.move(minutes=20)
    bench.delivers(courier=post)
    assert post.got == []


def test_a_beginning_and_its_end_are_both_told_in_their_order(bench: Bench, post: Post) -> None:
    bench.happens(event("a"))
    bench.clock.move(minutes=20)
    bench.happens(event("a", state="recovered", severity="info", at=bench.clock.now()))
    bench.delivers(courier=post)
    assert post.titles == ["poolcast warning: a: a run failed", "poolcast over: a: a run failed"]
    assert [letter.mood for _name, letter in post.got] == ["warning", "success"]


def test_rules_say_who_is_told_how_much_it_matters_and_what_is_kept_silent(bench: Bench, post: Post) -> None:
    bench.to = "ops=json://ops.example all=json://everybody.example"
    ops = bench.receivers[0].name
    bench.rules = Rules(
        per_kind=(
            ("run.*", Treatment(to=("ops",), severity="critical")),
            ("check.*", Treatment(mute=True)),
        )
    )
    bench.happens(event("a"), event("b", kind="check.failed"))
    bench.delivers(courier=post)
    assert [(name, letter.title) for name, letter in post.got] == [(ops, "poolcast critical: a: a run failed")]


def test_one_named_for_the_first_time_hears_of_the_last_day_and_of_nothing_before(bench: Bench, post: Post) -> None:
    bench.happens(event("old"))
    bench.clock.move(hours=30)
    bench.happens(event("new", at=bench.clock.now()))
    bench.delivers(courier=post)
    assert post.titles == ["poolcast warning: new: a run failed"]
    bench.clock.move(hours=1)
    bench.delivers(courier=post)
    assert len(post.got) == 1


@pytest.mark.parametrize(
    ("day", "hour", "waits"), [(6, 23, True), (7, 6, True), (7, 7, False), (7, 23, False), (6, 12, False)]
)
def test_a_quiet_night_belongs_to_the_day_it_begins_on(day: int, hour: int, waits: bool) -> None:
    friday_night = Rules(quiet=(Quiet(("fri",), time(22), time(7)),))
    assert friday_night.waits("warning", NOON.replace(day=day, hour=hour)) is waits  # the 6th is a Friday
    assert not friday_night.waits("critical", NOON.replace(day=day, hour=hour))


def test_no_spec_gives_up_within_a_day_or_shrinks_its_pauses() -> None:
    from pipeline.errors import UsageError

    for wrong in ({"give_up_after": HOUR}, {"first_pause": timedelta(0)}, {"longest_pause": timedelta(seconds=1)}):
        with pytest.raises(UsageError):
            replace(AlertsSpec(), **wrong)
    assert AlertsSpec().give_up_after >= DAY
