import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.errors import InputError, UsageError
from pipeline.models.evidence import by_slice
from pipeline.models.intervals import FigureRules
from pipeline.models.slices import MIN_POOLS, SLICES, nested_slices, slices, with_age, with_tier
from pipeline.models.spec import TrainingSpec
from pipeline.snapshots.schedule import interval_of
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import OUTCOMES

RULES = FigureRules(n_resamples=50)
P = [f"p_{name}" for name in OUTCOMES]


def evaluation(n_pools: int = 80, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = 2 * n_pools
    y = rng.integers(0, 7, n)
    p = rng.dirichlet(np.ones(7), n) + 0.4 * np.eye(7)[y]
    p /= p.sum(axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "network": np.repeat(["eth", "base"], n_pools), "pool": [f"p{k // 2}" for k in range(n)],
            "horizon": np.tile([6, 24], n_pools), "decision_age_hours": np.tile([1, 16], n_pools),
            "label": [OUTCOMES[k] for k in y], **{name: p[:, k] for k, name in enumerate(P)},
        }
    )  # fmt: skip


def test_a_slice_has_the_figures_of_its_rows():
    frame = evaluation()
    table = slices(frame, ["network", "decision_age_hours"], RULES)
    assert table.schema == SLICES
    own = frame.filter(pl.col("network") == "base")
    y = own["label"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy()
    found = table.filter(by="network", slice="base")
    loss = found.row(by_predicate=(pl.col("metric") == "log_loss"), named=True)
    assert loss["value"] == pytest.approx(log_loss(y, own.select(P).to_numpy(), labels=list(range(7))), abs=1e-9)
    assert (loss["n_rows"], loss["n_pools"]) == (80, 40)
    auc = found.filter(metric="roc_auc", outcome="RUG")["value"].item()
    assert auc == pytest.approx(roc_auc_score(y == 0, own["p_RUG"]), abs=1e-9)
    assert table["slice"].unique(maintain_order=True).to_list() == ["base", "eth", "1", "16"]


def test_a_slice_of_few_pools_has_figures_but_no_intervals():
    few = slices(evaluation(MIN_POOLS - 1), ["horizon"], RULES)
    assert few["low"].null_count() == few.height
    assert few["value"].null_count() < few.height
    assert slices(evaluation(MIN_POOLS), ["horizon"], RULES).filter(metric="log_loss")["low"].null_count() == 0


def test_rows_without_a_value_are_a_slice_of_their_own_and_none_is_lost():
    frame = evaluation().with_columns(horizon=pl.when(pl.col("network") == "eth").then("horizon"))
    table = slices(frame, ["horizon"], RULES).filter(metric="accuracy", outcome="all")
    assert table["slice"].to_list() == ["6", "24", "unknown"]
    assert table["n_rows"].sum() == frame.height


def test_what_has_no_column_or_a_thousand_values_is_refused():
    with pytest.raises(InputError, match="cannot cut figures by 'tier'"):
        slices(evaluation(), ["tier"], RULES)
    with pytest.raises(InputError, match="more than 50 values"):
        slices(evaluation(), ["p_RUG"], RULES)


def test_tiers_are_those_of_the_sampler():
    spec = SnapshotsSpec()
    reserve = np.array([5e5, 100_000.0, 99_999.0, 10_000.0, 9_999.0, 1_000.0, 999.0, 0.0])
    frame = with_tier(pl.DataFrame({"reserve_usd": reserve}), [(t.reserve_usd, t.is_exclusive) for t in spec.tiers])
    minutes = interval_of(reserve, np.zeros(8, bool), spec)
    assert len(set(zip(frame["tier"], minutes, strict=True))) == 4
    assert (
        with_tier(pl.DataFrame({"reserve_usd": [float("nan"), None]}), [(1.0, False)])["tier"].to_list() == [None] * 2
    )
    with pytest.raises(UsageError, match="from the richest to the poorest"):
        with_tier(frame, [(1.0, False), (5.0, False)])


def test_ages_are_cut_where_the_edges_are():
    ages = pl.DataFrame({"h": [0.0, 0.99, 1.0, 167.9, 168.0, None, float("nan")]})
    assert with_age(ages, "h")["age"].to_list() == [
        "under 1 h", "under 1 h", "1 to 2 h", "72 to 168 h", "over 168 h", None, None,
    ]  # fmt: skip


def test_a_report_nests_slices_by_what_cuts_them():
    told = nested_slices(slices(evaluation(), ["horizon"], RULES))
    assert set(told) == {"horizon"}
    assert list(told["horizon"]) == ["6", "24"]
    assert told["horizon"]["6"]["figures"]["log_loss"]["low"] > 0


def test_the_last_block_is_cut_by_what_was_known_of_it():
    frame = evaluation()
    n = frame.height
    known = pl.DataFrame({
        "another": np.zeros(n), "reserve_usd": np.linspace(0, 2e5, n), "n_sells_1h": np.zeros(n, np.int64),
        "n_buys_1h": [None, *([0] * 59), *([3] * 100)],
    })  # fmt: skip
    told = by_slice(frame, known, TrainingSpec(n_resamples=50))
    assert told["by"].unique(maintain_order=True).to_list() == ["decision_age_hours", "network", "tier", "traded"]
    traded = told.filter(by="traded", metric="log_loss").select("slice", "n_rows").rows()
    assert dict(traded) == {"in the last hour": 100, "not in the last hour": 59, "unknown": 1}
    few = by_slice(frame, known.drop("n_buys_1h", "reserve_usd"), TrainingSpec(n_resamples=50))
    assert set(few["by"]) == {"decision_age_hours", "network"}
