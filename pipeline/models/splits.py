"""Purged splits over time, grouped by pool and by base token.

Belongs here: which rows may train and which may test. Stays out: what is done with them.

A test block is the pools born in a stretch of time; it begins at a moment, the birth of its first pool. A training
row's label must be over before that moment, and neither its pool nor its base token may be in the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.spec import LAST_BLOCK

type Rows = np.ndarray[Any, np.dtype[np.int64]]
type Mask = np.ndarray[Any, np.dtype[np.bool_]]

POOL = ("network", "pool")
TOKEN = ("network", "base_token")


@dataclass(frozen=True)
class Split:
    """Row numbers to train and to test on, and the block's span [start, end] (decisions and labels, UTC)."""

    name: str
    train: Rows
    test: Rows
    start: datetime
    end: datetime


def last_block(frame: pl.DataFrame, *, share: float, embargo: timedelta) -> Split:
    """The newest `share` of the pools by birth as test, everything purged before them as training.

    Args:
        frame: a training set's rows: `network`, `pool`, `base_token`, `created_at`, `event_time`, `label_end`.

    Raises:
        InputError: one side would be empty.
    """
    births = _births(frame)
    edge = births[min(int(np.ceil(len(births) * (1 - share))), len(births) - 1)]
    return _split(frame, LAST_BLOCK, edge, None, embargo)


def block_since(frame: pl.DataFrame, start: datetime, *, embargo: timedelta) -> Split:
    """The pools born at or after a moment as test, everything purged before them as training.

    Raises:
        InputError: one side would be empty.
    """
    return _split(frame, LAST_BLOCK, start, None, embargo)


def walk_forward(frame: pl.DataFrame, *, n_folds: int, embargo: timedelta) -> list[Split]:
    """Consecutive test blocks with about equally many pools each; each trains on all that lies before it.

    The pools are cut by birth into `n_folds` + 1 blocks; the first only trains. Pools born at the same moment stay
    together. Early blocks before which the purge leaves nothing to train on only train as well, so a short history
    gives fewer folds.

    Raises:
        InputError: too few pools, or no block before which anything is left to train on.
    """
    births = _births(frame)
    if len(births) < n_folds + 1:
        raise InputError(f"cannot cut {len(births)!r} pools into {n_folds + 1} blocks: collect more pools")
    at = [round(len(births) * k / (n_folds + 1)) for k in range(1, n_folds + 1)]
    edges: list[datetime | None] = [*(births[i] for i in at), None]
    folds: list[Split] = []
    for k in range(n_folds):
        start = edges[k]
        assert start is not None  # noqa: S101  only the last edge is open
        if folds or k == n_folds - 1 or _is_trainable(frame, start, edges[k + 1], embargo):
            folds.append(_split(frame, f"fold_{k + 1}", start, edges[k + 1], embargo))
    return folds


def folds_before(frame: pl.DataFrame, block: Split, *, n_folds: int, embargo: timedelta) -> list[Split]:
    """Walk-forward folds inside what trains for a block, numbered by the frame's rows; errors as of `walk_forward`."""
    inner = walk_forward(frame[block.train], n_folds=n_folds, embargo=embargo)
    return [replace(fold, train=block.train[fold.train], test=block.train[fold.test]) for fold in inner]


def purge(
    frame: pl.DataFrame, candidates: Rows, test: Rows, *, start: datetime, end: datetime, embargo: timedelta
) -> Rows:
    """Those of `candidates` that may train beside `test`.

    Dropped: rows whose [event_time, label_end] meets [start, end]; rows decided within `embargo` after it; rows
    whose pool or base token is tested. Lopez de Prado (2018), ch. 7.4. Walk-forward asks only for rows before
    the block, so there the embargo has nothing left to drop.
    """
    before = (frame["label_end"] < start).to_numpy()
    after = (frame["event_time"] > end + embargo).to_numpy()
    is_free = (before | after) & ~_shares(frame, test, POOL) & ~_shares(frame, test, TOKEN)
    return np.asarray(candidates[is_free[candidates]])


def _is_trainable(frame: pl.DataFrame, start: datetime, stop: datetime | None, embargo: timedelta) -> bool:
    try:
        _split(frame, "", start, stop, embargo)
    except InputError:
        return False
    return True


def _split(frame: pl.DataFrame, name: str, start: datetime, stop: datetime | None, embargo: timedelta) -> Split:
    """The block of pools born in [start, stop), and the purged rows before it."""
    born = pl.col("created_at")
    inside = (born >= start) if stop is None else (born >= start) & (born < stop)
    test = _where(frame, inside)
    before = _where(frame, pl.col("event_time") < start)
    if not len(test) or not len(before):
        raise InputError(
            f"{name}: {len(before)!r} rows before {start:%Y-%m-%d %H:%M} and {len(test)!r} in the block: collect more"
            " pools"
        )
    end: Any = frame["label_end"].gather(test).max()
    train = purge(frame, before, test, start=start, end=end, embargo=embargo)
    if not len(train):
        raise InputError(
            f"{name}: the purge left none of {len(before)!r} rows before {start:%Y-%m-%d %H:%M}: collect for longer"
        )
    return Split(name, train, test, start, end)


def _births(frame: pl.DataFrame) -> Sequence[datetime]:
    """Births of the pools, in order."""
    births: list[datetime] = frame.group_by(POOL).agg(pl.col("created_at").min())["created_at"].sort().to_list()
    if not births:
        raise InputError("cannot split a training set without rows: collect pools first")
    return births


def _where(frame: pl.DataFrame, condition: pl.Expr) -> Rows:
    return np.flatnonzero(frame.select(condition.alias("it"))["it"].to_numpy()).astype(np.int64)


def _shares(frame: pl.DataFrame, test: Rows, group: tuple[str, ...]) -> Mask:
    """Which rows share a group with a tested row; a null group shares nothing."""
    keys = frame.select(group)
    tested = keys[test].unique().with_columns(pl.lit(True).alias("is_tested"))
    joined = keys.join(tested, on=list(group), how="left", maintain_order="left")
    return np.asarray(joined["is_tested"].fill_null(False).to_numpy(), dtype=np.bool_)
