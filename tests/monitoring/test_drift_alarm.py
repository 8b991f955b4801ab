"""Nothing flaps: what a sequence of reports leads to, hour by hour."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import UsageError
from pipeline.monitoring.drift.alarm import Look, alarm
from pipeline.monitoring.drift.spec import DriftSpec
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.words import in_words

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = WatchSpec(n_confirmed=2, apart_hours=6, cooldown_hours=24)
SEEN = {"x": True, ".": False, "?": None}


def told(reports: str, every_hours: int, spec: WatchSpec = SPEC) -> tuple[str, str]:
    """The alarm after each report, and which of them ask: x saw a shift with harm, . did not, ? too few pools."""
    looks: list[Look] = []
    stands, asks = "", ""
    for number, sign in enumerate(reports):
        at = BEGIN + number * every_hours * HOUR
        found = alarm([*looks, Look(at, at, SEEN[sign])], spec)
        looks.append(Look(at, at, SEEN[sign], found.is_asking))
        stands, asks = stands + ("#" if found.is_standing else "-"), asks + ("A" if found.is_asking else "-")
    return stands, asks


@pytest.mark.parametrize(
    ("reports", "every_hours", "stands", "asks"),
    [
        ("........", 6, "--------", "--------"),
        ("x.......", 6, "--------", "--------"),  # seen once is not seen
        ("x.x.x.x.", 6, "--------", "--------"),  # nor is now and then
        ("xx......", 6, "-##-----", "-A------"),  # falls after as many quiet ones
        ("xxxxxxxx", 6, "-#######", "-A---A--"),  # asks again only after the cool-down
        ("xxxxxxx.", 1, "------##", "------A-"),  # hourly reports of the same pools are one, until six hours on
        ("xx.xx.xx", 6, "-#######", "-A----A-"),  # one quiet report between does not end it
        ("x?x?....", 6, "--###---", "--A-----"),  # too few pools to tell counts for neither
        ("????????", 6, "--------", "--------"),
    ],
)
def test_what_reports_in_a_row_lead_to(reports: str, every_hours: int, stands: str, asks: str) -> None:
    assert told(reports, every_hours) == (stands, asks)


def test_an_alarm_that_stands_asks_for_nothing_while_a_report_sees_no_harm() -> None:
    spec = WatchSpec(n_confirmed=2, apart_hours=6, cooldown_hours=6)
    stands, asks = told("xx.x", 6, spec)
    assert (stands, asks) == ("-###", "-A-A")


def test_alternating_reports_never_raise_an_alarm_however_many_there_are() -> None:
    stands, asks = told("x." * 60, 1)
    assert set(stands + asks) == {"-"}


@pytest.mark.parametrize(
    "wrong",
    [{"n_confirmed": 0}, {"harm_alpha": 0.0}, {"min_auc": 0.4}, {"n_resamples": 50}, {"loss_cap": 0.0}],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        WatchSpec(**wrong)  # type: ignore[arg-type]


def test_the_words_name_the_five_that_moved_most_and_no_more() -> None:
    moved = [
        {"kind": "feature", "subject": f"f{n}", "js": n / 100, "q_value": 0.01, "is_drifted": True} for n in range(1, 9)
    ]
    words = in_words(moved, is_shift=True, is_harm=False)
    assert words.startswith("drift without harm: f8 js 0.08 (q 0.01), f7")
    assert words.endswith("f4 js 0.04 (q 0.01), 3 more features")
    assert in_words([], is_shift=None, is_harm=None) == "too few pools to tell"
    assert DriftSpec() == SPEC.drift
