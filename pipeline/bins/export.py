"""Puts an export on the disk so that a reader sees the old one or the new one, never a mixture.

Belongs here: files, the switch, and cleaning up. Stays out: what the files hold (`layout`).

    DIRECTORY              a symbolic link to the export in force; QLib's `provider_uri`
    DIRECTORY.exports/
        EXPORT_ID/         one whole export, named by its content
        previous           a link to the export before: QLib resolves links when it starts, so whoever began
                           with that one reads on undisturbed
        lock               held by the one writer
        tmp-*              being written or removed; left by a kill, swept by the next run

An export becomes whole outside, is flushed to the disk, renamed, and put in force by replacing the link.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.bins.layout import Layout, lay_out
from pipeline.bins.spec import BinsSpec
from pipeline.errors import StorageError, StorageFullError, UsageError


@dataclass(frozen=True)
class Export:
    """One export: what it holds, and whether this run had to write it.

    `n_bars` counts bars that hold a trade; `n_bytes` is the size of the feature files; `first_time` and `last_time` are
    the calendar's ends (None: no bar at all). `n_unrepresentable` values are NaN because float32 cannot hold them.
    """

    export_id: str
    n_instruments: int
    n_bars: int
    n_bytes: int
    first_time: datetime | None
    last_time: datetime | None
    n_unrepresentable: int
    is_written: bool


def export_all(bars: pl.DataFrame, directory: Path, spec: BinsSpec | None = None) -> Export:
    """Make `directory` the QLib provider directory of exactly these bars.

    The same bars give the same bytes and the same `export_id`; if that export is already in force nothing is
    written. Killed at any moment, the directory is the old export or the new one, and the next run ends
    right. A second writer waits for the first.

    Args:
        bars: hourly bars of one source, as `pipeline.bins.bars.hourly_bars` gives them; none give an empty export.
        directory: becomes a symbolic link; the exports lie beside it, in `DIRECTORY.exports`.
        spec: the fields and the grid; the standard ones if none is given.

    Raises:
        UsageError: the bars mix sources, or `directory` is something else than a link of ours.
        InputError: see `pipeline.bins.layout.lay_out`; nothing was written.
        StorageFullError: no space is left; the export in force is untouched.
        StorageError: the file system refused otherwise; the export in force is untouched.
    """
    layout = lay_out(bars, spec or BinsSpec())
    export_id = layout.export_id()
    if directory.exists() and not directory.is_symlink():
        raise UsageError(f"{str(directory)!r} exists and is no link to an export: move it away or choose another place")
    store = directory.with_name(directory.name + ".exports")
    with _storage_errors(directory), _locked(store):
        is_written = not _is_in_force(layout, store / export_id, directory)
        try:
            if is_written:
                _write_whole(layout, store, export_id)
                _put_in_force(store / export_id, store, directory)
        finally:
            # Last, not first: ext4 creates files many times slower just after it removed as many.
            _sweep(store, directory)
    return Export(
        export_id,
        len(layout.names),
        layout.n_bars,
        layout.n_bytes,
        layout.first_time,
        layout.last_time,
        layout.n_unrepresentable,
        is_written,
    )


@contextmanager
def _storage_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"no space is left to export bins to {str(directory)!r}; the export in force is intact: free some space"
            ) from error
        raise StorageError(f"cannot export bins to {str(directory)!r}: {error}") from error


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    store.mkdir(parents=True, exist_ok=True)
    # The kernel gives the lock back when its holder dies, so a kill leaves nothing to clean here.
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_in_force(layout: Layout, export: Path, directory: Path) -> bool:
    if not directory.exists() or directory.resolve() != export.resolve():
        return False
    # The name promises the content; sizes show at once whether somebody has removed or cut files since.
    try:
        return all(_size(f"{export}/{path}") == len(content) for path, content in layout.files())
    except FileNotFoundError:
        return False


def _size(path: str) -> int:
    return os.stat(path).st_size  # noqa: PTH116 - asked 39,000 times, and building a Path costs more than the answer


def _write_whole(layout: Layout, store: Path, export_id: str) -> None:
    # Named by the content: what a kill left there are files of this very export, and they are written over.
    tmp = store / f"tmp-{export_id}"
    _write_files(layout, tmp)
    # One flush of everything costs half a second where 39,000 single ones cost twelve. Linux waits for it.
    os.sync()
    if (store / export_id).exists():
        _remove(store / export_id)
    tmp.rename(store / export_id)
    _fsync_folder(store)


def _write_files(layout: Layout, root: Path) -> None:
    made = ""
    for path, content in layout.files():
        folder = path.rpartition("/")[0]
        if folder != made:
            (root / folder).mkdir(parents=True, exist_ok=True)
            made = folder
        _write_file(f"{root}/{path}", content)


def _write_file(path: str, content: bytes | memoryview) -> None:
    # Bare system calls: pathlib and buffered files would cost more than the writing, 39,000 times.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def _put_in_force(export: Path, store: Path, directory: Path) -> None:
    if directory.is_symlink():
        _link(directory.readlink().name, store / "previous")
    _link(f"{store.name}/{export.name}", directory)
    _fsync_folder(directory.parent)


def _link(target: str, link: Path) -> None:
    fresh = link.with_name(f"{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _sweep(store: Path, directory: Path) -> None:
    """Remove every export that is neither in force nor the one before, and what a kill left behind."""
    kept = {link.readlink().name for link in (directory, store / "previous") if link.is_symlink()}
    for entry in store.iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry.name not in kept:
            _remove(entry)


def _remove(export: Path) -> None:
    # Renamed first: a removal that is cut short must not leave half an export under a whole one's name.
    doomed = export if export.name.startswith("tmp-") else export.rename(export.with_name(f"tmp-gone-{export.name}"))
    shutil.rmtree(doomed)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
