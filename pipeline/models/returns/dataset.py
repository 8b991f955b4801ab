"""QLib's dataset over our rows: a handler with fitted processors, and segments that are purged rows.

Belongs here: which rows a fit sees, and on what scale. Stays out: the models (`kinds`), the order of work (`walk`).

A segment of QLib's is usually a stretch of time. A purged one is not: a row may train only if its return was known
before the test block's first birth, and no pool or base token may be on both sides. So a segment here is an index
of exactly those rows, which `DatasetH` takes as well.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.returns.processors import Matrix, Scale, fit_scale
from pipeline.models.returns.segments import block_targets
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import Floats
from pipeline.models.splits import Rows, Split, last_block

__all__ = ["Bench", "Floats", "Table", "bench"]


@dataclass(frozen=True, eq=False)
class Table:
    """One horizon's rows as arrays: `frame` (`targets.scored`), features `x` (n, n_features), targets `y` (n,)."""

    frame: pl.DataFrame
    names: tuple[str, ...]
    x: Matrix
    y: Floats

    @classmethod
    def of(cls, frame: pl.DataFrame, names: tuple[str, ...]) -> "Table":
        """The arrays of a frame; a feature that is null is NaN."""
        columns = [pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in names]
        x = np.ascontiguousarray(frame.select(columns).to_numpy(), dtype=np.float32)
        return cls(frame.drop(names), names, x, frame["target"].to_numpy().astype(np.float64))

    def pools(self, rows: Rows) -> Rows:
        """A number for the pool of each of `rows`."""
        return (
            self.frame[rows]
            .select(pl.struct("network", "pool").rank("dense") - 1)
            .to_series()
            .to_numpy()
            .astype(np.int64)
        )


@dataclass(frozen=True, eq=False)
class Bench:
    """A split made ready: the scale of its training rows, QLib's dataset, and the rows of each member's segments.

    Attributes:
        y: (n,) targets, training and test rows each ranked among themselves; NaN for rows in neither.
        dataset: QLib's `DatasetH`; its segments are those of the member that `member` was last called for.
        guided: whether there are pools apart on which rounds can stop; if not, "valid" is the training segment.
    """

    table: Table
    split: Split
    y: Floats
    spec: ReturnsSpec
    scale: Scale
    dataset: Any
    index: Any
    train: Rows
    valid: Rows
    guided: bool

    @property
    def scaled(self) -> Matrix:
        """All rows of the table on the training rows' scale."""
        return self.scale(self.table.x)

    def segments(self, seed: int, max_rows: int) -> dict[str, Rows]:
        """The rows of a member's train, valid and test; its seed draws the pools and the rows it learns from."""
        valid = _fewer(self.valid, max_rows, seed)
        return {"train": self.drawn(seed, max_rows), "valid": valid, "test": self.split.test}

    def member(self, seed: int, max_rows: int) -> Any:
        """QLib's dataset with the segments of one member."""
        self.dataset.config(segments={name: self.index[rows] for name, rows in self.segments(seed, max_rows).items()})
        return self.dataset

    def drawn(self, seed: int, max_rows: int) -> Rows:
        """`bag_share` of the training pools, at most `max_rows` of their rows; in order."""
        pools = self.table.pools(self.train)
        distinct = np.unique(pools)
        rng = np.random.default_rng(seed)
        chosen = rng.choice(distinct, max(1, round(self.spec.bag_share * len(distinct))), replace=False)
        return _fewer(self.train[np.isin(pools, chosen)], max_rows, seed)


def bench(table: Table, split: Split, spec: ReturnsSpec) -> Bench:
    """The dataset of one split: what is fitted on the way to a model sees its training rows alone.

    The newest of the training pools, purged, form "valid", on which rounds stop. Where the purge leaves nothing before
    them, all rows train and nothing stops.
    """
    train = valid = split.train
    guided = True
    try:
        inner = last_block(
            table.frame[split.train], share=spec.validation_share, embargo=timedelta(hours=spec.embargo_hours)
        )
        train, valid = split.train[inner.train], split.train[inner.test]
    except InputError:
        guided = False
    scale = fit_scale(table.x[split.train], spec.clip)
    y = block_targets(table.frame, split)
    dataset, index = _dataset(table, y, scale)
    return Bench(table, split, y, spec, scale, dataset, index, train, valid, guided)


def _dataset(table: Table, y: Floats, scale: Scale) -> tuple[Any, Any]:
    """QLib's `DatasetH` over all rows of the table, and the index entry of each row."""
    import pandas as pd  # noqa: PLC0415  only QLib's side needs pandas
    from qlib.data.dataset import DatasetH  # noqa: PLC0415
    from qlib.data.dataset.handler import DataHandlerLP  # noqa: PLC0415
    from qlib.data.dataset.loader import StaticDataLoader  # noqa: PLC0415
    from qlib.data.dataset.processor import Processor  # noqa: PLC0415

    class Scaled(Processor):  # type: ignore[misc]  # QLib ships no types
        """The fitted scale on the features; it has nothing left to fit."""

        def __call__(self, df: Any) -> Any:
            df["feature"] = scale(df["feature"].to_numpy())
            return df

    times = table.frame["event_time"].dt.replace_time_zone(None).to_numpy()
    index = pd.MultiIndex.from_arrays([times, table.frame["instrument"].to_list()], names=["datetime", "instrument"])
    features = pd.DataFrame(table.x, index=index, columns=list(table.names))
    label = pd.DataFrame({"target": y}, index=index)
    frame = pd.concat({"feature": features, "label": label}, axis=1)
    handler = DataHandlerLP(data_loader=StaticDataLoader(frame), infer_processors=[Scaled()], drop_raw=True)
    return DatasetH(handler, segments={}), index


def _fewer(rows: Rows, n: int, seed: int) -> Rows:
    """At most `n` of the rows, drawn without replacement, in order."""
    if len(rows) <= n:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
