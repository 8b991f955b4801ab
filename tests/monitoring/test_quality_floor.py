"""Below the floor: several reports in a row confirm it, several release it, and old ones say nothing."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipeline.calendars import HOUR, MINUTE
from pipeline.monitoring.quality.floor import confirmed_low, why_held
from pipeline.monitoring.quality.spec import QUALITY
from pipeline.tables import QUALITY_REPORTS

NOW = datetime(2024, 3, 1, 12, 37, tzinfo=UTC)
NOTHING = ""


def reports(scores: str, every: timedelta = HOUR, table: str = "features") -> pl.DataFrame:
    """One report a letter, the last one now: g(ood), b(ad), n(othing to judge), a dot for one that was not made."""
    rows = []
    for i, letter in enumerate(reversed(scores)):
        if letter != ".":
            score = {"g": 95.0, "b": 61.25, "n": None}[letter]
            rows.append(
                {
                    "source": "s", "known_at": NOW - i * every, "table_name": table, "part": "score", "subject": "all",
                    "value": score, "bound": 70.0, "is_warning": letter == "b", "score": score, "n_rows": 1,
                    "n_pools": 1, "detail": None,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, QUALITY_REPORTS.schema)


def since(scores: str, every: timedelta = HOUR) -> str | None:
    """Since how many reports before the last promotion is held; None: it is not."""
    lows = confirmed_low(reports(scores, every), 70.0, NOW, QUALITY)
    return str((NOW - lows[0].since) // every) if lows else None


@pytest.mark.parametrize(
    ("scores", "held_since"),
    [
        ("", None),
        ("g", None),
        ("b", None),
        ("bb", None),
        ("bbb", "2"),
        ("ggbbb", "2"),
        ("bbbbbb", "5"),
        ("gbgbgbgb", None),
        ("bbgbbgbb", None),
        ("bbbg", "3"),
        ("bbbgg", "4"),
        ("bbbggg", None),
        ("bbbggb", "5"),
        ("bbbgbgbg", "7"),
        ("bbbgggbb", None),
        ("bbbgggbbb", "2"),
        ("bnbnb", "4"),
        ("b.b.b", "4"),
        ("bbb" + "." * 27, None),
        ("bbb" + "." * 26, "28"),
        ("bbb" + "." * 30 + "g", None),
        ("bbb" + "." * 30 + "bb", None),
        ("bb" + "." * 30 + "b", None),
    ],
)
def test_nothing_flaps(scores: str, held_since: str | None) -> None:
    assert since(scores) == held_since


def test_to_look_three_times_in_a_minute_confirms_nothing() -> None:
    assert since("bbb", timedelta(seconds=20)) is None
    assert since("bbbbbb", 25 * MINUTE) is not None


def test_reports_of_the_future_are_not_known() -> None:
    told = reports("bbbggg")
    assert confirmed_low(told, 70.0, NOW - 3 * HOUR, QUALITY)[0].score == 61.25
    assert confirmed_low(told, 70.0, NOW - 4 * HOUR, QUALITY) == ()


def test_each_table_is_judged_by_itself_and_told_in_words() -> None:
    told = pl.concat([reports("bbb"), reports("ggg", table="labels"), reports("bbbgg", table="snapshots")])
    lows = confirmed_low(told, 70.0, NOW, QUALITY)
    assert [low.table for low in lows] == ["features", "snapshots"]
    assert why_held(lows) == (
        "promotion is held: quality of features 61.2 is below 70 since 2024-03-01 10:37 UTC; "
        "quality of snapshots was below 70 since 2024-03-01 08:37 UTC; the last 2 reports are above, and it takes more"
    )
    assert why_held(()) == NOTHING
