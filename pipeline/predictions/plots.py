"""Pictures of how good predictions were, as PNG bytes."""

from typing import Final

import polars as pl
from matplotlib.figure import Figure

from pipeline.pictures import png

DPI: Final = 90
_SHOWN: Final = (("log_loss", "log loss, nats"), ("accuracy", "accuracy"), ("rug_lift", "lift for RUG"))


def performance_plot(reports: pl.DataFrame) -> bytes:
    """Log loss, accuracy and lift by day of decision, a line a model version and horizon; all tiers together.

    Args:
        reports: rows of `tables.PERFORMANCE_REPORTS`; those over evidence are lines, those with hindsight are dotted.
    """
    figure = Figure(figsize=(9, 7), dpi=DPI)
    panels = figure.subplots(len(_SHOWN), 1, sharex=True)
    whole = reports.filter(pl.col("tier") == "all").sort("day_start")
    group = ("model_version", "horizon_hours", "is_evidence")
    for (version, hours, is_evidence), rows in whole.group_by(*group, maintain_order=True):
        label = f"version {version}, {hours} h" + ("" if is_evidence else ", hindsight")
        for axes, (metric, _) in zip(panels, _SHOWN, strict=True):
            style = "o-" if is_evidence else "o:"
            values = [float("nan") if value is None else value for value in rows[metric].to_list()]
            axes.plot(rows["day_start"].to_list(), values, style, markersize=3, linewidth=1.0, label=label)
    for axes, (_, words) in zip(panels, _SHOWN, strict=True):
        axes.set_ylabel(words, fontsize=8)
        axes.tick_params(labelsize=7)
    panels[0].set_title("What was said, by day of decision; every tier", loc="left", fontsize=10)
    panels[0].legend(frameon=False, fontsize=7)
    figure.autofmt_xdate()
    return png(figure)
