"""A picture of what is missing from bins, as PNG bytes.

Belongs here: the share of missing values by field. Stays out: where the picture goes.
"""

from collections.abc import Mapping
from typing import Final

from matplotlib.figure import Figure

from pipeline.pictures import png

DPI: Final = 80
MOST_SOURCES: Final = 8


def missing_plot(shares: Mapping[str, Mapping[str, float]], gap_shares: Mapping[str, float]) -> bytes:
    """One row a field, one bar a source: the share of missing values; the line marks what gaps alone account for.

    Args:
        shares: of each source, the share of missing values by field, 0 to 1.
        gap_shares: of each source, the share of bars without any value.
    """
    sources = sorted(shares)[:MOST_SOURCES]
    fields = sorted({field for source in sources for field in shares[source]})
    height = 0.8 / max(len(sources), 1)
    figure = Figure(figsize=(8, 1.4 + 0.3 * len(fields)), dpi=DPI)
    axes = figure.subplots()
    for at, source in enumerate(sources):
        places = [row + (at - (len(sources) - 1) / 2) * height for row in range(len(fields))]
        drawn = axes.barh(places, [shares[source].get(field, 1.0) for field in fields], height, label=_plain(source))
        axes.axvline(gap_shares[source], color=drawn[0].get_facecolor() if fields else None, linestyle=":")
    axes.set_yticks(range(len(fields)), [_plain(field) for field in fields], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_title("Share of missing values by field; dotted: bars without any value", loc="left", fontsize=9)
    if sources:
        axes.legend(fontsize=7, loc="lower right")
    return png(figure)


def _plain(name: str) -> str:
    """A name as matplotlib shows it: no mathematics, nothing that has no glyph."""
    return "".join(ch if ch.isascii() and ch.isprintable() and ch not in "$\\" else "?" for ch in name)[:40].lstrip("_")
