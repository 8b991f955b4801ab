"""Pictures of drift, as PNG bytes: how far each feature moved, and the loss over time beside the reference's."""

from typing import Final

import polars as pl
from matplotlib.figure import Figure

from pipeline.pictures import png

DPI: Final = 90
MOST_BARS: Final = 25
_MOVED, _STAYED = "tab:red", "tab:gray"


def features_plot(found: pl.DataFrame) -> bytes:
    """The divergence of the features that moved most, and what each must exceed to be news.

    Args:
        found: rows of `tables.DRIFT_REPORTS` of one report.
    """
    told = found.filter(pl.col("kind") == "feature", pl.col("js").is_not_null())
    shown = told.sort("js", "subject", descending=[True, False]).head(MOST_BARS).reverse()
    figure = Figure(figsize=(9, 1.2 + 0.24 * max(shown.height, 1)), dpi=DPI)
    axes = figure.subplots()
    colours = [_MOVED if moved else _STAYED for moved in shown["is_drifted"]]
    axes.barh(shown["subject"].to_list(), shown["js"].to_list(), color=colours, height=0.7)
    for place, usual in enumerate(shown["usual"]):
        if usual is not None:
            axes.plot([usual, usual], [place - 0.4, place + 0.4], color="black", linewidth=1.2)
    axes.set_xlabel("Jensen-Shannon divergence from the reference, bits; | : what days differ by anyhow", fontsize=8)
    axes.set_title(f"Features that moved (red), of {told.height}", loc="left", fontsize=10)
    axes.tick_params(labelsize=7)
    return png(figure)


def loss_plot(reports: pl.DataFrame) -> bytes:
    """Observed and estimated loss over the reports, beside what the champion lost on its own last block.

    Args:
        reports: rows of `tables.DRIFT_REPORTS` of one version.
    """
    told = reports.filter(pl.col("kind") == "performance", pl.col("mean_current").is_not_null()).sort("known_at")
    figure = Figure(figsize=(9, 3.4), dpi=DPI)
    axes = figure.subplots()
    for (subject,), rows in told.group_by("subject", maintain_order=True):
        moments, colour = rows["known_at"].to_list(), "tab:blue" if subject == "observed" else "tab:orange"
        axes.plot(moments, rows["mean_current"].to_list(), "o-", color=colour, markersize=3, linewidth=1, label=subject)
        before = rows["mean_reference"].to_list()
        above = [was + (usual or 0.0) for was, usual in zip(before, rows["usual"].to_list(), strict=True)]
        axes.fill_between(moments, before, above, color=colour, alpha=0.15, linewidth=0)
        up = rows.filter(pl.col("is_drifted"))
        axes.plot(up["known_at"].to_list(), up["mean_current"].to_list(), "v", color=_MOVED, markersize=7)
    axes.set_ylabel("log loss, nats", fontsize=8)
    axes.set_title("Loss of the champion; bands: its last block, and what its days differ by", loc="left", fontsize=10)
    axes.tick_params(labelsize=7)
    if told.height:
        axes.legend(frameon=False, fontsize=7)
    figure.autofmt_xdate()
    return png(figure)
