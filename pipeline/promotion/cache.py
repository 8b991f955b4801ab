"""Model files on the disk, so that predictions go on while the registry is away.

Belongs here: keeping the files of those who stand somewhere, and giving one out only if it is what the ledger says.
Stays out: who stands where (`standing`), and the registry itself.

One file holds a version: a line with the SHA-256 of the next line, a line of JSON (its name, version, run and tags),
and the model's bytes, which must hash to what the ledger says. It is written beside, flushed and renamed, so that a
reader sees the old file, the new one or none. The cache is a copy and nothing else: deleting it costs a download.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from pipeline.errors import InputError, RegistryError
from pipeline.lake import disk
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed
from pipeline.promotion.versions import Fed, LoadedModel, RegisteredVersion, proven

KEPT: Final = 4
"""Files a model keeps: one for each place that a version may stand at."""
_SUFFIX: Final = ".model"


def load_in_charge(
    registry: Registry, cache_folder: Path, deployed: Deployed, *, fed: Fed | None = None
) -> LoadedModel:
    """The model that the ledger names, from the cache if it is there and sound, else from the registry.

    Args:
        registry: asked only where the cache does not do.
        cache_folder: where files are kept; it need not exist yet.
        deployed: the version, and the SHA-256 of its file, as the ledger says.
        fed: what the caller will feed it with; None: not compared.

    Raises:
        RegistryError: the registry's file is not what the ledger says, or it cannot be asked any more.
        RegistryAwayError: it is not in the cache and the registry cannot be reached.
        StorageError: the cache cannot be written.
    """
    entry = _cached(cache_folder, deployed)
    if entry is None:
        loaded = registry.load(deployed.model_name, deployed.version, expected_sha256=deployed.model_sha256)
        _keep(cache_folder, deployed, loaded)
        entry = loaded.registered, loaded.model_bytes
    return proven(*entry, deployed.model_sha256, fed)


def kept_version(cache_folder: Path, deployed: Deployed) -> RegisteredVersion | None:
    """What the registry told of a version when its file was kept; None where no sound file of it lies there."""
    found = _cached(cache_folder, deployed)
    return found[0] if found is not None else None


def _place(folder: Path, deployed: Deployed) -> Path:
    """One file for each version and file: two versions may be the same bytes, made from other training sets."""
    name = hashlib.sha256(deployed.model_name.encode()).hexdigest()[:16]
    return folder / name / f"{deployed.model_sha256}-{deployed.version}{_SUFFIX}"


def _cached(folder: Path, deployed: Deployed) -> tuple[RegisteredVersion, bytes] | None:
    """The version and its bytes, if a sound file of it lies there; one that is not sound is deleted."""
    path = _place(folder, deployed)
    try:
        content = path.read_bytes()
        entry, model_bytes = _read(content)
        proven(entry, model_bytes, deployed.model_sha256)
        if (entry.model_name, entry.version) != (deployed.model_name, deployed.version):
            raise InputError(f"read {str(path)!r}: it holds {entry!r}")
    except FileNotFoundError:
        return None
    except (InputError, RegistryError):
        path.unlink(missing_ok=True)
        return None
    _touch(path)
    return entry, model_bytes


def _read(content: bytes) -> tuple[RegisteredVersion, bytes]:
    """The version and the bytes that a cached file holds.

    Raises:
        InputError: it was cut off or changed, or is no such file.
    """
    checksum, _, rest = content.partition(b"\n")
    head, _, model_bytes = rest.partition(b"\n")
    if hashlib.sha256(head).hexdigest().encode() != checksum:
        raise InputError("read a cached model: its head is not what was written")
    try:
        told = json.loads(head)
        entry = RegisteredVersion.from_tags(told["model_name"], told["version"], told["run_id"], told["tags"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"read a cached model: its head is none of ours, {head!r}") from error
    return entry, model_bytes


def _written(loaded: LoadedModel) -> bytes:
    entry = loaded.registered
    told = {
        "model_name": entry.model_name,
        "version": entry.version,
        "run_id": entry.run_id,
        "tags": dict(entry.tags),
    }
    head = json.dumps(told, sort_keys=True).encode()
    return b"\n".join((hashlib.sha256(head).hexdigest().encode(), head, loaded.model_bytes))


def _keep(folder: Path, deployed: Deployed, loaded: LoadedModel) -> None:
    """Put the file into the cache, and sweep out what was not used for longest."""
    path = _place(folder, deployed)
    attempted = f"keep {deployed.model_name!r} version {deployed.version} in {str(folder)!r}"
    with disk.reporting(attempted), disk.locked(folder / ".lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_bytes(_written(loaded))
        disk.fsync(beside)
        beside.replace(path)
        disk.fsync(path.parent)
        _sweep(path.parent, path)


def _sweep(folder: Path, newest: Path) -> None:
    """Leave the files used last, `newest` among them, and nothing that a killed process left half written."""
    files = [path for path in folder.iterdir() if path != newest]
    by_use = sorted((path for path in files if path.suffix == _SUFFIX), key=_used_at, reverse=True)
    for path in {*files} - {*by_use[: KEPT - 1]}:
        path.unlink(missing_ok=True)


def _used_at(path: Path) -> int:
    """When it was used last; 0 where somebody deleted it just now."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _touch(path: Path) -> None:
    """Note that the file was used; whoever may only read the folder used it as well."""
    try:
        os.utime(path)
    except OSError:
        return
