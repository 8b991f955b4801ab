"""Lines with intervals: the learning curve, and the error by the age of a pool at the decision."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.pictures import as_label, canvas, png

_COLOURS: Final = ("#4a6fa5", "#b2182b", "#8c8c8c", "#e08214", "#1b7837")


def learning_curve_plot(curve: pl.DataFrame, baselines: Mapping[str, float] | None = None) -> bytes:
    """Loss over the number of pools learned from.

    Args:
        curve: `learning_curve.CURVE`.
        baselines: name -> its loss on the same rows, drawn as a level.
    """
    figure, axes = canvas(7.0, 5.0)
    pools = curve["n_train_pools"].to_list()
    _line(axes, pools, curve, _COLOURS[0], "model, 95 % interval over pools")
    for k, (name, loss) in enumerate((baselines or {}).items()):
        axes.axhline(loss, color=_COLOURS[1 + k % 4], linestyle="--", linewidth=1, label=as_label(name))
    axes.set_xscale("log")
    axes.set_xticks(pools, [f"{n:,}" for n in pools])
    axes.minorticks_off()
    axes.set(
        xlabel="training pools, the newest first (number, logarithmic)", ylabel="log loss on the last block (nats)"
    )
    axes.set_title("Learning curve", loc="left")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def error_by_age_plot(told: Mapping[str, pl.DataFrame], *, metric: str = "log_loss", unit: str = "nats") -> bytes:
    """A figure over the age of a pool at the decision, one line a predictor.

    Args:
        told: predictor -> its `slices.SLICES` by age; slices are drawn in the order they have there.
    """
    figure, axes = canvas(7.0, 5.0)
    extent: dict[str, int] = {}
    for k, (name, table) in enumerate(told.items()):
        own = table.filter(pl.col("metric") == metric, pl.col("outcome") == "all")
        extent |= dict(zip(own["slice"], own["n_pools"], strict=True))
        places = [list(extent).index(part) + 0.04 * (k - (len(told) - 1) / 2) for part in own["slice"]]
        _line(axes, places, own, _COLOURS[k % len(_COLOURS)], as_label(name))
    axes.set_xticks(range(len(extent)), [f"{as_label(part)}\n({n:,} pools)" for part, n in extent.items()], fontsize=8)
    axes.set(xlabel="age of the pool at the decision (hours)", ylabel=f"{metric.replace('_', ' ')} ({unit})")
    axes.set_title("Error by age on the last block in time, 95 % intervals", loc="left")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def _line(axes: Any, x: list[Any], table: pl.DataFrame, colour: str, label: str) -> None:
    value = table["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    ends = [table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("low", "high")]
    reach = np.stack([np.maximum(value - ends[0], 0), np.maximum(ends[1] - value, 0)])
    axes.errorbar(x, value, yerr=reach, color=colour, marker="o", markersize=4, linewidth=1.4, capsize=3, label=label)
