"""Which features a model knows things from.

Belongs here: shares told by the fitted members, and the rise of the loss when a feature is shuffled. Stays out: how
they are drawn (`pictures`).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.models.fits import Bench
from pipeline.models.head import Head
from pipeline.models.metrics import row_log_loss
from pipeline.models.splits import Rows


def importance(head: Head, bench: Bench, rows: Rows, names: Sequence[str]) -> pl.DataFrame:
    """`feature`, `gain` (share of what the members know) and `permutation`, most important first.

    Permutation (Breiman 2001) is what the log loss on `rows` rises by, in nats, when a feature's values are shuffled; a
    feature that no member sees has exactly 0.
    """
    order = np.random.default_rng(bench.seed).permutation(len(rows))
    x, y = bench.x[rows], bench.y[rows]
    base = row_log_loss(y, head.predict(x)).mean()
    rises = np.zeros(x.shape[1])
    for k in head.columns:
        kept = x[:, k].copy()
        x[:, k] = kept[order]
        rises[k] = float(row_log_loss(y, head.predict(x)).mean() - base)
        x[:, k] = kept
    frame = pl.DataFrame(
        {"feature": list(names), "gain": head.importance(len(names)), "permutation": rises},
        schema={"feature": pl.String, "gain": pl.Float64, "permutation": pl.Float64},
    )
    return frame.sort("gain", "feature", descending=[True, False])
