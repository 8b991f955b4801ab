"""How alerts are told: pauses, patience and sizes. Which alerts, and to whom, says the rule file (`rules`)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.errors import UsageError


@dataclass(frozen=True)
class AlertsSpec:
    """Pauses, patience and sizes.

    Attributes:
        first_pause: after a failed try, before the next one to that receiver; doubled with every failure in a row.
        longest_pause: where the doubling ends.
        give_up_after: an alert that could not be told for so long is given up, and that is an alert of its own.
        send_seconds: all that one receiver may take in one delivery, its process's start included.
        enrol_back: a receiver named for the first time is told what happened up to so long before.
        cool_down: between two beginnings of one thing that comes and goes.
        settle: how long a thing must be over before it is called over.
        told_late: what the tables tell of a moment longer ago is history: a replay, or the first start.
        bundle_lines: alerts that a message of many names one by one.
        longest_body: characters of a message, where the channel takes more.

    Raises:
        UsageError: a pause is not positive, or the longest is below the first.
    """

    first_pause: timedelta = timedelta(seconds=30)
    longest_pause: timedelta = 15 * MINUTE
    give_up_after: timedelta = 3 * DAY
    send_seconds: float = 20.0
    enrol_back: timedelta = DAY
    cool_down: timedelta = HOUR
    settle: timedelta = 10 * MINUTE
    told_late: timedelta = DAY
    bundle_lines: int = 10
    longest_body: int = 3_500

    def __post_init__(self) -> None:
        if not timedelta(0) < self.first_pause <= self.longest_pause:
            raise UsageError(f"pauses must grow from above zero, found {self.first_pause!r} to {self.longest_pause!r}")
        if self.give_up_after < DAY:
            raise UsageError(f"nothing is given up within a day, found give_up_after {self.give_up_after!r}")

    def pause(self, n_failures: int) -> timedelta:
        """How long to leave a receiver alone after so many failures in a row.

        >>> [AlertsSpec().pause(n) / MINUTE for n in (0, 1, 2, 5, 6, 99)]
        [0.0, 0.5, 1.0, 8.0, 15.0, 15.0]
        """
        if n_failures == 0:
            return timedelta(0)
        doublings = 1 << min(n_failures - 1, 20)
        return min(self.longest_pause, self.first_pause * doublings)


ALERTING: Final = AlertsSpec()
