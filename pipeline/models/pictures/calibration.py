"""What was said against what came: calibration and confusion."""

from collections.abc import Sequence

import numpy as np

from pipeline.models.metrics import Floats, Ints, calibration_bins
from pipeline.pictures import as_label, canvas, colours_of, png
from pipeline.tables import OUTCOMES


def calibration_plot(y: Ints, p: Floats, *, n_bins: int, classes: Sequence[str] = OUTCOMES) -> bytes:
    """What was said against what came, by bins of equal mass, one line an outcome; on the diagonal it is honest."""
    figure, axes = canvas(7.0, 6.0)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", linewidth=1, label="as said, so it came")
    for k, (outcome, colour) in enumerate(zip(classes, colours_of(classes), strict=True)):
        n_true = int((y == k).sum())
        if not n_true:
            continue
        bins = calibration_bins(p[:, k], n_bins)
        mass = np.bincount(bins)
        held = mass > 0
        said = np.bincount(bins, weights=p[:, k])[held] / mass[held]
        came = np.bincount(bins, weights=(y == k).astype(np.float64))[held] / mass[held]
        axes.plot(said, came, marker="o", markersize=4, color=colour, label=f"{as_label(outcome)} ({n_true:,} rows)")
    axes.set(xlabel="probability said (share)", ylabel="share that came", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Calibration on the last block in time", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return png(figure)


def confusion_plot(y: Ints, p: Floats, classes: Sequence[str] = OUTCOMES) -> bytes:
    """What came (rows) against the most probable outcome (columns); shares of each row, counts in brackets."""
    n = len(classes)
    counts = np.zeros((n, n))
    np.add.at(counts, (y, p.argmax(axis=1)), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    figure, axes = canvas(8.0, 6.5)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(n):
        for j in range(n):
            ink = "white" if shares[i, j] > 0.55 else "#222222"
            text = f"{shares[i, j]:.0%}\n({int(counts[i, j]):,})" if totals[i, 0] else "none"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)
    names = [as_label(name) for name in classes]
    axes.set_xticks(range(n), names)
    axes.set_yticks(range(n), [f"{o} ({int(t):,})" for o, t in zip(names, totals[:, 0], strict=True)])
    axes.set(xlabel="most probable outcome", ylabel="what came")
    axes.set_title("Confusion on the last block in time", loc="left")
    return png(figure)
