"""What a return model listens to.

Belongs here: gain and permutation importance. Stays out: pictures.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.models.returns.dataset import Bench, Floats
from pipeline.models.returns.portable import HorizonModel
from pipeline.models.returns.processors import Matrix
from pipeline.models.splits import Rows

_MAX_ROWS = 1_500


def importance(model: HorizonModel, bench: Bench, seed: int) -> pl.DataFrame:
    """`feature`, `gain`, `permutation`, most important first.

    gain: share of what the trees' splits on it gained, mean over the members; null for kinds without trees, for
    `linear` the share of the absolute coefficients on scaled features. permutation: what the squared error of the
    forecast rises by when its values are shuffled among the bench's test rows (Breiman 2001), of which at most 1,500
    are drawn.

    Args:
        model: fitted on the bench's training rows.
    """
    rng = np.random.default_rng(seed)
    table, rows = bench.table, bench.split.test
    chosen = np.sort(rng.choice(rows, min(len(rows), _MAX_ROWS), replace=False))
    keys, y = table.frame[chosen].select("instrument", "event_time"), bench.y[chosen]
    scaled = model.scale(table.x[chosen])
    order = rng.permutation(len(chosen))
    base = _error(model, scaled, keys, y)
    rises = []
    for at in range(scaled.shape[1]):
        kept = scaled[:, at].copy()
        scaled[:, at] = kept[order]
        rises.append(_error(model, scaled, keys, y) - base)
        scaled[:, at] = kept
    gain = _gain(model, len(table.names))
    frame = pl.DataFrame(
        {"feature": list(table.names), "gain": gain, "permutation": rises},
        schema={"feature": pl.String(), "gain": pl.Float64(), "permutation": pl.Float64()},
    )
    return frame.sort("permutation", "feature", descending=[True, False])


def _error(model: HorizonModel, scaled: Matrix, keys: pl.DataFrame, y: Floats) -> float:
    return float(np.mean((model.slope * model.raw(scaled, keys) - y) ** 2))


def _gain(model: HorizonModel, n: int) -> Sequence[float | None]:
    parts = [part for _, state in model.members for part in _gains(model.kind, state, n)]
    if not parts:
        return [None] * n
    total = np.mean([part / part.sum() if part.sum() > 0 else part for part in parts], axis=0)
    return [float(value) for value in total]


def _gains(kind: str, state: dict[str, object], n: int) -> list[Floats]:
    """(n,) gains by feature of each booster of a member."""
    if kind == "linear":
        return [np.abs(np.asarray(state["coefficients"], np.float64))]
    if kind == "lightgbm":
        return [_of_lightgbm(str(state["trees"]), np.arange(n), n)]
    if kind == "double_ensemble":
        members: list[dict[str, object]] = state["members"]  # type: ignore[assignment]
        return [_of_lightgbm(str(m["trees"]), np.asarray(m["columns"]), n) for m in members]
    if kind == "xgboost":
        return [_of_xgboost(str(state["trees"]), n)]
    return []


def _of_lightgbm(text: str, columns: Rows, n: int) -> Floats:
    import lightgbm  # noqa: PLC0415  takes a second

    found = np.zeros(n)
    found[columns] = lightgbm.Booster(model_str=text).feature_importance("gain")
    return found


def _of_xgboost(text: str, n: int) -> Floats:
    import xgboost  # noqa: PLC0415  takes a second

    booster = xgboost.Booster()
    booster.load_model(bytearray(text.encode()))
    found = np.zeros(n)
    for name, value in booster.get_score(importance_type="total_gain").items():
        found[int(name.removeprefix("f"))] = value
    return found
