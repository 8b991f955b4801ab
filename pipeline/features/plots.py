"""A picture of what is missing, as PNG bytes.

Belongs here: the share of nulls by feature and day. Stays out: where the picture goes.
"""

from typing import Final

import polars as pl
from matplotlib.figure import Figure

from pipeline.features.registry import FAMILIES, FEATURE_NAMES, features_of
from pipeline.pictures import png

DPI: Final = 80


def null_shares(features: pl.LazyFrame) -> pl.DataFrame:
    """For each day, the share of rows in which each feature is null: `day`, `n_rows`, one column a feature."""
    shares = (pl.col(name).is_null().mean().alias(name) for name in FEATURE_NAMES)
    return (
        features.group_by(pl.col("event_time").dt.truncate("1d").alias("day"))
        .agg(pl.len().alias("n_rows"), *shares)
        .sort("day")
        .collect(engine="streaming")
    )


def null_share_plot(shares: pl.DataFrame) -> bytes:
    """One line a feature, one column a day, the darker the more is missing; families are told apart by lines."""
    names = [one.name for family in FAMILIES for one in features_of(family)]
    figure = Figure(figsize=(max(7.0, min(20.0, 3 + 0.25 * shares.height)), 1 + 0.13 * len(names)), dpi=DPI)
    axes = figure.subplots()
    drawn = axes.imshow(
        shares.select(names).to_numpy().T, aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest"
    )
    edge = 0
    for family in FAMILIES[:-1]:
        edge += len(features_of(family))
        axes.axhline(edge - 0.5, color="#b2182b", linewidth=0.5)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    step = max(1, shares.height // 12)
    days = shares["day"].dt.strftime("%Y-%m-%d").to_list()
    axes.set_xticks(range(0, len(days), step), days[::step], fontsize=7, rotation=45, ha="right")
    axes.set_title(f"Share of nulls by feature and day, {shares['n_rows'].sum():,} snapshots", loc="left", fontsize=9)
    figure.colorbar(drawn, ax=axes, shrink=0.3, label="share null")
    return png(figure)
