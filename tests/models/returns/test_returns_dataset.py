"""Segments that are purged rows, and a scale that training rows alone decide."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from returns_market import made_rows

from pipeline.models.returns.dataset import Bench, Table, bench
from pipeline.models.returns.processors import fit_scale
from pipeline.models.returns.qlib_session import start_qlib
from pipeline.models.returns.sequences import sequences
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import feature_columns, scored
from pipeline.models.splits import Split, last_block, walk_forward

pytestmark = pytest.mark.slow
SPEC = ReturnsSpec(horizons_hours=(1,), min_hour_pools=4, seeds=(1, 2))
EMBARGO = timedelta(hours=SPEC.embargo_hours)


def table(rows: pl.DataFrame) -> Table:
    start_qlib()
    return Table.of(scored(rows, 1, SPEC), feature_columns(rows, SPEC))


def last(found: Table) -> Split:
    return last_block(found.frame, share=SPEC.last_block_share, embargo=EMBARGO)


def prepared(own: Bench, segment: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[tuple[object, str]]]:
    """What QLib hands to a model: features, labels, and the keys of its rows."""
    frame = own.member(seed, SPEC.max_train_rows).prepare(segment, col_set=["feature", "label"], data_key="learn")
    return frame["feature"].to_numpy(), frame["label"].to_numpy()[:, 0], list(frame.index)


def test_the_segments_qlib_hands_out_are_exactly_the_rows_of_the_split() -> None:
    found = table(made_rows())
    own = bench(found, last(found), SPEC)
    for segment, rows in own.segments(1, SPEC.max_train_rows).items():
        x, y, keys = prepared(own, segment)
        times = found.frame["event_time"].dt.replace_time_zone(None)[rows].to_list()
        assert [(t.to_pydatetime(), name) for t, name in keys] == list(
            zip(times, found.frame["instrument"][rows], strict=True)
        )
        np.testing.assert_array_equal(x, own.scaled[rows])
        np.testing.assert_array_equal(y, own.y[rows])


def test_nothing_of_a_test_block_is_in_training_or_in_what_stops_it() -> None:
    found = table(made_rows())
    block = last(found)
    inner = walk_forward(found.frame[block.train], n_folds=3, embargo=EMBARGO)
    folds = [Split(f.name, block.train[f.train], block.train[f.test], f.start, f.end) for f in inner]
    for split in [block, *folds]:
        own = bench(found, split, SPEC)
        assert own.guided
        parts = own.segments(1, SPEC.max_train_rows)
        train, valid, test = (found.frame[parts[name]] for name in ("train", "valid", "test"))
        assert train["label_end"].max() < valid["created_at"].min()
        assert max(train["label_end"].max(), valid["label_end"].max()) < test["created_at"].min() + timedelta(minutes=1)
        for a, b in ((train, valid), (train, test), (valid, test)):
            assert set(a["pool"]).isdisjoint(b["pool"])
            assert set(a["base_token"]).isdisjoint(b["base_token"])


def test_test_rows_move_neither_the_scale_nor_a_training_input() -> None:
    rows = made_rows()
    found = table(rows)
    block = last(found)
    tested = found.frame[block.test].select("instrument", "event_time").with_columns(pl.lit(1e6, pl.Float32).alias("x"))
    strange = rows.join(tested, on=["instrument", "event_time"], how="left").with_columns(
        *(pl.coalesce("x", name).alias(name) for name in found.names),
        pl.when(pl.col("x").is_null()).then("return_1h").otherwise(-pl.col("return_1h") * 7).alias("return_1h"),
    )
    other = table(strange.drop("x"))
    a, b = bench(found, block, SPEC), bench(other, last(other), SPEC)
    assert not np.array_equal(a.table.x[block.test], b.table.x[block.test])
    np.testing.assert_array_equal(a.scale.centre, b.scale.centre)
    np.testing.assert_array_equal(a.scale.width, b.scale.width)
    for segment in ("train", "valid"):
        for one, two in zip(prepared(a, segment)[:2], prepared(b, segment)[:2], strict=True):
            np.testing.assert_array_equal(one, two)


def test_the_scale_is_that_of_qlibs_processors_on_the_training_rows() -> None:
    import pandas as pd
    from qlib.data.dataset.processor import Fillna, RobustZScoreNorm

    rng = np.random.default_rng(1)
    x = rng.standard_cauchy((300, 4)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    index = pd.MultiIndex.from_product([pd.date_range("2020-01-01", periods=30), list("abcdefghij")])
    index.names = ["datetime", "instrument"]
    frame = pd.concat({"feature": pd.DataFrame(x, index=index)}, axis=1)
    norm = RobustZScoreNorm("2020-01-01", "2020-01-20", fields_group="feature")
    norm.fit(frame)
    expected = Fillna(fields_group="feature")(norm(frame.copy())).to_numpy()
    np.testing.assert_allclose(fit_scale(x[:200], 3.0)(x), expected, rtol=1e-4, atol=1e-5)


def test_a_member_sees_a_share_of_the_pools_and_no_more_rows_than_allowed() -> None:
    found = table(made_rows())
    own = bench(found, last(found), SPEC)
    n_pools = found.frame[own.train]["pool"].n_unique()
    drawn = own.drawn(1, 10**6)
    assert found.frame[drawn]["pool"].n_unique() == round(SPEC.bag_share * n_pools)
    assert set(drawn) <= set(own.train)
    assert not np.array_equal(drawn, own.drawn(2, 10**6))
    np.testing.assert_array_equal(drawn, own.drawn(1, 10**6))
    assert len(own.drawn(1, 50)) == 50


def test_where_the_purge_leaves_nothing_to_stop_on_all_rows_train() -> None:
    found = table(made_rows(n_pools=40, n_hours=60))
    block = last(found)
    alone = block.train[found.pools(block.train) == 0]
    few = Split("few", alone, block.test, block.start, block.end)
    own = bench(found, few, SPEC)
    assert not own.guided
    assert len(alone)
    np.testing.assert_array_equal(own.train, few.train)
    np.testing.assert_array_equal(own.valid, few.train)


def test_a_sequence_is_the_pools_own_past_whatever_the_order_of_the_rows() -> None:
    rows = made_rows(n_pools=5, n_hours=20).sample(fraction=1.0, shuffle=True, seed=1)
    x = rows.select("signal", "noise_0").to_numpy()
    found = sequences(x, rows, 3)
    for at, row in enumerate(rows.iter_rows(named=True)):
        own = rows.filter(pl.col("instrument") == row["instrument"], pl.col("event_time") <= row["event_time"])
        past = own.sort("event_time").tail(3).select("signal", "noise_0").to_numpy()
        np.testing.assert_array_equal(found[at], np.vstack([np.zeros((3 - len(past), 2)), past]).astype(np.float32))
    assert sequences(x[:0], rows[:0], 3).shape == (0, 3, 2)
