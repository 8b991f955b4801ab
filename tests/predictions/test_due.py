"""Which snapshots are due: chosen once, as of a moment, whatever order they come in."""

from datetime import timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.predictions.due import due_in_replay, due_live
from tests.predictions.prediction_rows import AT, HOUR, SPEC, a_row, some_features

MINUTE = timedelta(minutes=1)


def test_live_each_pool_is_due_once_with_its_newest_snapshot_as_of_the_moment():
    features = some_features(
        a_row("a", AT - HOUR, reserve_usd=1.0),
        a_row("a", AT, known_at=AT + HOUR, reserve_usd=2.0),
        a_row("b", AT, reserve_usd=3.0),
        a_row("b", AT + HOUR, reserve_usd=4.0),
        a_row("c", AT + HOUR),  # dated ahead of when it was told
        a_row("young", AT, age_hours=0.9),
        a_row("unknown", AT, age_hours=None),
        a_row("forgotten", AT - 48 * HOUR),
    )
    due = due_live(features.lazy(), AT, SPEC)
    assert due.select("pool", "reserve_usd").rows() == [("a", 1.0), ("b", 3.0), ("unknown", 10.0)]
    assert due["said_at"].to_list() == [AT] * 3
    assert not due["is_hindsight"].any()
    assert due_live(features.lazy(), AT + HOUR, SPEC)["reserve_usd"].to_list()[:2] == [2.0, 4.0]


def test_in_a_replay_what_came_after_the_role_began_is_said_when_it_was_learned():
    since = AT
    features = some_features(
        a_row("a", AT - HOUR),
        a_row("a", AT, reserve_usd=1.0),
        a_row("a", AT + 5 * MINUTE, reserve_usd=2.0),
        a_row("a", AT + 15 * MINUTE, reserve_usd=3.0),
        a_row("a", AT + 20 * MINUTE, known_at=AT + 26 * MINUTE, reserve_usd=4.0),
        a_row("a", AT + 30 * MINUTE, known_at=AT + 2 * HOUR, reserve_usd=5.0),
    )
    due = due_in_replay(features.lazy(), AT + HOUR, since, AT - 9 * HOUR, SPEC)
    told = due.select("reserve_usd", "said_at", "is_hindsight").rows()
    assert told == [
        (1.0, AT, False),  # the look at 12:00
        (3.0, AT + 15 * MINUTE, False),  # the newest at the look of 12:15
        (4.0, AT + 26 * MINUTE, False),  # learned for the look of 12:30
    ]


def test_what_came_before_any_role_is_hindsight_once_a_pool_and_only_after_what_was_learned_from():
    features = some_features(
        a_row("old", AT - 3 * HOUR), a_row("old", AT - 2 * HOUR, reserve_usd=2.0),
        a_row("learned", AT - 5 * HOUR),
        a_row("both", AT - 2 * HOUR), a_row("both", AT + HOUR),
    )  # fmt: skip
    due = due_in_replay(features.lazy(), AT + 300 * HOUR, AT, AT - 4 * HOUR, SPEC)
    told = due.select("pool", "event_time", "said_at", "is_hindsight").rows()
    assert told == [
        ("both", AT + HOUR, AT + HOUR, False),
        ("old", AT - 2 * HOUR, AT + 300 * HOUR, True),
    ]


STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-30, 60), st.integers(0, 40)), max_size=25, unique_by=lambda s: s[:2]
)


@given(STEPS, st.integers(0, 60), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_later_replay_says_of_the_past_what_the_earlier_one_said_except_at_its_last_look(steps, minutes, random):
    rows = [
        a_row(pool, AT + 5 * m * MINUTE, known_at=AT + (5 * m + late) * MINUTE, reserve_usd=float(i))
        for i, (pool, m, late) in enumerate(steps)
    ]
    shuffled = random.sample(rows, len(rows))
    now = AT + 5 * minutes * MINUTE
    early, late = (
        due_in_replay(some_features(*found).lazy(), moment, AT, AT - 9 * HOUR, SPEC).filter(~pl.col("is_hindsight"))
        for found, moment in ((rows, now), (shuffled, AT + 500 * HOUR))
    )
    last_look = pl.lit(now).dt.truncate("15m")
    before = early.filter(pl.col("said_at") <= last_look)
    assert before.equals(late.filter(pl.col("said_at") <= last_look))
    assert (early["said_at"] == early["known_at"]).all()
