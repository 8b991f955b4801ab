"""The frozen return dataset: decisions with their features and returns, under the hash of their content.

Belongs here: the id, the segments in time, and the file that holds the rows, so that features are computed once.
Stays out: how rows come from bins (`returns.rows`), what is learned from them (`returns`), the table's row as a frame.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import polars as pl

from pipeline.errors import InputError
from pipeline.models.content import content_id
from pipeline.models.returns.segments import return_splits
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.targets import KEYS, feature_columns, label_end_name, return_name, scored
from pipeline.models.splits import Rows

_LEARNERS: Final = ("lightgbm", "pyqlib", "torch")


@dataclass(frozen=True)
class ReturnDataset:
    """Decisions to learn from, frozen under an id; `rows_id` is that of what is judged (`rows_id_of`).

    `rows` holds `targets.KEYS`, one Float32 column a feature, and each horizon's return and when it is known, sorted
    by instrument and time. `segments` is empty and `lacking` says why where there is too little to learn from.
    """

    dataset_id: str
    rows_id: str
    source: str
    known_by: datetime
    export_id: str
    inputs_id: str
    feature_set: str
    code_version: str
    spec: ReturnsSpec
    feature_names: tuple[str, ...]
    rows: pl.DataFrame = field(repr=False)
    segments: pl.DataFrame = field(repr=False)
    lacking: str

    @property
    def n_pools(self) -> int:
        """Distinct pools."""
        return self.rows.select("network", "pool").n_unique()

    def row(self, n_last_block_reads: int = 0) -> dict[str, Any]:
        """The dataset's row in `return_datasets`; only a dataset with decisions has one."""
        return {
            "dataset_id": self.dataset_id,
            "source": self.source,
            "known_at": self.known_by,
            "export_id": self.export_id,
            "inputs_id": self.inputs_id,
            "rows_id": self.rows_id,
            "freq": self.spec.freq,
            "feature_set": self.feature_set,
            "code_version": self.code_version,
            "spec": self.spec.as_json(),
            "segments": json.dumps(self.segments.to_dicts(), default=str, sort_keys=True),
            "lacking": self.lacking,
            "n_rows": self.rows.height,
            "n_pools": self.n_pools,
            "n_features": len(self.feature_names),
            "first_time": self.rows["event_time"].min(),
            "last_time": self.rows["event_time"].max(),
            "n_last_block_reads": n_last_block_reads,
        }


def freeze_returns(
    rows: pl.DataFrame,
    *,
    source: str,
    export_id: str,
    inputs_id: str,
    known_by: datetime,
    feature_set: str,
    code_version: str,
    spec: ReturnsSpec,
) -> ReturnDataset:
    """Give the rows an id, and say which of them will train and which will judge.

    The id covers the rows, the source, the spec, the features' expressions and the code. It does not cover the export:
    bars of another length that joined it change no row.

    Args:
        rows: `returns.rows.return_rows`.
        export_id: the export of bins they were read from.
        inputs_id: hash of all they were computed from (`inputs_id_of`).
        feature_set: hash of the features' names and expressions (`feature_set_of`).
        code_version: hash of the code that made the rows.

    Raises:
        InputError: a row has no pool, birth or time, or is there twice.
    """
    _require_sound(rows)
    ordered = rows.sort("instrument", "event_time")
    lacking, segments = "", pl.DataFrame()
    try:
        segments = segments_of(ordered, spec)
    except InputError as error:
        lacking = str(error)
    return ReturnDataset(
        dataset_id=content_id(ordered, source, feature_set, code_version, spec.as_json()),
        rows_id=rows_id_of(ordered, spec),
        source=source,
        known_by=known_by,
        export_id=export_id,
        inputs_id=inputs_id,
        feature_set=feature_set,
        code_version=code_version,
        spec=spec,
        feature_names=feature_columns(rows, spec),
        rows=ordered,
        segments=segments,
        lacking=lacking,
    )


@dataclass(frozen=True)
class InstalledLearners:
    """The versions of what learns; a training under others is another training."""

    versions: tuple[tuple[str, str], ...]


def installed_learners() -> InstalledLearners:
    """Those that are installed here: a kind that is absent does not compete."""
    found = []
    for name in _LEARNERS:
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return InstalledLearners(tuple(found))


