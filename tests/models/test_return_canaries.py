"""The canaries of the return dataset: quiet on sound rows, loud on planted leaks."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from return_market_rows import SPEC, rows

from pipeline.models.return_canaries import ReturnCanarySpec, one_feature_ics, permute_targets, run_return_canaries
from pipeline.models.returns.segments import return_splits
from pipeline.models.returns.targets import scored
from pipeline.models.splits import Split

LISTENING = ReturnCanarySpec(max_permutations=8)


def failed(frame: pl.DataFrame, splits: list[Split] | None = None) -> tuple[str, ...]:
    report = run_return_canaries(frame, "id", SPEC, LISTENING, splits={1: splits} if splits else None)
    return report.failed


def test_sound_rows_keep_every_canary_quiet() -> None:
    report = run_return_canaries(rows(), "id", SPEC, LISTENING)
    assert report.is_passed, report.words
    assert [r.name for r in report.results] == [
        "splits_1h", "future_columns_1h", "planted_future_1h", "permuted_targets_1h",
    ]  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
def test_a_feature_that_is_nearly_the_return_sings_either_way(sign: int) -> None:
    noise = np.random.default_rng(1).normal(0, 0.005, rows().height)
    leaky = rows().with_columns((sign * pl.col("return_1h") + noise).cast(pl.Float32).alias("age"))
    assert failed(leaky) == ("future_columns_1h",)


def test_a_feature_with_half_the_future_in_it_sings() -> None:
    rng = np.random.default_rng(1)
    came = rows()["return_1h"].rank().to_numpy() / rows().height - 0.5
    mixed = 0.5 * came / came.std() + np.sqrt(0.75) * rng.normal(size=len(came))
    assert failed(rows().with_columns(pl.Series("age", mixed, dtype=pl.Float32))) == ("future_columns_1h",)


def test_a_pool_decided_on_before_its_block_begins_sings() -> None:
    frame = scored(rows(), 1, SPEC)
    *folds, last = return_splits(frame, SPEC)
    early = replace(last, start=frame["event_time"].gather(last.test).sort()[50])
    assert failed(rows(), [*folds, early]) == ("splits_1h",)


def test_a_split_by_rows_sings_because_pools_are_on_both_sides() -> None:
    """With a feature that tells pools apart, what one pool's targets are like is learned and told again."""
    named = rows().with_columns((pl.col("pool").rank("dense").cast(pl.Float32) * 7 % 80).alias("age"))
    frame = scored(named, 1, SPEC)
    drawn = np.random.default_rng(0).permutation(frame.height)
    last = return_splits(frame, SPEC)[-1]
    half = frame.height // 2
    by_rows = Split("by_rows", np.sort(drawn[:half]), np.sort(drawn[half:]), last.start, last.end)
    assert set(failed(named, [by_rows, last])) == {"splits_1h", "permuted_targets_1h"}


def test_permuting_moves_whole_pools_and_loses_no_target() -> None:
    rng = np.random.default_rng(3)
    pool = np.repeat(np.arange(6), 4)
    y = pool * 10 + np.tile(np.arange(4.0), 6)
    moved = permute_targets(y, pool, rng)
    assert sorted(moved) == sorted(y)
    for k in range(6):
        own = moved[pool == k]
        assert len({int(v // 10) for v in own}) == 1
        assert set(np.diff(own)) <= {1.0, -3.0}


def test_the_one_feature_ic_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    frame = scored(rows(12, n_hours=20), 1, SPEC)
    by_hour = [spearmanr(own["signal"], own["target"]).statistic for _, own in frame.group_by("event_time")]
    assert one_feature_ics(frame, ["signal"])["signal"] == pytest.approx(np.mean(by_hour))
    assert one_feature_ics(frame.with_columns(pl.lit(1.0).alias("flat")), ["flat"]) == {"flat": 0.0}
