"""Shapley values: which features move the predictions, and of which class."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.models.pictures.canvas import as_label, canvas, colours_of, png
from pipeline.tables import OUTCOMES


def shap_plot(
    importance: pl.DataFrame, classes: Sequence[str] = OUTCOMES, *, unit: str = "log-odds", n_shown: int = 25
) -> bytes:
    """Mean absolute Shapley values, most telling feature on top, each bar made of its classes.

    Args:
        importance: `shap_values.shap_importance`.
        unit: of the output that is explained.
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
    axes.set_xlabel(f"mean absolute Shapley value, summed over classes ({unit}); whiskers: 95 % over pools")
    axes.set_title("What moves the predictions", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return png(figure)
