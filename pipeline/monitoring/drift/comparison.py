"""Has a column's distribution moved between two samples of pools? One answer for each column, and one for all.

Belongs here: the figures that are shown, the false discovery rate, the effect floor. Stays out: what it means for a
model, and whether one look is enough (`alarm`).

The divergence and the PSI that are shown are over bins of the reference alone, which stay the same as long as it does;
the p-values are over bins of both together, without which they would not be exact (`permutation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.monitoring.drift.bins import (
    Bins,
    Ints,
    Kind,
    numeric_bins,
    numeric_codes,
    shares_by_pool,
    text_bins,
    text_codes,
)
from pipeline.monitoring.drift.divergence import Floats, benjamini_hochberg, js_divergence, psi
from pipeline.monitoring.drift.permutation import Dealt, permutation_test
from pipeline.monitoring.drift.ranks import normal_scores
from pipeline.monitoring.drift.samples import (
    Sample,
    Units,
    kinds_of,
    numbers,
    sample_of,
    texts,
    thinned,
    units_of,
)
from pipeline.monitoring.drift.spec import DriftSpec

SCHEMA: Final = pl.Schema(
    {
        "column": pl.String(),
        "kind": pl.String(),
        "n_reference_pools": pl.Int64(),
        "n_current_pools": pl.Int64(),
        "share_null_reference": pl.Float64(),
        "share_null_current": pl.Float64(),
        "js": pl.Float64(),
        "js_by_chance": pl.Float64(),
        "psi": pl.Float64(),
        "p_value": pl.Float64(),
        "q_value": pl.Float64(),
        "is_drifted": pl.Boolean(),
    }
)
"""One compared column. `js_by_chance`: what the same pools give on average when they are dealt out at random."""
_ROOM: Final = 3
"""Permutations for each one that the false discovery rate needs at least: a p-value must not be its own least step."""


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        columns: one row a column, in the shape of `SCHEMA`.
        alarm: whether any of them drifted.
        n_reference_pools, n_current_pools: how many pools were compared.
        n_shared_pools: pools on both sides. Each counts once on either: what it shares with itself makes the sides more
            alike than chance would, so that there are fewer alarms, never more.
        left_out: columns that hold nothing comparable.
        is_judged: false: too few pools on a side, so that nothing is called drift.
    """

    columns: pl.DataFrame
    alarm: bool
    n_reference_pools: int
    n_current_pools: int
    n_shared_pools: int
    left_out: tuple[str, ...]
    is_judged: bool


def compare(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    group: Sequence[str],
    columns: Sequence[str] | None = None,
    spec: DriftSpec,
) -> Comparison:
    """Compare two samples of pools, column by column; each pool weighs one, however many rows it has.

    Args:
        reference: rows of the pools that a model learned from, say.
        current: rows of newer pools.
        group: the columns that together name a pool.
        columns: what is compared; None: every column of numbers, truth values or texts.
        spec: the rule.

    Raises:
        InputError: a side is empty, a row names no pool, or a column cannot be compared; the message says which.
    """
    before, after = sample_of(reference, group, "reference"), sample_of(current, group, "current rows")
    kinds, left_out = kinds_of(reference, current, group, columns)
    units = units_of(before.n_pools, after.n_pools, spec.max_units, np.random.default_rng([spec.seed, 2]))
    dealt = thinned(before, after, list(kinds), spec.seed)
    told = [
        _Column(_figures(name, kind, before, after, spec), *_by_unit(name, kind, *dealt, units, spec))
        for name, kind in kinds.items()
    ]
    n_permutations = max(spec.n_permutations, ceil(_ROOM * len(told) / spec.alpha))
    chance = permutation_test(_side_by_side(told, units.n_before), n_permutations, spec.seed)
    q_values = benjamini_hochberg(chance.p_values)
    is_judged = min(before.n_pools, after.n_pools) >= spec.min_pools
    beyond_chance = np.array([one.figures["js"] for one in told]) - chance.js_by_chance
    is_drifted = is_judged & (q_values <= spec.alpha) & (beyond_chance >= spec.min_js)
    frame = pl.DataFrame(
        [one.figures for one in told], schema={name: SCHEMA[name] for name in told[0].figures}
    ).with_columns(
        n_reference_pools=pl.lit(before.n_pools, pl.Int64),
        n_current_pools=pl.lit(after.n_pools, pl.Int64),
        js_by_chance=chance.js_by_chance,
        p_value=chance.p_values,
        q_value=q_values,
        is_drifted=is_drifted,
    )
    shared = before.keys.join(after.keys, on=before.keys.columns, how="semi").height
    return Comparison(
        frame.select(SCHEMA.names()), bool(is_drifted.any()), before.n_pools, after.n_pools, shared, left_out, is_judged
    )


