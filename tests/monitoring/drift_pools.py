"""Pools of a log-normal world: log-sd 1.5 between pools, 0.4 within."""

import numpy as np
import polars as pl


def draw(n, rng, shift=(), *, features=20, snapshots=12, prefix=""):
    """So many pools; the first features are multiplied by the shift."""
    logs = rng.normal(0, 1.5, (n, 1, features)) + rng.normal(0, 0.4, (n, snapshots, features))
    logs[:, :, : len(shift)] += np.log(shift)
    values = dict(zip((f"f{i:02d}" for i in range(features)), np.exp(logs).reshape(-1, features).T, strict=True))
    return pl.DataFrame(
        {"pool": np.repeat([f"{prefix}{rng.integers(2**62):x}" for _ in range(n)], snapshots), **values}
    )
