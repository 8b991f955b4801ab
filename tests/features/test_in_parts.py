"""Features made in parts are those made at once, bit for bit, whatever the cuts."""

from collections.abc import Callable, Sequence

import battery_market
import polars as pl
import pytest
from battery_market import SPAN
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.compute import compute_columns, compute_family, inputs_of
from pipeline.features.engine_list import ENGINES
from pipeline.features.in_parts import compute_columns_in_parts, compute_family_in_parts, cuts
from pipeline.features.registry import FAMILIES, REGISTRY
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import SNAPSHOTS

SPEC = FeaturesSpec()
MARKET = battery_market.market(3)


class Several:
    """So many workers, in this process; each part is given away in a shuffled order."""

    cluster = None

    def __init__(self, count: int) -> None:
        self.count = count
        self.n_parts = 0

    def each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        self.n_parts = len(parts)
        found = {k: work(shared, parts[k]) for k in reversed(range(len(parts)))}
        return [found[k] for k in range(len(parts))]


def is_same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """The same columns, rows and bits; `equals` takes 0.0 for -0.0, the hashes do not."""
    return one.schema == other.schema and one.equals(other) and one.hash_rows().equals(other.hash_rows())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_in_parts_is_the_family(family: str) -> None:
    whole = compute_family(family, MARKET.sources(), SPAN, SPEC)
    assert whole.height > 100
    for count in (2, 3, 7):
        workers = Several(count)
        assert is_same(compute_family_in_parts(family, MARKET.sources(), SPAN, SPEC, workers, rows_a_part=20), whole)
        assert workers.n_parts >= 2


@settings(max_examples=12)
@given(seed=st.integers(1, 50), count=st.integers(1, 40))
def test_any_market_may_be_cut_into_any_number_of_parts(seed: int, count: int) -> None:
    sources = battery_market.market(seed).sources()
    one_of_each_engine = {REGISTRY[name].inputs[0].engine: REGISTRY[name] for name in REGISTRY}.values()
    whole = compute_columns(sources, SPAN, SPEC, one_of_each_engine)
    workers = Several(count)
    assert is_same(compute_columns_in_parts(sources, SPAN, SPEC, one_of_each_engine, workers, rows_a_part=1), whole)


def test_what_looks_across_pools_would_differ_if_it_were_cut_and_so_is_not() -> None:
    """The other way round: an input that is said to depend on its own pool alone does."""
    across = {
        name for name, feature in REGISTRY.items()
        for engine, reads in inputs_of([feature]).items() for read in reads if ENGINES[engine].across(read)
    }  # fmt: skip
    half = cuts(MARKET.snapshots.lazy(), SPAN, 2)[0]
    alone = Sources(*(
        frame if name == "tokens" else frame.filter(pl.col("pool") < half)
        for name, frame in vars(MARKET.sources()).items()
    ))  # fmt: skip
    ours = compute_columns(alone, SPAN, SPEC, REGISTRY.values())
    whole = compute_columns(MARKET.sources(), SPAN, SPEC, REGISTRY.values()).filter(pl.col("pool") < half)
    differ = {name for name in REGISTRY if not ours[name].equals(whole[name])}
    assert differ
    assert differ <= across


def test_parts_hold_about_as_many_rows_each() -> None:
    edges = cuts(MARKET.snapshots.lazy(), SPAN, 3)
    assert edges == sorted(set(edges))
    part = pl.sum_horizontal(pl.col("pool") >= edge for edge in edges)
    sizes = MARKET.snapshots.group_by(part.alias("part")).len()["len"]
    assert sizes.max() <= MARKET.snapshots.height / 3 + MARKET.snapshots.group_by("pool").len()["len"].max()


def test_little_work_is_done_here_and_nobody_is_asked() -> None:
    class Nobody:
        cluster = None

        @property
        def count(self) -> int:
            raise AssertionError("asked")

    found = compute_family_in_parts("core", MARKET.sources(), SPAN, SPEC, Nobody())  # type: ignore[arg-type]
    assert is_same(found, compute_family("core", MARKET.sources(), SPAN, SPEC))


def test_no_snapshots_are_no_features() -> None:
    nothing = Sources(SNAPSHOTS.empty().lazy())
    assert compute_family_in_parts("core", nothing, SPAN, SPEC, Several(4)).is_empty()
