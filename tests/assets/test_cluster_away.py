"""A step whose cluster is gone asks to be tried again, and one whose own work fails does not."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import away, features
from assets.hours import range_tags
from pipeline.calendars import Span, ceil, floor
from pipeline.errors import ClusterError, InputError, PoolcastError, RegistryAwayError
from pipeline.features import in_parts
from pipeline.lake import Lake
from pipeline.tables import FAMILY_TABLES, POOLS, SNAPSHOTS
from tests.features import battery_market

HOUR = timedelta(hours=1)
MARKET = battery_market.market(3)
SOUND = MARKET.snapshots.drop_nulls([column.name for column in SNAPSHOTS.columns if not column.nullable])


class Failing:
    """Workers that fail so many times before they work."""

    count, cluster = 2, None

    def __init__(self, error: PoolcastError, times: int) -> None:
        self.error, self.left = error, times

    def each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return [work(shared, part) for part in parts]


def materialised(folder: Path, workers: Any) -> dg.ExecuteInProcessResult:
    lake = Lake(folder, sync=lambda path: None)
    lake.append(SNAPSHOTS, SOUND)
    lake.append(POOLS, MARKET.pools)
    span = Span(floor(MARKET.span().start, HOUR), ceil(MARKET.span().end, HOUR))
    momentum = next(one for one in features.FAMILY_ASSETS if one.key.to_user_string() == "features_momentum")
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [momentum], instance=instance, resources={"lake": lake, "workers": workers}, tags=range_tags(span),
            raise_on_error=False,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _small_parts_and_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away, "PAUSE_SECONDS", 0)
    whole = in_parts.compute_family_in_parts
    monkeypatch.setattr(features, "compute_family_in_parts", lambda *told: whole(*told, rows_a_part=20))


def test_a_cluster_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    workers = Failing(ClusterError("gone"), 2)
    assert materialised(tmp_path, workers).success
    assert workers.left < 0
    rows = Lake(tmp_path).scan(FAMILY_TABLES["momentum"]).select(pl.len()).collect().item()
    assert rows == SOUND.height


def test_a_cluster_that_stays_away_is_given_up(tmp_path: Path) -> None:
    workers = Failing(ClusterError("gone"), 99)
    assert not materialised(tmp_path, workers).success
    assert workers.left == 99 - 1 - away.TRIES


def test_a_registry_that_comes_back_is_asked_again_and_one_that_stays_away_is_not_asked_for_ever() -> None:
    asked: list[str] = []
    said: list[str] = []

    def away_at_first() -> int:
        asked.append("")
        if len(asked) < 3:
            raise RegistryAwayError("the registry is away")
        return 7

    assert away.once_it_answers(away_at_first, said.append, (0, 0)) == 7
    assert said == ["the registry is away; asked again in 0 s"] * 2
    asked.clear()
    with pytest.raises(RegistryAwayError):
        away.once_it_answers(away_at_first, said.append, (0,))


def test_what_a_part_itself_raises_is_not_tried_again(tmp_path: Path) -> None:
    workers = Failing(InputError("no snapshots"), 1)
    assert not materialised(tmp_path, workers).success
    assert workers.left == 0
