"""What drifted in a recording: September's pools against October's, the first weeks against the last.

    python benchmarks/drift_real.py LAKE [--picture FILE.png]

LAKE is the lake's folder (DATA_DIR/lake) after a recording was replayed. Pools are compared at one age each, 1 h or
6 h: one row a pool, so that like is compared with like. docs/drift.md says what was found.
"""

import argparse
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from pipeline.lake import Lake
from pipeline.monitoring.drift.bins import Bins, numeric_bins, numeric_codes
from pipeline.monitoring.drift.classifier import domain_classifier
from pipeline.monitoring.drift.comparison import Comparison, compare
from pipeline.monitoring.drift.samples import numbers
from pipeline.monitoring.drift.spec import DriftSpec
from pipeline.monitoring.drift.windows import GROUP, Ages, at_ages
from pipeline.tables import FEATURES

AGES = Ages((1, 6), 1)
OCTOBER = datetime(2020, 10, 1, tzinfo=UTC)
SHOWN, DRAWN = 12, 9


@dataclass(frozen=True)
class Pair:
    """Two sets of births that are compared."""

    name: str
    before: pl.Expr
    after: pl.Expr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--picture", type=Path, help="draw the most drifted features at 1 h to this PNG")
    given = parser.parse_args()
    rows = at_ages(Lake(given.lake).scan(FEATURES), AGES).collect()
    names = [
        c for c in rows.columns if c not in (*GROUP, "source", "event_time", "known_at", "at_age", "born", "age_hours")
    ]
    console = Console(width=150)
    for pair in pairs(rows):
        for age in AGES.hours:
            here = rows.filter(pl.col("at_age") == age)
            before, after = (here.filter(chosen) for chosen in (pair.before, pair.after))
            found = compare(before, after, group=GROUP, columns=names, spec=DriftSpec())
            told = domain_classifier(before, after, group=GROUP, columns=names, spec=DriftSpec())
            console.print(
                table(f"{pair.name}, at {age} h of age; told apart with an AUC of {told.auc:.2f}", found, before, after)
            )
            if given.picture and pair.name.startswith("October") and age == 1:
                given.picture.write_bytes(picture(found, before, after))


def pairs(rows: pl.DataFrame) -> list[Pair]:
    """What is compared, the last two without any reason to differ by more than days do."""
    born, by_hash = pl.col("born"), pl.col("pool").hash(1) % 2 == 0
    first, last = rows["born"].min(), rows["born"].max()
    weeks = timedelta(days=14)
    is_even_day = (born.dt.epoch("d") % 2) == 0
    return [
        Pair("October against September", born < OCTOBER, born >= OCTOBER),
        Pair("last 14 days against the first 14", born < first + weeks, born >= last - weeks),
        Pair(
            "halves of September's pools, at random",
            (born < OCTOBER) & by_hash,
            (born < OCTOBER) & ~by_hash,
        ),
        Pair("even days against odd days", ~is_even_day, is_even_day),
    ]


def table(title: str, found: Comparison, before: pl.DataFrame, after: pl.DataFrame) -> Table:
    """The most divergent columns."""
    named = found.columns.filter("is_drifted").sort("js", descending=True)
    counts = f"{named.height} of {found.columns.height} drifted, {found.n_current_pools:,} pools against"
    told = Table(
        *("feature", "js", "psi", "q", "median before", "median after", "missing before", "missing after"),
        title=f"{title}: {counts} {found.n_reference_pools:,}",
        title_justify="left",
    )
    for row in named.head(SHOWN).to_dicts():
        medians = [f"{frame[row['column']].cast(pl.Float64).fill_nan(None).median():.4g}" for frame in (before, after)]
        missing = [f"{row[f'share_null_{side}']:.0%}" for side in ("reference", "current")]
        told.add_row(row["column"], *(f"{row[name]:.3f}" for name in ("js", "psi", "q_value")), *medians, *missing)
    return told


def picture(found: Comparison, before: pl.DataFrame, after: pl.DataFrame) -> bytes:
    """The most drifted features in the bins of the reference, which is what the divergence sees.

    Features that are functions of one another have the same divergence: one of them is drawn.
    """
    named = found.columns.filter("is_drifted").with_columns(same=pl.col("js").round(6))
    named = named.unique("same", keep="first", maintain_order=True).sort("js", descending=True).head(DRAWN)
    figure = Figure(figsize=(10, 8), dpi=80, layout="constrained")
    for axes, row in zip(figure.subplots(3, 3).ravel(), named.to_dicts(), strict=False):
        values = [numbers(frame[row["column"]]) for frame in (before, after)]
        bins = numeric_bins(values[0], np.ones(len(values[0])), DriftSpec().n_bins)
        shares = [np.bincount(numeric_codes(one, bins), minlength=bins.n) / len(one) for one in values]
        filled = np.flatnonzero(shares[0] + shares[1])
        names = named_bins(bins)
        for one, colour, label, aside in zip(
            shares, ("#999999", "#b2182b"), ("September", "October"), (-0.2, 0.2), strict=True
        ):
            axes.bar(np.arange(len(filled)) + aside, 100 * one[filled], 0.4, color=colour, label=label)
        axes.set_xticks(np.arange(len(filled)), [names[at] for at in filled], rotation=60, fontsize=7, ha="right")
        axes.set_title(f"{row['column']}  js {row['js']:.3f}", fontsize=9, loc="left")
        axes.tick_params(axis="y", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.supylabel("pools, %", fontsize=9)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def named_bins(bins: Bins) -> list[str]:
    """Each bin by its upper end."""
    alone = np.append(np.nextafter(bins.edges[1:], -np.inf), np.nan)
    told = [f"{'below' if edge == own else 'to'} {edge:.3g}" for edge, own in zip(bins.edges, alone, strict=True)]
    told.append("above")
    return [*told[: bins.zero], "zero", *told[bins.zero :], "missing"]


if __name__ == "__main__":
    main()
