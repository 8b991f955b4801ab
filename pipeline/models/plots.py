"""Pictures of a model's evidence, as PNG bytes.

Belongs here: calibration, confusion, importance. Stays out: what is drawn (`metrics`), where a picture goes.
Figures are made without pyplot, so there is no global state, and the same input gives the same bytes.
"""

import io
from typing import Any, Final

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from pipeline.models.metrics import Floats, Ints, calibration_bins
from pipeline.tables import OUTCOMES

DPI: Final = 110
COLOURS: Final = ("#b2182b", "#1b7837", "#5aae61", "#a6a65a", "#777777", "#e08214", "#8c510a")
"""One a outcome, in the order of `OUTCOMES`: falls in reds and browns, rises in greens."""


def calibration_plot(y: Ints, p: Floats, *, n_bins: int) -> bytes:
    """What was said against what came, by bins of equal mass, one line an outcome; on the diagonal it is honest."""
    figure, axes = _canvas(7.0, 6.0)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", linewidth=1, label="as said, so it came")
    for k, outcome in enumerate(OUTCOMES):
        n_true = int((y == k).sum())
        if not n_true:
            continue
        bins = calibration_bins(p[:, k], n_bins)
        mass = np.bincount(bins)
        held = mass > 0
        said = np.bincount(bins, weights=p[:, k])[held] / mass[held]
        came = np.bincount(bins, weights=(y == k).astype(np.float64))[held] / mass[held]
        axes.plot(said, came, marker="o", markersize=4, color=COLOURS[k], label=f"{outcome} ({n_true:,} rows)")
    axes.set(xlabel="probability said", ylabel="share that came", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Calibration on the last block in time", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return _png(figure)


def confusion_plot(y: Ints, p: Floats) -> bytes:
    """What came (rows) against the most probable outcome (columns); shares of each row, counts in brackets."""
    n = len(OUTCOMES)
    counts = np.zeros((n, n))
    np.add.at(counts, (y, p.argmax(axis=1)), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    figure, axes = _canvas(8.0, 6.5)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(n):
        for j in range(n):
            ink = "white" if shares[i, j] > 0.55 else "#222222"
            text = f"{shares[i, j]:.0%}\n({int(counts[i, j]):,})" if totals[i, 0] else "none"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(n), OUTCOMES)
    axes.set_yticks(range(n), [f"{o} ({int(t):,})" for o, t in zip(OUTCOMES, totals[:, 0], strict=True)])
    axes.set(xlabel="most probable outcome", ylabel="what came")
    axes.set_title("Confusion on the last block in time", loc="left")
    return _png(figure)


def importance_plot(importance: pl.DataFrame, *, n_shown: int = 25) -> bytes:
    """Gain and permutation importance side by side, most important on top.

    Args:
        importance: `feature`, `gain`, `permutation`, in order of importance.
    """
    shown = importance.head(n_shown).reverse()
    figure = Figure(figsize=(10.0, 1.5 + 0.27 * shown.height), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, label in (
        (left, "gain", "share of the total gain of splits"),
        (right, "permutation", "rise of the log loss when shuffled (nats)"),
    ):
        axes.barh(shown["feature"].to_list(), shown[column].to_list(), color="#4a6fa5")
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_title("Importance of the features", loc="left")
    return _png(figure)


def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    # The default metadata names the library's version; without it the bytes depend on the picture alone.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
