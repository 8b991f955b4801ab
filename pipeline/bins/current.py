"""The export in force as a writer finds it: whole, or damaged, and then whether there is a way on.

Belongs here: what may be built upon or carried over, and the words where it may not. Stays out: what is made of it
(`renew`), and one's own look at a directory (`health`).
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.bins.instruments import INSTRUMENTS_FILE, Identity, instruments_json, read_identities
from pipeline.bins.manifest import (
    INSTRUMENTS_PATH,
    Manifest,
    calendar_path,
    export_id,
    freqs_in,
    instruments_text,
    lost_files,
    manifest_path,
    read_manifest,
    text_paths,
)
from pipeline.bins.plan import Mode
from pipeline.errors import InputError, StorageError


@dataclass(frozen=True, eq=False)
class Current:
    """The export in force: its bar lengths, and what its names stand for. Without a root there is none."""

    root: Path | None
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    identities: Mapping[str, Identity] = field(default_factory=dict)


def damaged(what: str, freq: str, mode: Mode) -> StorageError:
    """The words for something that is not as it was written, of this bar length, in this mode."""
    way = f"export {freq} anew with mode 'all'"
    if mode == "all":
        way += ", or, where that meets damage too, leave damaged lengths out with drop_damaged=True (--drop-damaged)"
    return StorageError(f"{what} is missing or not what was written: {way}")


def read_current(
    root: Path | None, freq: str, mode: Mode, identities: Mapping[str, Identity], *, drop_damaged: bool
) -> Current:
    """What a run may build upon.

    An update or a fix builds upon all of it, so its texts must be what was written. A full export makes this bar length
    anew and carries the others over: those must be whole, what is derived from them need not be.

    Args:
        root: the export in force, None if there is no link.
        freq: the bar length that is exported.
        mode: what is done to it.
        identities: what names stand for; fills in for a map that was lost.
        drop_damaged: in mode `all`, other bar lengths that are damaged are left behind.

    Raises:
        StorageError: what is needed is missing, or is not what was written.
    """
    if root is None or (mode == "all" and not root.is_dir()):
        return Current(None)
    if not root.is_dir():
        raise damaged(str(root), freq, mode)
    return _carried(root, freq, identities, drop_damaged) if mode == "all" else _whole(root, freq, mode)


def _whole(root: Path, freq: str, mode: Mode) -> Current:
    manifests = {one: _manifest(root, one, mode) for one in freqs_in(root)}
    try:
        identities = read_identities(root)
    except InputError as error:
        raise damaged(f"{root}/{INSTRUMENTS_FILE}", freq, mode) from error
    paths = text_paths(manifests)
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        raise damaged(f"{root}/{missing[0]}", freq, mode)
    if export_id({path: (root / path).read_bytes() for path in paths}) != root.name:
        raise damaged(f"a calendar, manifest or list of instruments of {root}", freq, mode)
    return Current(root, manifests, identities)


def _carried(root: Path, freq: str, identities: Mapping[str, Identity], drop_damaged: bool) -> Current:
    manifests: dict[str, Manifest] = {}
    for one in freqs_in(root):
        # Nothing of its own bar length is carried over; that of others may be dropped.
        with suppress(*[StorageError] if one == freq or drop_damaged else []):
            manifests[one] = _manifest(root, one, "all")
    known: dict[str, Identity] = {}
    with suppress(InputError):
        known = read_identities(root)
    is_proven = export_id(texts_of(manifests, known)) == root.name
    if not is_proven:
        known |= {name: tuple(identity) for name, identity in identities.items()}
    for one in manifests.keys() - {freq}:
        fault = _fault(root, manifests[one], known, is_proven=is_proven, may_drop=drop_damaged)
        if fault and not drop_damaged:
            raise damaged(fault, one, "all")
        if fault:
            del manifests[one]
    return Current(root, manifests, known)


def _fault(
    root: Path, manifest: Manifest, known: Mapping[str, Identity], *, is_proven: bool, may_drop: bool
) -> str | None:
    """Why a bar length cannot be carried over. That every file is in its place is also seen when it is linked."""
    unknown = next((name for name in manifest.rows["name"] if name not in known), None)
    if unknown is not None:
        return f"{root}/{INSTRUMENTS_FILE} (say in `identities` what {unknown!r} and all others stand for)"
    if may_drop and (path := next(lost_files(root, manifest), None)):
        return f"{root}/{path}"
    # Some text is not what was written. Whether it is this manifest, only the files themselves can tell.
    return None if is_proven else _other_content(root, manifest)


def _other_content(root: Path, manifest: Manifest) -> str | None:
    for path in lost_files(root, manifest):
        return f"{root}/{path}"
    for name, sha256 in manifest.rows.select("name", "sha256").iter_rows():
        digest = hashlib.sha256()
        for path in manifest.paths(name):
            digest.update((root / path).read_bytes())
        if digest.hexdigest() != sha256:
            return f"{root}/{manifest_path(manifest.freq)}, or a file of {name!r},"
    return None


def texts_of(manifests: Mapping[str, Manifest], identities: Mapping[str, Identity]) -> dict[str, bytes]:
    """Every file of an export that is no feature file, by its path."""
    texts = {INSTRUMENTS_FILE: instruments_json(identities)}
    if manifests:
        texts[INSTRUMENTS_PATH] = instruments_text(manifests.values())
    for freq, manifest in manifests.items():
        texts |= {calendar_path(freq): manifest.calendar(), manifest_path(freq): manifest.to_bytes()}
    return texts


def _manifest(root: Path, freq: str, mode: Mode) -> Manifest:
    path = root / manifest_path(freq)
    if not path.is_file():
        raise damaged(str(path), freq, mode)
    try:
        return read_manifest(path.read_bytes(), str(path))
    except StorageError as error:
        raise damaged(str(path), freq, mode) from error
