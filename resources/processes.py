"""Which process is meant, and how processes are ended.

Belongs here: the identity of a process (a number alone is reused), and ending process trees. Stays out: which
processes we start, and why (`services`, `launcher`).
"""

import os
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

# Dagster shows tags under its own hidden prefix only to those who ask: they are for the launcher, not for people.
_TAG_PREFIX = ".dagster/poolcast_process_"
_FORGOTTEN_SECONDS = 5
_DEAD = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from every later one with the same number.

    Attributes:
        pid: the process number.
        started: when it started, in clock ticks since boot (where there is no `/proc`: seconds since the epoch).
        boot: the id of the boot it belongs to.
        host: the name of its machine.
    """

    pid: int
    started: str
    boot: str
    host: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the identity of a living process, or None if there is none (a zombie is dead)."""
        with suppress(psutil.NoSuchProcess, OSError):
            process = psutil.Process(pid)
            if process.status() not in _DEAD:
                return cls(pid, _started(process), boot_id(), socket.gethostname())
        return None

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """Read the identity that `tags` wrote; None if it is not there or not whole."""
        found = {name: tags.get(_TAG_PREFIX + name, "") for name in ("pid", "started", "boot", "host")}
        # Whoever launches a run may give it any tags; the kernel's numbers have seven digits at most.
        if not all(found.values()) or not re.fullmatch(r"[0-9]{1,7}", found["pid"]):
            return None
        return cls(int(found["pid"]), found["started"], found["boot"], found["host"])

    def tags(self) -> dict[str, str]:
        """Return the identity as Dagster run tags."""
        return {_TAG_PREFIX + name: str(value) for name, value in asdict(self).items()}

    def is_here(self) -> bool:
        """Tell whether it ran on this machine, in this boot or an earlier one."""
        return self.host == socket.gethostname()

    def has_left_others(self) -> bool:
        """Tell whether it is dead while members of the session it led still run."""
        return (
            self.is_here() and self.boot == boot_id() and not psutil.pid_exists(self.pid) and bool(family([self.pid]))
        )

    def is_alive(self) -> bool:
        """Tell whether this very process still runs on this machine."""
        return self == type(self).of(self.pid)


def boot_id() -> str:
    """Return what names this boot of this machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else str(int(psutil.boot_time()))


def family(pids: Iterable[int], *, is_own_session_only: bool = False) -> list[psutil.Process]:
    """Return the living processes among `pids`, their descendants and the members of the sessions they lead or led.

    A dead leader's session outlives it, and its number is not given to anyone else as long as a member lives.
    `is_own_session_only` leaves out descendants that lead a session of their own: the daemon's runs are its children.
    """
    wanted = set(pids)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter() if wanted else ():
        with suppress(psutil.NoSuchProcess):
            is_meant = process.pid in wanted or _session(process.pid) in wanted
            if is_meant and process.status() not in _DEAD:
                children = () if is_own_session_only else process.children(recursive=True)
                for member in (process, *children):
                    found.setdefault(member.pid, member)
    return list(found.values())


def end(pids: Iterable[int], grace_seconds: float, *, is_own_session_only: bool = False) -> list[int]:
    """Ask processes to stop, wait, and kill what is left of them and of their family.

    `pids` themselves are asked first (SIGTERM), or those they left behind if they are dead: a server takes its own
    workers down in its own order. Whom it forgot is asked when it is gone.

    Returns:
        The numbers of the processes that had to be killed.
    """
    asked = set(pids)
    members = family(asked, is_own_session_only=is_own_session_only)
    leaderless = asked - {member.pid for member in members}
    first = [member for member in members if member.pid in asked or _session(member.pid) in leaderless]
    _terminate(first)
    _, alive = psutil.wait_procs(first, timeout=grace_seconds)
    rest = [member for member in members if member not in first]
    if not alive:
        # Whoever should have taken them down is gone, and some servers leave a code server behind.
        _terminate(rest)
    _, left = psutil.wait_procs(rest, timeout=0 if alive else min(grace_seconds, _FORGOTTEN_SECONDS))
    alive += left
    # Descendants started while we waited are taken too.
    late = family((member.pid for member in alive), is_own_session_only=is_own_session_only)
    alive = list({member.pid: member for member in (*alive, *late)}.values())
    for member in alive:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=5)
    return [member.pid for member in alive]


def _terminate(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _started(process: psutil.Process) -> str:
    # Ticks since boot do not move when the wall clock is set; psutil's create_time does.
    stat = Path(f"/proc/{process.pid}/stat")
    if stat.exists():
        return stat.read_text().rpartition(")")[2].split()[19]
    return f"{process.create_time():.2f}"
