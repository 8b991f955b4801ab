"""Two plain files of pools, compared: one answer, or one for each experiment in them.

Belongs here: what a file's columns stand for, reading experiments in parts that fit into memory. Stays out: the
statistics (`pipeline.monitoring.drift`), the screen (`drift`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.selectors import by_name

from pipeline.cli.parquet import require_parquet
from pipeline.cli.screen import by_comma
from pipeline.errors import InputError
from pipeline.monitoring.drift.comparison import Comparison, compare
from pipeline.monitoring.drift.samples import kinds_of
from pipeline.monitoring.drift.spec import DriftSpec

EXPERIMENT: Final = "experiment"
ROWS_AT_ONCE: Final = 500_000
_SHOWN: Final = 5
"""Experiments in a message; a file may have thousands."""


class Sides:
    """The two files of a comparison, read when asked, as often as it takes."""

    def __init__(self, reference: Path, current: Path, group: str, columns: str | None) -> None:
        """Open both and find out what is compared.

        Args:
            reference, current: the files.
            group: the column that names a pool, or several with commas between.
            columns: what is compared, with commas between; None: whatever can be.

        Raises:
            InputError: one of them is no Parquet, they do not fit together, or nothing in them can be compared.
        """
        self._frames = [_scanned(path) for path in (reference, current)]
        self._schemas = [frame.collect_schema() for frame in self._frames]
        self.group = _listed(group, self._schemas[0])
        self.columns = _listed(columns, self._schemas[0]) if columns is not None else None
        self.is_many = EXPERIMENT in self._schemas[0]
        if self.is_many != (EXPERIMENT in self._schemas[1]):
            raise InputError(
                f"compare: only {str(reference if self.is_many else current)!r} has a column {EXPERIMENT!r}: give it to"
                " both files or to none"
            )
        self._name_alike()
        nothing = [pl.DataFrame(schema=schema) for schema in self._schemas]
        self._require_fitting()
        kinds, _ = kinds_of(nothing[0], nothing[1], (*self.group, EXPERIMENT), self.columns)
        wanted = [*self.group, *([EXPERIMENT] if self.is_many else []), *kinds]
        self._frames = [
            frame.select(by_name(*dict.fromkeys(wanted if self.columns else schema), require_all=False))
            for frame, schema in zip(self._frames, self._schemas, strict=True)
        ]

    def pairs(self) -> Iterator[tuple[Any, pl.DataFrame, pl.DataFrame]]:
        """Each experiment with its reference and its current rows, in order; without experiments one, named None."""
        if not self.is_many:
            first, second = (frame.collect(engine="streaming") for frame in self._frames)
            yield None, first, second
            return
        for part in _parts(self._counted()):
            told = [
                frame.filter(pl.col(EXPERIMENT).is_in(part.implode())).collect(engine="streaming")
                for frame in self._frames
            ]
            before, after = (rows.partition_by(EXPERIMENT, as_dict=True, include_key=False) for rows in told)
            for name in part.to_list():
                yield name, before[name,], after[name,]

    def n_experiments(self) -> int:
        """How many answers there will be."""
        return self._counted().height if self.is_many else 1

    def _name_alike(self) -> None:
        """Categories become texts, and whole numbers of two widths those of one: both name the same things."""
        for name in (*self.group, *([EXPERIMENT] if self.is_many else [])):
            found = [schema.get(name) for schema in self._schemas]
            if all(isinstance(dtype, pl.String | pl.Categorical | pl.Enum) for dtype in found):
                common: pl.DataType = pl.String()
            elif found[0] != found[1] and all(dtype is not None and dtype.is_integer() for dtype in found):
                common = pl.Int128()
            else:
                continue
            self._frames = [frame.with_columns(by_name(name).cast(common)) for frame in self._frames]
            for schema in self._schemas:
                schema[name] = common

    def _require_fitting(self) -> None:
        """Raise InputError unless the columns that name things do so in the same way on both sides."""
        for name in (*self.group, *([EXPERIMENT] if self.is_many else [])):
            first, second = (schema.get(name) for schema in self._schemas)
            if first is None or second is None:
                side = "reference" if first is None else "current rows"
                raise InputError(f"compare: no column {name!r} in the {side}: name the column of pools with --group")
            if first != second:
                raise InputError(
                    f"compare: {name!r} holds {first} in the reference and {second} in the current rows: write both"
                    " alike"
                )
        named = self._schemas[0].get(EXPERIMENT)
        if named is not None and not (named.is_integer() or named in (pl.String, pl.Boolean, pl.Date)):
            raise InputError(f"compare: {EXPERIMENT!r} holds {named}: name experiments by text, whole numbers or days")

    def _counted(self) -> pl.DataFrame:
        """Rows of both files by experiment.

        Raises:
            InputError: an experiment has no name, or is on one side only.
        """
        first, second = (frame.group_by(EXPERIMENT).len().collect(engine="streaming") for frame in self._frames)
        for one, other, side in ((first, second, "reference"), (second, first, "current rows")):
            if one[EXPERIMENT].null_count():
                raise InputError(f"compare: rows of the {side} have no {EXPERIMENT!r}: name it, or leave them out")
            alone = one.join(other, on=EXPERIMENT, how="anti")[EXPERIMENT].sort()
            if len(alone):
                raise InputError(
                    f"compare: {len(alone):,} experiments are in the {side} only, such as"
                    f" {alone.head(_SHOWN).to_list()!r}: each needs both sides"
                )
        if first.is_empty():
            raise InputError("compare: there is no row in either file, so there is nothing to compare")
        return pl.concat([first, second]).group_by(EXPERIMENT).agg(pl.col("len").sum()).sort(EXPERIMENT)


def answers(sides: Sides, spec: DriftSpec) -> Iterator[tuple[Any, Comparison]]:
    """What is found in each experiment."""
    try:
        for experiment, before, after in sides.pairs():
            yield experiment, compare(before, after, group=sides.group, columns=sides.columns, spec=spec)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"compare: the files hold values that cannot be computed with: {error}") from error


def record(found: Comparison) -> dict[str, Any]:
    """A comparison as plain values."""
    shown = found.columns.drop("n_reference_pools", "n_current_pools")
    return {
        "alarm": found.alarm,
        "n_reference_pools": found.n_reference_pools,
        "n_current_pools": found.n_current_pools,
        "n_shared_pools": found.n_shared_pools,
        "is_judged": found.is_judged,
        "left_out": list(found.left_out),
        "columns": shown.to_dicts(),
    }


def _scanned(path: Path) -> pl.LazyFrame:
    require_parquet(path)
    try:
        told = pl.scan_parquet(path, glob=False)
        told.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot use {str(path)!r}: {error}; give a Parquet file") from error
    return told


def _listed(named: str, schema: pl.Schema) -> tuple[str, ...]:
    """Names with commas between, unless a column is called just that."""
    if named in schema:
        return (named,)
    return tuple(dict.fromkeys(by_comma(named)))


def _parts(counted: pl.DataFrame) -> Iterator[pl.Series]:
    part = (pl.col("len").cum_sum() - pl.col("len")) // ROWS_AT_ONCE
    for _, rows in counted.group_by(part.alias("part"), maintain_order=True):
        yield rows[EXPERIMENT]


def drifted_names(found: Comparison) -> Sequence[str]:
    """The columns that drifted, the most divergent first."""
    return found.columns.filter("is_drifted").sort("js", descending=True)["column"].to_list()
