"""The recordings a data folder replays: one link or folder each under `DATA_DIR/recordings`.

Belongs here: which recordings there are and which hours they speak of. Stays out: what is in them (`recording`).
"""

import hashlib
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.calendars import HOUR, Span, floor
from pipeline.errors import InputError, UsageError
from pipeline.pools.recording import RecordedFrames, Recording, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec


class Shelf:
    """All recordings registered under one folder, opened when asked for.

    Args:
        folder: where the links lie; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def register(self, path: Path) -> Recording:
        """Put the recording at `path` on the shelf under its own name; the files stay where they are.

        Raises:
            InputError: `path` is no readable recording.
            UsageError: another recording has that name already.
        """
        recording = open_recording(path)
        link = self.folder / recording.name
        if link.resolve() == path.resolve():
            return recording
        if link.is_symlink() and not link.exists():
            link.unlink()  # what it pointed to is gone; the name is free again
        if link.exists() or link.is_symlink():
            raise UsageError(
                f"a recording named {recording.name!r} is registered from {str(link.resolve())!r}, not from "
                f"{str(path)!r}: rename the folder, or remove the link {str(link)!r}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve(), target_is_directory=True)
        return recording

    def recordings(self) -> tuple[Recording, ...]:
        """Every recording on the shelf, in the order of their names.

        Raises:
            InputError: one of them can no longer be read; the message says which.
        """
        if not self.folder.is_dir():
            return ()
        return tuple(open_recording(path) for path in sorted(self.folder.iterdir()) if not path.name.startswith("."))


def read_all(recordings: tuple[Recording, ...], spec: PoolsSpec, now: datetime) -> RecordedFrames:
    """The frames of several recordings as one; refused records keep their source.

    Raises:
        UsageError: there is no recording to read.
    """
    if not recordings:
        raise UsageError(
            "no recording is registered, so there is nothing to read: run `poolcast recordings import DIR`"
        )
    read = [read_recording(recording, spec, now) for recording in recordings]
    return RecordedFrames(
        pl.concat(r.raw_pools for r in read), pl.concat(r.pools for r in read), pl.concat(r.quarantine for r in read)
    )


def recorded_span(recording: Recording) -> Span:
    """The whole hours a recording speaks of, from its earliest to its latest update.

    Raises:
        InputError: it holds no update at all.
    """
    bounds = (
        pl.scan_parquet(recording.path / "reserves.parquet")
        .select(first=pl.col("time").min(), last=pl.col("time").max())
        .collect()
    )
    first, last = bounds.row(0)
    if first is None:
        raise InputError(f"recording {recording.name!r} holds no reserve update, so there is no time to replay")
    return Span(floor(first, HOUR), floor(last, HOUR) + HOUR)


def content_at(recordings: dict[str, Span], hour: datetime) -> str:
    """A hash of the recordings that speak of `hour`: what an hour of raw records depends on.

    Args:
        recordings: content hash of each recording -> the hours it speaks of.
    """
    speaking = sorted(sha256 for sha256, span in recordings.items() if span.start <= hour < span.end)
    return hashlib.sha256(" ".join(speaking).encode()).hexdigest()
