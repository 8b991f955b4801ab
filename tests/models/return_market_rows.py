"""Rows of a return dataset made directly, without bins: two features, one of which tells something."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.models.returns.spec import ReturnsSpec

START = datetime(2020, 9, 8, tzinfo=UTC)
SPEC = ReturnsSpec(horizons_hours=(1,), n_folds=2, min_hour_pools=5, embargo_hours=1, last_block_share=0.3)


def rows(n_pools: int = 80, *, n_hours: int = 30, skill: float = 0.1, seed: int = 0) -> pl.DataFrame:
    """Pools born two hours apart, each decided on hourly for `n_hours`; `signal` explains `skill` of the return."""
    rng = np.random.default_rng(seed)
    pool = np.repeat(np.arange(n_pools), n_hours)
    hour = np.tile(np.arange(n_hours), n_pools)
    signal = rng.normal(size=len(pool))
    drift = rng.normal(size=n_pools)[pool]
    moved = np.sqrt(skill) * signal + np.sqrt(0.3) * drift + np.sqrt(0.7 - skill) * rng.standard_t(3, len(pool))
    decided = [START + timedelta(hours=2 * int(p) + int(h)) for p, h in zip(pool, hour, strict=True)]
    frame = pl.DataFrame(
        {
            "instrument": [f"eth-{p:04d}" for p in pool],
            "network": ["eth"] * len(pool),
            "pool": [f"0x{p:04x}" for p in pool],
            "base_token": [f"t{p}" for p in pool],
            "created_at": [START + timedelta(hours=2 * int(p)) for p in pool],
            "event_time": decided,
            "signal": pl.Series(signal, dtype=pl.Float32),
            "age": pl.Series(hour, dtype=pl.Float32),
            "return_1h": np.expm1(0.02 * moved),
            "label_end_1h": [t + timedelta(hours=2) for t in decided],
        }
    )
    time = pl.Datetime("us", "UTC")
    return frame.with_columns(pl.col("created_at", "event_time", "label_end_1h").cast(time))
