"""The budget of calls: a sliding window on the virtual clock.

Belongs here: admitting or refusing a call. Stays out: what a refusal looks like on the wire (`responses`).
"""

import math
from collections import deque
from typing import Final

SECOND_US: Final = 1_000_000
WINDOW_US: Final = 60 * SECOND_US


class SlidingWindow:
    """At most `calls` admitted calls in any (t - 60 s, t]. Refused calls use up nothing.

    >>> window = SlidingWindow(2)
    >>> [window.admit(second * SECOND_US) for second in (0, 10, 20, 59, 60)]
    [None, None, 40, 1, None]
    """

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._admitted: deque[int] = deque()

    def admit(self, moment_us: int) -> int | None:
        """None if the call is admitted, else the whole seconds after which one will be."""
        while self._admitted and self._admitted[0] <= moment_us - WINDOW_US:
            self._admitted.popleft()
        if len(self._admitted) < self._calls:
            self._admitted.append(moment_us)
            return None
        return max(1, math.ceil((self._admitted[0] + WINDOW_US - moment_us) / SECOND_US))
