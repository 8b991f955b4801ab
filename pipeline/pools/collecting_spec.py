"""The constants of collecting: how the API is treated, which pools are asked for how often.

Belongs here: every number that decides which calls are made. Stays out: what a credible record is (`spec`), and
addresses, keys and budgets, which belong to the installation (`resources.settings`).
"""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.calendars import MINUTE
from pipeline.errors import UsageError


@dataclass(frozen=True)
class ClientSpec:
    """How patiently the API is asked.

    `deadline_s` bounds one call from connecting to its last byte, whatever trickles in; `attempts` and `patience_s`
    bound its repetitions. `max_body_bytes` is counted after decompression.
    """

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    deadline_s: float = 20.0
    max_body_bytes: int = 8_000_000
    attempts: int = 4
    patience_s: float = 90.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    breaker_failures: int = 5
    breaker_rest_s: float = 30.0
    budget_window_s: float = 60.0
    budget_slack_s: float = 2.0
    """Added to the window: what leaves here a minute apart may arrive there a little closer together."""
    clock_tolerance_s: float = 300.0
    """How far an answer's date may lie outside the time from our asking to its arrival, on our clock. A step of the
    sampler's grid: a clock that is further off files what it observes under another grid point than its own."""


@dataclass(frozen=True)
class SampledTier:
    """Pools with a reserve above `reserve_usd` (at it too, unless `is_exclusive`), seen every `interval_minutes`."""

    reserve_usd: float
    interval_minutes: int
    priority: float
    is_exclusive: bool = False


@dataclass(frozen=True)
class SamplerSpec:
    """Which pools are worth a call. Tiers run from the richest to the poorest; the last takes every pool.

    Pools that are seen more often than their tier asks for, because they are newborn, stand beside the tiers as one of
    their own, with `newborn_priority`. Priorities share the calls out among the tiers; `floor_share` is what each tier
    with due pools is given whatever the priorities say, so that none starves.
    """

    grid_minutes: int = 5
    tiers: tuple[SampledTier, ...] = (
        SampledTier(100_000.0, 5, 100.0, is_exclusive=True),
        SampledTier(10_000.0, 15, 50.0),
        SampledTier(1_000.0, 60, 25.0),
        SampledTier(0.0, 240, 10.0),
    )
    newborn_minutes: int = 60
    newborn_priority: float = 75.0
    follow_days: int = 7
    floor_share: float = 0.05
    lift_minutes: int = 60
    reserve_jump_pct: float = 50.0
    volume_spike_ratio: float = 5.0
    whale_share: float = 0.05
    max_boost: float = 4.0

    def __post_init__(self) -> None:
        bounds = [tier.reserve_usd for tier in self.tiers]
        if not bounds or bounds != sorted(bounds, reverse=True):
            raise UsageError(f"tiers must run from the richest to the poorest, found {bounds!r}: reorder them")
        off_grid = [t.interval_minutes for t in self.tiers if t.interval_minutes % self.grid_minutes]
        if off_grid or any(t.interval_minutes <= 0 for t in self.tiers) or min(self.priorities) <= 0:
            raise UsageError(
                f"intervals must be multiples of {self.grid_minutes!r} minutes and priorities positive, "
                f"found {self.tiers!r} and {self.newborn_priority!r}"
            )
        if not 0 < self.floor_share * len(self.priorities) <= 1:
            raise UsageError(
                f"{len(self.priorities)} tiers cannot each be given {self.floor_share!r} of the calls: "
                "choose a floor_share above 0 that leaves something to share"
            )

    @property
    def priorities(self) -> tuple[float, ...]:
        """Priorities of the tiers, and last that of the newborn."""
        return (*(tier.priority for tier in self.tiers), self.newborn_priority)

    @property
    def grid(self) -> timedelta:
        """Distance between two moments a pool can be due for."""
        return self.grid_minutes * MINUTE


@dataclass(frozen=True)
class CollectionSpec:
    """One cycle: how long it collects, how often it looks for newborn pools, what it spends on histories.

    `discovery_share` is the most of the budget that looking for new pools may take while known pools wait;
    `details_share` is what candles, trades and token infos are given while pools wait; they also get what is left over.
    """

    networks: tuple[str, ...] = (
        "solana", "eth", "bsc", "base", "arbitrum", "polygon_pos", "avax", "optimism", "ton", "sui-network",
    )  # fmt: skip
    longest_discovery_minutes: float = 1.5
    full_page_share: float = 0.7
    """A list of new pools is read again when this part of what must be read is expected to be new."""
    probe_minutes: float = 30.0
    """How often the lists that are not in use are read all the same, to learn what they would cost."""
    discovery_share: float = 0.7
    details_share: float = 0.1
    late_minutes: int = 10
    """A pool first seen at this age, or a bar learned this long after its end, is late."""
    listed_late_s: float = 15.0
    """How long after its birth a pool may appear in the list of new ones."""
    history_age_hours: float = 25.0
    """At this age a pool's bars since birth are asked for, so that its labels can be settled."""
    waiting_pools: int = 30
    """So many pools that nobody visits are worth a run of their own: as many as one call serves."""
    workers: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.full_page_share < 1:
            raise UsageError(f"full_page_share must lie between 0 and 1, found {self.full_page_share!r}")

    @property
    def late(self) -> timedelta:
        """`late_minutes` as a length of time."""
        return self.late_minutes * MINUTE