@dataclass(frozen=True)
class _Column:
    """A column's figures over the reference's bins; its shares and ranks by unit over bins of both samples."""

    figures: dict[str, Any]
    shares: Floats
    ranks: Floats


def _by_unit(
    name: str, kind: Kind, before: Sample, after: Sample, units: Units, spec: DriftSpec
) -> tuple[Floats, Floats]:
    """Shares and ranks."""
    values = _values(name, kind, before, after)
    both: Any = pl.concat(values) if kind == "text" else np.concatenate(values)
    unit = np.concatenate([units.before[before.pools], units.n_before + units.after[after.pools]])
    is_kept = np.concatenate([units.before[before.pools] >= 0, units.after[after.pools] >= 0])
    weights = np.concatenate([before.weights, after.weights])
    bins = _bins(both, weights, kind, spec)
    codes, unit, n_units = _codes(both, bins)[is_kept], unit[is_kept], units.n_before + units.n_after
    shares = shares_by_pool(codes, unit, weights[is_kept], n_units, bins.n)
    is_ordered = kind != "text"
    ranks = normal_scores(both[is_kept], unit, weights[is_kept], n_units) if is_ordered else np.zeros(n_units)
    return shares / units.size, ranks


def _values(name: str, kind: Kind, before: Sample, after: Sample) -> list[Any]:
    read = texts if kind == "text" else numbers
    return [read(side.frame[name]) for side in (before, after)]


def _figures(name: str, kind: Kind, before: Sample, after: Sample, spec: DriftSpec) -> dict[str, Any]:
    """What is shown: shares of all rows in bins of the reference."""
    values = _values(name, kind, before, after)
    bins = _bins(values[0], before.weights, kind, spec)
    p, q = (
        np.minimum(np.bincount(_codes(own, bins), weights=side.weights, minlength=bins.n) / side.n_pools, 1.0)
        for own, side in zip(values, (before, after), strict=True)
    )
    return {
        "column": name,
        "kind": kind,
        "share_null_reference": float(p[-1]),
        "share_null_current": float(q[-1]),
        "js": float(js_divergence(p, q)),
        "psi": psi(p, q),
    }


def _bins(values: Any, weights: Floats, kind: Kind, spec: DriftSpec) -> Bins:
    if kind == "text":
        return text_bins(values, weights, spec.n_categories)
    return numeric_bins(values, weights, spec.n_bins)


def _codes(values: Any, bins: Bins) -> Ints:
    return text_codes(values, bins) if bins.edges is None else numeric_codes(values, bins)


def _side_by_side(told: list[_Column], n_reference: int) -> Dealt:
    """All columns in one array; what is missing comes last in each."""
    width = max(one.shares.shape[1] for one in told)
    shares = np.zeros((len(told[0].shares), len(told), width))
    for at, one in enumerate(told):
        shares[:, at, : one.shares.shape[1] - 1] = one.shares[:, :-1]
        shares[:, at, -1] = one.shares[:, -1]
    return Dealt(shares, np.stack([one.ranks for one in told], axis=1), n_reference)
