import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from model_rows import NAMES, SPEC, frozen, tables, training_set, with_further
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.errors import InputError
from pipeline.models.canary_permutation import aucs_by_age, permute_by_pool
from pipeline.models.canary_splits import check_splits
from pipeline.models.evaluation import Trained, train_and_evaluate
from pipeline.models.heads import lay_out
from pipeline.models.outcome_model import load_outcome, signal_score
from pipeline.models.records import figure_rows, flat, last_block
from pipeline.models.spec import BASELINES
from pipeline.models.training_records import kinds_by_fold, signal_in_words, signal_table
from pipeline.models.training_set import TrainingSet
from pipeline.tables import FIGURES, OUTCOMES

P = [f"p_{outcome}" for outcome in OUTCOMES]
PNG = b"\x89PNG\r\n\x1a\n"
KEY = ["network", "pool", "decision_age_hours"]


def made_set(n_pools: int = 200, seed: int = 0) -> TrainingSet:
    return frozen(with_further(tables(n_pools, seed=seed)))


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_and_evaluate(made_set(), SPEC)


ONE_LEARNER = replace(SPEC, n_resamples=0, competition=replace(SPEC.competition, learners=("logistic",)))


def on_last_block(made: TrainingSet, trained: Trained) -> pl.Series:
    tested = trained.evaluation.select(KEY).with_columns(is_last=pl.lit(True))
    return made.frame.join(tested, on=KEY, how="left", maintain_order="left")["is_last"].fill_null(False)


