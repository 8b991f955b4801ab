"""Bins from the lake: everything, only the days that changed since the last export, or a patch.

Belongs here: which bars an export of each mode is given. Stays out: what changed (`changed_days`), making bars
(`lake_bars`, `bars`), and what the writer promises (`export`): atomic, byte for byte the same as a full export.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import polars as pl

from pipeline.bins.bars import holds_a_trade
from pipeline.bins.changed_days import Base, Standing, base_of, standing
from pipeline.bins.export import Export, export_all, fix, update
from pipeline.bins.lake_bars import Bars, LakeBars, Progress, span_of_days
from pipeline.bins.patch import with_what_went
from pipeline.bins.plan import Mode
from pipeline.bins.records import Exported
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import Span, spans_of
from pipeline.errors import InputError, StorageError, UsageError
from pipeline.lake import Lake
from pipeline.tables import CANDLES


def sources_in(lake: Lake) -> list[str]:
    """Whose bars the lake holds. Cheap: most files say in the log whose rows they hold."""
    stored = lake.listing(CANDLES)
    if stored is None:
        return []
    is_of_one = (pl.col("first_source") == pl.col("last_source")).fill_null(value=False)
    named, others = stored.files.filter(is_of_one), stored.files.filter(~is_of_one)
    found = {*named["first_source"], *stored.rows(others).select(pl.col("source").unique()).collect()["source"]}
    one_bar = {source: lake.scan(CANDLES, sources=[source]).filter(holds_a_trade()).head(1) for source in found}
    return sorted(source for source, bar in one_bar.items() if bar.collect(engine="streaming").height)


def export_from_lake(
    lake: Lake,
    directory: Path,
    source: str,
    spec: BinsSpec,
    *,
    mode: Mode,
    span: Span | None = None,
    instruments: Collection[str] = (),
    known_at: datetime,
    drop_damaged: bool = False,
    progress: Progress = lambda _span, _n_bars: None,
) -> Exported:
    """Bring a QLib provider directory to what the lake holds of one source, at one version of its tables.

    `all` writes the bars asked for and no others. `update` without a selection reads the days that changed since the
    export in force, by the record in BIN_EXPORTS, and leaves the directory as `all` would, byte for byte: bars that
    were revised or taken back included. Where the record does not allow it, it does what `all` does, and says why.
    With a selection, `update` adds or replaces the bars asked for; what the lake no longer holds goes only where a
    whole span is asked for. `fix` patches bars in the range of instruments that are there, and nothing else; a bar that
    the lake no longer holds becomes NaN.

    The caller puts `Exported.row` on record; until then the next update exports everything.

    Args:
        lake: where the candles lie, and the features if a field is one.
        directory: the provider directory; one holds one source, at any number of bar lengths.
        source: whose bars.
        spec: bar length and fields.
        mode: see above.
        span: only bars that start within it.
        instruments: only these pools, by the name they have in QLib or by address.
        known_at: now, UTC; a bar that is not over by then is left out.
        drop_damaged: see `export_all`.
        progress: told of each stretch that was read.

    Raises:
        UsageError: the directory holds bars of another source, there is no such field or instrument, a fix has no
            selection or lies outside of what is there, or the writer refuses the directory.
        InputError: the source has no bar (of those asked for).
        StorageError: the lake is damaged, or the disk is full; the export in force is intact.
    """
    if mode == "fix" and span is None and not instruments:
        raise UsageError("a fix patches named bars: name a span, instruments, or both")
    # Of two at once, one could put bars of an older version beside the other's.
    with lake.locked(f"bins-{directory.name}"):
        held = standing(directory, spec.freq)
        if held and held.origin not in (None, source):
            raise UsageError(
                f"{str(directory)!r} holds {spec.freq} bars of {held.origin!r}, these are of {source!r}: move it away"
                " or name another directory"
            )
        run = _Run(LakeBars.newest(lake, source, spec, known_at), directory, held, progress, drop_damaged)
        if span is not None or instruments:
            return run.selection(mode, span, instruments)
        return run.update() if mode == "update" else run.all("")


@dataclass(frozen=True)
class _Run:
    """One export: what is read, where it goes, and what is put on record of it."""

    at: LakeBars
    directory: Path
    held: Standing | None
    progress: Progress
    drop_damaged: bool

    def all(self, reason: str) -> Exported:
        """Every bar."""
        days = self.at.days()
        bars = self.at.read(days, self.progress)
        self._require(bars)
        export = export_all(
            bars.frame, bars.identities, self.directory, self.at.spec,
            origin=self.at.source, drop_damaged=self.drop_damaged,
        )  # fmt: skip
        return self._told(export, reason, days, n_bars_held=export.n_bars)

    def update(self) -> Exported:
        """The days that changed, or everything where they cannot be told."""
        base = base_of(self.at, self.held)
        if isinstance(base, str):
            return self.all(f"{base}: everything was exported")
        since = f"since version {base.row['lake_version']} of the candles"
        if not base.days:
            return self._told(_as_before(base), f"nothing changed {since}", (), n_bars_held=base.row["n_bars_held"])
        bars = self.at.read(base.days, self.progress)
        n_bars_held = self._held(base, bars)
        spans = spans_of(hour for day in base.days for hour in span_of_days(day, day).hours())
        export = update(bars.frame, bars.identities, self.directory, self.at.spec, origin=self.at.source, within=spans)
        n = len(base.days)
        reason = f"{n} day{'' if n == 1 else 's'} may have changed {since}"
        around = Span(spans[0].start, spans[-1].end)
        return self._told(export, reason, base.days, worked_on=around, n_bars_held=n_bars_held)

    def selection(self, mode: Mode, span: Span | None, instruments: Collection[str]) -> Exported:
        """The bars that were named."""
        pools = self.at.pools_called(instruments) if instruments else None
        days = self.at.days(span)
        bars = self.at.read(days, self.progress, pools)
        if span is not None:
            in_span = pl.col("event_time").is_between(span.start, span.end, closed="left")
            bars = replace(bars, frame=bars.frame.filter(in_span))
        given = (self.directory, self.at.spec)
        if mode == "fix":
            n_bars = bars.frame.height
            bars = with_what_went(bars, *given, span, None if pools is None else pools["instrument"].to_list())
            self._require(bars)
            export = replace(fix(bars.frame, bars.identities, *given, origin=self.at.source), n_bars=n_bars)
        elif mode == "update":
            within = [span] if span is not None and pools is None else []
            export = update(bars.frame, bars.identities, *given, origin=self.at.source, within=within)
        else:
            self._require(bars)
            export = export_all(
                bars.frame, bars.identities, *given, origin=self.at.source, drop_damaged=self.drop_damaged
            )
        return self._told(export, "", days, worked_on=span, is_whole=False)

    def _told(
        self, export: Export, reason: str, days: Sequence[date], *, worked_on: Span | None = None,
        n_bars_held: int | None = None, is_whole: bool = True,
    ) -> Exported:  # fmt: skip
        about = (self.directory.name, len(days), worked_on, is_whole, n_bars_held)
        return Exported(export, reason, self.at, *about)

    def _held(self, base: Base, bars: Bars) -> int | None:
        """Bars in the directory after the update, None where what was there before cannot be counted any more."""
        before = base.row["n_bars_held"]
        spec, version = replace(self.at.spec, fields=("close",)), base.row["lake_version"]
        until = base.row["known_at"]
        older = replace(self.at, spec=spec, until=until, candles_version=version, features_version=None)
        try:
            return None if before is None else before - older.read(base.days).frame.height + bars.frame.height
        except StorageError:
            return None

    def _require(self, bars: Bars) -> None:
        if bars.frame.is_empty():
            raise InputError(
                f"{self.at.source!r} has no bar to export, of those asked for: nobody traded there, or nothing was told"
            )


def _as_before(base: Base) -> Export:
    """What is put on record of an export that found nothing to do."""
    row = base.row
    return Export(
        mode="update", freq=row["freq"], export_id=row["export_id"], first_time=row["first_time"],
        last_time=row["last_time"], n_instruments=row["n_instruments"], n_instruments_changed=0, n_bars=0,
        n_bytes=row["n_bytes"], n_files_written=0, n_unrepresentable=0, is_written=False,
        content_id=row["content_id"],
    )  # fmt: skip
