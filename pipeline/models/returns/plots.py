"""Pictures of a return model's evidence, as PNG bytes.

Belongs here: what is drawn. Stays out: the figures.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.models.returns.metrics import Panel, hourly_ic
from pipeline.pictures import canvas, png

N_QUANTILES: Final = 5
N_SHOWN: Final = 15
_COLOURS: Final = ("#4a6fa5", "#e08214", "#1b7837", "#8c510a")


def ic_by_day(panels: Mapping[int, tuple[Panel, pl.DataFrame]]) -> bytes:
    """Mean rank correlation of each day's hours, one line a horizon.

    Args:
        panels: horizon (hours) -> its panel and the same rows as a frame with `event_time`.
    """
    figure, axes = canvas(9.0, 4.0)
    for colour, (horizon, (panel, said)) in zip(_COLOURS, panels.items(), strict=False):
        if not len(panel):
            continue
        each = hourly_ic(panel)
        mean = f"mean {each[np.isfinite(each)].mean():.3f}" if np.isfinite(each).any() else "not defined"
        hours = said.filter(pl.len().over("event_time") >= panel.spec.min_hour_pools)["event_time"].unique().sort()
        days = (
            pl.DataFrame({"day": hours.dt.truncate("1d"), "ic": each})
            .filter(pl.col("ic").is_finite())
            .group_by("day")
            .agg(pl.col("ic").mean())
            .sort("day")
        )
        axes.plot(
            days["day"].dt.replace_time_zone(None).to_numpy(), days["ic"].to_numpy(), marker="o", markersize=3,
            color=colour, label=f"{horizon} h ({mean})",
        )  # fmt: skip
    axes.axhline(0, color="#bbbbbb", linewidth=1)
    axes.set(ylabel="rank IC, mean of the day's hours")
    axes.tick_params(axis="x", labelrotation=30)
    axes.set_title("Rank IC by day on the last block", loc="left")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    return png(figure)


def quantile_returns(panels: Mapping[int, Panel]) -> bytes:
    """Mean and median return of the pools in each fifth of an hour's forecasts, one picture a horizon."""
    n = max(1, len(panels))
    figure, all_axes = canvas(4.5 * n, 4.0, 1, n, squeeze=False)
    for axes, (horizon, panel) in zip(all_axes.flat, panels.items(), strict=False):
        fifth = _fifths(panel)
        at = np.arange(N_QUANTILES)
        for shift, colour, label, of in ((-0.2, _COLOURS[0], "mean", np.mean), (0.2, _COLOURS[1], "median", np.median)):
            heights = [100 * float(of(panel.returns[fifth == k])) if (fifth == k).any() else 0.0 for k in at]
            axes.bar(at + shift, heights, width=0.38, color=colour, label=label)
        axes.axhline(0, color="#bbbbbb", linewidth=1)
        axes.set_xticks(at, ["lowest", "2", "3", "4", "highest"])
        axes.set(xlabel="fifth of the hour by forecast", ylabel="forward return (%)")
        axes.set_title(f"{horizon} h, before costs", loc="left")
        axes.legend(frameon=False, fontsize=8)
    return png(figure)


def importance_plot(importance: pl.DataFrame) -> bytes:
    """Permutation importance of the features that matter most, one picture a horizon.

    Args:
        importance: `horizon_hours`, `feature`, `gain`, `permutation`.
    """
    horizons = importance["horizon_hours"].unique().sort().to_list()
    n = max(1, len(horizons))
    figure, all_axes = canvas(6.0 * n, 1.2 + 0.27 * N_SHOWN, 1, n, squeeze=False)
    for axes, horizon in zip(all_axes.flat, horizons, strict=False):
        own = importance.filter(pl.col("horizon_hours") == horizon).sort(
            "permutation", "feature", descending=[True, False]
        )
        shown = own.head(N_SHOWN).reverse()
        axes.barh(shown["feature"].to_list(), shown["permutation"].to_list(), color=_COLOURS[0])
        axes.set_xlabel("rise of the squared error when shuffled")
        axes.set_title(f"{horizon} h", loc="left")
    return png(figure)


def _fifths(panel: Panel) -> Any:
    """(n,) which fifth of its hour a row is in by forecast, 0 the lowest."""
    order = np.lexsort((panel.forecast, panel.hour))
    sizes = np.diff(np.r_[panel.starts, len(panel)])
    place = np.arange(len(panel)) - np.repeat(panel.starts, sizes)
    fifth = np.empty(len(panel), dtype=np.int64)
    fifth[order] = place * N_QUANTILES // np.repeat(sizes, sizes)
    return fifth
