"""Who was started, on disk: what lets the next `up` find what a killed one left behind.

Belongs here: the file `up.json`, for the next `up` and for `poolcast status`. Stays out: starting and ending processes.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from resources.processes import ProcessIdentity

_HOLDER = "up"
_MOST_RESTARTS = 100


@dataclass(frozen=True)
class Restart:
    """A part that was started again: when, which, why."""

    at: datetime
    name: str
    why: str


class Roster:
    """The processes of the current `up`, by name, written before anyone relies on them, and its last restarts.

    The file is read as hints from a process that may have died while writing it: what cannot be read is nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, ProcessIdentity] = {}
        self._restarts: list[Restart] = []
        self._is_ready = False

    def add(self, name: str, pid: int) -> None:
        """Note a process we just started."""
        identity = ProcessIdentity.of(pid)
        if identity is not None:
            self._entries[name] = identity
            self._write()

    def pid(self, name: str) -> int | None:
        """Return the number of a process we started, by its name."""
        identity = self._entries.get(name)
        return None if identity is None else identity.pid

    def note(self, restart: Restart) -> None:
        """Note that a part died and is to be started again."""
        self._restarts = [*self._restarts, restart][-_MOST_RESTARTS:]
        self._write()

    def note_ready(self) -> None:
        """Note that everything that was started has answered."""
        self._is_ready = True
        self._write()

    def clear(self) -> None:
        """Forget everyone but ourselves."""
        self._entries, self._restarts, self._is_ready = {}, [], False
        self.add(_HOLDER, os.getpid())

    def left_behind(self) -> dict[str, ProcessIdentity]:
        """Return who of the last `up`, that `up` itself aside, still runs or has left children that do."""
        others = {name: each for name, each in self.processes().items() if name != _HOLDER}
        return {name: each for name, each in others.items() if each.is_alive() or each.has_left_others()}

    def holder(self) -> str:
        """Say who runs now."""
        holder = self.processes().get(_HOLDER)
        return "pid unknown" if holder is None else f"pid {holder.pid}"

    def running(self) -> ProcessIdentity | None:
        """Return the `up` that runs now, if one does."""
        holder = self.processes().get(_HOLDER)
        return holder if holder is not None and holder.is_alive() else None

    def is_starting(self) -> bool:
        """Tell whether an `up` runs whose servers have not all answered yet."""
        return self.running() is not None and not self._read().get("is_ready", False)

    def dead(self) -> list[str]:
        """Return the parts that are noted and do not run."""
        return [name for name, each in self.processes().items() if name != _HOLDER and not each.is_alive()]

    def processes(self) -> dict[str, ProcessIdentity]:
        """Return who is noted on disk, the `up` itself included."""
        try:
            return {name: ProcessIdentity(**fields) for name, fields in self._read()["processes"].items()}
        except (KeyError, TypeError, AttributeError):
            return {}

    def restarts(self) -> list[Restart]:
        """Return the last restarts noted on disk, the oldest first."""
        try:
            told = self._read()["restarts"]
            return [Restart(datetime.fromisoformat(each["at"]), each["name"], each["why"]) for each in told]
        except (KeyError, TypeError, ValueError):
            return []

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        told = {
            "processes": {name: asdict(identity) for name, identity in self._entries.items()},
            "is_ready": self._is_ready,
            "restarts": [{**asdict(each), "at": each.at.isoformat()} for each in self._restarts],
        }
        # A full disk must not end what it cannot record.
        with suppress(OSError):
            fresh.write_text(json.dumps(told, indent=1))
            fresh.replace(self._path)
