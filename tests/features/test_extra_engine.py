"""An indicator of pandas-ta that the spec switches on becomes a feature like any other, over history."""

import polars as pl
import pytest
from battery_market import SPAN, market

from pipeline.errors import UsageError
from pipeline.features.compute import compute_columns
from pipeline.features.engines.extra_indicators import require_in_vocabulary
from pipeline.features.families.technical import extra
from pipeline.features.feature import Feature
from pipeline.features.online import is_online, start
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_COLUMNS
from pipeline.tables.columns import real_column

SPEC = FeaturesSpec(extra_indicators=("aroon",), extra_minutes=(5,))
COLUMN = "ta_aroonu_14_5m"


@pytest.fixture
def one(monkeypatch) -> Feature:
    """The feature, with its column in the vocabulary."""
    column = real_column(COLUMN, "an indicator of pandas-ta", "1")
    monkeypatch.setitem(FAMILY_COLUMNS, "technical", (*FAMILY_COLUMNS["technical"], column))
    return extra(COLUMN)


def test_it_is_computed_beside_the_others_and_from_what_was_known_then(one):
    world = market(2, n_pools=2)
    whole = compute_columns(world.sources(), SPAN, SPEC, [one])
    assert whole[COLUMN].drop_nulls().len() > 20
    assert whole[COLUMN].drop_nulls().is_between(0, 100).all()
    cut = world.snapshots["event_time"].sort()[40]
    past = compute_columns(world.known_by(cut).sources(), SPAN, SPEC, [one])
    assert past.equals(whole.filter(pl.col("event_time") <= cut))


def test_a_column_that_the_spec_does_not_switch_on_is_refused(one):
    with pytest.raises(UsageError, match="name it in the spec"):
        compute_columns(market(2, n_pools=1).sources(), SPAN, FeaturesSpec(), [one])


def test_it_cannot_be_followed_event_by_event(one):
    assert not is_online(one)
    with pytest.raises(UsageError, match="no online form"):
        start(SPEC, [one])


def test_a_spec_whose_columns_are_not_in_the_vocabulary_does_not_start():
    require_in_vocabulary(FeaturesSpec())
    with pytest.raises(UsageError, match="ta_aroonu_14_5m"):
        require_in_vocabulary(SPEC)
