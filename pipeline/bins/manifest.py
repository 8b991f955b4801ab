"""What an export holds at one bar length: each instrument's range and the hash of its files.

Belongs here: that list, in memory and as a text beside the bins, and the hash that names an export. Stays out: the
values themselves (`series`), and how files are made (`files`).

    manifests/60min.tsv      the first line is JSON: {"calendar_start", "factor", "fields", "first", "freq", "last",
                             "origin"}; then one line an instrument: name, place in the calendar, bars from first to
                             last, SHA-256

With it an update knows what a directory holds without opening a feature file. Places are counted in bars since
1970 in memory (a calendar may move) and from the calendar's start on the disk (as the bins state them).
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.bins.files import is_plain_file
from pipeline.bins.instruments import INSTRUMENTS_FILE
from pipeline.bins.spec import FREQS, step_of, time_format
from pipeline.bins.store import reading
from pipeline.calendars import EPOCH
from pipeline.errors import StorageError

INSTRUMENTS_PATH: Final = "instruments/all.txt"
_NAMED: Final = 5
ROWS: Final = pl.Schema({"name": pl.String, "first": pl.Int64, "length": pl.Int64, "sha256": pl.String})


@dataclass(frozen=True, eq=False)
class Manifest:
    """One bar length of an export.

    `rows` has the columns of `ROWS`, sorted by name: the place of the first bar, how many bars up to the last, and the
    SHA-256 over the instrument's files in the order of `fields`, one after another. `start` is the place at which the
    calendar starts, `calendar_start` says whether that was asked for. `factor` is the spec's, None without such a
    field. `origin` says whose bars these are, in the words of whoever exported them.
    """

    freq: str
    fields: tuple[str, ...]
    calendar_start: datetime | None
    start: int
    rows: pl.DataFrame
    factor: float | None = None
    origin: str = ""

    @property
    def end(self) -> int:
        """The place of the calendar's last bar."""
        return int(self.rows.select((pl.col("first") + pl.col("length")).max()).item()) - 1

    def time(self, place: int) -> datetime:
        """When the bar at this place starts, UTC."""
        return EPOCH + place * step_of(self.freq)

    @property
    def n_bytes(self) -> int:
        """Size of all feature files: a place and the values, four bytes each."""
        return int(self.rows.select((pl.col("length") + 1).sum()).item()) * 4 * len(self.fields)

    def paths(self, name: str) -> list[str]:
        """The files of one instrument, below the export, in the order of `fields`."""
        return [f"features/{name}/{field}.{self.freq}.bin" for field in self.fields]

    def calendar(self) -> bytes:
        """The calendar as QLib reads it: every bar from the start to the last, naive UTC, one a line."""
        times = pl.datetime_range(
            self.time(self.start).replace(tzinfo=None), self.time(self.end).replace(tzinfo=None),
            step_of(self.freq), eager=True,
        )  # fmt: skip
        lines: str = times.dt.strftime(time_format(self.freq)).str.join("\n").item()
        return lines.encode() + b"\n"

    def to_bytes(self) -> bytes:
        """The text that lies beside the bins."""
        head = {
            "calendar_start": self.calendar_start and self.calendar_start.isoformat(),
            "factor": self.factor,
            "fields": self.fields,
            "first": self.time(self.start).isoformat(),
            "freq": self.freq,
            "last": self.time(self.end).isoformat(),
            "origin": self.origin,
        }
        text = io.BytesIO()
        self.rows.with_columns(pl.col("first") - self.start).write_csv(text, separator="\t", include_header=False)
        return json.dumps(head).encode() + b"\n" + text.getvalue()


def manifest_path(freq: str) -> str:
    """Where the list of a bar length lies, below the export."""
    return f"manifests/{freq}.tsv"


def calendar_path(freq: str) -> str:
    """Where the calendar of a bar length lies, below the export."""
    return f"calendars/{freq}.txt"


