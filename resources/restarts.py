"""When a part that died is started again.

Belongs here: the arithmetic of deaths and pauses, with the time as an argument. Stays out: who died, and starting it.
"""

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Patience:
    """How long `up` waits for what. Seconds, but for `most_deaths`.

    Attributes:
        ready: until a server that was started answers for the first time.
        first: before a part is started again; each further death doubles it.
        longest: more than that it never waits.
        well: a part that ran so long has its deaths forgotten.
        most_deaths: so many within `window` are put up with; one more, and `up` gives up.
        window: see `most_deaths`.
        hung: a part that gives no sign of life for so long is ended and started again.
    """

    ready: float = 180
    first: float = 1
    longest: float = 60
    well: float = 300
    most_deaths: int = 7
    window: float = 600
    hung: float = 120


@dataclass
class Restarts:
    """The deaths of one part.

    >>> deaths = Restarts(Patience(first=1, longest=4, well=100, most_deaths=3, window=50))
    >>> [deaths.pause_after(now, ran=1) for now in (0, 2, 5, 10)]
    [1.0, 2.0, 4, None]
    >>> deaths.pause_after(11, ran=100), deaths.pause_after(80, ran=5)
    (1.0, 1.0)
    """

    patience: Patience
    _deaths: deque[float] = field(default_factory=deque)

    def pause_after(self, now: float, ran: float) -> float | None:
        """Note a death, and return how long to wait before the next start; None: give up.

        Args:
            now: the moment of the death, on any clock that only goes forward.
            ran: how long the part had run.
        """
        if ran >= self.patience.well:
            self._deaths.clear()
        while self._deaths and self._deaths[0] <= now - self.patience.window:
            self._deaths.popleft()
        self._deaths.append(now)
        if len(self._deaths) > self.patience.most_deaths:
            return None
        return min(self.patience.first * float(2 ** (len(self._deaths) - 1)), self.patience.longest)
