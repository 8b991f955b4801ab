"""One XGBoost fit made by all workers of a Dask cluster together (`xgboost.dask`).

Belongs here: laying rows out over the workers, and the fit. Stays out: the parameters and what was fitted
(`boosted_xgboost`), which fits are made so (`fits`), the cluster (`resources.cluster`).

The workers agree on the edges of the histograms and add their sums up. Edges come from sketches of each worker's own
rows, and float sums depend on their order, so the trees are not those of one worker: they differ in a few splits, and
by how much is measured in `docs/scaling.md`. For a number of workers and rows in one order they are the same each
time, since each worker is given its stretch of rows by name. It serves sets whose histograms and gradients one worker
cannot hold; everything else is spread fit by fit, which changes no bit.
"""

from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners import boosted_xgboost
from pipeline.models.learners.states import FitOne, Params
from pipeline.workers import Workers


def fit_over(workers: Workers) -> FitOne:
    """The way to fit that takes all workers.

    Raises:
        UsageError: there is no cluster.
    """
    if workers.cluster is None:
        raise UsageError(
            "the spec spreads one XGBoost fit over a cluster (`spread_from_rows`), and there is none: "
            "set POOLCAST_DASK, or leave it None"
        )
    return lambda x, y, weight, seed, params: _fit(workers.cluster, x, y, weight, seed, params)


def _fit(client: Any, x: Matrix, y: Classes, weight: Floats, seed: int, params: Params) -> boosted_xgboost.Boosted:
    import xgboost.dask as dxgb  # noqa: PLC0415  the extra `dask`

    at = sorted(client.scheduler_info(n_workers=-1)["workers"])
    rows = np.array_split(np.arange(len(x)), len(at))
    with client.as_current():
        data, label, weights = (
            _laid_out(client, values, rows, at) for values in (x, y.astype(np.float32), weight.astype(np.float32))
        )
        fitted = dxgb.train(
            client,
            boosted_xgboost.parameters(params, seed),
            dxgb.DaskDMatrix(client, data, label=label, weight=weights),
            num_boost_round=int(params["n_rounds"]),
            verbose_eval=False,
        )
    return boosted_xgboost.Boosted(fitted["booster"].save_raw("json").decode(), x.shape[1])


def _laid_out(client: Any, values: Any, rows: list[Any], at: list[str]) -> Any:
    """The values as a Dask array of one chunk a worker, each where it is told to be."""
    import dask.array as da  # noqa: PLC0415  the extra `dask`

    chunks = [
        da.from_delayed(  # type: ignore[no-untyped-call]
            client.scatter(np.ascontiguousarray(values[own]), workers=[worker], hash=False),
            shape=(len(own), *values.shape[1:]),
            dtype=values.dtype,
        )
        for own, worker in zip(rows, at, strict=True)
    ]
    return da.concatenate(chunks, axis=0)  # type: ignore[no-untyped-call]
