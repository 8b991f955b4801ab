"""Who was started, on disk: what lets the next `up` find what a killed one left behind.

Belongs here: the file `up.json`. Stays out: starting and ending processes.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

from resources.processes import ProcessIdentity


class Roster:
    """The processes of the current `up`, by name, written before anyone relies on them.

    The file is read as hints from a process that may have died while writing it: what cannot be read is nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, ProcessIdentity] = {}

    def add(self, name: str, pid: int) -> None:
        """Note a process we just started."""
        identity = ProcessIdentity.of(pid)
        if identity is not None:
            self._entries[name] = identity
            self._write()

    def clear(self) -> None:
        """Forget everyone but ourselves."""
        self._entries = {}
        self.add("up", os.getpid())

    def left_behind(self) -> dict[str, ProcessIdentity]:
        """Return who of the last `up`, that `up` itself aside, still runs or has left children that do."""
        others = {name: each for name, each in self._read().items() if name != "up"}
        return {name: each for name, each in others.items() if each.is_alive() or each.has_left_others()}

    def holder(self) -> str:
        """Say who runs now."""
        holder = self._read().get("up")
        return "pid unknown" if holder is None else f"pid {holder.pid}"

    def _read(self) -> dict[str, ProcessIdentity]:
        try:
            return {name: ProcessIdentity(**fields) for name, fields in json.loads(self._path.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({name: asdict(identity) for name, identity in self._entries.items()}, indent=1))
        fresh.replace(self._path)
