"""Where frozen return datasets rest, so that features are computed once.

Belongs here: the files, the link to the one in force, and sweeping. Stays out: what a dataset is (`return_dataset`).

    FOLDER/SOURCE/DATASET_ID.parquet    one frozen dataset; the one before is kept, older ones are swept
    FOLDER/SOURCE/current               a link to the one in force
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import StorageError
from pipeline.lake import disk
from pipeline.models.content import content_id
from pipeline.models.return_dataset import ReturnDataset

CURRENT: Final = "current"
_KEPT: Final = 2


def keep(dataset: ReturnDataset, folder: Path) -> Path:
    """Write the rows to their file, put them in force for their source, and sweep all but the one before.

    Killed at any moment, `current` points to a whole dataset, the old one or the new.

    Raises:
        StorageFullError, StorageError: the file system refused; what was in force is untouched.
    """
    home = folder / safe_name(dataset.source)
    with disk.reporting(f"keep return dataset {dataset.dataset_id!r} in {str(home)!r}"):
        home.mkdir(parents=True, exist_ok=True)
        with disk.locked(home / "lock"):
            _unfinished(home)
            path = home / f"{dataset.dataset_id}.parquet"
            if not _is_sound(dataset, folder):
                part = home / f"{dataset.dataset_id}.part"
                dataset.rows.write_parquet(part)
                disk.fsync(part)
                part.replace(path)
            path.touch()
            link = home / "current.part"
            link.symlink_to(path.name)
            link.replace(home / CURRENT)
            disk.fsync(home)
            for old in _newest(home)[_KEPT:]:
                old.unlink()
    return path


def current_id(folder: Path, source: str) -> str | None:
    """The id of the dataset in force for a source; None while there is none."""
    link = folder / safe_name(source) / CURRENT
    return link.readlink().stem if link.is_symlink() else None


def kept_rows(folder: Path, source: str, row: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of the dataset that a row of `return_datasets` names, proven to be those that were frozen.

    Raises:
        StorageError: the file is gone, cannot be read, or holds other rows.
    """
    path = folder / safe_name(source) / f"{row['dataset_id']}.parquet"
    attempted = f"read return dataset {row['dataset_id']!r} from {str(path)!r}"
    with disk.reporting(attempted):
        rows = pl.read_parquet(path)
    found = content_id(rows, source, row["feature_set"], row["code_version"], row["spec"])
    if found != row["dataset_id"]:
        raise StorageError(
            f"could not {attempted}: its rows hash to {found!r}; somebody changed the file, remove it and"
            " materialise `return_dataset` again"
        )
    return rows


def _is_sound(dataset: ReturnDataset, folder: Path) -> bool:
    """Whether the dataset's file is there, and holds its rows."""
    try:
        kept_rows(folder, dataset.source, dataset.row())
    except StorageError:
        return False
    return True


def safe_name(source: str) -> str:
    """A source as a folder's name.

    >>> safe_name("recording:uniswap_v2_2020")
    'recording-uniswap_v2_2020'
    """
    return source.replace(":", "-")


def _unfinished(home: Path) -> None:
    """What a killed writer left."""
    for left in home.glob("*.part"):
        left.unlink()


def _newest(home: Path) -> Sequence[Path]:
    """The datasets, the one put in force last first; the one in force is always the first."""
    in_force = (home / CURRENT).readlink().name
    return sorted(home.glob("*.parquet"), key=lambda p: (p.name != in_force, -p.stat().st_mtime_ns, p.name))
