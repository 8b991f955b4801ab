"""Made-up markets of forecasts, in which it is known what a forecast is worth.

A pool's returns have heavy tails and a drift of its own that lasts, so the errors of one pool are alike; the target is
the return's rank among the pools of its hour, as a normal score. Pools live for different numbers of hours.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from scipy import stats

AT = datetime(2020, 10, 1, tzinfo=UTC)
BASELINES = ("no_forecast", "reversal", "momentum")


def a_world(seed: int, *, n_pools: int, n_hours: int, drift: float, r2: float, habit: float) -> dict[str, pl.DataFrame]:
    """What the model and the baselines forecast, row for row.

    Args:
        drift: share of a pool's (log) return variance that is its own lasting drift.
        r2: share of the target that the model's forecast truly explains, on average.
        habit: standard deviation of a part of the model's forecast that is the pool's own and worth nothing.
    """
    rng = np.random.default_rng(seed)
    born, lived = rng.integers(0, n_hours // 2, n_pools), rng.integers(n_hours // 4, n_hours // 2 + 1, n_pools)
    pool = np.repeat(np.arange(n_pools), lived)
    hour = np.concatenate([b + np.arange(n) for b, n in zip(born, lived, strict=True)])
    own = rng.standard_t(3, n_pools)[pool] * np.sqrt(drift) + rng.standard_t(3, len(pool)) * np.sqrt(1 - drift)
    target = normal_scores(own, hour)
    noise = rng.normal(0, np.sqrt(r2 * (1 - r2)), len(pool)) if r2 else np.zeros(len(pool))
    model = r2 * target + noise + rng.normal(0, habit, n_pools)[pool]
    said = {
        "model": model,
        "no_forecast": np.zeros(len(pool)),
        "reversal": rng.normal(0, 0.02, len(pool)),
        "momentum": rng.normal(0, 0.02, len(pool)),
    }
    head = pl.DataFrame(
        {
            "pool": [f"p{i:04d}" for i in pool],
            "time": [AT + timedelta(hours=int(h)) for h in hour],
            "horizon": [1] * len(pool),
            "target": target,
        }
    )
    return {name: head.with_columns(forecast=pl.Series(values)) for name, values in said.items()}


def normal_scores(values: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """Ranks within the hour, as quantiles of the normal distribution (van der Waerden)."""
    frame = pl.DataFrame({"value": values, "hour": hour})
    share = frame.select(pl.col("value").rank().over("hour") / (pl.len().over("hour") + 1)).to_series().to_numpy()
    return stats.norm.ppf(share)


def passes_by_rows(world: dict[str, pl.DataFrame], *, min_gain: float, n_resamples: int, seed: int) -> bool:
    """The same rule with rows for units: what a gate does that takes a pool's hours for independent."""
    rng = np.random.default_rng(seed)
    target = world["model"]["target"].to_numpy()
    losses = {name: (target - side["forecast"].to_numpy()) ** 2 for name, side in world.items()}
    for name in BASELINES:
        ours, theirs = losses["model"], losses[name]
        drawn = rng.integers(0, len(target), (n_resamples, len(target)))
        gains = 1 - ours[drawn].mean(axis=1) / theirs[drawn].mean(axis=1)
        if 1 - ours.mean() / theirs.mean() <= min_gain or np.percentile(gains, 2.5) <= 0:
            return False
    return True
