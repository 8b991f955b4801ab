"""Average uniqueness against the weights of the models, and against counting."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_paths import BAR, FAR, START, Case, Sight, decisions_of, label, pools_of, snapshots_of, stills_of

from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.models.weights import average_uniqueness
from pipeline.tables import CANDLES

SPEC = LabelsSpec(horizons_hours=(1, 3))
SLOTS = st.lists(st.integers(0, 120), min_size=1, max_size=20, unique=True)


def labelled(slots: list[int], pool: str = "0xa", given_slots: list[int] | None = None) -> pl.DataFrame:
    """Labels of decisions at `slots`, with the snapshots at `given_slots` beside them (all of them if None)."""
    cases = [Case(slot=s, pool=pool, spec=SPEC) for s in slots]
    seen = snapshots_of(Case(sights=[Sight(s) for s in given_slots or slots], pool=pool))
    decisions = pl.concat([decisions_of(c) for c in cases])
    asked = Observed(seen, lambda usd: np.full(len(usd), 5))
    return label_outcomes(decisions, CANDLES.empty(), pools_of(cases[0]), stills_of(cases[0]), FAR, SPEC, asked)


@settings(max_examples=60)
@given(slots=SLOTS)
def test_it_equals_the_weights_that_models_give_and_a_count_slot_by_slot(slots: list[int]) -> None:
    for (hours,), rows in labelled(slots).group_by("horizon_hours"):
        assert isinstance(hours, int)
        ends = rows.with_columns(end=pl.col("event_time") + timedelta(hours=hours))
        found = rows["average_uniqueness"].to_list()
        assert found == pytest.approx(average_uniqueness(ends, end="end").to_list(), rel=1e-9)
        starts = [(t - START) // BAR for t in rows["event_time"]]
        alive = np.array([sum(s <= at < s + hours * 12 for s in starts) for at in range(300)])
        counted = [float(np.mean(1 / alive[s : s + hours * 12])) for s in starts]
        assert found == pytest.approx(counted, rel=1e-9)


@settings(max_examples=60)
@given(slots=SLOTS, cut=st.integers(0, 120))
def test_decisions_cut_anywhere_weigh_the_same_to_the_last_bit(slots: list[int], cut: int) -> None:
    whole = labelled(slots).select("event_time", "horizon_hours", "average_uniqueness")
    back, ahead = SPEC.observed_back // BAR, SPEC.observed_ahead // BAR
    parts = []
    for part in ([s for s in slots if s < cut], [s for s in slots if s >= cut]):
        if part:
            near = [s for s in slots if min(part) - back < s < max(part) + ahead]
            parts.append(labelled(part, given_slots=near).select(whole.columns))
    assert pl.concat(parts).sort("event_time", "horizon_hours").equals(whole.sort("event_time", "horizon_hours"))


def test_it_waits_for_the_horizon_even_where_a_rug_is_known_before() -> None:
    from labelled_paths import Bar

    rug = Case(bars=[Bar(2, 1, 1, 1)], now=START + 5 * BAR)
    assert label(rug).select("outcome", "average_uniqueness").row(0) == ("RUG", None)
    assert label(Case(bars=[Bar(2, 1, 1, 1)], now=START + 12 * BAR))["average_uniqueness"].to_list() == [1.0]
