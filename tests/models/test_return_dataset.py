"""The frozen return dataset: its id, its segments, its files."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from return_market_rows import SPEC as MARKET
from return_market_rows import rows

from pipeline.errors import InputError, StorageError
from pipeline.models.return_dataset import (
    ReturnDataset,
    freeze_returns,
    inputs_id_of,
    named_pools,
    unwatched_hours,
)
from pipeline.models.return_files import current_id, keep, kept_rows
from pipeline.tables import RETURN_DATASETS

AT = datetime(2020, 12, 1, tzinfo=UTC)
SOURCE = "recording:made_up"
SPEC = replace(MARKET, min_fold_pools=2, min_fold_rows=20)


def frozen(frame: pl.DataFrame | None = None, **other: Any) -> ReturnDataset:
    told = {
        "source": SOURCE, "export_id": "e", "inputs_id": "i", "known_by": AT, "feature_set": "f", "code_version": "c",
        "spec": SPEC,
    }  # fmt: skip
    return freeze_returns(rows(30) if frame is None else frame, **{**told, **other})


def test_the_id_depends_on_the_rows_and_what_they_mean_and_on_nothing_else() -> None:
    frame = rows(30)
    same = frozen(frame).dataset_id
    assert frozen(frame.sample(fraction=1, shuffle=True, seed=1)).dataset_id == same
    assert frozen(frame, known_by=AT + timedelta(days=1), export_id="another").dataset_id == same
    changed = frame.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(0.5).otherwise("signal").alias("signal"))
    others = [
        frozen(changed.cast({"signal": pl.Float32})), frozen(frame, source="recording:b"), frozen(frame.head(-1)),
        frozen(frame, feature_set="g"), frozen(frame, code_version="d"), frozen(frame.drop("age")),
    ]  # fmt: skip
    assert len({same, *(dataset.dataset_id for dataset in others)}) == 7


def test_a_last_block_is_known_again_whatever_the_features_and_the_code() -> None:
    frame = rows(30)
    same = frozen(frame).rows_id
    alike = [
        frozen(frame, code_version="d"), frozen(frame, feature_set="g"), frozen(frame.drop("age")),
        frozen(frame, source="recording:b"), frozen(frame, spec=replace(SPEC, ridge_alpha=7.0, n_folds=3)),
        frozen(frame.sample(fraction=1, shuffle=True, seed=1)),
    ]  # fmt: skip
    assert {dataset.rows_id for dataset in alike} == {same}
    others = [
        frozen(frame.head(-1)), frozen(frame.with_columns(pl.col("return_1h") + 1e-9)),
        frozen(frame, spec=replace(SPEC, last_block_share=0.4)),
    ]  # fmt: skip
    assert len({same, *(dataset.rows_id for dataset in others)}) == 4


def test_hours_in_which_nothing_was_told_of_a_network_are_unwatched() -> None:
    told = [("eth", 0, 59), ("eth", 1, 0), ("eth", 4, 30), ("bsc", 2, 0), ("sol", 1, 0), ("sol", 3, 1), (None, 2, 0)]
    frame = pl.DataFrame(
        {"network": [n for n, _, _ in told], "known_at": [AT + timedelta(hours=h, minutes=m) for _, h, m in told]}
    )
    hours = [("eth", AT + timedelta(hours=2)), ("eth", AT + timedelta(hours=3)), ("sol", AT + timedelta(hours=2))]
    assert unwatched_hours(frame.reverse()).rows() == hours
    none = unwatched_hours(frame.clear())
    assert none.schema == {"network": pl.String(), "hour": pl.Datetime("us", "UTC")}
    assert none.is_empty()


def test_hours_that_nobody_watched_are_part_of_what_rows_are_computed_from() -> None:
    pools = pl.DataFrame({"network": ["eth"], "pool": ["0xA"]})
    gap = pl.DataFrame({"network": ["eth"], "hour": [AT]})
    ids = {inputs_id_of(pools, "e", "c", SPEC, gaps) for gaps in (None, gap.clear(), gap)}
    assert len(ids) == 3


def test_its_row_is_as_the_table_says_and_names_the_segments() -> None:
    dataset = frozen()
    row = pl.DataFrame([dataset.row(3)], schema=RETURN_DATASETS.schema)
    assert (row["n_features"].item(), row["n_pools"].item(), row["n_last_block_reads"].item()) == (2, 30, 3)
    assert dataset.segments["segment"].to_list() == [
        "fold_1: trained on", "fold_1: tested on", "fold_2: trained on", "fold_2: tested on",
        "last_block: trained on", "last_block: tested on",
    ]  # fmt: skip
    trained, tested = dataset.segments[-2:].iter_rows(named=True)
    assert tested["n_pools"] == 9
    assert trained["last_time"] < tested["first_time"]
    assert dataset.lacking == ""


def test_too_few_pools_are_lacking_and_no_error() -> None:
    few = frozen(rows(2))
    assert "collect" in few.lacking
    assert few.segments.is_empty()


def test_a_last_block_in_which_no_hour_has_enough_pools_is_lacking() -> None:
    assert "no hour of it has 5 of its pools" in frozen(spec=replace(SPEC, last_block_share=0.1)).lacking


@pytest.mark.parametrize("name", ["pool", "created_at", "event_time"])
def test_a_row_without_pool_birth_or_time_is_refused(name: str) -> None:
    first = pl.int_range(pl.len()) == 0
    with pytest.raises(InputError, match="1 nulls"):
        frozen(rows(5).with_columns(pl.when(~first).then(name).alias(name)))


def test_a_decision_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="2 rows of the same instrument"):
        frozen(pl.concat([rows(5), rows(5).head(1)]))


def test_what_was_kept_is_read_back_and_the_link_names_it(tmp_path: Path) -> None:
    dataset = frozen()
    assert current_id(tmp_path, SOURCE) is None
    keep(dataset, tmp_path)
    assert current_id(tmp_path, SOURCE) == dataset.dataset_id
    assert current_id(tmp_path, "recording:another") is None
    assert kept_rows(tmp_path, SOURCE, dataset.row()).equals(dataset.rows)


def test_the_last_two_are_kept_and_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    first, second, third = (frozen(rows(10, seed=seed)) for seed in range(3))
    for dataset in (first, second):
        keep(dataset, tmp_path)
    (tmp_path / "recording-made_up" / "broken.part").write_bytes(b"half")
    keep(third, tmp_path)
    names = {path.name for path in (tmp_path / "recording-made_up").iterdir()}
    assert names == {f"{second.dataset_id}.parquet", f"{third.dataset_id}.parquet", "current", "lock"}
    keep(second, tmp_path)
    assert current_id(tmp_path, SOURCE) == second.dataset_id
    assert kept_rows(tmp_path, SOURCE, third.row()).height


@pytest.mark.parametrize("damage", ["another row", "cut", "gone"])
def test_a_file_that_was_changed_is_not_learned_from(tmp_path: Path, damage: str) -> None:
    dataset = frozen()
    path = keep(dataset, tmp_path)
    if damage == "another row":
        dataset.rows.with_columns(pl.col("return_1h") + 1e-9).write_parquet(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.unlink()
    with pytest.raises(StorageError, match="read return dataset"):
        kept_rows(tmp_path, SOURCE, dataset.row())


def test_only_pools_that_have_both_bins_and_a_birth_are_named() -> None:
    pools = pl.DataFrame(
        {"network": ["eth", "eth"], "pool": ["0xA", "0xB"], "base_token": ["t", None], "created_at": [AT, AT]}
    )
    named = named_pools({"eth-0xb-1": ("eth", "0xB"), "bsc-0xa-1": ("bsc", "0xA")}, pools)
    assert named.rows() == [("eth-0xb-1", "eth", "0xB", None, AT)]
    assert named_pools({}, pools).is_empty()
