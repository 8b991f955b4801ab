"""What all pictures share: size, colours, bytes."""

import io
from collections.abc import Sequence
from typing import Any, Final

from matplotlib import colormaps
from matplotlib.figure import Figure

from pipeline.tables import OUTCOMES

DPI: Final = 110
COLOURS: Final = ("#b2182b", "#1b7837", "#5aae61", "#a6a65a", "#777777", "#e08214", "#8c510a")
"""One an outcome, in the order of `OUTCOMES`: falls in reds and browns, rises in greens."""
MAX_NAME: Final = 40


def colours_of(classes: Sequence[str]) -> list[Any]:
    """One colour a class: ours have their own."""
    if tuple(classes) == OUTCOMES:
        return list(COLOURS)
    return [colormaps["tab20"](k % 20) for k in range(len(classes))]


def as_label(name: str) -> str:
    """A name from outside as a picture can show it: short, printable, no formula (matplotlib reads $ as TeX)."""
    text = "".join(ch for ch in name if ch.isascii() and ch.isprintable()).replace("$", r"\$")
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1].rstrip("\\") + "..."


def canvas(width: float, height: float, n_rows: int = 1, n_columns: int = 1, **shared: Any) -> tuple[Figure, Any]:
    """A figure and its axes (one, or an array of them), without the upper and right spines."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, **shared)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The picture's bytes."""
    out = io.BytesIO()
    # The default metadata names the library's version; without it the bytes depend on the picture alone.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