def test_figures_can_be_recomputed_from_the_evaluation_frame(trained: Trained):
    said = trained.evaluation
    y = said["label"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy()
    expected = log_loss(y, said.select(P).to_numpy(), labels=list(range(7)))
    assert trained.figure("log_loss").value == pytest.approx(expected, abs=1e-9)
    early = said.filter(pl.col("decision_age_hours") == 1)
    auc = roc_auc_score(early["label"] == "RUG", early["p_RUG"])
    assert trained.headline.value == pytest.approx(auc, abs=1e-9)
    assert trained.figure("log_loss").low <= expected <= trained.figure("log_loss").high
    assert trained.headline.n_rows == trained.headline.n_pools == 60


def test_the_registered_bytes_are_those_that_were_evaluated(trained: Trained):
    block = made_set().frame.join(trained.evaluation, on=KEY, how="semi")
    model = load_outcome(trained.model_bytes)
    np.testing.assert_array_equal(model.predict_proba(block), trained.evaluation.select(P).to_numpy())
    assert model.attributes["training_set_id"] == trained.training_set_id


def test_the_same_set_gives_the_same_file_in_another_process_with_another_hash_seed(trained: Trained):
    code = (
        "from test_evaluation import *; t = train_and_evaluate(made_set(), SPEC); print(t.model_sha256, len(t.trials))"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    run = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"]
    seeded = {**os.environ, "PYTHONHASHSEED": "4711"}
    out = subprocess.run(run, capture_output=True, text=True, check=True, env=seeded).stdout
    assert out.split() == [trained.model_sha256, str(trained.trials.height)]


def test_the_last_block_has_no_say_in_any_probability(trained: Trained):
    made = made_set()
    is_last = on_last_block(made, trained)
    changed = made.frame.with_columns(
        pl.when(is_last).then(pl.lit("RUG")).otherwise(name).alias(name)
        for name in ("outcome", "outcome_1h", "outcome_6h")
    )
    other = train_and_evaluate(replace(made, frame=changed), SPEC)
    for hours, head in trained.model.heads.items():
        assert json.dumps(other.model.heads[hours].state()) == json.dumps(head.state())
    assert other.model.feature_names == trained.model.feature_names
    assert other.model.attributes["learned_until"] == trained.model.attributes["learned_until"]


def test_each_horizon_is_split_and_purged_by_its_own_labels(trained: Trained):
    made = made_set()
    own = lay_out(made, SPEC)
    assert trained.model.horizons_hours == (1, 6, 24)
    for hours in (1, 6):
        laid = lay_out(made.head(hours), SPEC, own.block.start)
        assert check_splits(laid.training_set, [laid.block, *laid.folds]).is_passed
        assert set(laid.frame[laid.block.test]["pool"]) == set(own.frame[own.block.test]["pool"])
        # A shorter horizon is over sooner, so the purge leaves more to learn from.
        assert len(laid.block.train) > len(own.block.train)
        assert laid.learned_until <= laid.block.start
        assert trained.figure("log_loss", block=f"last_block_{hours}h").low is not None
        assert trained.figure("log_loss", block=f"last_block_{hours}h").value < np.log(7)


def test_a_set_without_labels_at_other_horizons_gives_a_model_of_its_own_alone():
    found = train_and_evaluate(training_set(120), ONE_LEARNER)
    assert found.model.horizons_hours == (24,)
    assert load_outcome(found.model_bytes).model_bytes == found.model_bytes


def test_baselines_stand_beside_the_model_on_the_same_rows(trained: Trained):
    assert tuple(trained.baselines) == BASELINES
    for name, frame in trained.baselines.items():
        assert frame.drop(P).equals(trained.evaluation.drop(P))
        assert trained.figure("log_loss", predictor=name).n_rows == frame.height
    # In made-up rows one feature tells everything there is, so the rule on it is no baseline to beat here.
    for name in ("class_prior", "majority"):
        assert trained.figure("log_loss", predictor=name).value > trained.figure("log_loss").value


def test_permuted_labels_leave_nothing_to_learn_through_the_whole_path(trained: Trained):
    aucs: list[float] = []
    for seed in range(3):
        made = made_set(seed=seed)
        y = permute_by_pool(made.frame, made.y, np.random.default_rng(seed))
        outcome = pl.Series("outcome", [OUTCOMES[k] for k in y])
        spec = replace(SPEC, n_resamples=0, competition=replace(SPEC.competition, n_trials=1))
        found = train_and_evaluate(replace(made, frame=made.frame.with_columns(outcome)), spec)
        said = found.evaluation
        labels = said["label"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy()
        aucs += aucs_by_age(labels, said.select(P).to_numpy(), said["decision_age_hours"].to_numpy())
    assert 0.45 < np.mean(aucs) < 0.55
    assert trained.figure("roc_auc", "macro").low > 0.6


def test_folds_plots_and_importance_are_there(trained: Trained):
    assert set(trained.metrics["block"]) >= {"fold_2", "last_block", "last_block_1h", "last_block_6h"}
    assert all(picture.startswith(PNG) for picture in trained.plots.values())
    assert set(trained.plots) == {
        "calibration", "confusion", "importance", "roc", "precision_recall", "error_by_age", "learning_curve",
        "shap",
    }  # fmt: skip
    assert set(trained.shap["feature"]) == set(trained.feature_names)
    assert trained.shap.filter(outcome="all")["feature"][0] == "signal"
    ages = trained.slices.filter(by="decision_age_hours", metric="log_loss")
    assert ages["slice"].to_list() == ["1", "2", "4", "8", "16"]
    assert trained.learning_curve["value"][-1] == pytest.approx(trained.figure("log_loss").value, abs=1e-12)
    assert trained.learning_curve["n_train_pools"][-1] == trained.n_train_pools
    assert set(trained.importance["feature"]) == set(NAMES)
    assert trained.importance["feature"][0] == "signal"
    assert trained.importance["gain"].sum() == pytest.approx(1)


def test_the_signal_of_the_file_is_the_one_that_was_certified(trained: Trained):
    block = made_set().frame.join(trained.evaluation, on=KEY, how="semi")
    score, is_high = load_outcome(trained.model_bytes).signal(block)
    p = trained.evaluation.select(P).to_numpy()
    np.testing.assert_array_equal(score, signal_score(p))
    assert is_high is not None
    assert is_high.mean() == pytest.approx(trained.certificate.coverage)
    risen = block["outcome"].is_in(["PUMP", "MOON"])
    paid = risen & (block["return_executable_pct"] > 0)
    # Some pools that rise cannot be sold: to call them is as wrong as to call those that fall.
    assert trained.worth.base_rate.value == pytest.approx(paid.mean())
    assert paid.mean() < risen.mean()
    rows = block.with_columns(is_high=pl.Series(is_high)).filter(~paid)
    rate = rows.group_by("pool").agg(pl.col("is_high").mean())["is_high"].mean()
    assert trained.worth.paid.value == pytest.approx(paid.to_numpy()[is_high].mean())
    assert rate == pytest.approx(trained.certificate.rate)
    assert rate <= 0.03
    assert signal_table(trained).height == 1 + (trained.later_pools is not None)


def test_a_model_of_few_pools_abstains_and_says_so_everywhere():
    found = train_and_evaluate(made_set(100), ONE_LEARNER)
    model = load_outcome(found.model_bytes)
    assert model.signal(made_set(100).frame)[1] is None
    assert model.signal_rule.words.startswith("abstains: ")
    assert model.attributes["signal_set_until"] == ""
    assert "abstains" in signal_in_words(figure_rows(found))
    assert signal_table(found)["threshold"].to_list() == [None]


def test_competition_and_signal_are_on_record_with_the_figures(trained: Trained):
    rows = figure_rows(trained)
    assert rows.select(FIGURES.key).is_unique().all()
    kinds = kinds_by_fold(rows)
    assert kinds["kind"].to_list() == ["logistic", "random_forest", "lightgbm", "xgboost", "voted", "stacked"]
    assert kinds["settings tried"].to_list() == ["2", "2", "2", "2", "-", "-"]
    assert flat(last_block(rows))["signal_coverage"] == pytest.approx(trained.certificate.coverage)
    words = signal_in_words(rows)
    assert f"{trained.certificate.coverage:.1%} of the decisions" in words
    assert f"{trained.worth.paid.value:.1%} of the signals paid" in words
    of_signals = dict(last_block(rows).filter(predictor="model").select("metric", "n_rows").iter_rows())
    assert of_signals["signal_paid_share"] == round(trained.certificate.coverage * of_signals["signal_coverage"])
    assert of_signals["signal_base_rate"] == of_signals["signal_coverage"]


def test_progress_rises_to_its_end():
    told: list[float] = []
    train_and_evaluate(training_set(120), ONE_LEARNER, lambda _step, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_figure_that_does_not_exist_is_refused(trained: Trained):
    with pytest.raises(InputError, match="no figure"):
        trained.figure("sharpe")
