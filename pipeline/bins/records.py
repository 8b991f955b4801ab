"""An export of the lake's bars as a row of `BIN_EXPORTS`.

Belongs here: what is put on record of an export. Stays out: what a later update makes of it (`changed_days`).
"""

from dataclasses import asdict, dataclass

import polars as pl

from pipeline.bins.changed_days import fields_text, fingerprint
from pipeline.bins.export import Export
from pipeline.bins.lake_bars import LakeBars
from pipeline.calendars import Span
from pipeline.tables import BIN_EXPORTS


@dataclass(frozen=True)
class Exported:
    """One export from the lake, and all that its row on record says.

    Attributes:
        export: what the directory holds now, and what was done.
        reason: why this mode and not the one asked for, or what an update found.
        at: which rows of the lake were read.
        directory: the provider directory's name.
        n_days: days of candles that were read.
        worked_on: the stretch that was brought up to date; None: everything was, or nothing had to be.
        is_whole: the export holds every bar that the lake held, and no other.
        n_bars_held: bars in the directory at this bar length; None where nobody counted.
    """

    export: Export
    reason: str
    at: LakeBars
    directory: str
    n_days: int
    worked_on: Span | None
    is_whole: bool
    n_bars_held: int | None

    def in_words(self) -> str:
        """What was done, for a log."""
        done, why = self.export, f" ({self.reason})" if self.reason else ""
        return (
            f"{done.mode}{why}: {done.n_bars:,} bars of {self.n_days:,} days read, {done.n_instruments_changed:,} of "
            f"{done.n_instruments:,} instruments and {done.n_files_written:,} files written"
        )

    def row(self, seconds: float) -> pl.DataFrame:
        """The row of BIN_EXPORTS, for an export that took so long."""
        said = {
            **asdict(self.export),
            "source": self.at.source,
            "directory": self.directory,
            "known_at": self.at.until,
            "fields": fields_text(self.at),
            "reason": self.reason,
            "n_days": self.n_days,
            "range_start": self.worked_on and self.worked_on.start,
            "range_end": self.worked_on and self.worked_on.end,
            "seconds": seconds,
            "is_whole": self.is_whole,
            "n_bars_held": self.n_bars_held,
            "lake_version": self.at.candles_version,
            "features_version": self.at.features_version,
            "fingerprint": fingerprint(self.at),
        }
        return pl.DataFrame([{name: said[name] for name in BIN_EXPORTS.schema}], schema=BIN_EXPORTS.schema)
