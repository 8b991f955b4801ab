"""What drift promises, in worlds of known truth: few alarms where nothing changed, and the right ones where it did.

The full figures are in docs/drift.md (`python benchmarks/drift.py`); here are fewer worlds, with room for chance.
"""

import numpy as np
import polars as pl
import pytest
from drift_pools import draw
from scipy import stats

from pipeline.monitoring.drift.classifier import domain_classifier
from pipeline.monitoring.drift.comparison import compare
from pipeline.monitoring.drift.spec import DriftSpec

SPEC = DriftSpec(n_permutations=999)


def worlds(n, n_current, shift=(), seed=0):
    for at in range(n):
        rng = np.random.default_rng([seed, at])
        reference, current = draw(400, rng, snapshots=4), draw(n_current, rng, shift, snapshots=4)
        yield compare(reference, current, group=["pool"], spec=DriftSpec(n_permutations=999, seed=at))


@pytest.mark.parametrize("n_current", [100, 25])
def test_without_drift_there_are_hardly_any_alarms_whatever_the_sample(n_current):
    found = list(worlds(60, n_current))
    assert sum(one.alarm for one in found) <= stats.binom.ppf(0.999, 60, 0.05)
    p_values = np.concatenate([one.columns["p_value"].to_numpy() for one in found])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p_values <= level).sum() <= stats.binom.ppf(0.999, len(p_values), level)


def lopsided(seed, n_rows, within):
    """400 pools against 25, which have another number of rows each."""
    rng = np.random.default_rng([2, seed])

    def side(n, rows):
        values = (rng.normal(0, 1, (n, 1, 4)) + rng.normal(0, within, (n, rows, 4))).reshape(-1, 4).T
        return pl.DataFrame({"pool": np.repeat(np.arange(n), rows), **{f"f{at}": own for at, own in enumerate(values)}})

    return side(400, n_rows[0]), side(25, n_rows[1])


@pytest.mark.parametrize("n_rows", [(12, 1), (1, 12), (12, 3)])
def test_pools_with_fewer_rows_on_one_side_raise_no_alarm(n_rows):
    """A pool of one row scatters more than one of twelve: were all rows dealt out, 12 against 1 would alarm always."""
    found = [
        compare(*lopsided(seed, n_rows, 1.5), group=["pool"], spec=DriftSpec(n_permutations=999, seed=seed))
        for seed in range(40)
    ]
    assert sum(one.alarm for one in found) <= stats.binom.ppf(0.999, 40, 0.05)
    p_values = np.concatenate([one.columns["p_value"].to_numpy() for one in found])
    for level in (0.05, 0.2, 0.5):
        assert (p_values <= level).sum() <= stats.binom.ppf(0.999, len(p_values), level)
    assert (p_values <= 0.5).sum() >= stats.binom.ppf(0.001, len(p_values), 0.5)


def test_the_classifier_is_not_misled_by_pools_with_fewer_rows():
    found = [
        domain_classifier(*lopsided(seed, (12, 1), 1.5), group=["pool"], spec=DriftSpec(n_permutations=199))
        for seed in range(30)
    ]
    assert sum(one.p_value <= 0.05 for one in found) <= stats.binom.ppf(0.999, 30, 0.05)


def test_a_doubled_feature_is_named_more_often_than_not_and_a_fourfold_one_always():
    doubled = sum(one.columns["is_drifted"][0] for one in worlds(25, 100, (2.0,)))
    assert doubled >= stats.binom.ppf(0.01, 25, 0.7)
    assert all(one.columns["is_drifted"][0] for one in worlds(10, 100, (4.0,)))


def test_three_shifted_features_are_named_and_hardly_another():
    named = np.array([one.columns["is_drifted"].to_numpy() for one in worlds(10, 100, (4.0, 0.25, 4.0))])
    assert named[:, :3].all()
    assert named[:, 3:].any(axis=1).sum() <= stats.binom.ppf(0.999, 10, 0.1)


def described(rng, n, *, correlation=0.0, shift=()):
    """Pools of five features, the first two of which may go together."""
    frame = draw(n, rng, shift, features=5, snapshots=3)
    first, second = (np.log(frame[name].to_numpy()) for name in ("f00", "f01"))
    return frame.with_columns(f01=np.exp(correlation * first + np.sqrt(1 - correlation**2) * second))


def asked(seed, n_current=80, **changed):
    rng = np.random.default_rng(seed)
    return domain_classifier(
        described(rng, 120), described(rng, n_current, **changed), group=["pool"], spec=DriftSpec(n_permutations=199)
    )


def test_the_classifier_tells_a_shifted_world_from_the_old_one():
    found = asked(0, shift=(3.0,))
    assert found.is_drifted
    assert found.auc > 0.6
    assert (found.n_reference_pools, found.n_current_pools, found.n_pools) == (120, 80, 200)


def test_the_classifier_sees_columns_that_go_together_where_each_alone_is_unchanged():
    rng = np.random.default_rng(3)
    before, after = described(rng, 200), described(rng, 120, correlation=0.9)
    assert not compare(before, after, group=["pool"], spec=SPEC).alarm
    assert domain_classifier(before, after, group=["pool"], spec=SPEC).p_value <= 0.01


@pytest.mark.parametrize("n_current", [80, 15])
def test_the_classifiers_p_value_is_no_smaller_than_chance_allows(n_current):
    found = [asked([1, seed], n_current) for seed in range(50)]
    p_values, aucs = (np.array([getattr(one, name) for one in found]) for name in ("p_value", "auc"))
    for level in (0.05, 0.2, 0.5):
        assert (p_values <= level).sum() <= stats.binom.ppf(0.999, 50, level)
    assert aucs.mean() == pytest.approx(0.5, abs=4 * aucs.std() / np.sqrt(50))


def test_the_classifier_takes_texts_flags_and_missing_values_and_what_never_varies():
    rng = np.random.default_rng(0)
    before = pl.DataFrame(
        {"pool": range(100), "a": rng.choice(list("xyz"), 100), "b": rng.random(100) < 0.5, "c": [1.0] * 100}
    )
    after = before.with_columns(pool=pl.col("pool") + 1_000, c=pl.when(pl.col("pool") % 2 > 0).then("c"))
    found = domain_classifier(before, after, group=["pool"], spec=SPEC)
    assert found.is_drifted
    alike = domain_classifier(before, before.with_columns(pool=pl.col("pool") + 1_000), group=["pool"], spec=SPEC)
    assert not alike.is_drifted
    constant = domain_classifier(before.select("pool", "c"), before.select("pool", "c"), group=["pool"], spec=SPEC)
    assert constant.p_value == 1


def test_a_pool_is_never_answered_by_its_own_rows():
    """Were rows the unit, a pool's rows would be known by its others, and any two worlds told apart."""
    rng = np.random.default_rng(1)
    noise = [draw(30, rng, features=20, snapshots=40) for _ in range(2)]
    assert domain_classifier(*noise, group=["pool"], spec=SPEC).p_value > 0.05