def named_pools(identities: Mapping[str, tuple[str, str]], pools: pl.DataFrame) -> pl.DataFrame:
    """The pools among the instruments of some bins, as `returns.rows.return_rows` asks for them.

    Args:
        identities: instrument -> (network, pool).
        pools: rows of `tables.POOLS` of one source.
    """
    names = [(name, *identity) for name, identity in identities.items()]
    named = pl.DataFrame(names, {"instrument": pl.String, "network": pl.String, "pool": pl.String}, orient="row")
    births = pools.select("network", "pool", "base_token", "created_at")
    return named.join(births, on=["network", "pool"], how="inner").sort("instrument")


def unwatched_hours(told: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """The hours in which nobody watched a network: between its first and its last told hour, those told of nothing.

    Args:
        told: `network` and `known_at` (UTC) of whatever arrived, in any order; a row without a network speaks of none.

    Returns:
        network, hour (its start), sorted.
    """
    hours = told.lazy().drop_nulls().select("network", pl.col("known_at").dt.truncate("1h").alias("hour")).unique()
    spans = hours.group_by("network").agg(pl.min("hour").alias("first"), pl.max("hour").alias("last"))
    grid = spans.select("network", pl.datetime_ranges("first", "last", "1h").alias("hour")).explode("hour")
    return grid.join(hours, on=["network", "hour"], how="anti").sort("network", "hour").collect()


def inputs_id_of(
    named: pl.DataFrame, export_id: str, code_version: str, spec: ReturnsSpec, unwatched: pl.DataFrame | None = None
) -> str:
    """Hash of everything that rows are computed from: where it is known already, nothing needs to be computed again.

    Args:
        unwatched: as `unwatched_hours` gives them; None: every hour is vouched for.
    """
    gaps = "" if unwatched is None else content_id(unwatched)
    return content_id(named, export_id, code_version, spec.as_json(), gaps)


def rows_id_of(rows: pl.DataFrame, spec: ReturnsSpec) -> str:
    """Hash of what a last block is made of: the decisions, their returns, and the part of the spec that cuts it.

    Features, learners, source and code are left out: whoever tries another model on these rows looks at the same last
    block once more, and that is what is counted.

    Args:
        rows: sorted by instrument and time.
    """
    ends = [name for h in spec.horizons_hours for name in (return_name(h), label_end_name(h))]
    rule = {name: getattr(spec, name) for name in ("horizons_hours", "last_block_share", "min_hour_pools")}
    return content_id(rows.select(*KEYS, *ends), json.dumps(rule, sort_keys=True))


def feature_set_of(expressions: Mapping[str, str | None], spec: ReturnsSpec) -> str:
    """Hash of the features' names and expressions (None: counted from the bars), and of how long a bar is."""
    return content_id(
        pl.DataFrame([*expressions.items()], {"name": pl.String, "expression": pl.String}, orient="row"),
        spec.freq,
    )


def segments_of(rows: pl.DataFrame, spec: ReturnsSpec) -> pl.DataFrame:
    """For each horizon, what each walk-forward fold and the last block train on and test.

    Returns:
        horizon_hours, segment, n_rows, n_pools, first_time, last_time.

    Raises:
        InputError: too few pools or too short a time for a split: there is nothing to learn from yet.
    """
    told: list[dict[str, Any]] = []
    for hours in spec.horizons_hours:
        frame = scored(rows.select(*KEYS, return_name(hours), label_end_name(hours)), hours, spec)
        for split in return_splits(frame, spec):
            told.append(_segment(frame, split.train, hours, f"{split.name}: trained on"))
            told.append(_segment(frame, split.test, hours, f"{split.name}: tested on"))
    return pl.DataFrame(told)


def _require_sound(rows: pl.DataFrame) -> None:
    told = [name for name in KEYS if name != "base_token"]
    n_nulls = int(rows.select(told).null_count().sum_horizontal().sum() or 0)
    n_twice = int(rows.select("instrument", "event_time").is_duplicated().sum())
    if n_nulls or n_twice:
        raise InputError(
            f"froze {rows.height} return rows: {n_nulls} nulls among {told!r} and {n_twice} rows of the same instrument"
            " and time; every decision is one row of a pool that is known"
        )


def _segment(frame: pl.DataFrame, at: Rows, hours: int, name: str) -> dict[str, Any]:
    rows = frame[at]
    return {
        "horizon_hours": hours,
        "segment": name,
        "n_rows": rows.height,
        "n_pools": rows.select("network", "pool").n_unique(),
        "first_time": rows["event_time"].min(),
        "last_time": rows["event_time"].max(),
    }
