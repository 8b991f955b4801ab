"""Pictures of labels, as PNG bytes.

Belongs here: shares of outcomes by day, and one pool's price with its labels. Stays out: where a picture goes.
"""

from typing import Final

import polars as pl
from matplotlib.figure import Figure

from pipeline.pictures import OUTCOME_COLOURS, png

DPI: Final = 90
_OTHERS: Final = {"censored": "#d9d9d9", "pending": "#f0f0f0"}


def label_shares(labels: pl.LazyFrame, horizon_hours: int) -> pl.DataFrame:
    """`day`, `end` (an outcome, censored or pending) and its `share` of the day's decisions at one horizon."""
    return (
        labels.filter(pl.col("horizon_hours") == horizon_hours)
        .group_by(pl.col("event_time").dt.truncate("1d").alias("day"), pl.coalesce("outcome", "status").alias("end"))
        .len()
        .collect(engine="streaming")
        .with_columns(share=pl.col("len") / pl.col("len").sum().over("day"))
        .sort("day", "end")
    )


def label_share_plot(shares: pl.DataFrame, horizon_hours: int) -> bytes:
    """A bar a day, as high as all decisions, in the colours of what became of them."""
    figure = Figure(figsize=(max(7.0, min(20.0, 2 + 0.12 * shares["day"].n_unique())), 4), dpi=DPI)
    axes = figure.subplots()
    wide = shares.pivot("end", index="day", values="share").sort("day").fill_null(0.0)
    days, below = list(range(wide.height)), [0.0] * wide.height
    for end, colour in {**OUTCOME_COLOURS, **_OTHERS}.items():
        if end not in wide.columns:
            continue
        heights = wide[end].to_list()
        axes.bar(days, heights, bottom=below, color=colour, width=1.0, label=end)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    step = max(1, wide.height // 10)
    axes.set_xticks(days[::step], wide["day"].dt.strftime("%Y-%m-%d").to_list()[::step], fontsize=7)
    axes.set(ylim=(0, 1), ylabel="share of decisions")
    axes.set_title(f"What became of pools within {horizon_hours} h, by day of decision", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png(figure)


def sample_pool(labels: pl.LazyFrame, horizon_hours: int) -> tuple[str, str, str] | None:
    """The pool (its key) with the most different outcomes at a horizon, then the most labels; None without labels."""
    found = (
        labels.filter(pl.col("status") == "labelled", pl.col("horizon_hours") == horizon_hours)
        .group_by("source", "network", "pool")
        .agg(pl.col("outcome").n_unique().alias("kinds"), pl.len().alias("n"))
        .sort("kinds", "n", "source", "network", "pool", descending=[True, True, False, False, False])
        .head(1)
        .collect()
    )
    return (found["source"][0], found["network"][0], found["pool"][0]) if found.height else None


def pool_plot(candles: pl.DataFrame, labels: pl.DataFrame, pool: str, horizon_hours: int) -> bytes:
    """One pool's closes, and its decisions as dots in the colour of what became of them."""
    figure = Figure(figsize=(9, 4), dpi=DPI)
    axes = figure.subplots()
    bars = candles.sort("event_time")
    axes.plot(bars["event_time"].to_list(), bars["close"].to_list(), color="#444444", linewidth=0.8)
    decided = labels.filter(pl.col("status") == "labelled", pl.col("horizon_hours") == horizon_hours).sort("event_time")
    priced = decided.join_asof(
        bars.select("event_time", "close"), on="event_time", strategy="backward", check_sortedness=False
    )
    for outcome, colour in OUTCOME_COLOURS.items():
        of = priced.filter(pl.col("outcome") == outcome)
        if of.height:
            axes.scatter(of["event_time"].to_list(), of["close"].to_list(), s=10, color=colour, label=outcome, zorder=3)
    axes.set_yscale("log")
    axes.set(ylabel="price, quote tokens")
    axes.set_title(f"{pool[:24]}: decisions by what became of the pool in {horizon_hours} h", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return png(figure)
