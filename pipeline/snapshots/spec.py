"""What the sampler's science is: the grid, the tiers, how long a pool is followed.

Belongs here: every number that decides which snapshots exist. Stays out: how they are computed.
"""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.calendars import DAY, MINUTE
from pipeline.errors import UsageError
from pipeline.tables import WINDOWS_MINUTES


@dataclass(frozen=True)
class Tier:
    """Pools with a reserve of at least `reserve_usd` are seen every `interval_minutes`.

    `is_exclusive` leaves out the bound itself: more than `reserve_usd`.
    """

    reserve_usd: float
    interval_minutes: int
    is_exclusive: bool = False


@dataclass(frozen=True)
class SnapshotsSpec:
    """The sampler: on a UTC grid, richer pools are seen more often, and newborn ones at every grid point.

    `tiers` run from the richest to the poorest; what none of them takes, and what has no known reserve, is seen
    every `idle_minutes`. That is also the sampler's heartbeat: each interval divides it and it divides a day, so
    every pool has a snapshot at each of its multiples and no decision reaches further back than one heartbeat.

    Raises:
        UsageError: an interval breaks that rule, or a window or interval does not lie on the grid.
    """

    grid_minutes: int = 5
    tiers: tuple[Tier, ...] = (Tier(100_000.0, 5, is_exclusive=True), Tier(10_000.0, 15), Tier(1_000.0, 60))
    idle_minutes: int = 240
    newborn_minutes: int = 60
    follow_days: int = 7

    def __post_init__(self) -> None:
        intervals = [tier.interval_minutes for tier in self.tiers]
        off_beat = [minutes for minutes in intervals if self.idle_minutes % minutes]
        if off_beat or DAY % (self.idle_minutes * MINUTE):
            raise UsageError(
                f"each interval must divide idle_minutes and that a day, found {intervals!r} and "
                f"{self.idle_minutes!r}: choose intervals that do"
            )
        off_grid = [m for m in (*intervals, self.idle_minutes, *WINDOWS_MINUTES.values()) if m % self.grid_minutes]
        if off_grid:
            raise UsageError(f"minutes {off_grid!r} do not lie on the grid of {self.grid_minutes!r} minutes")
        bounds = [tier.reserve_usd for tier in self.tiers]
        if bounds != sorted(bounds, reverse=True):
            raise UsageError(f"tiers must run from the richest to the poorest, found {bounds!r}: reorder them")

    @property
    def grid(self) -> timedelta:
        """Distance between two grid points."""
        return self.grid_minutes * MINUTE

    @property
    def follow(self) -> timedelta:
        """How long after its birth a pool is seen."""
        return self.follow_days * DAY

    @property
    def look_back(self) -> timedelta:
        """How far before a span its updates must be given.

        A pool seen at t was born after t - follow, and nothing before its birth matters; so the longest window
        and the schedule's own memory (one heartbeat) lie inside.

        >>> SnapshotsSpec().look_back.days
        7
        """
        return self.follow

    @property
    def newborn(self) -> timedelta:
        """How long after its birth a pool is seen at every grid point.

        >>> str(SnapshotsSpec().newborn)
        '1:00:00'
        """
        return self.newborn_minutes * MINUTE
