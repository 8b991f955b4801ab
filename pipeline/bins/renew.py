"""The next export, whole: what is in force, what changes, what is linked, and the switch.

Belongs here: how the pieces make one export, all bar lengths of it. Stays out: what the modes promise (`export`).
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.bins.current import Current, damaged, read_current, texts_of
from pipeline.bins.files import each, is_plain_file, make_folder, write_new
from pipeline.bins.incoming import Incoming
from pipeline.bins.instruments import INSTRUMENTS_FILE, Identity
from pipeline.bins.manifest import INSTRUMENTS_PATH, Manifest, export_id, manifest_path
from pipeline.bins.merge import Folder, Merged, merge
from pipeline.bins.plan import Mode, Task
from pipeline.bins.series import FLOAT_BYTES, Places
from pipeline.bins.spec import BinsSpec
from pipeline.bins.store import Store
from pipeline.errors import InputError, UsageError

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Renewed:
    """What is in force now at one bar length, and what was done for it."""

    mode: Mode
    export_id: str
    content_id: str
    manifest: Manifest
    merged: Merged
    is_written: bool


def renew(
    mode: Mode,
    given: Incoming,
    identities: Mapping[str, Identity],
    directory: Path,
    spec: BinsSpec,
    within: Sequence[Places],
    origin: str,
    *,
    drop_damaged: bool = False,
) -> Renewed:
    """Do what `pipeline.bins.export` promises of `mode`; `within` are half-open stretches of places.

    Raises:
        InputError, UsageError, StorageError: as said there.
    """
    store = Store(directory)
    store.refuse_foreign()
    with store.locked() as stage:
        current = read_current(store.in_force(), spec.freq, mode, identities, drop_damaged=drop_damaged)
        held = current.manifests.get(spec.freq)
        _refuse_other_origin(mode, origin, current.manifests, spec.freq, directory)
        _refuse_other_spec(mode, spec, held, directory)
        if mode == "fix" and held:
            _refuse_outside(given, held)
        # Where nothing is held yet nothing can be taken away: this is a full export.
        task = Task(mode, given, held, current.root or stage, stage, spec, within if held else (), origin)
        if held is None and given.spans.is_empty():
            raise InputError(f"there is not one bar to export, and {str(directory)!r} holds none yet")
        merged = merge(task)
        manifests = {**current.manifests, spec.freq: merged.manifest(task)}
        texts = texts_of(manifests, _identities(manifests, identities, current, task))
        name = export_id(texts)
        is_written = merged.n_files_written > 0 or not _lie_there(texts, current.root, name)
        if is_written:
            _complete(task, merged, manifests, texts)
            _carry_lists(current.root, stage)
            store.put_in_force(stage, name)
    content_id = hashlib.sha256(texts[manifest_path(spec.freq)]).hexdigest()
    return Renewed(mode if held else "all", name, content_id, manifests[spec.freq], merged, is_written)


def _refuse_other_origin(
    mode: Mode, origin: str, manifests: Mapping[str, Manifest], freq: str, directory: Path
) -> None:
    """Bars of two origins never lie beside each other; a full export may take the place of its own bar length."""
    for held in manifests.values():
        if held.origin != origin and (mode != "all" or held.freq != freq):
            raise UsageError(
                f"{str(directory)!r} holds {held.freq} bars of {held.origin!r}, these are of {origin!r}: export them to"
                " a directory of their own"
            )


def _refuse_other_spec(mode: Mode, spec: BinsSpec, held: Manifest | None, directory: Path) -> None:
    if mode == "fix" and not held:
        raise UsageError(f"{str(directory)!r} holds no {spec.freq} bars to fix: export them first with mode 'all'")
    if mode == "all" or held is None:
        return
    fields = tuple(sorted(spec.fields))
    factor = spec.factor if "factor" in fields else None
    found, asked = (held.fields, held.calendar_start, held.factor), (fields, spec.calendar_start, factor)
    if found != asked:
        raise UsageError(
            f"{str(directory)!r} holds {spec.freq} bars of the fields {found[0]!r} with the calendar's start"
            f" {found[1]!r} and the factor {found[2]!r}, asked for were {asked[0]!r}, {asked[1]!r} and {asked[2]!r}:"
            " ask for the same, or export them anew with mode 'all'"
        )


def _refuse_outside(given: Incoming, held: Manifest) -> None:
    both = given.spans.join(held.rows, on="name", how="left", suffix="_held")
    unknown = both.filter(pl.col("length").is_null())["name"]
    if unknown.len():
        raise InputError(
            f"{unknown.len()} instruments to fix are not there, such as {unknown.head(_SHOWN).to_list()!r}:"
            " update adds instruments"
        )
    ends = pl.col("first_held") + pl.col("length")
    outside = both.filter((pl.col("first") < pl.col("first_held")) | (pl.col("last") >= ends))
    if outside.height:
        name, first, last, held_first, length = outside.select("name", "first", "last", "first_held", "length").row(0)
        raise InputError(
            f"bars to fix outside of what is there, of {outside.height} instruments, such as {name!r}: from"
            f" {held.time(first)!r} to {held.time(last)!r}, there are {held.time(held_first)!r} to"
            f" {held.time(held_first + length - 1)!r}: update adds bars"
        )


def _identities(
    manifests: Mapping[str, Manifest], given: Mapping[str, Identity], current: Current, task: Task
) -> dict[str, Identity]:
    """What every name of the next export stands for; what is carried over keeps its meaning."""
    carried = [m.rows["name"] for freq, m in manifests.items() if freq != task.spec.freq or task.mode != "all"]
    held = {name for names in carried for name in names if name in current.identities}
    told = {name: tuple(given[name]) for name in task.given.spans["name"]}
    for name in told.keys() & held:
        if told[name] != current.identities[name]:
            raise InputError(
                f"the name {name!r} stands for {current.identities[name]!r} in the export in force, and here for"
                f" {told[name]!r}: one of them must be named anew"
            )
    known = {**current.identities, **told}
    names = {name for m in manifests.values() for name in m.rows["name"]}
    if not names <= known.keys():
        raise damaged(f"{current.root}/{INSTRUMENTS_FILE}", "every bar length", task.mode)
    return {name: known[name] for name in names}


def _lie_there(texts: Mapping[str, bytes], root: Path | None, name: str) -> bool:
    if root is None or root.name != name:
        return False
    return all((root / path).is_file() and (root / path).read_bytes() == text for path, text in texts.items())


def _complete(task: Task, merged: Merged, manifests: Mapping[str, Manifest], texts: Mapping[str, bytes]) -> None:
    """Link what is as before, and write the texts."""
    (task.stage / "features").mkdir(parents=True, exist_ok=True)
    folders: list[Folder] = list(merged.kept)
    for freq, manifest in manifests.items():
        if freq != task.spec.freq:
            files = [f"{field}.{freq}.bin" for field in manifest.fields]
            lengths = manifest.rows.select("name", "length").iter_rows()
            folders += [(name, files, (length + 1) * FLOAT_BYTES) for name, length in lengths]

    def link(folder: Folder) -> None:
        name, files, n_bytes = folder
        make_folder(f"{task.stage}/features/{name}")
        for file in files:
            path = f"features/{name}/{file}"
            if not is_plain_file(f"{task.root}/{path}", n_bytes):
                raise damaged(f"{task.root}/{path}", file.split(".")[1], task.mode)
            os.link(f"{task.root}/{path}", f"{task.stage}/{path}")

    each(link, folders)
    for path, text in texts.items():
        (task.stage / path).parent.mkdir(exist_ok=True)
        write_new(f"{task.stage}/{path}", text)


def _carry_lists(root: Path | None, stage: Path) -> None:
    """Copy the lists of instruments that are not ours: somebody put them beside ours, as QLib's universes are named."""
    for path in sorted(root.glob("instruments/*.txt")) if root else ():
        ours = stage / INSTRUMENTS_PATH
        if path.name != ours.name and (path.is_file() or path.is_symlink()):
            shutil.copy2(path, ours.with_name(path.name), follow_symlinks=False)
