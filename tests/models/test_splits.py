from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import BIRTH, training_set
from purgedcv import WalkForwardSplit, apply_embargo
from purgedcv import purge as oracle_purge

from pipeline.errors import InputError
from pipeline.models.splits import Split, folds_before, last_block, purge, walk_forward

EMBARGO = timedelta(hours=24)
POOLS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12)), min_size=12, max_size=40)


def rows(pools: list[tuple[int, int]]) -> pl.DataFrame:
    """Pools as (hour of birth, token), each decided at one and at sixteen hours of age."""
    made = []
    for i, (hour, token) in enumerate(pools):
        born = BIRTH + timedelta(hours=hour)
        for age in (1, 16):
            decided = born + timedelta(hours=age)
            end = decided + timedelta(hours=24, minutes=i % 7)
            made.append(("eth", f"p{i}", f"t{token}-{hour // 200}", born, decided, end))
    columns = ["network", "pool", "base_token", "created_at", "event_time", "label_end"]
    return pl.DataFrame(made, schema=columns, orient="row")


def has_no_leak(frame: pl.DataFrame, split: Split) -> bool:
    """Checked by force, row against row."""
    train, test = frame[split.train].to_dicts(), frame[split.test].to_dicts()
    block_start, block_end = min(r["event_time"] for r in test), max(r["label_end"] for r in test)
    for a in train:
        if a["label_end"] >= block_start and a["event_time"] <= block_end + EMBARGO:
            return False
        if any(a["pool"] == b["pool"] or a["base_token"] == b["base_token"] for b in test):
            return False
    return True


@settings(max_examples=60, deadline=None)
@given(pools=POOLS, share=st.sampled_from([0.2, 0.3, 0.5]))
def test_no_training_label_meets_a_test_block_and_no_group_is_on_both_sides(pools: list[tuple[int, int]], share: float):
    frame = rows(pools)
    try:
        splits = [last_block(frame, share=share, embargo=EMBARGO), *walk_forward(frame, n_folds=2, embargo=EMBARGO)]
    except InputError:
        return  # too few pools in too short a time: refused, which is the other right answer
    for split in splits:
        assert len(split.train)
        assert len(split.test)
        assert has_no_leak(frame, split)


def test_the_last_block_is_the_newest_share_of_the_pools():
    made = training_set(100)
    block = last_block(made.frame, share=0.3, embargo=EMBARGO)
    tested = made.frame[block.test]
    assert tested["pool"].n_unique() == 30
    assert tested["created_at"].min() == block.start
    assert made.frame[block.train]["label_end"].max() < block.start


def test_folds_are_consecutive_and_train_on_ever_more():
    made = training_set(120)
    folds = walk_forward(made.frame, n_folds=4, embargo=EMBARGO)
    assert [f.name for f in folds] == ["fold_1", "fold_2", "fold_3", "fold_4"]
    sizes = [len(f.train) for f in folds]
    assert sizes == sorted(sizes)
    tested = np.concatenate([f.test for f in folds])
    assert len(np.unique(tested)) == len(tested)


def test_early_blocks_with_nothing_left_to_train_on_only_train():
    born_in_a_rush = training_set(40).frame.with_columns(
        pl.when(pl.col("created_at").rank("dense") <= 25).then(pl.col("created_at").min()).otherwise("created_at")
    )
    folds = walk_forward(born_in_a_rush, n_folds=4, embargo=EMBARGO)
    assert 1 <= len(folds) < 4
    assert all(len(fold.train) for fold in folds)


def test_too_few_pools_are_refused_in_words():
    with pytest.raises(InputError, match="collect"):
        walk_forward(training_set(3).frame, n_folds=4, embargo=EMBARGO)
    with pytest.raises(InputError, match="the purge left none"):
        last_block(training_set(8).frame, share=0.5, embargo=EMBARGO)


