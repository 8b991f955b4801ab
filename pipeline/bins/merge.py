"""One bar length of the next export, made of the one in force and the bars that are given.

Belongs here: what the files of an instrument hold afterwards, which of them are new and which are those of the
export before. Stays out: the bytes (`series`), the switch (`store`), what a mode may do (`export`).

Instruments are opened a few at a time, in the order of their names, so that memory does not grow with their number.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.bins.files import each, make_folder, read_into, remove_tree, write_new
from pipeline.bins.manifest import ROWS, Manifest
from pipeline.bins.plan import Task, calendar_start, chunks, plan_of, refuse_long
from pipeline.bins.series import FLOAT_BYTES, Floats, Series
from pipeline.errors import InputError, StorageError

Flags = npt.NDArray[np.bool_]
Folder = tuple[str, list[str], int]
"""An instrument, names of files in its folder, and the size that each of them has."""


@dataclass(eq=False)
class Merged:
    """The bar length as it will be. `kept` are the files that are those of the export before."""

    start: int
    parts: list[pl.DataFrame] = field(default_factory=list)
    kept: list[Folder] = field(default_factory=list)
    n_files_written: int = 0
    n_instruments_changed: int = 0
    n_unrepresentable: int = 0

    @property
    def rows(self) -> pl.DataFrame:
        """Every instrument that has a bar, with the columns of a manifest, sorted by name."""
        return pl.concat([ROWS.to_frame(), *self.parts]).filter(pl.col("length") > 0).sort("name")

    def manifest(self, task: Task) -> Manifest:
        """The bar length as the next export lists it."""
        spec, fields = task.spec, task.given.fields
        factor = float(spec.factor) if "factor" in fields else None
        return Manifest(spec.freq, fields, spec.calendar_start, self.start, self.rows, factor, task.origin)


def merge(task: Task) -> Merged:
    """Write the files that change to the stage, and say which others belong to the export.

    Raises:
        InputError: two bars share an instrument and a time, the calendar is too long for a bin, or no bar is left.
        StorageError: a file of the export in force is missing or is not what was written.
    """
    plan = plan_of(task)
    start = calendar_start(task, plan)
    refuse_long(task, plan, start)
    while True:
        merged = _merged(task, plan, start)
        if merged.rows.is_empty():
            raise InputError(f"no {task.spec.freq} bar would be left: remove the directory if that is meant")
        found = calendar_start(task, merged.rows)
        if found == start:
            return merged
        # The calendar's first bars were taken away, so that every bin states another place. Rare: begin again.
        start = found
        if task.stage.exists():
            remove_tree(task.stage)


def _merged(task: Task, plan: pl.DataFrame, start: int) -> Merged:
    merged = Merged(start)
    is_moved = task.held is not None and task.held.start != start
    is_open = pl.col("is_open") | is_moved
    for chunk in chunks(task, plan.filter(is_open)):
        _merge_chunk(task, chunk, merged)
    closed = plan.filter(~is_open)
    merged.parts.append(closed.select("name", first="held_first", length="held_length", sha256="sha256"))
    files = [_file(task, field) for field in task.given.fields]
    lengths = closed.select("name", "held_length").iter_rows()
    merged.kept += [(name, files, (length + 1) * FLOAT_BYTES) for name, length in lengths]
    if task.mode == "all" and task.held:
        merged.n_instruments_changed += task.held.rows.join(plan, on="name", how="anti").height
    return merged


def _merge_chunk(task: Task, chunk: pl.DataFrame, merged: Merged) -> None:
    fields = task.given.fields
    series = Series(chunk["name"].to_list(), fields, chunk["first"].to_numpy(), chunk["last"].to_numpy())
    held = _read_held(task, chunk, series)
    if held and task.mode != "all":
        series.values[:] = held.values
        series.values[held.heads] = np.nan
    cut = np.flatnonzero(chunk["is_cut"].to_numpy()).tolist()
    for at in cut:
        series.erase(at, task.within)
    if chunk["is_given"].any():
        merged.n_unrepresentable += series.put(task.given.of(series.names))
    for at in cut:
        series.cut(at)
    series.state_places(merged.start)
    _write(task, series, _changed(series, held), merged)


@dataclass(frozen=True, eq=False)
class _Held:
    """What the export in force holds of a chunk, where it lies in the new slots.

    `heads` are the indices of its files' first floats, `is_read` says which files were as they were written, `firsts`
    and `lengths` are the ranges of the instruments (length 0: none).
    """

    values: Floats
    heads: npt.NDArray[np.int64]
    is_read: Flags
    firsts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def _read_held(task: Task, chunk: pl.DataFrame, series: Series) -> _Held | None:
    there = np.flatnonzero(chunk["held_first"].is_not_null().to_numpy())
    manifest = task.held
    if manifest is None or not there.size:
        return None
    values = np.full_like(series.values, np.nan)
    firsts = chunk["held_first"].fill_null(0).to_numpy()
    lengths = pl.select(pl.when(chunk["held_first"].is_not_null()).then(chunk["held_length"]).otherwise(0))
    heads = series.starts + (firsts - series.firsts)[:, None]
    is_read = np.zeros(series.starts.shape, dtype=np.bool_)
    held = _Held(values, heads[there].ravel(), is_read, firsts, lengths.to_series().to_numpy())
    hashes = chunk["sha256"].to_list()

    def read(at: int) -> None:
        targets = [values[head : head + held.lengths[at] + 1] for head in heads[at].tolist()]
        paths = [f"features/{series.names[at]}/{_file(task, name)}" for name in series.fields]
        for k, (path, target) in enumerate(zip(paths, targets, strict=True)):
            is_whole = read_into(f"{task.root}/{path}", target)
            is_read[at, k] = is_whole and target[0] == firsts[at] - manifest.start
            if not is_read[at, k] and task.mode != "all":
                raise _damaged(task, path)
        # A full export compares every bit with what it was given; the others build upon what they find.
        if task.mode != "all" and _hash(targets) != hashes[at]:
            raise _damaged(task, f"features/{series.names[at]}/*.{manifest.freq}.bin")

    each(read, there.tolist())
    return held


def _damaged(task: Task, path: str) -> StorageError:
    return StorageError(
        f"{path!r} of the export in force at {str(task.root)!r} is missing, cut or not what was written: export"
        f" {task.spec.freq} anew with mode 'all'"
    )


def _changed(series: Series, held: _Held | None) -> Flags:
    """Which files, [i, k], differ from those of the export before."""
    changed = np.ones(series.starts.shape, dtype=np.bool_)
    if held:
        is_same_range = (held.lengths == series.lengths) & (held.firsts == series.firsts + series.cut_front)
        is_same = is_same_range[:, None] & held.is_read & ~series.differs_from(held.values)
        changed[is_same] = False
    return changed


def _write(task: Task, series: Series, changed: Flags, merged: Merged) -> None:
    hashes = [""] * len(series.names)

    def write(at: int) -> None:
        files = [series.file(at, k) for k in range(len(series.fields))]
        hashes[at] = _hash(files)
        folder = f"{task.stage}/features/{series.names[at]}"
        if changed[at].any():
            make_folder(folder)
        for k in np.flatnonzero(changed[at]).tolist():
            write_new(f"{folder}/{_file(task, series.fields[k])}", files[k])

    there = series.lengths > 0
    changed &= there[:, None]
    if changed.any():
        (task.stage / "features").mkdir(parents=True, exist_ok=True)
    each(write, np.flatnonzero(there).tolist())
    names = [_file(task, field) for field in series.fields]
    for at in np.flatnonzero(there & ~changed.all(axis=1)).tolist():
        kept = [names[k] for k in np.flatnonzero(~changed[at]).tolist()]
        merged.kept.append((series.names[at], kept, (int(series.lengths[at]) + 1) * FLOAT_BYTES))
    merged.n_files_written += int(np.count_nonzero(changed))
    merged.n_instruments_changed += int(np.count_nonzero(changed.any(axis=1) | ~there))
    merged.parts.append(
        pl.DataFrame(
            {
                "name": series.names,
                "first": series.firsts + series.cut_front,
                "length": series.lengths,
                "sha256": hashes,
            },
            schema=ROWS,
        )
    )


def _hash(files: list[Floats]) -> str:
    digest = hashlib.sha256()
    for content in files:
        digest.update(content)
    return digest.hexdigest()


def _file(task: Task, field: str) -> str:
    return f"{field}.{task.spec.freq}.bin"
