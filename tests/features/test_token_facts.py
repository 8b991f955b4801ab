"""What was told of a token, as it was known: against a plain search through all answers."""

from datetime import timedelta

import polars as pl
from battery_market import HEAD, SPAN, START, market, rows_of

from pipeline.calendars import HOUR, MINUTE
from pipeline.features.compute import compute_columns
from pipeline.features.registry import REGISTRY
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOLS, SNAPSHOTS, TOKENS

SPEC = FeaturesSpec()
FACTS = ("n_holders", "top10_pct", "is_mint_revoked", "is_freeze_revoked", "has_socials")
NAMES = (*FACTS, "holder_trend")


def last_told(tokens, token, fact, moment):
    """The last answer about the fact by a moment, unless it is too old: one answer after the other."""
    found = None
    for row in tokens.sort("known_at").iter_rows(named=True):
        is_heard = moment - SPEC.token_tolerance <= row["known_at"] <= moment
        if row["token"] == token and row[fact] is not None and is_heard:
            found = row[fact]
    return found


def computed(sources, names=NAMES):
    return compute_columns(sources, SPAN, SPEC, [REGISTRY[name] for name in names])


def test_every_fact_is_the_last_one_told_by_then():
    world = market(5, n_pools=3)
    token_of = dict(world.pools.select("pool", "base_token").iter_rows())
    for row in computed(world.sources()).iter_rows(named=True):
        token, moment = token_of[row["pool"]], row["event_time"]
        told = {fact: last_told(world.tokens, token, fact, moment) for fact in FACTS}
        assert {fact: row[fact] for fact in FACTS} == told
        before = last_told(world.tokens, token, "n_holders", moment - HOUR)
        is_known = told["n_holders"] is not None and before is not None
        assert (row["holder_trend"] is not None) == is_known


def sources_of(answers, at_minutes):
    """One pool seen at some minutes; answers are (minutes of the answer, minutes until learned, holders)."""
    times = [START + m * MINUTE for m in at_minutes]
    snapshots = {"event_time": times, "known_at": times, "created_at": [START] * len(times)}
    events = [START + m * MINUTE for m, _, _ in answers]
    tokens = {
        "event_time": events, "known_at": [t + late * MINUTE for t, (_, late, _) in zip(events, answers, strict=True)],
        "n_holders": [n for _, _, n in answers],
    }  # fmt: skip
    pool = {"pool": ["p"], "base_token": ["t"], "created_at": [START], "known_at": [START]}
    return Sources(
        rows_of(SNAPSHOTS, snapshots, pool="p", inclusion_probability=1.0, n_missed=0, **HEAD).lazy(),
        pools=rows_of(POOLS, pool, **HEAD).lazy(),
        tokens=rows_of(TOKENS, tokens, **{"token": "t"}, **HEAD).lazy(),
    )


def holders(answers, at_minutes):
    return computed(sources_of(answers, at_minutes), ["n_holders"])["n_holders"].to_list()


def test_an_answer_counts_from_when_it_was_learned():
    assert holders([(10, 30, 7)], [35, 40, 45]) == [None, 7, 7]


def test_an_answer_that_is_silent_does_not_hide_what_was_told_before():
    assert holders([(0, 0, 7), (10, 0, None)], [15]) == [7]


def test_what_was_told_a_day_ago_holds_and_longer_ago_is_forgotten():
    assert SPEC.token_tolerance == timedelta(days=1)
    assert holders([(0, 0, 7)], [24 * 60, 24 * 60 + 5]) == [7, None]


def test_impossible_facts_say_nothing():
    assert holders([(0, 0, 7), (10, 0, -3)], [15]) == [7]


def test_a_pool_that_is_on_no_list_has_no_token_to_speak_of():
    world = market(5, n_pools=2)
    sources = Sources(world.sources().snapshots, tokens=world.sources().tokens)
    found = computed(sources)
    assert found.select(pl.col(NAMES).is_null().all()).row(0) == (True,) * len(NAMES)
