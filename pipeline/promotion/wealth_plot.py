"""The picture of a verdict: wealth against the bound that it must reach, as PNG bytes.

Stays out: what is drawn (`sequential`), where a picture goes.
"""

from typing import Any, Final, Literal

import numpy as np

from pipeline.pictures import canvas, png
from pipeline.promotion.sequential import SequentialVerdict

_BETTER, _WORSE, _MUTED = "#1b7837", "#b2182b", "#777777"
_FLOOR: Final = 1e-4
"""A wealth below this is drawn here: how hopeless a bet is tells nothing more."""
_POINTS: Final = 4_000
"""More pools than this are thinned out; the decisive one stays."""


def wealth_plot(verdict: SequentialVerdict, title: str, *, over: Literal["pools", "time"] = "pools") -> bytes:
    """The wealth of both sides after each pool on a logarithmic scale, the bound, and where it was decided.

    Args:
        verdict: what `sequential_verdict` or `harm_verdict` gave.
        title: one line; text of a chain is drawn as it is, never read as markup.
        over: what lies below: the number of pools, or the moments at which they matured.
    """
    figure, axes = canvas(8.5, 4.5)
    kept = np.unique(np.linspace(0, verdict.n_pools - 1, min(verdict.n_pools, _POINTS)).astype(int))
    path = verdict.path[kept]
    x = path["matured_at"].to_list() if over == "time" else (kept + 1).tolist()
    is_mirrored = bool((path["wealth_worse"] != 1).any())
    if is_mirrored:
        axes.plot(
            x, np.maximum(path["wealth_worse"], _FLOOR), color=_WORSE, linewidth=1.2, label="bets that it is worse"
        )
    axes.plot(x, np.maximum(path["wealth"], _FLOOR), color=_BETTER, linewidth=1.6, label="bets that it is better")
    axes.axhline(verdict.bound, color="#222222", linestyle="--", linewidth=1)
    axes.axhline(1, color="#dddddd", linewidth=1, zorder=0)
    axes.set_yscale("log")
    _annotate(axes, verdict, x)
    axes.set(xlabel="pools, in the order in which they matured" if over == "pools" else "matured at, UTC")
    axes.set_ylabel("wealth, of 1 at the start")
    axes.set_title(title, loc="left", parse_math=False)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    if over == "time":
        figure.autofmt_xdate()
    return png(figure)


def _annotate(axes: Any, verdict: SequentialVerdict, x: list[Any]) -> None:
    """What the bound is, and the decision at the pool that made it."""
    asked = f"1/alpha = {verdict.bound:.4g}: at most one false verdict in so many"
    axes.annotate(asked, (0.01, verdict.bound), xycoords=("axes fraction", "data"), xytext=(0, 4), fontsize=8,
                  textcoords="offset points")  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, _FLOOR / 2), max(high, verdict.bound * 6))
    is_worse = verdict.wealth_worse >= verdict.bound
    colour = {"promote": _BETTER, "reject": _WORSE, "continue": _MUTED}[verdict.decision]
    height = max(verdict.wealth_worse if is_worse else verdict.wealth, _FLOOR)
    axes.plot([x[-1]], [height], marker="o", markersize=7, color=colour, zorder=4)
    told = f"{verdict.decision} after {verdict.n_pools:,} pools"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    place: dict[str, Any] = {"xytext": (-6, 9), "textcoords": "offset points", "ha": "right"}
    axes.annotate(told, (x[-1], height), **place, fontsize=10, color=colour, fontweight="bold", bbox=box)
