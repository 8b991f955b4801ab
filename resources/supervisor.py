"""Keeping parts running: what dies or hangs is started again, with growing pauses, until that is of no use.

Belongs here: the loop that `poolcast up` spends its life in, and what it says. Stays out: what a part is (`parts`), how
long the pauses are (`restarts`), and asking slow questions (`caretaker`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rich.console import Console

from pipeline.calendars import Clock
from pipeline.errors import ServiceError
from resources.caretaker import Caretaker
from resources.parts import Part, tail
from resources.restarts import Patience, Restarts
from resources.roster import Restart, Roster

DATABASE = "the database"
"""The name under which the caretaker asks whether the database answers."""

_POLL_SECONDS = 0.25


@dataclass
class _Kept:
    """A part, and how it fares."""

    part: Part
    restarts: Restarts
    started_at: float = field(default_factory=time.monotonic)
    start_at: float | None = None


class Supervisor:
    """Watches parts that were started, in the order in which they are given."""

    def __init__(
        self,
        parts: Sequence[Part],
        caretaker: Caretaker,
        roster: Roster,
        console: Console,
        clock: Clock,
        patience: Patience,
        *,
        before_restart: Mapping[str, Callable[[], object]],
        needs_no_database: Sequence[str] = (),
    ) -> None:
        """`before_restart`: what is done, by name of the part, when the dead one is gone and no new one is there."""
        self._kept = [_Kept(part, Restarts(patience)) for part in parts]
        self._caretaker = caretaker
        self._roster = roster
        self._console = console
        self._clock = clock
        self._patience = patience
        self._before_restart = before_restart
        self._needs_no_database = frozenset(needs_no_database)
        self._was_away = False

    def watch(self, stop: Sequence[int]) -> str | None:
        """Keep everything running until a signal is noted in `stop`.

        Returns:
            The obituary of a part that died too often; None after a signal.
        """
        while not stop:
            self._tell_of_database()
            for kept in self._kept:
                obituary = self._look_at(kept)
                if obituary is not None:
                    return obituary
            if not self._caretaker.is_working():
                # Whoever starts `up` again gets a whole one; this one would no longer see what hangs.
                return "Whoever asks the parts for signs of life has died; the traceback above says of what."
            time.sleep(_POLL_SECONDS)
        return None

    def _look_at(self, kept: _Kept) -> str | None:
        now, name = time.monotonic(), kept.part.name
        if kept.start_at is not None:
            is_due = now >= kept.start_at and (name in self._needs_no_database or not self._is_database_away())
            return self._start_again(kept) if is_due else None
        if not kept.part.is_running():
            return self._plan(kept, f"{name} died ({kept.part.halt()})")
        silent = self._caretaker.silent_seconds(name)
        # One that is only starting may take its time.
        limit = self._patience.hung if self._caretaker.has_answered(name) else self._patience.ready
        if silent >= limit:
            kept.part.halt()
            return self._plan(kept, f"{name} was not well for {silent:.0f} s and was ended")
        return None

    def _plan(self, kept: _Kept, what: str) -> str | None:
        now = time.monotonic()
        pause = kept.restarts.pause_after(now, now - kept.started_at)
        if pause is None:
            log = kept.part.log
            return f"{what}, and did so too often. The end of {str(log)!r}:\n{tail(log)}"
        kept.start_at = now + pause
        self._roster.note(Restart(self._clock.now(), kept.part.name, what))
        self._say(f"{what}. It is started again in {pause:g} s; its last words are in {str(kept.part.log)!r}.")
        return None

    def _start_again(self, kept: _Kept) -> str | None:
        kept.start_at, kept.started_at = None, time.monotonic()
        self._before_restart.get(kept.part.name, lambda: None)()
        self._caretaker.forget(kept.part.name)
        try:
            kept.part.start()
        except (ServiceError, OSError) as error:
            return self._plan(kept, f"{kept.part.name} could not be started ({error})")
        self._say(f"{kept.part.name} was started again.")
        return None

    def _tell_of_database(self) -> None:
        if self._is_database_away() != self._was_away:
            self._was_away = not self._was_away
            self._say("The database does not answer." if self._was_away else "The database answers again.")

    def _is_database_away(self) -> bool:
        return self._caretaker.silent_seconds(DATABASE) > 0

    def _say(self, text: str) -> None:
        say(self._console, f"{self._clock.now():%H:%M:%S} {text}")


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print what a person should know; a terminal that is gone, or a full disk behind it, ends nothing.

    Rich makes a SystemExit of a pipe that nobody reads.
    """
    with suppress(OSError, SystemExit):
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
