"""What a trained model is shown with, made of a model that was really trained."""

import numpy as np
import polars as pl
from model_rows import NAMES, training_set

from pipeline.models.evidence import explained_evidence, learning_evidence, sliced_evidence
from pipeline.models.intervals import FigureRules
from pipeline.models.metrics import row_log_loss
from pipeline.tables import OUTCOMES

RULES = FigureRules(n_resamples=40)
PNG = b"\x89PNG\r\n\x1a\n"


def softmax(x: np.ndarray) -> np.ndarray:
    weight = np.outer(np.arange(1, x.shape[1] + 1), np.linspace(-1, 1, 7)) / 5
    raised = np.exp(np.nan_to_num(x) @ weight)
    return raised / raised.sum(axis=1, keepdims=True)


def rows() -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    frame = training_set(60).frame
    x = frame.select(pl.col(NAMES).cast(pl.Float64)).fill_null(0).to_numpy()
    pool = frame.select(pl.struct("network", "pool").rank("dense")).to_series().to_numpy().astype(np.int64) - 1
    return frame, x, pool


def test_evidence_has_a_table_and_a_picture_of_everything():
    frame, x, pool = rows()
    p = softmax(x)
    said = frame.select(
        "network", "pool", pl.lit(24).alias("horizon"), "decision_age_hours", pl.col("outcome").alias("label"),
        pl.Series("reserve_usd", np.geomspace(1, 1e6, frame.height)),
    ).with_columns(pl.Series(f"p_{name}", p[:, k]) for k, name in enumerate(OUTCOMES))  # fmt: skip
    even = said.with_columns(pl.lit(1 / 7).alias(f"p_{name}") for name in OUTCOMES)
    sliced = sliced_evidence(said, {"even": even}, RULES, [(1e5, True), (1e3, False)])
    assert set(sliced.tables["slices"]["by"]) == {"horizon", "network", "tier", "decision_age_hours"}
    whole = sliced.tables["slices"].filter(by="horizon", metric="log_loss")["value"].item()
    y = frame["outcome"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy()
    np.testing.assert_allclose(whole, row_log_loss(y, p).mean())

    explained = explained_evidence(softmax, x, pool, x, NAMES, seed=1)
    assert set(explained.tables["shap"]["feature"]) == set(NAMES)

    def fit_and_score(chosen: np.ndarray) -> np.ndarray:
        prior = (np.bincount(y[chosen], minlength=7) + 1) / (len(chosen) + 7)
        return row_log_loss(y, np.tile(prior, (len(y), 1)))

    taught = learning_evidence(pool, pool, pool, fit_and_score, RULES, {"even": float(np.log(7))})
    both = sliced | explained | taught
    assert set(both.tables) == {"slices", "shap", "learning_curve"}
    assert set(both.plots) == {"roc", "precision_recall", "error_by_age", "shap", "learning_curve"}
    assert all(picture.startswith(PNG) for picture in both.plots.values())
