"""The recordings a data folder replays: one link or folder each under `DATA_DIR/recordings`.

Belongs here: which recordings there are, reading them together, and which hours they speak of. Stays out: what is in
one of them (`recording`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from pipeline.calendars import HOUR, Span, floor
from pipeline.errors import InputError, UsageError
from pipeline.lake import Lake
from pipeline.pools.recording import RecordedFrames, Recording, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import POOLS, QUARANTINE, RESERVES


@dataclass(frozen=True)
class Told:
    """A recording that was read: what it tells, and the whole hours its accepted updates speak of."""

    recording: Recording
    frames: RecordedFrames
    span: Span


def read_told(recording: Recording, spec: PoolsSpec, now: datetime) -> Told:
    """Read a recording; a time that was refused does not stretch the hours it speaks of.

    Raises:
        InputError: it cannot be read, or none of its updates can be true.
    """
    frames = read_recording(recording, spec, now)
    if frames.reserves.is_empty():
        reasons = dict(frames.quarantine.group_by("reason").len().sort("reason").iter_rows())
        raise InputError(f"none of the updates of recording {recording.name!r} can be true; refused: {reasons!r}")
    first, last = frames.reserves["event_time"].sort().gather([0, -1])
    return Told(recording, frames, Span(floor(first, HOUR), floor(last, HOUR) + HOUR))


class Shelf:
    """All recordings registered under one folder, opened when asked for.

    Args:
        folder: where the links lie; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def register(self, path: Path, spec: PoolsSpec, now: datetime) -> Told:
        """Read the recording at `path` to its end, then put it on the shelf; the files stay where they are.

        Raises:
            InputError: `path` is no readable recording, or nothing in it can be true.
            UsageError: another recording has its name or its source already.
        """
        told = read_told(open_recording(path), spec, now)
        link = self.folder / told.recording.name
        if link.resolve() == path.resolve():
            return told
        if link.is_symlink() and not link.exists():
            link.unlink()  # what it pointed to is gone; the name is free again
        if link.exists() or link.is_symlink():
            raise UsageError(
                f"a recording named {told.recording.name!r} is registered from {str(link.resolve())!r}, not from "
                f"{str(path)!r}: rename the folder, or remove the link {str(link)!r}"
            )
        twins = [r.path for r in self.recordings() if r.source == told.recording.source]
        if twins:
            raise UsageError(
                f"{str(path)!r} and {str(twins[0])!r} both are {told.recording.source!r}, so their pools could not be "
                f"told apart: simulate with another seed, or remove {str(twins[0])!r}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve(), target_is_directory=True)
        return told

    def recordings(self) -> tuple[Recording, ...]:
        """Every recording on the shelf, in the order of their names.

        Raises:
            InputError: one of them can no longer be read; the message says which.
        """
        if not self.folder.is_dir():
            return ()
        return tuple(self._opened(path) for path in sorted(self.folder.iterdir()) if not path.name.startswith("."))

    def _opened(self, path: Path) -> Recording:
        try:
            return open_recording(path)
        except InputError as error:
            raise InputError(
                f"a registered recording cannot be read: {error}. Bring it back, or remove {str(path)!r}"
            ) from error

    def read(self, spec: PoolsSpec, now: datetime) -> list[Told]:
        """Everything every recording on the shelf tells; nothing where there is none.

        Raises:
            InputError: one of them can no longer be read.
        """
        return [read_told(recording, spec, now) for recording in self.recordings()]

    def content(self) -> str:
        """A hash of everything on the shelf: what is made from recordings as a whole depends on it.

        Raises:
            InputError: one of them can no longer be read.
        """
        return _hash_of(self.recordings())


def together(told: Sequence[Told]) -> RecordedFrames:
    """The frames of several recordings as one; every row names its source."""
    return RecordedFrames(
        pl.concat([RESERVES.empty(), *(t.frames.reserves for t in told)]),
        pl.concat([POOLS.empty(), *(t.frames.pools for t in told)]),
        pl.concat([QUARANTINE.empty(), *(t.frames.quarantine for t in told)]),
    )


def content_at(told: Sequence[Told], hour: datetime) -> str:
    """A hash of the recordings that speak of `hour`: what an hour of raw records depends on."""
    return _hash_of([t.recording for t in told if t.span.start <= hour < t.span.end])


def replace_pools(lake: Lake, pools: pl.DataFrame) -> None:
    """Bring POOLS to what the recordings tell; pools of other sources that were born in between stay as they are."""
    if pools.is_empty():
        return
    first, last = pools["created_at"].sort().gather([0, -1])
    span = Span(first, last + timedelta(microseconds=1))
    ours = pools["source"].unique().to_list()
    if lake.scan(POOLS, span, sources=ours).collect().sort(POOLS.key).equals(pools.sort(POOLS.key)):
        return
    # Rows of others stay where they are. Killed between the two commits, the next run finds ours missing.
    lake.discard(POOLS, ours, span)
    lake.append(POOLS, pools)


def _hash_of(recordings: Sequence[Recording]) -> str:
    told = sorted(f"{recording.source} {recording.sha256}" for recording in recordings)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
