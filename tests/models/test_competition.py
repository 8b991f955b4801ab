import numpy as np
import polars as pl
import pytest
from model_rows import SPEC, frozen, tables, training_set, with_further

from pipeline.errors import UsageError
from pipeline.models.calibration import calibrate
from pipeline.models.combination import fit_vote
from pipeline.models.competition import Choice, chosen_kind, combined, compete, trial_table, walked
from pipeline.models.heads import Laid, choose, fit_chosen, further_layouts, lay_out
from pipeline.models.metrics import row_log_loss
from pipeline.models.spec import KINDS, LEARNERS, CompetitionSpec


def ignore(_step: str, _share: float) -> None:
    pass


@pytest.fixture(scope="module")
def laid() -> Laid:
    return lay_out(training_set(200), SPEC)


@pytest.fixture(scope="module")
def choice(laid: Laid) -> Choice:
    return choose(laid, SPEC, ignore)


def test_every_kind_competes_on_every_fold_it_can_speak_of(choice: Choice):
    spoken = choice.standings.group_by("kind", maintain_order=True).agg(pl.col("fold"))
    folds = dict(spoken.iter_rows())
    assert tuple(folds) == KINDS
    assert all(folds[kind] == ["fold_1", "fold_2"] for kind in LEARNERS)
    assert folds["voted"] == folds["stacked"] == ["fold_2"]
    assert choice.standings.filter("is_chosen")["kind"].unique().to_list() == [choice.kind]


def test_every_trial_is_counted_and_the_first_is_the_defaults(choice: Choice):
    table = trial_table(choice.trials)
    assert table.height == len(LEARNERS) * SPEC.competition.n_trials
    for trial in choice.trials:
        if trial.number == 0:
            assert (trial.setting.n_kept, trial.setting.power) == (80, 0.0)
            assert table.filter(learner=trial.learner, trial=0)["log_loss"].item() == trial.loss
    assert table["log_loss"].is_finite().all()


def test_the_losses_of_a_kind_are_those_of_its_answers_each_pool_one_unit(laid: Laid, choice: Choice):
    for p, fold in zip(choice.said, laid.folds, strict=True):
        if p is None:
            continue
        rows = laid.frame[fold.test].with_columns(loss=row_log_loss(laid.bench.y[fold.test], p))
        by_pool = rows.group_by("pool").agg(pl.col("loss").mean())["loss"].mean()
        told = choice.standings.filter(kind=choice.kind, fold=fold.name)
        assert told["log_loss"].item() == pytest.approx(by_pool, abs=1e-12)


def test_nobody_answers_for_rows_it_learned_from_and_no_fold_sees_the_last_block(laid: Laid):
    tested = set(laid.block.test.tolist())
    for fold in laid.folds:
        assert not set(fold.train.tolist()) & set(fold.test.tolist())
        assert not (set(fold.train.tolist()) | set(fold.test.tolist())) & tested


def test_an_ensemble_is_judged_by_what_earlier_folds_gave(laid: Laid):
    rng = np.random.default_rng(0)
    each = {
        learner: [rng.dirichlet(np.ones(7), len(fold.test)) for fold in laid.folds]
        for learner in ("logistic", "xgboost")
    }
    first, second = walked("voted", each, laid.bench, laid.folds)
    assert first is None
    known = np.isin(laid.folds[0].test, laid.folds[1].train)
    rows = laid.folds[0].test[known]
    _, at, sizes = np.unique(laid.bench.pool[rows], return_inverse=True, return_counts=True)
    vote = fit_vote([said[0][known] for said in each.values()], laid.bench.y[rows], 1 / sizes[at])
    np.testing.assert_array_equal(second, vote([said[1] for said in each.values()]))
    assert combined("xgboost", [each["xgboost"]], laid.bench, laid.folds).weights.tolist() == [1.0]


def test_a_learner_that_competes_alone_is_chosen_and_has_no_ensemble(laid: Laid):
    spec = CompetitionSpec(learners=("logistic",), n_trials=1)
    choice = compete(laid.bench, laid.folds, spec, ignore)
    assert (choice.kind, set(choice.standings["kind"]), len(choice.trials)) == ("logistic", {"logistic"}, 1)


def test_the_simpler_kind_is_kept_unless_another_is_better_by_a_standard_error():
    from pipeline.models.calibration import is_worse

    best = np.random.default_rng(0).normal(size=400)
    assert not is_worse(best, best)
    assert not is_worse(best + np.random.default_rng(1).normal(size=400), best + 0.04)
    assert is_worse(best + 0.01, best)


def test_the_simpler_kind_is_chosen_where_a_better_one_is_so_by_chance_and_an_ensemble_must_beat_it(
    laid: Laid,
):
    rng = np.random.default_rng(4)
    n_folds = len(laid.folds)

    def telling(share: float) -> list[np.ndarray]:
        """What gives the outcome that came that share, a seventh being nothing, give or take a little by pool."""
        found = []
        for fold in laid.folds:
            y, pool = laid.bench.y[fold.test], laid.bench.pool[fold.test]
            own = np.clip(share + 0.1 * rng.normal(size=int(laid.bench.pool.max()) + 1)[pool], 0.02, 0.9)
            p = np.repeat((1 - own)[:, None] / 6, 7, axis=1)
            p[np.arange(len(y)), y] = own
            found.append(p)
        return found

    plain, near, far = telling(0.3), telling(0.302), telling(0.5)
    assert chosen_kind({"logistic": plain, "xgboost": near}, laid.bench, laid.folds) == "logistic"
    assert chosen_kind({"logistic": near, "xgboost": plain}, laid.bench, laid.folds) == "logistic"
    assert chosen_kind({"logistic": plain, "xgboost": far}, laid.bench, laid.folds) == "xgboost"
    silent = [None] * (n_folds - 1)
    for mixed, kind in ((near, "logistic"), (far, "voted")):
        said = {"logistic": plain, "voted": [*silent, mixed[-1]]}
        assert chosen_kind(said, laid.bench, laid.folds) == kind


def test_more_rows_mean_fewer_trials_but_never_fewer_than_two():
    spec = CompetitionSpec(n_trials=8, trial_rows=60_000)
    assert [spec.trials_on(n) for n in (1, 10_000, 10**7)] == [8, 6, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"learners": ()},
        {"learners": ("xgboost", "xgboost")},
        {"learners": ("svm",)},
        {"n_trials": 0},
        {"n_kept": (0,)},
    ],
)
def test_a_competition_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError):
        CompetitionSpec(**wrong)


def test_a_head_is_calibrated_by_what_the_newest_fold_was_told_out_of_fold(laid: Laid, choice: Choice):
    newest = laid.folds[-1].test
    own = calibrate(choice.said[-1], laid.bench.y[newest], laid.bench.pool[newest], SPEC.seed)
    fitted = fit_chosen(laid, choice, SPEC)
    assert fitted.calibration == own.losses
    assert fitted.head.calibrator.state() == own.calibrator.state()


def test_the_last_block_of_every_horizon_begins_at_the_same_moment():
    made = frozen(with_further(tables(80)))
    start = lay_out(made, SPEC).block.start + pl.Series([1]).cast(pl.Duration("us")).item()
    further = further_layouts(made, SPEC, start)
    assert set(further) == {1, 6}
    assert {one.block.start for one in further.values()} == {start}