def read_manifest(raw: bytes, where: str) -> Manifest:
    """The list that `Manifest.to_bytes` wrote.

    Raises:
        StorageError: it is something else, or was cut.
    """
    try:
        head, _, rest = raw.partition(b"\n")
        said = json.loads(head)
        rows = pl.read_csv(io.BytesIO(rest), separator="\t", has_header=False, schema=ROWS, quote_char=None)
        start = datetime.fromisoformat(said["calendar_start"]) if said["calendar_start"] else None
        place = (datetime.fromisoformat(said["first"]) - EPOCH) // step_of(said["freq"])
        rows, about = rows.with_columns(pl.col("first") + place), (said["factor"], said["origin"])
        found = Manifest(said["freq"], tuple(said["fields"]), start, place, rows, *about)
        if found.to_bytes() == raw:
            return found
        reason = "it is not what was written"
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        pl.exceptions.PolarsError,
    ) as error:
        reason = str(error)
    raise StorageError(f"cannot read the manifest {where!r}: {reason}; export this bar length anew with mode 'all'")


def instruments_text(manifests: Iterable[Manifest]) -> bytes:
    """`instruments/all.txt`: name, first and last bar over all bar lengths, tab separated, sorted by name.

    Days alone are written as days; beside another bar length every time has its time of day.
    """
    held = list(manifests)
    times = time_format("day") if all(m.freq == "day" for m in held) else time_format("60min")
    spans = pl.concat(
        m.rows.select(
            "name",
            (pl.col("first") * step).cast(pl.Datetime("us")).alias("first"),
            ((pl.col("first") + pl.col("length") - 1) * step).cast(pl.Datetime("us")).alias("last"),
        )
        for m in held
        for step in (step_of(m.freq) // step_of("5min") * 300_000_000,)
    )
    lines = (
        spans.group_by("name")
        .agg(pl.col("first").min(), pl.col("last").max())
        .sort("name")
        .select("name", pl.col("first", "last").dt.strftime(times))
    )
    text = io.BytesIO()
    lines.write_csv(text, separator="\t", include_header=False, quote_style="never")
    return text.getvalue()


def export_id(texts: dict[str, bytes]) -> str:
    """The name of an export: SHA-256 over every file that is no feature file, sorted by path.

    Each counts as its path, a zero byte, its size in eight bytes (big-endian) and its content. The manifests among
    them hold the hashes of all feature files, so the name promises those too.
    """
    digest = hashlib.sha256()
    for path in sorted(texts):
        digest.update(path.encode() + b"\0" + len(texts[path]).to_bytes(8, "big") + texts[path])
    return digest.hexdigest()


def text_paths(freqs: Iterable[str]) -> list[str]:
    """Every file of an export that is no feature file, if it holds these bar lengths."""
    held = list(freqs)
    return [INSTRUMENTS_PATH, INSTRUMENTS_FILE, *map(calendar_path, held), *map(manifest_path, held)]


def freqs_in(root: Path) -> list[str]:
    """The bar lengths of which an export has a manifest or a calendar."""
    return [freq for freq in FREQS if any((root / path(freq)).exists() for path in (manifest_path, calendar_path))]


def missing_files(directory: Path, freq: str) -> list[str]:
    """A few files that the export in force promises at this bar length and that are not there, or of another size.

    One look at each feature file, none is opened; the texts beside them are read and hashed, and named if that is not
    the export's name. Somebody who only changed values is not found out (`health` does that).

    Args:
        directory: the provider directory.
        freq: the bar length.

    Returns:
        Paths below the export; none: everything is in its place.

    Raises:
        StorageError: there is no export, or it cannot be read.
    """
    with reading(directory) as root:
        return list(islice(_missing(root, freq), _NAMED))


def _missing(root: Path, freq: str) -> Iterator[str]:
    paths = text_paths({*freqs_in(root), freq})
    lost = [path for path in paths if not is_plain_file(f"{root}/{path}")]
    if lost:
        yield from lost
        return
    texts = {path: (root / path).read_bytes() for path in paths}
    if export_id(texts) != root.name:
        yield from paths
        return
    manifest = read_manifest(texts[manifest_path(freq)], manifest_path(freq))
    yield from lost_files(root, manifest)


def lost_files(root: Path, manifest: Manifest) -> Iterator[str]:
    """Feature files of one bar length that are not there, are no plain files, or have another size than promised."""
    for name, length in manifest.rows.select("name", "length").iter_rows():
        yield from (path for path in manifest.paths(name) if not is_plain_file(f"{root}/{path}", 4 * (length + 1)))
