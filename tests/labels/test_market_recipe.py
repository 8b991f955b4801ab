"""What an hour's market labels are made from: also of the pools, which keep no record by hour."""

from datetime import UTC, datetime, timedelta

import polars as pl

from assets.labels import MARKET, MARKET_INPUTS, market_recipe
from pipeline.calendars import HOUR
from pipeline.labels.market import born_by
from pipeline.tables import POOLS
from tests.builders import valid_frame

NOW = datetime(2024, 3, 9, tzinfo=UTC)
POOLS_FRAME = valid_frame(POOLS, n_rows=5)


def test_a_pool_that_is_known_now_or_known_otherwise_changes_the_hours_it_can_matter_to_and_no_others() -> None:
    born = POOLS_FRAME["created_at"].sort()
    more = POOLS_FRAME.head(1).with_columns(pool=pl.lit("0xnew"), created_at=born[2])
    other = POOLS_FRAME.with_columns(
        quote_token=pl.when(pl.col("created_at") == born[2]).then(pl.lit("0xother")).otherwise("quote_token")
    )
    plain = born_by(POOLS_FRAME)
    for changed in (pl.concat([POOLS_FRAME, more]), other):
        after = born_by(changed)
        assert plain(born[2]) == after(born[2])
        assert plain(born[2] + timedelta(microseconds=1)) != after(born[2] + timedelta(microseconds=1))
        hour = born[2].replace(minute=0) - MARKET.ahead - 2 * HOUR
        recipes = [market_recipe(pools, NOW) for pools in (POOLS_FRAME, changed)]
        assert len({recipe.depends_on(hour) for recipe in recipes}) == 1
        assert len({recipe.depends_on(hour + 2 * HOUR + MARKET.ahead) for recipe in recipes}) == 2


def test_the_order_of_pools_does_not_matter_and_prices_before_the_hour_are_an_input() -> None:
    shuffled = POOLS_FRAME.sample(fraction=1, shuffle=True, seed=1)
    assert born_by(shuffled)(NOW) == born_by(POOLS_FRAME)(NOW) != born_by(POOLS.empty())(NOW)
    assert {(i.table, i.back, i.ahead) for i in MARKET_INPUTS} == {
        (name, MARKET.back, MARKET.ahead) for name in ("snapshots", "candles")
    }
