"""Does an export of ours hold what its own record tells of?

Belongs here: manifests, the map of instruments and hashes, beside the files. Stays out: what any directory must hold.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from pipeline.bins.health.files import LARGEST_PLACE, Folder
from pipeline.bins.health.spec import Finding, about
from pipeline.bins.health.text import read_text
from pipeline.bins.instruments import INSTRUMENTS_FILE, read_identities
from pipeline.bins.manifest import (
    Manifest,
    calendar_path,
    export_id,
    instruments_text,
    manifest_path,
    read_manifest,
)
from pipeline.errors import InputError, StorageError

_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, eq=False)
class Record:
    """What an export says of itself at one freq: for each instrument its place, its length and its files' SHA-256."""

    manifest: Manifest
    bars: Mapping[str, tuple[int, int, str]]


def export_id_of(root: Path) -> str | None:
    """The export's name, if the directory is one of ours in its place."""
    return root.name if _ID.fullmatch(root.name) and (root / "manifests").is_dir() else None


def read_record(root: Path, freq: str) -> tuple[Record | None, list[Finding]]:
    """The record of a freq, None where there is none; and what is wrong with all texts of an export beside each other.

    A directory without manifests and map is not ours: nothing is wrong with that.
    """
    if not ((root / "manifests").is_dir() or (root / INSTRUMENTS_FILE).exists()):
        return None, []
    manifests: dict[str, Manifest] = {}
    findings: list[Finding] = []
    freqs = {path.stem for folder in ("calendars", "manifests") for path in (root / folder).glob("*") if path.is_file()}
    for one in sorted(freqs | {freq}):
        path = manifest_path(one)
        try:
            manifests[one] = _bounded(read_manifest(read_text(root / path), path))
        except OSError as error:
            findings.append(about("manifest_unreadable", f"cannot read {path[:60]}: {error.strerror}"))
        except (StorageError, OverflowError, RecursionError) as error:
            findings.append(about("manifest_unreadable", str(error)))
    if not findings:
        findings += _texts(root, manifests)
    if freq not in manifests:
        return None, findings
    manifest = manifests[freq]
    rows = manifest.rows.with_columns(place=manifest.rows["first"] - manifest.start)
    bars = {name: (place, n, sha) for name, place, n, sha in rows.select("name", "place", "length", "sha256").rows()}
    return Record(manifest, bars), findings


def _bounded(manifest: Manifest) -> Manifest:
    """The manifest, if its places are those of a calendar that a bin can state; what follows from it is written out.

    Raises:
        StorageError: they are not.
    """
    rows = manifest.rows
    n = manifest.end - manifest.start
    is_sound = rows["first"].min() >= manifest.start and rows["length"].min() > 0  # type: ignore[operator]  # no nulls
    if not is_sound or rows.null_count().sum_horizontal().item() or n > LARGEST_PLACE:
        raise StorageError(f"the manifest of {manifest.freq!r} tells of places that no calendar has")
    return manifest


def _texts(root: Path, manifests: Mapping[str, Manifest]) -> Iterator[Finding]:
    """The texts that follow from the manifests: calendars, all.txt, the map, and the export's name."""
    expected = {calendar_path(freq): manifest.calendar() for freq, manifest in manifests.items()}
    expected["instruments/all.txt"] = instruments_text(manifests.values())
    for path, content in expected.items():
        if _content(root / path) != content:
            yield about("manifest_mismatch", f"{path} is not what the manifests tell of")
    yield from _map(root, {name for manifest in manifests.values() for name in manifest.rows["name"]})
    if promised := export_id_of(root):
        files = chain(root.glob("*"), *(root.glob(f"{part}/*") for part in ("calendars", "instruments", "manifests")))
        texts = {path.relative_to(root).as_posix(): _content(path) or b"" for path in files if path.is_file()}
        if export_id(texts) != promised:
            yield about("manifest_mismatch", f"the export is named {promised}, its texts say {export_id(texts)}")


def _map(root: Path, names: set[str]) -> Iterator[Finding]:
    try:
        read_text(root / INSTRUMENTS_FILE)
        mapped = set(read_identities(root))
    except OSError as error:
        yield about("map_mismatch", f"cannot read {INSTRUMENTS_FILE}: {error.strerror}")
        return
    except (InputError, RecursionError) as error:
        yield about("map_mismatch", str(error))
        return
    for name in sorted(mapped ^ names):
        told = "the map names it, no manifest does" if name in mapped else "a manifest names it, the map does not"
        yield about("map_mismatch", told, instrument=name)


def judge_folder(folder: Folder, record: Record, *, is_thorough: bool) -> Iterator[Finding]:
    """Whether an instrument's files are those that the record tells of; their bytes only if `is_thorough`."""
    told = record.bars.get(folder.label)
    if told is None:
        yield about("manifest_mismatch", "the manifest does not tell of it", instrument=folder.label)
        return
    place, length, sha256 = told
    fields = record.manifest.fields
    is_whole = True
    for field in sorted({*fields, *folder.series}):
        one = folder.series.get(field)
        if one is not None and field in fields and (one.first, one.values.size) == (place, length):
            continue
        is_whole = False
        is_there = "there is none" if one is None else f"there are {one.values.size} bars from place {one.first}"
        words = f"{length} bars from place {place}" if field in fields else "no such field"
        yield about("manifest_mismatch", f"told of {words}; {is_there}", instrument=folder.label, field=field)
    if is_whole and is_thorough and _hash(folder, record.manifest) != sha256:
        yield about("content_mismatch", f"SHA-256 of its {len(fields)} files is not {sha256}", instrument=folder.label)


def judge_absent(seen: Iterable[str], record: Record) -> Iterator[Finding]:
    """Instruments that the record tells of and that have no folder."""
    for name in sorted(record.bars.keys() - set(seen)):
        yield about("manifest_mismatch", "the manifest tells of it, there is no folder", instrument=name)


def _hash(folder: Folder, manifest: Manifest) -> str:
    digest = hashlib.sha256()
    for field in manifest.fields:
        digest.update(_content(Path(folder.path) / f"{field}.{manifest.freq}.bin") or b"")
    return digest.hexdigest()


def _content(path: Path) -> bytes | None:
    try:
        return read_text(path)
    except OSError:
        return None
