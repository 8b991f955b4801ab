"""Rows from a provider directory, read by QLib itself."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from returns_market import START, Made, made_market, write_provider

from pipeline.errors import InputError
from pipeline.models.returns.expressions import expressions, own_expressions
from pipeline.models.returns.qlib_session import qlib_data
from pipeline.models.returns.rows import return_rows
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import KEYS

pytestmark = pytest.mark.slow
SPEC = ReturnsSpec(min_bars=8, windows=(5, 20))
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def market() -> Made:
    return made_market(n_pools=8, n_hours=90, seed=3)


@pytest.fixture(scope="module")
def provider(market: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_provider(market.bars, tmp_path_factory.mktemp("bins") / "all")


@pytest.fixture(scope="module")
def rows(market: Made, provider: Path) -> pl.DataFrame:
    return return_rows(provider, market.pools, SPEC)


def known(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*(c for c in rows.columns if not c.startswith(("return_", "label_end"))))


def test_the_columns_are_the_keys_alpha158_ours_and_the_returns(rows: pl.DataFrame) -> None:
    full = expressions(ReturnsSpec())
    assert len(full) == 158 + len(own_expressions())
    features = [*expressions(SPEC), "age_hours", "n_bars_until_now"]
    ends = ["return_1h", "label_end_1h", "return_24h", "label_end_24h"]
    assert rows.columns == [*KEYS, *features, *ends]
    assert {rows.schema[name] for name in features} == {pl.Float32()}
    assert not any(np.isinf(rows[name].drop_nulls().to_numpy()).any() for name in features)
    assert rows["event_time"].dtype == pl.Datetime("us", "UTC")


def test_the_future_changes_no_feature(market: Made, rows: pl.DataFrame, tmp_path: Path) -> None:
    cut = START + 50 * HOUR
    past = write_provider(market.bars.filter(pl.col("event_time") < cut), tmp_path / "past")
    before = return_rows(past, market.pools, SPEC)
    assert before.height > 50
    assert known(before).equals(known(rows.filter(pl.col("event_time") <= cut)))


def test_what_is_asked_for_together_changes_no_feature(market: Made, provider: Path, rows: pl.DataFrame) -> None:
    some = market.pools.filter(pl.col("instrument").is_in(["eth-0002", "eth-0005"]))
    alone = return_rows(provider, some, SPEC)
    assert alone.equals(rows.filter(pl.col("instrument").is_in(some["instrument"].to_list())))


def test_a_decision_needs_bars_and_youth_that_are_known_then(market: Made, provider: Path, rows: pl.DataFrame) -> None:
    n_bars = market.bars.group_by("instrument").len()
    expected = n_bars.with_columns((pl.col("len") - SPEC.min_bars + 1).clip(0)).filter(pl.col("len") > 0)
    found = rows.group_by("instrument").len()
    assert dict(found.sort("instrument").iter_rows()) == dict(expected.sort("instrument").iter_rows())
    assert rows["n_bars_until_now"].min() == SPEC.min_bars
    young = return_rows(provider, market.pools, replace(SPEC, max_age_hours=30))
    assert young["age_hours"].max() <= 30
    assert young.equals(rows.filter(pl.col("age_hours") <= 30))


def test_features_are_what_qlib_says_at_the_bar_that_ends_at_the_decision(provider: Path, rows: pl.DataFrame) -> None:
    fields = expressions(SPEC)
    names = rows["instrument"].unique().to_list()
    with np.errstate(all="ignore"):
        found = qlib_data().features(names, list(fields.values()), freq="60min")
    bars = rows.select("instrument", (pl.col("event_time") - HOUR).dt.replace_time_zone(None))
    expected = found.loc[list(bars.iter_rows())].to_numpy(dtype="float32")
    told = rows.select(*fields).fill_null(float("nan")).to_numpy()
    np.testing.assert_array_equal(told, np.where(np.isfinite(expected), expected, np.nan))


def test_returns_are_alpha158s_label_where_the_bars_traded(provider: Path, rows: pl.DataFrame) -> None:
    label = qlib_data().features(
        rows["instrument"].unique().to_list(), ["Ref($close,-2)/Ref($close,-1)-1"], freq="60min"
    )
    index = [
        (name, (time - HOUR).replace(tzinfo=None)) for name, time in rows.select("instrument", "event_time").iter_rows()
    ]
    expected = label.loc[index].to_numpy()[:, 0]
    found = rows["return_1h"].fill_null(float("nan")).to_numpy()
    both = np.isfinite(expected)
    assert both.sum() > 100
    np.testing.assert_allclose(found[both], expected[both], atol=2e-6)
    # Where QLib's label is missing, ours mostly is not: the price stands over the gap.
    assert np.isfinite(found[~both]).sum() > 50


def test_own_features_look_back_only() -> None:
    assert not any("Ref($close,-" in field or ",0)" in field for field in own_expressions().values())


def test_a_pool_without_a_birth_or_unknown_to_the_pools_is_left_out(market: Made, provider: Path) -> None:
    some = market.pools.head(3).with_columns(
        pl.when(pl.col("instrument") == "eth-0001").then(None).otherwise("created_at").alias("created_at")
    )
    assert set(return_rows(provider, some, SPEC)["instrument"]) == {"eth-0000", "eth-0002"}


def test_no_decision_is_made_before_a_pool_was_born(market: Made, provider: Path) -> None:
    late = market.pools.with_columns(pl.col("created_at") + timedelta(hours=30))
    found = return_rows(provider, late, SPEC)
    assert found.height > 0
    assert found["age_hours"].min() >= 0


def test_returns_over_hours_that_nobody_watched_are_not_known(market: Made, provider: Path, rows: pl.DataFrame) -> None:
    gap = pl.DataFrame({"network": "eth", "hour": [START + 50 * HOUR]})
    gap = gap.with_columns(pl.col("hour").cast(pl.Datetime("us", "UTC")))
    found = return_rows(provider, market.pools, SPEC, unwatched=gap)
    assert found.drop("return_1h", "return_24h").equals(rows.drop("return_1h", "return_24h"))
    is_met = (pl.col("event_time") >= START + 49 * HOUR) & (pl.col("event_time") - HOUR <= START + 50 * HOUR)
    assert found.filter(is_met, pl.col("event_time") > START + 50 * HOUR)["return_1h"].null_count() > 0
    inside = (pl.col("event_time") - HOUR <= START + 50 * HOUR) & (pl.col("label_end_1h") > START + 50 * HOUR)
    assert found.filter(inside)["return_1h"].is_null().all()
    assert found.filter(~inside)["return_1h"].equals(rows.filter(~inside)["return_1h"])


def test_pools_too_young_for_a_decision_give_no_rows(market: Made, provider: Path) -> None:
    assert return_rows(provider, market.pools, replace(SPEC, min_bars=9_999)).height == 0


def test_what_cannot_be_read_is_refused(market: Made, provider: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no calendars"):
        return_rows(tmp_path, market.pools, SPEC)
    with pytest.raises(InputError, match="none of 1 pools"):
        return_rows(provider, market.pools.head(1).with_columns(pl.lit("other").alias("instrument")), SPEC)
    with pytest.raises(InputError, match="several pools"):
        return_rows(provider, pl.concat([market.pools, market.pools]), SPEC)
    with pytest.raises(InputError, match="without the columns"):
        return_rows(provider, market.pools.drop("base_token"), SPEC)
