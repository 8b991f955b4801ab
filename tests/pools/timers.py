"""Clocks to wait on without waiting."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


class VirtualTimer:
    """Stands still until somebody sleeps; remembers the sleeps."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self.moment

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.moment += timedelta(seconds=seconds)


@dataclass
class FastTimer:
    """Runs `speed` times as fast as the machine's clock since `began` (Unix time); the same in every process."""

    began: float
    speed: float
    last: threading.local = field(default_factory=threading.local)

    def now(self) -> datetime:
        self.last.moment = NOON + timedelta(seconds=(time.time() - self.began) * self.speed)
        return self.last.moment

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.speed)
