"""Tables that know the future, and features that are soundly made from them, are heard; features alone cannot tell."""

from dataclasses import replace

import polars as pl
import pytest
from leaky_market import NAMES, Market, features_of, judged, market

POOL = ["source", "network", "pool"]
KEY = [*POOL, "event_time"]


@pytest.fixture(scope="module")
def sound() -> Market:
    return market()


def test_snapshots_that_hold_a_later_price_are_heard(sound: Market):
    later = pl.col("price").shift(-2).over(POOL)
    shifted = sound.snapshots.sort(KEY).with_columns(later).filter(pl.col("price").is_not_null())
    report = judged(replace(sound, snapshots=shifted))
    assert report.failed == ("rebuilt",), report.words
    assert "values of snapshots.price" in report.words


def test_snapshots_revised_afterwards_are_heard(sound: Market):
    revised = sound.snapshots.with_columns(pl.col("spread").fill_null(pl.col("spread").mean().over(POOL)))
    assert judged(replace(sound, snapshots=revised)).failed == ("rebuilt",)


def test_snapshots_of_survivors_alone_are_heard(sound: Market):
    lost = sound.labels.filter(pl.col("status") == "censored").select(POOL).unique()
    report = judged(replace(sound, snapshots=sound.snapshots.join(lost, on=POOL, how="anti")))
    assert report.failed == ("rebuilt",), report.words
    assert "rows of snapshots that are not on record" in report.words


def test_snapshots_of_pools_that_never_rug_are_heard(sound: Market):
    rugs = sound.labels.filter(pl.col("outcome") == "RUG").select(POOL).unique()
    report = judged(replace(sound, snapshots=sound.snapshots.join(rugs, on=POOL, how="anti")))
    assert "rebuilt" in report.failed, report.words


def test_snapshots_that_nobody_saw_are_heard(sound: Market):
    hidden = sound.seen.filter(pl.col("pool").hash(0) % 10 > 0)
    assert judged(replace(sound, seen=hidden)).failed == ("rebuilt",)


def until_when_it_is_watched(of: Market) -> pl.DataFrame:
    """The end of a source's record, which for those that vanish is the moment at which they do."""
    left = (pl.col("watched_until") - pl.col("event_time")).dt.total_minutes().cast(pl.Float64)
    ends = of.pools.select(*POOL, "watched_until")
    rows = features_of(of).join(ends, on=POOL).with_columns(spread=left)
    return rows.select(*KEY, "known_at", *NAMES)


def test_a_feature_that_knows_until_when_a_pool_is_watched_is_heard(sound: Market):
    last = sound.snapshots.group_by(POOL).agg(pl.col("event_time").max().alias("watched_until"))
    ended = replace(sound, pools=sound.pools.drop("watched_until").join(last, on=POOL, how="left"))
    assert judged(ended).is_passed
    report = judged(ended, until_when_it_is_watched)
    assert "recomputed" in report.failed, report.words
