"""What the champion learned from, kept as rows beside its file, so that everything later is compared with the same.

Belongs here: which pools are the reference, and the file they are kept in. Stays out: what is compared with them.

The reference is a draw of whole pools from those that were decided on before the model stopped learning, whatever
became of them: a pool whose label was censored is seen in service as well. The rows lie in the lake too, but there they
may expire or be made anew by newer code; the file is what does not move. It is a line with the SHA-256 of the rest, and
a Parquet file; it is written beside, flushed and renamed. Lost or damaged, it is made again from the lake.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.calendars import EPOCH
from pipeline.errors import InputError, UsageError
from pipeline.lake import disk
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import GROUP, Ages, Births, at_ages, drawn, n_pools

KEPT: Final = 4
"""Files of references that are kept, the ones used last."""
OUTCOME: Final = "outcome"
_SUFFIX: Final = ".reference"


@dataclass(frozen=True)
class Learned:
    """What is known of a model in charge: who it is, what it is fed, and until when it learned.

    Raises:
        UsageError: it is fed nothing.
    """

    model_name: str
    version: int
    model_sha256: str
    feature_names: tuple[str, ...]
    learned_until: datetime
    horizon_hours: int

    def __post_init__(self) -> None:
        if not self.feature_names:
            raise UsageError(f"a reference of {self.model_name!r} version {self.version!r} needs features, found none")

    @property
    def seed(self) -> int:
        """Of everything that is drawn for it."""
        return int(self.model_sha256[:15], 16)


@dataclass(frozen=True)
class Reference:
    """Rows the champion's world is known by: `network`, `pool`, `event_time`, `at_age`, `born`, `outcome`, features."""

    reference_id: str
    rows: pl.DataFrame = field(repr=False)

    @property
    def n_pools(self) -> int:
        """Pools, the statistical unit."""
        return n_pools(self.rows)


def reference_rows(
    features: pl.LazyFrame, outcomes: pl.DataFrame, learned: Learned, ages: Ages, spec: WatchSpec
) -> pl.DataFrame:
    """The rows of a draw of pools that were decided on, at every age, before the model stopped learning.

    Args:
        features: rows of `tables.FEATURES` of the source it learned from.
        outcomes: `network`, `pool`, `event_time`, `outcome` of the decisions whose outcome was known when the model
            stopped learning; of others it is null. It comes from the one join that knows when (`as_of`).
        learned: the model.
        ages: the first hours.
        spec: how many pools.
    """
    until = learned.learned_until
    names = [name for name in learned.feature_names if name not in GROUP]
    born = Births(EPOCH, until - ages.settled)
    told = features.filter(pl.col("known_at") <= pl.col("event_time"), pl.col("event_time") <= until)
    head = (*GROUP, "event_time", "at_age", "born")
    chosen = at_ages(told.select(*GROUP, "event_time", *dict.fromkeys(["age_hours", *names])), ages, born)
    rows = drawn(chosen.select(*head, *names).collect(), spec.max_reference_pools, learned.seed % 2**32)
    return rows.join(outcomes, on=[*GROUP, "event_time"], how="left", maintain_order="left")


def outcomes_known(labels: pl.LazyFrame, horizon_hours: int, known_by: datetime) -> pl.DataFrame:
    """`network`, `pool`, `event_time`, `outcome` of the decisions whose horizon was over, and label known, by then."""
    end = pl.col("event_time") + pl.duration(hours=horizon_hours)
    return (
        labels.filter(
            pl.col("horizon_hours") == horizon_hours,
            pl.col("status") == "labelled",
            pl.col("label_known_at") <= known_by,
            end <= known_by,
        )
        .select(*GROUP, "event_time", OUTCOME)
        .unique([*GROUP, "event_time"], keep="any")
        .collect()
    )


def place(folder: Path, learned: Learned, ages: Ages, spec: WatchSpec) -> Path:
    """Where a reference is kept; another rule of which rows are chosen gives another file."""
    rule = [*learned.feature_names, str(learned.learned_until), *ages.hours, ages.tolerance_hours]
    told = json.dumps([learned.model_name, *rule, spec.max_reference_pools]).encode()
    return folder / f"{learned.model_sha256[:32]}-{hashlib.sha256(told).hexdigest()[:16]}{_SUFFIX}"


def kept(path: Path) -> Reference | None:
    """The reference in a file; None where there is none, or none that is sound."""
    try:
        return _read(path.read_bytes(), path)
    except FileNotFoundError:
        return None
    except InputError:
        path.unlink(missing_ok=True)
        return None


def keep(path: Path, rows: pl.DataFrame) -> Reference:
    """Write a reference, whole or not at all, and sweep out what was not used for longest.

    Raises:
        StorageError: the folder cannot be written.
    """
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    content = buffer.getvalue()
    reference_id = hashlib.sha256(content).hexdigest()
    with disk.reporting(f"keep a reference of drift in {str(path.parent)!r}"), disk.locked(path.parent / ".lock"):
        beside = path.with_suffix(".new")
        beside.write_bytes(reference_id.encode() + b"\n" + content)
        disk.fsync(beside)
        beside.replace(path)
        disk.fsync(path.parent)
        others = sorted(path.parent.glob(f"*{_SUFFIX}"), key=lambda file: (file != path, -file.stat().st_mtime_ns))
        for file in others[KEPT:]:
            file.unlink(missing_ok=True)
    return Reference(reference_id, rows)


def _read(content: bytes, path: Path) -> Reference:
    reference_id, _, rest = content.partition(b"\n")
    found = hashlib.sha256(rest).hexdigest()
    if found.encode() != reference_id:
        raise InputError(f"read the reference {str(path)!r}: its rows hash to {found!r}, not to {reference_id!r}")
    return Reference(found, pl.read_parquet(io.BytesIO(rest)))


def require_names(names: Sequence[str]) -> None:
    """Names that may stand on a page of HTML: ours, `[a-z0-9_]`, and nothing else.

    Raises:
        UsageError: one is not.

    >>> require_names(["volume_1h_usd"])
    """
    for name in names:
        if not (name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()):
            raise UsageError(f"column {name!r} cannot be shown: a name consists of a-z, 0-9 and _; rename it")