def one_row_a_pool(n: int) -> tuple[pl.DataFrame, pd.Series, pd.Series]:
    """A pool each hour, one decision each and a label of irregular length: where the oracle's terms are ours."""
    decided = [BIRTH + timedelta(hours=i) for i in range(n)]
    ends = [t + timedelta(hours=3, minutes=(i * 37) % 600 + 1) for i, t in enumerate(decided)]
    names = [f"p{i}" for i in range(n)]
    frame = pl.DataFrame(
        {
            "network": ["eth"] * n,
            "pool": names,
            "base_token": names,
            "created_at": decided,
            "event_time": decided,
            "label_end": ends,
        }
    )
    return frame, pd.Series(pd.DatetimeIndex(decided)), pd.Series(pd.DatetimeIndex(ends))


def test_walk_forward_purges_what_purgedcv_purges():
    frame, start, end = one_row_a_pool(100)
    oracle = WalkForwardSplit(
        4,
        20,
        prediction_times=start,
        evaluation_times=end,
        purge_horizon=pd.Timedelta(0),
        embargo=pd.Timedelta(EMBARGO),
    )
    expected = [(train.tolist(), test.tolist()) for train, test in oracle.split(np.zeros((100, 1)))]
    ours = [(f.train.tolist(), f.test.tolist()) for f in walk_forward(frame, n_folds=4, embargo=EMBARGO)]
    assert ours == expected


def test_the_purge_and_the_embargo_around_an_inner_block_are_those_of_purgedcv():
    frame, start, end = one_row_a_pool(100)
    test = np.arange(40, 60)
    others = np.setdiff1d(np.arange(100), test)
    kept = apply_embargo(oracle_purge(others, test, start, end), test, start, end, pd.Timedelta(hours=5))
    block: tuple[datetime, datetime] = (frame["event_time"][40], frame["label_end"].gather(test).max())
    ours = purge(frame, others, test, start=block[0], end=block[1], embargo=timedelta(hours=5))
    assert ours.tolist() == kept.tolist()


def test_a_label_that_ends_as_the_block_begins_is_purged_and_a_decision_as_the_embargo_ends_too():
    instant = timedelta(microseconds=1)
    start, end = BIRTH, BIRTH + timedelta(hours=30)
    ends = [start - instant, start, end, end + timedelta(days=9), end + timedelta(days=9)]
    decided = [start - EMBARGO, start - EMBARGO, start, end + EMBARGO, end + EMBARGO + instant]
    names = ["before", "touching", "tested", "embargoed", "after"]
    frame = pl.DataFrame(
        {"network": "eth", "pool": names, "base_token": names, "event_time": decided, "label_end": ends}
    )
    kept = purge(frame, np.array([0, 1, 3, 4]), np.array([2]), start=start, end=end, embargo=EMBARGO)
    assert frame["pool"].gather(kept).to_list() == ["before", "after"]


def test_a_pool_whose_token_nobody_knows_is_purged_by_itself_and_shares_nothing_with_others():
    early, late = BIRTH - timedelta(days=9), BIRTH
    frame = pl.DataFrame(
        {
            "network": "eth", "pool": ["a", "b", "a"], "base_token": [None, None, None],
            "event_time": [early, early, late], "label_end": [early, early, late],
        },
        schema_overrides={"base_token": pl.String},
    )  # fmt: skip
    kept = purge(frame, np.array([0, 1]), np.array([2]), start=late, end=late, embargo=EMBARGO)
    assert kept.tolist() == [1]


def test_folds_before_a_block_are_numbered_by_the_rows_of_the_whole_frame_in_whatever_order():
    frame = training_set(120).frame.with_row_index("row")
    told = []
    for rows in (frame, frame.sample(fraction=1, shuffle=True, seed=3)):
        block = last_block(rows, share=0.3, embargo=EMBARGO)
        folds = folds_before(rows, block, n_folds=3, embargo=EMBARGO)
        assert all(np.isin(np.r_[fold.train, fold.test], block.train).all() for fold in folds)
        told.append([(sorted(rows["row"].gather(f.train)), sorted(rows["row"].gather(f.test))) for f in folds])
    assert told[0] == told[1]
