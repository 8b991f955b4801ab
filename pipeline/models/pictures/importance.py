"""Which features a model knows things from, and which move its predictions, of which class."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.pictures import as_label, canvas, colours_of, png
from pipeline.tables import OUTCOMES


def importance_plot(importance: pl.DataFrame, *, n_shown: int = 25) -> bytes:
    """Gain and permutation importance side by side, most important on top.

    Args:
        importance: `feature`, `gain`, `permutation`, in order of importance.
    """
    shown = importance.head(n_shown).reverse()
    figure, (left, right) = canvas(10.0, 1.5 + 0.27 * shown.height, 1, 2, sharey=True)
    for axes, column, label in (
        (left, "gain", "share of the total gain of splits"),
        (right, "permutation", "rise of the log loss when shuffled (nats)"),
    ):
        axes.barh(shown["feature"].to_list(), shown[column].to_list(), color="#4a6fa5")
        axes.set_xlabel(label)
    left.set_title("Importance of the features", loc="left")
    return png(figure)


def shap_plot(importance: pl.DataFrame, classes: Sequence[str] = OUTCOMES, *, n_shown: int = 25) -> bytes:
    """Mean absolute Shapley values, most telling feature on top, each bar made of its classes.

    Args:
        importance: `shap_values.shap_importance` of probabilities.
    """
    order = importance.filter(pl.col("outcome") == "all").head(n_shown).reverse()
    names = order["feature"].to_list()
    figure, axes = canvas(9.0, 1.6 + 0.27 * len(names))
    left = np.zeros(len(names))
    for name, colour in zip(classes, colours_of(classes), strict=True):
        own = importance.filter(pl.col("outcome") == name)
        size = dict(zip(own["feature"], own["shap"], strict=True))
        width = np.array([size[feature] for feature in names])
        axes.barh(range(len(names)), width, left=left, color=colour, label=as_label(name))
        left += width
    error = order["standard_error"].fill_nan(None).fill_null(0).to_numpy()
    axes.errorbar(left, range(len(names)), xerr=1.96 * error, fmt="none", ecolor="#222222", elinewidth=0.8, capsize=2)
    axes.set_yticks(range(len(names)), [as_label(name) for name in names], fontsize=8)
    axes.set_xlabel("mean absolute Shapley value, summed over classes (probability); whiskers: 95 % over pools")
    axes.set_title("What moves the predictions", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return png(figure)
