"""Pictures of quality reports, as PNG bytes."""

from typing import Final

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.pictures import png
from pipeline.tables import QUALITY_PARTS

DPI: Final = 90
WORST: Final = 40
"""Columns that a picture of columns shows, the worst ones."""


def score_plot(reports: pl.DataFrame, floor: float, warn_floor: float) -> bytes:
    """The score of each table over time, and below it the parts of the newest reports.

    Args:
        reports: rows of `tables.QUALITY_REPORTS`, of one source or several.
        floor: below it promotion is held.
        warn_floor: below it a warning is given.
    """
    figure = Figure(figsize=(9, 7), dpi=DPI)
    above, below = figure.subplots(2, 1, height_ratios=(3, 2))
    scores = reports.filter(pl.col("part") == "score", pl.col("score").is_not_null()).sort("known_at")
    for (source, name), rows in scores.group_by("source", "table_name", maintain_order=True):
        above.plot(rows["known_at"].to_list(), rows["score"].to_list(), "o-", ms=3, lw=1, label=f"{name} ({source})")
    above.axhline(floor, color="#b2182b", linewidth=0.8)
    above.axhline(warn_floor, color="#ef8a62", linewidth=0.8, linestyle="--")
    above.set_ylim(-3, 103)
    above.set_ylabel("score", fontsize=8)
    above.set_title("Quality over time; red: the floor that holds promotion", loc="left", fontsize=10)
    if scores.height:
        above.legend(frameon=False, fontsize=7, loc="lower left", ncols=2)
    _parts(below, reports)
    for axes in (above, below):
        axes.tick_params(labelsize=7)
    return png(figure)


def share_plot(newest: pl.DataFrame) -> bytes:
    """The columns of which most is missing, one bar each, with what is allowed."""
    return _bars(newest.filter(pl.col("part") == "completeness", pl.col("subject") != "all"), "Missing values")


def outlier_plot(newest: pl.DataFrame) -> bytes:
    """The columns of which most lies far off, one bar each, with what is allowed."""
    return _bars(newest.filter(pl.col("part") == "validity", pl.col("subject") != "all"), "Outliers")


def _parts(axes: Axes, reports: pl.DataFrame) -> None:
    """A bar for each part of each table's newest report."""
    own = reports.filter(pl.col("part").is_in(QUALITY_PARTS), pl.col("subject") == "all")
    newest = own.filter(pl.col("known_at") == pl.col("known_at").max()).sort("table_name", "part")
    names = newest["table_name"].unique(maintain_order=True).to_list()
    width = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        told = dict(newest.filter(pl.col("table_name") == name).select("part", "score").iter_rows())
        places = [p + i * width for p, part in enumerate(QUALITY_PARTS) if part in told]
        heights = [told[part] for part in QUALITY_PARTS if part in told]
        axes.bar(places, heights, width, label=name)
    axes.set_xticks([p + 0.4 for p in range(len(QUALITY_PARTS))], QUALITY_PARTS)
    axes.set_ylim(0, 125)
    axes.set_ylabel("points", fontsize=8)
    axes.set_title("Parts of the newest reports", loc="left", fontsize=9)
    if names:
        axes.legend(frameon=False, fontsize=7, loc="upper left", ncols=5)


def _bars(rows: pl.DataFrame, title: str) -> bytes:
    told = rows.filter(~pl.col("subject").str.contains(", ")).drop_nulls("value")
    worst = told.sort("value", "table_name", "subject", descending=[True, False, False]).head(WORST).reverse()
    figure = Figure(figsize=(8, max(2.0, 1 + 0.17 * worst.height)), dpi=DPI)
    axes = figure.subplots()
    names = [f"{name}.{subject}" for name, subject in worst.select("table_name", "subject").iter_rows()]
    colours = ["#b2182b" if is_warning else "#4393c3" for is_warning in worst["is_warning"]]
    axes.barh(range(worst.height), worst["value"].to_list(), color=colours)
    bounds = [float("nan") if bound is None else bound for bound in worst["bound"].to_list()]
    axes.plot(bounds, range(worst.height), "|", color="black", markersize=7)
    axes.set_yticks(range(worst.height), names, fontsize=6)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(f"{title}, share by column; mark: the bound, red: beyond it", loc="left", fontsize=9)
    return png(figure)
