"""ROC and precision-recall, one panel a class, with the band of a bootstrap over pools."""

from collections.abc import Sequence
from math import ceil
from typing import Any, Final

import numpy as np

from pipeline.models.curves import GRID, Kind, curve
from pipeline.models.intervals import FigureRules
from pipeline.models.metrics import Floats, Ints, average_precision, roc_auc
from pipeline.pictures import as_label, canvas, colours_of, png
from pipeline.tables import OUTCOMES

MAX_PANELS: Final = 12
_TITLES: Final = {"roc": "ROC on the last block in time", "pr": "Precision and recall on the last block in time"}
_NAMES: Final = {"roc": ("false positive rate", "true positive rate"), "pr": ("recall", "precision")}


def curves_plot(
    kind: Kind,
    y: Ints,
    p: Floats,
    pool: Ints,
    rules: FigureRules,
    classes: Sequence[str] = OUTCOMES,
    *,
    title: str | None = None,
) -> bytes:
    """One panel a class: the curve, the band in which most resamples of pools lie, and the area under the curve.

    Args:
        y: (n,) positions in `classes`. p: (n, K) probabilities. pool: (n,) from 0.
        rules: resamples, confidence and seed of the bands.
        title: in place of the usual one. Classes beyond the first 12 are not drawn.
    """
    shown = list(classes)[:MAX_PANELS]
    n_columns = min(4, len(shown))
    n_rows = ceil(len(shown) / n_columns)
    figure, axes = canvas(
        2.9 * n_columns, 2.8 * n_rows + 0.5, n_rows, n_columns, sharex=True, sharey=True, squeeze=False
    )
    for k, (name, colour) in enumerate(zip(shown, colours_of(classes), strict=False)):
        _panel(axes.flat[k], kind, (y == k).astype(np.int64), np.ascontiguousarray(p[:, k]), pool, rules, colour)
        axes.flat[k].set_title(f"{as_label(name)} ({int((y == k).sum()):,} of {len(y):,} rows)", loc="left", fontsize=9)
    for spare in list(axes.flat)[len(shown) :]:
        spare.set_axis_off()
    for column in range(n_columns):  # the lowest panel of a column has the numbers, also above an empty place
        axes.flat[max(range(column, len(shown), n_columns))].tick_params(labelbottom=True)
    x_name, y_name = _NAMES[kind]
    figure.supxlabel(f"{x_name} (share)", fontsize=10)
    figure.supylabel(f"{y_name} (share)", fontsize=10)
    figure.suptitle(f"{title or _TITLES[kind]}; bands: {rules.confidence:.0%} of resamples of pools", fontsize=11)
    return png(figure)


def _panel(axes: Any, kind: Kind, truth: Ints, score: Floats, pool: Ints, rules: FigureRules, colour: Any) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    told = curve(kind, truth, score, pool, rules)
    if not len(told.x):
        axes.text(0.5, 0.5, "does not occur\non both sides", ha="center", va="center", fontsize=8, color="#777777")
        return
    base = truth.mean()
    by_chance = ([0, 1], [0, 1]) if kind == "roc" else ([0, 1], [base, base])
    axes.plot(*by_chance, color="#bbbbbb", linestyle="--", linewidth=1)
    if len(told.low):
        axes.fill_between(GRID, told.low, told.high, color=colour, alpha=0.2, linewidth=0)
    drawstyle = "default" if kind == "roc" else "steps-pre"
    axes.plot(told.x, told.y, color=colour, linewidth=1.4, drawstyle=drawstyle)
    one = np.ones((1, len(truth)))
    area = (roc_auc if kind == "roc" else average_precision)(truth.astype(np.float64), score, one)[0]
    name, x, y, side = ("AUC", 0.97, 0.06, "right") if kind == "roc" else ("AP", 0.97, 0.94, "right")
    axes.text(x, y, f"{name} {area:.3f}", ha=side, va="center", fontsize=9, transform=axes.transAxes)
