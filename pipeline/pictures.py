"""What all pictures share: a canvas, the outcomes' colours, names from outside, bytes.

Belongs here: what a reader of two pictures would want alike. Stays out: what is drawn (each stage's own plots), where a
picture goes. Figures are made without pyplot, so there is no global state, and the same input gives the same bytes.
Matplotlib is imported when a picture is made: it takes a second.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.tables import OUTCOMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI: Final = 110
OUTCOME_COLOURS: Final[Mapping[str, str]] = dict(
    zip(OUTCOMES, ("#b2182b", "#1b7837", "#5aae61", "#a6a65a", "#777777", "#e08214", "#8c510a"), strict=True)
)
"""Falls in reds and browns, rises in greens."""
MAX_NAME: Final = 40


def canvas(width: float, height: float, n_rows: int = 1, n_columns: int = 1, **shared: Any) -> "tuple[Figure, Any]":
    """A figure and its axes (one, or an array of them), without the upper and right spines."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, **shared)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def colours_of(classes: Sequence[str]) -> list[Any]:
    """One colour a class: ours have their own."""
    from matplotlib import colormaps  # noqa: PLC0415

    if tuple(classes) == OUTCOMES:
        return list(OUTCOME_COLOURS.values())
    return [colormaps["tab20"](k % 20) for k in range(len(classes))]


def as_label(name: str) -> str:
    r"""A name from outside as a picture can show it: short, printable, no formula (matplotlib reads $ as TeX).

    >>> as_label("free $money$" + chr(0x202E))
    'free \\$money\\$'
    """
    text = "".join(ch for ch in name if ch.isascii() and ch.isprintable()).replace("$", r"\$")
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1].rstrip("\\") + "..."


def png(figure: "Figure") -> bytes:
    """The picture's bytes; a figure without a layout of its own is laid out tightly."""
    if figure.get_layout_engine() is None:
        figure.tight_layout()
    out = io.BytesIO()
    # The default metadata names the library's version; without it the bytes depend on the picture alone.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
