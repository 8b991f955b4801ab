"""Where exports rest: a reader sees the old one or the new one, never a mixture.

Belongs here: the switch, locks, and cleaning up. Stays out: what an export consists of (`merge`), and calls of the
system that Python has no name for (`file_system`).

    DIRECTORY              a symbolic link to the export in force; QLib's `provider_uri`
    DIRECTORY.exports/
        EXPORT_ID/         one whole export, named by its content; an `instruments/MARKET.txt` that somebody put there,
                           QLib's way to name a universe, is his: every later export has it, no export is named by it
        previous           a link to the export before: QLib resolves links when it starts, so whoever began
                           with that one reads on undisturbed
        lock               held by the one writer; what it says shows that the folder is ours
        tmp-*              being written or removed; left by a kill, swept by the next run

An export becomes whole outside, is flushed to the disk, renamed, and put in force by replacing the link. What cannot
be removed afterwards is left to the next run: the export has been made, and that is what counts.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Final
from uuid import uuid4

from pipeline.bins.file_system import flush, fsync_folder, spread_out
from pipeline.bins.files import all_files, remove_tree
from pipeline.errors import StorageError, StorageFullError, UsageError

_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PASSING: Final = re.compile(r"tmp-(next-[0-9a-f]{32}|gone-[0-9]+-[0-9a-f]{64})", re.ASCII)
_MARK: Final = b"exports of poolcast\n"


@dataclass(frozen=True)
class Store:
    """The exports of one provider directory."""

    directory: Path

    @property
    def root(self) -> Path:
        """Where the exports lie."""
        return self.directory.with_name(self.directory.name + ".exports")

    def refuse_foreign(self) -> None:
        """Touch nothing that is not ours.

        Raises:
            UsageError: the directory, or the place for its exports, holds something else.
        """
        link = self.directory
        if link.name in ("", "..") or "\0" in str(link):
            raise UsageError(f"{str(link)!r} has no name of its own to put exports beside: name the directory itself")
        with _storage_errors(link):
            _refuse_within_exports(link)
            target = link.readlink() if link.is_symlink() else None
            if target is None and link.exists():
                raise UsageError(
                    f"{str(link)!r} exists and is no link to an export: move it away or choose another place"
                )
            if target and (target.parts[:-1] != (self.root.name,) or not _ID.fullmatch(target.name)):
                raise UsageError(
                    f"{str(link)!r} links to {str(target)!r}, which is no export of ours: choose another place"
                )
            if self.root.is_symlink():
                raise UsageError(
                    f"{str(self.root)!r} is a link, and two directories must not share their exports: link"
                    f" {str(link.parent)!r} instead, or choose another place"
                )
            if self.root.exists() and not (target or _is_marked(self.root)):
                raise UsageError(f"{str(self.root)!r} exists and holds no exports of ours: move it away")

    def in_force(self) -> Path | None:
        """The export in force, if there is a link; it may lead nowhere when somebody removed what it led to."""
        return self.root / self.directory.readlink().name if self.directory.is_symlink() else None

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """Be the one writer. What a kill left half done is gone afterwards, and so is what this run leaves.

        Yields:
            The stage, where the next export becomes whole; it is not there yet.
        """
        with _storage_errors(self.directory):
            lock, is_new = _lock_file(self.root)
            try:
                try:
                    _mark(lock)
                    spread_out(self.root)
                    # First what a kill left, which might fill the disk; last what this run made superfluous.
                    self._sweep()
                    yield self.root / f"tmp-next-{uuid4().hex}"
                finally:
                    self._sweep()
                    if is_new:
                        self._vanish_if_empty()
            finally:
                os.close(lock)

    def put_in_force(self, stage: Path, export_id: str) -> None:
        """Make what lies at the stage the export in force."""
        flush(self.root)
        export = self.root / export_id
        if export.exists() and not _is_same(stage, export):
            _aside(export)
        if not export.exists():
            stage.rename(export)
            fsync_folder(self.root)
        if self.directory.is_symlink():
            self._link(self.directory.readlink().name, self.root / "previous")
        self._link(f"{self.root.name}/{export_id}", self.directory)
        fsync_folder(self.directory.parent)

    def _link(self, target: str, link: Path) -> None:
        # Made among our own files: beside the directory there may be somebody else's of any name.
        fresh = self.root / "tmp-link"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(link)

    def _sweep(self) -> None:
        """Remove every export that nobody may be reading, and what a kill left behind: nothing that is not ours.

        What the system will not remove stays: another run may be allowed to.
        """
        kept = {link.readlink().name for link in (self.directory, self.root / "previous") if link.is_symlink()}
        for entry in list(self.root.iterdir()):
            with suppress(OSError):
                if entry.is_symlink():
                    if entry.name == "tmp-link":
                        entry.unlink()
                elif (_PASSING.fullmatch(entry.name) or _ID.fullmatch(entry.name)) and entry.name not in kept:
                    _remove_unless_read(entry)

    def _vanish_if_empty(self) -> None:
        # Bars that were refused leave no trace where there was nothing before.
        if not self.directory.is_symlink() and [entry.name for entry in self.root.iterdir()] == ["lock"]:
            (self.root / "lock").unlink()
            self.root.rmdir()


@contextmanager
def reading(directory: Path) -> Iterator[Path]:
    """The export in force, resolved and held: it stays whole and in place until the block ends, whatever is exported.

    Calendars, instruments and features read below the path that is given belong together. Holding costs a writer
    nothing; the export is removed by a later run.

    Raises:
        UsageError: no file can have such a name.
        StorageError: there is no export, or it cannot be read.
    """
    if "\0" in str(directory):
        raise UsageError(f"no directory can be named {str(directory)!r}: name one that holds an export")
    with _storage_errors(directory, "read"):
        export, handle = _held(directory)
    try:
        yield export
    finally:
        os.close(handle)


def _held(directory: Path) -> tuple[Path, int]:
    while True:
        export = Path(os.path.realpath(directory))
        try:
            handle = os.open(export, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Swept between the two lines above: the link leads elsewhere by now, unless it leads nowhere.
            if Path(os.path.realpath(directory)) == export:
                raise
            continue
        fcntl.flock(handle, fcntl.LOCK_SH)
        # A sweep that was first has renamed it; one that comes now sees the lock.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), export.stat()):
                return export, handle
        os.close(handle)


@contextmanager
def _storage_errors(directory: Path, verb: str = "export bins to") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"no space is left to export bins to {str(directory)!r}; the export in force is intact: free some space"
            ) from error
        raise StorageError(f"cannot {verb} {str(directory)!r}: {error}") from error


def _refuse_within_exports(link: Path) -> None:
    """An export is replaced as a whole: what lay below it would go with it."""
    above = link.parent.resolve().parts
    for folder, name in pairwise(above):
        if folder.endswith(".exports") and (_ID.fullmatch(name) or _PASSING.fullmatch(name)):
            raise UsageError(
                f"{str(link)!r} lies within the export {name!r} in {folder!r}, which is swept one day: choose another"
                " place"
            )


def _is_marked(root: Path) -> bool:
    """Whether the folder for exports is ours to sweep: empty, or with a lock of ours.

    A kill may come between making the lock and marking it: then it is empty, and alone.
    """
    if not root.is_dir():
        return False
    try:
        names = {entry.name for entry in islice(root.iterdir(), 2)}
        lock = root / "lock"
        if not lock.is_file() or lock.is_symlink():
            return not names
        with lock.open("rb") as file:
            said = file.read(len(_MARK) + 1)
    except FileNotFoundError:
        # A writer whose bars were refused has just left no trace.
        return True
    return said == _MARK or (said == b"" and names <= {"lock"})


def _made_folder(root: Path) -> bool:
    """Make a folder, and those above it; whether it was not there."""
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        root.mkdir()
    except FileExistsError:
        return False
    return True


def _lock_file(root: Path) -> tuple[int, bool]:
    """The lock, taken; and whether its folder was not there before."""
    is_new = False
    while True:
        is_new |= _made_folder(root)
        # The kernel gives the lock back when its holder dies, so a kill leaves nothing to clean here.
        handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), (root / "lock").stat()):
                return handle, is_new
        # The writer before left no trace, its lock included: this one is nobody's.
        os.close(handle)


def _mark(lock: int) -> None:
    if os.pread(lock, len(_MARK), 0) != _MARK:
        os.pwrite(lock, _MARK, 0)


def _remove_unless_read(export: Path) -> None:
    handle = os.open(export, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(export)
    except BlockingIOError:
        return
    finally:
        os.close(handle)


def _remove(export: Path) -> None:
    # Renamed first: a removal that is cut short must not leave half an export under a whole one's name.
    remove_tree(export if export.name.startswith("tmp-") else _aside(export))


def _aside(export: Path) -> Path:
    names = (export.with_name(f"tmp-gone-{n}-{export.name}") for n in count())
    # Somebody may still be reading one that was put aside before.
    return export.rename(next(name for name in names if not name.exists()))


def _is_same(one: Path, other: Path) -> bool:
    paths = sorted(all_files(one))
    if paths != sorted(all_files(other)):
        return False
    return all(_is_same_file(one / path, other / path) for path in paths)


def _is_same_file(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.samefile(other) or one.read_bytes() == other.read_bytes()
