"""Pools of a simulated market, seen only when the sampler looked: the labels must not be rugs before all else.

Every pool is followed with its true history; what the labels see are visits whose interval follows the reserve, some of
them missed, and no bar. A rule that told a rug wherever it was seen, and the rest only where the whole window was,
would find nothing but rugs among pools that are seen too rarely.
"""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from labelled_paths import BAR, FAR, NETWORK, SOURCE, START

from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import CANDLES, POOLS, SNAPSHOTS

N_POOLS, N_SLOTS, BORN_SLOTS, RUG_SHARE = 3_000, 96, 12, 0.3
SPEC = LabelsSpec(horizons_hours=(1, 6))


def interval(worth: np.ndarray) -> np.ndarray:
    return np.select([worth > 100_000, worth >= 10_000, worth >= 1_000], [5, 15, 60], 240)


def market(seed: int, missed: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What was seen, and the truth: `pool`, `worth`, `rug_slot` (null: none)."""
    rng = np.random.default_rng(seed)
    worth = np.exp(rng.uniform(np.log(300), np.log(500_000), N_POOLS))
    rug = np.where(rng.random(N_POOLS) < RUG_SHARE, rng.integers(BORN_SLOTS + 1, 84, N_POOLS), N_SLOTS * 2)
    names = np.array([f"0x{i:05}" for i in range(N_POOLS)])
    rows = []
    due, minutes = np.zeros(N_POOLS, np.int64), np.full(N_POOLS, 5)
    for slot in range(N_SLOTS):
        value = np.where(slot >= rug, worth * 0.01, worth)
        # The visit that is due comes by the state before it. Some are missed, whatever became of the pool.
        is_due = due == slot * 5
        seen = is_due & ((rng.random(N_POOLS) >= missed) | (slot == BORN_SLOTS))
        minutes = np.where(seen, 5 if slot < BORN_SLOTS else interval(value), minutes)
        due = np.where(is_due, (slot * 5 // minutes + 1) * minutes, due)
        price = np.where(slot >= rug, 0.3, 1.0)
        rows.append(pl.DataFrame({"pool": names[seen], "slot": slot, "price": price[seen], "value": value[seen]}))
    seen_rows = pl.concat(rows).select(
        pl.lit(SOURCE).alias("source"),
        pl.lit(NETWORK).alias("network"),
        "pool",
        (pl.lit(START) + pl.col("slot") * BAR).cast(SNAPSHOTS.schema["event_time"]).alias("event_time"),
        price_quote="price",
        price_usd="price",
        reserve_usd="value",
    )
    told = seen_rows.with_columns(known_at="event_time", quote_reserve=pl.lit(None, pl.Float64))
    return told, pl.DataFrame({"pool": names, "worth": worth, "rug_slot": np.where(rug < N_SLOTS, rug, 10**6)})


def labelled(seed: int, missed: float, *, is_planned: bool = True) -> pl.DataFrame:
    seen, truth = market(seed, missed)
    asks = interval if is_planned else lambda usd: np.full(len(usd), 5)
    pools = truth.select("pool", source=pl.lit(SOURCE), network=pl.lit(NETWORK))
    known = pl.concat([POOLS.empty(), pools.cast({"source": pl.String, "network": pl.String})], how="diagonal")
    decisions = seen.filter(pl.col("event_time") == START + BORN_SLOTS * BAR)
    rows = label_outcomes(
        decisions, CANDLES.empty(), known, decisions.clear(), FAR, SPEC, Observed(seen.cast({"pool": pl.String}), asks)
    )
    in_window = pl.col("rug_slot") <= BORN_SLOTS + pl.col("horizon_hours") * 12
    return rows.join(truth, on="pool").with_columns(is_true_rug=in_window, is_told=pl.col("status") == "labelled")


@pytest.mark.parametrize("missed", [0.0, 0.1])
@pytest.mark.parametrize("hours", [1, 6])
def test_a_rug_is_told_about_as_often_as_anything_else_is(hours: int, missed: float) -> None:
    is_planned = pl.col("censor_reason").fill_null("") != "seen_too_rarely"
    rows = labelled(1, missed).filter(pl.col("horizon_hours") == hours, is_planned)
    told = {key[0]: group["is_told"].mean() for key, group in rows.group_by("is_true_rug")}
    assert told[True] == pytest.approx(told[False], abs=0.12)
    found = rows.filter("is_told")
    share, truth = (found["outcome"] == "RUG").mean(), rows["is_true_rug"].mean()
    assert share == pytest.approx(truth, rel=0.12)
    is_rug = pl.col("outcome") == "RUG"
    assert found.filter(is_rug & ~pl.col("is_true_rug")).is_empty()
    # What became a rug after the last look is a rug that nobody saw; a look is missed one time in ten at most.
    assert found.filter(~is_rug & pl.col("is_true_rug")).height <= 0.002 * found.height


def test_where_the_plan_does_not_ask_often_enough_neither_is_told() -> None:
    rows = labelled(2, 0.0).filter(pl.col("horizon_hours") == 1, pl.col("worth") < 10_000)
    assert set(rows["censor_reason"]) == {"seen_too_rarely"}
    assert set(rows["is_true_rug"]) == {True, False}


def test_without_regard_to_the_plan_most_of_what_is_told_of_rarely_seen_pools_would_be_rugs() -> None:
    rows = labelled(2, 0.0, is_planned=False).filter(pl.col("horizon_hours") == 6, pl.col("worth") < 1_000)
    told = rows.filter("is_told")
    assert told.height > 30
    assert (told["outcome"] == "RUG").mean() > 2 * rows["is_true_rug"].mean()  # type: ignore[operator]
    planned = labelled(2, 0.0).filter(pl.col("horizon_hours") == 6, pl.col("worth") < 1_000)
    assert not planned["is_told"].any()
    assert timedelta(minutes=240) > timedelta(hours=6) * SPEC.gap_share


def test_bars_with_reserves_that_come_by_chance_leave_the_share_of_rugs_as_it_is() -> None:
    # Who is rugged trades before it; of a bar its reserve is told as often as not.
    seen, truth = market(3, 0.1)
    seen = seen.with_columns(quote_reserve=pl.col("reserve_usd") / 2)
    rng = np.random.default_rng(4)
    slots = pl.DataFrame({"slot": np.arange(BORN_SLOTS, BORN_SLOTS + 72)})
    every = truth.join(slots, how="cross")
    every = every.filter(pl.Series(rng.random(every.height) < 0.05))
    is_rug = pl.col("slot") >= pl.col("rug_slot")
    knows = pl.Series(rng.random(every.height) < 0.5)
    price, start = pl.when(is_rug).then(0.3).otherwise(1.0), pl.lit(START) + pl.col("slot") * BAR
    worth = pl.col("worth") / 2 * pl.when(is_rug).then(0.01).otherwise(1.0)
    bars = every.select(
        "pool",
        source=pl.lit(SOURCE),
        network=pl.lit(NETWORK),
        timeframe=pl.lit("5min"),
        event_time=start.cast(CANDLES.schema["event_time"]),
        known_at=(start + BAR).cast(CANDLES.schema["event_time"]),
        **dict.fromkeys(("open", "high", "low", "close"), price),
        quote_reserve_low=pl.when(knows).then(worth),
        quote_reserve_close=pl.when(knows).then(worth),
    )
    bars = pl.concat([CANDLES.empty(), bars], how="diagonal_relaxed").select(CANDLES.schema.names())
    pools = truth.select("pool", source=pl.lit(SOURCE), network=pl.lit(NETWORK))
    known = pl.concat([POOLS.empty(), pools], how="diagonal")
    decisions = seen.filter(pl.col("event_time") == START + BORN_SLOTS * BAR)
    found = label_outcomes(decisions, bars, known, decisions.clear(), FAR, SPEC, Observed(seen, interval))
    rows = found.join(truth, on="pool").with_columns(
        is_true=pl.col("rug_slot") <= BORN_SLOTS + pl.col("horizon_hours") * 12
    )
    for hours in (1, 6):
        told = rows.filter(pl.col("horizon_hours") == hours, pl.col("status") == "labelled")
        planned = rows.filter(
            pl.col("horizon_hours") == hours, pl.col("censor_reason").fill_null("") != "seen_too_rarely"
        )
        assert told.height > 500
        assert (told["outcome"] == "RUG").mean() == pytest.approx(planned["is_true"].mean(), rel=0.12)
        poor = rows.filter(pl.col("horizon_hours") == hours, pl.col("worth") < 1_000)
        assert set(poor["censor_reason"]) == {"seen_too_rarely"}
