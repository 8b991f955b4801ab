"""Exports bars into a QLib provider directory: all of them, those that are new, or those that were wrong.

Belongs here: what the three modes mean. Stays out: bytes (`series`), files and hashes (`merge`, `manifest`), the switch
and its locks (`store`).

What a directory holds is a function of the bars alone: however they came, in whichever batches and order, the bytes are
those that one full export of them gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.bins.incoming import Incoming, check_bars
from pipeline.bins.instruments import Identity
from pipeline.bins.plan import Mode
from pipeline.bins.renew import renew
from pipeline.bins.series import Places
from pipeline.bins.spec import BinsSpec
from pipeline.bins.store import reading
from pipeline.calendars import EPOCH, Span, ceil

Frame = pl.DataFrame | pl.LazyFrame

__all__ = ["Export", "export_all", "fix", "reading", "update"]


@dataclass(frozen=True)
class Export:
    """One run: what the directory holds now at this bar length, and what the run had to do for it.

    `export_id` names the whole directory, all bar lengths; `content_id` (SHA-256 of the manifest) this one alone.
    `first_time` and `last_time` are the calendar's ends.
    `n_bars` counts the rows that were given, `n_bytes` is the size of all feature files of this bar length.
    `n_instruments_changed` also counts instruments that went. `n_files_written` counts feature files; all others are
    those of the export before. `n_unrepresentable` given values are NaN because float32 cannot hold them.
    `is_written`: something changed and was put in force.
    """

    mode: Mode
    freq: str
    export_id: str
    first_time: datetime
    last_time: datetime
    n_instruments: int
    n_instruments_changed: int
    n_bars: int
    n_bytes: int
    n_files_written: int
    n_unrepresentable: int
    is_written: bool
    content_id: str = ""


def export_all(
    bars: Frame,
    identities: Mapping[str, Identity],
    directory: Path,
    spec: BinsSpec | None = None,
    *,
    origin: str = "",
    drop_damaged: bool = False,
) -> Export:
    """Make `directory` hold, at this bar length, exactly these bars.

    Other bar lengths it holds stay as they are. A file of this one that is missing or not what was written is made
    anew.

    Args:
        bars: `instrument` (see `pipeline.bins.instruments`), `event_time` (start of the bar, UTC) and one numeric
            column a field, in any order. Null and NaN are the same: no value. Without a column `factor` it is the
            spec's. A LazyFrame is read once to be checked and once a chunk of instruments; memory
            still grows with its rows: some 65 bytes a row of four fields were measured, pages of the file included.
        identities: what each name stands for: (network, pool) or (symbol,). If the directory's own map was lost, names
            of other bar lengths are looked up here.
        directory: QLib's `provider_uri`; becomes a symbolic link, the exports lie beside it (see `store`).
        spec: the fields and the grid; the standard ones if none is given.
        origin: whose bars these are, in any words. A directory holds bars of one origin.
        drop_damaged: leave other bar lengths out that are damaged, instead of refusing. Without it, damage to another
            bar length is mended by exporting that one; with it, also two that stand in each other's way.

    Raises:
        InputError: the bars are no sound series (see `pipeline.bins.incoming.check_bars`), a bar is there twice, the
            calendar is too long for a bin, or a name stands for two things.
        UsageError: `directory` is something else than a link of ours, or lies within an export, or holds another bar
            length of another origin.
        StorageFullError: no space is left.
        StorageError: the file system refused otherwise, or another bar length in the directory is damaged.

    Whatever is raised, the export in force is untouched and nothing is left behind. Killed at any moment, the directory
    is the old export or the new one, and the next run ends right. A second writer waits for the first.
    """
    spec = spec or BinsSpec()
    given = check_bars(bars, identities, spec)
    return _run("all", given, identities, directory, spec, (), origin, drop_damaged=drop_damaged)


def update(
    bars: Frame,
    identities: Mapping[str, Identity],
    directory: Path,
    spec: BinsSpec | None = None,
    *,
    within: Sequence[Span] = (),
    origin: str = "",
) -> Export:
    """Add bars and replace those that are there: the directory becomes what one full export of all of them gives.

    Only files that change are written, only instruments that may change are opened. What nobody said anything
    about stays. If the directory does not hold this bar length yet, this is `export_all`, whatever `within` says.

    Args:
        bars: as for `export_all`; with `within` there may be none.
        identities: what each name in `bars` stands for.
        directory: as for `export_all`.
        spec: as for `export_all`; it must have the fields, the calendar's start and the factor of the bars that are
            there.
        within: in these spans the given bars are all there are. Whatever else the directory holds there is taken
            away; every series that reaches into one is cut to its first and last bar (a bar has a value in some
            field), and one without a bar goes.
        origin: as for `export_all`; it must be that of the bars that are there.

    Raises:
        InputError: as for `export_all`, or no bar would be left.
        UsageError: as for `export_all`, or the spec or the origin is another one.
        StorageFullError: no space is left.
        StorageError: as for `export_all`, or an instrument that may change is not what was written (its files are
            hashed), or another file is no longer there or has another size.
    """
    spec = spec or BinsSpec()
    given = check_bars(bars, identities, spec, may_be_empty=bool(within))
    places = [(_place(span.start, spec), _place(span.end, spec)) for span in within]
    return _run("update", given, identities, directory, spec, places, origin)


def fix(
    bars: Frame,
    identities: Mapping[str, Identity],
    directory: Path,
    spec: BinsSpec | None = None,
    *,
    origin: str = "",
) -> Export:
    """Replace bars of instruments that are there, between their first and their last bar, and nothing else.

    Args:
        bars: as for `export_all`. A bar without any value takes the one that is there away.
        identities: what each name in `bars` stands for.
        directory: as for `export_all`.
        spec: as for `update`.
        origin: as for `update`.

    Raises:
        InputError: as for `export_all`, or a bar belongs to no series that is there.
        UsageError: as for `update`, or the directory does not hold this bar length.
        StorageFullError: no space is left.
        StorageError: as for `update`.
    """
    spec = spec or BinsSpec()
    return _run("fix", check_bars(bars, identities, spec), identities, directory, spec, (), origin)


def _place(moment: datetime, spec: BinsSpec) -> int:
    return (ceil(moment, spec.step) - EPOCH) // spec.step


def _run(
    mode: Mode,
    given: Incoming,
    identities: Mapping[str, Identity],
    directory: Path,
    spec: BinsSpec,
    within: Sequence[Places],
    origin: str,
    *,
    drop_damaged: bool = False,
) -> Export:
    done = renew(mode, given, identities, directory, spec, within, origin, drop_damaged=drop_damaged)
    return Export(
        mode=done.mode,
        freq=spec.freq,
        export_id=done.export_id,
        first_time=done.manifest.time(done.manifest.start),
        last_time=done.manifest.time(done.manifest.end),
        n_instruments=done.manifest.rows.height,
        n_instruments_changed=done.merged.n_instruments_changed,
        n_bars=given.n_bars,
        n_bytes=done.manifest.n_bytes,
        n_files_written=done.merged.n_files_written,
        n_unrepresentable=done.merged.n_unrepresentable,
        is_written=done.is_written,
        content_id=done.content_id,
    )
