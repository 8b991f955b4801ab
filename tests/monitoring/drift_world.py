"""A world of pools that a champion watches: features, what it says, and what comes, with or without a change in it.

The champion knows each pool's chance of a rug; the rest is noise around it. A change multiplies one feature and may
make the champion wrong (labels no longer follow what it says) or unsure (what it says comes nearer to even).
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.monitoring.drift.evidence import PROBABILITIES, Evidence
from pipeline.monitoring.drift.reference import Learned, Reference
from pipeline.monitoring.drift.spec import DriftSpec
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import Ages, births
from pipeline.tables import OUTCOMES

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AGES = Ages((1, 2, 4), 1)
NAMES = tuple(f"feature_{number}" for number in range(8))
LEARNED_DAYS, LAST_BLOCK_DAYS, DAYS = 12, 6, 12
CHANGED = BEGIN + (LEARNED_DAYS + LAST_BLOCK_DAYS + 3) * DAY
FAST = WatchSpec(n_resamples=499, max_days=2, drift=DriftSpec(n_permutations=499))
RUG, STABLE = OUTCOMES.index("RUG"), OUTCOMES.index("STABLE")


@dataclass(frozen=True)
class World:
    """All pools of a world, as rows: one a pool and age."""

    learned: Learned
    rows: pl.DataFrame = field(repr=False)

    def evidence(self, now: datetime, spec: WatchSpec = FAST) -> Evidence:
        """What the watch would be given at `now`."""
        until, born = self.learned.learned_until, pl.col("born")
        lately = births(now, AGES, spec.window, not_before=until, wait=timedelta(0))
        matured = births(now, AGES, spec.window, not_before=until, wait=DAY)
        current, later = (
            self.rows.filter(born > stretch.after, born <= stretch.until) for stretch in (lately, matured)
        )
        learned = self.rows.filter(born <= until - AGES.settled)
        last = self.rows.filter(born > until, born <= until + LAST_BLOCK_DAYS * DAY)
        known = self.rows.filter(pl.col("event_time") + DAY <= now, born > until + LAST_BLOCK_DAYS * DAY)
        errors = known.select("network", "pool", matured_at=pl.col("event_time") + DAY, loss=pl.col("loss"))
        return Evidence(
            "simulation:1", self.learned, Reference("ab", learned), last.drop(NAMES), current,
            current.drop(NAMES), later, later.drop(NAMES), errors, lately, matured,
        )  # fmt: skip


def world(
    seed: int, *, pools_a_day: int = 40, changed: float = 1.0, is_wrong: bool = False, is_unsure: bool = False,
    change_at: datetime = CHANGED, days: int = LEARNED_DAYS + LAST_BLOCK_DAYS + DAYS, mood: float = 0.0,
) -> World:  # fmt: skip
    """A world; `mood` is how far each day moves all of its pools together, in standard deviations."""
    rng = np.random.default_rng(seed)
    n, n_ages = days * pools_a_day, len(AGES.hours)
    born_s = np.sort(rng.integers(0, days * 86_400, n))
    day = born_s // 86_400
    own = rng.normal(0, 1.5, (n, len(NAMES))) + mood * 1.5 * rng.normal(size=(days, len(NAMES)))[day]
    table = np.exp(np.repeat(own, n_ages, axis=0) + rng.normal(0, 0.4, (n * n_ages, len(NAMES))))
    born = [BEGIN + timedelta(seconds=int(s)) for s in born_s]
    at = [moment + age * HOUR for moment in born for age in AGES.hours]
    is_later = np.array([moment >= change_at for moment in at])
    table[is_later, 0] *= changed
    chance = np.repeat(np.clip(0.5 + 0.35 * np.tanh(own[:, 1]), 0.05, 0.95), n_ages)
    said = np.where(is_later & is_unsure, 0.5, chance)
    is_rug = np.repeat(rng.random(n), n_ages) < np.where(is_later & is_wrong, 1 - chance, chance)
    p = np.full((n * n_ages, len(OUTCOMES)), 0.002)
    p[:, RUG], p[:, STABLE] = said * 0.99, (1 - said) * 0.99
    came = np.where(is_rug, RUG, STABLE)
    rows = pl.DataFrame(
        {
            "network": "eth",
            "pool": [f"0x{number:05x}" for number in range(n) for _ in AGES.hours],
            "event_time": at,
            "at_age": list(AGES.hours) * n,
            "born": [moment for moment in born for _ in AGES.hours],
            **{name: table[:, k] for k, name in enumerate(NAMES)},
            **{name: p[:, k] / p.sum(axis=1) for k, name in enumerate(PROBABILITIES)},
            "label": [OUTCOMES[k] for k in came],
            "outcome": [OUTCOMES[k] for k in came],
            "loss": -np.log(p[np.arange(len(p)), came] / p.sum(axis=1)),
        }
    )
    learned = Learned("pool-outcome", 3, "ab" * 32, NAMES, BEGIN + LEARNED_DAYS * DAY, 24)
    return World(learned, rows)


def with_fewer(told: Evidence, n_pools: int) -> Evidence:
    """The same with only the first pools of the window."""
    kept = told.current["pool"].unique().sort().head(n_pools)
    return replace(told, current=told.current.filter(pl.col("pool").is_in(kept.implode())))
