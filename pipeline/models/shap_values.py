"""Shapley values: how much each feature moved each prediction.

Belongs here: values sampled of any model, and what they say of a feature over many rows. Stays out: drawing, and
importance by gain or by shuffling.

Values are additive: base + the values of all features = what the function given puts out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.models.metrics import Floats, Ints

type Predict = Callable[[Any], Floats]
"""(rows, features) -> (rows, K): one output a class."""


@dataclass(frozen=True)
class Contributions:
    """`values` (rows, K, features), `base` (rows, K), and the standard error of `values`."""

    values: Floats = field(repr=False)
    base: Floats = field(repr=False)
    standard_error: Floats = field(repr=False)

    @property
    def output(self) -> Floats:
        """(rows, K): what the values add up to."""
        return np.asarray(self.base + self.values.sum(axis=2))


def sampled_shap(predict: Predict, x: Any, background: Any, *, n_permutations: int, seed: int) -> Contributions:
    """Shapley values estimated over random orders of the features (Strumbelj & Kononenko 2014).

    Each order is walked forwards and backwards with one row of the background: features are set, one by one, from its
    values to those of the row explained, and each is credited with the step it makes. So the values of a row add up
    exactly, whatever the number of orders: to its output less the mean output of the background rows drawn. The
    standard error is that over orders.

    Args:
        predict: what to explain. x: (rows, features). background: (any rows, features): what "not known" means.
        n_permutations: orders, at least 2.

    Raises:
        UsageError: too few orders, or no background.
    """
    if n_permutations < 2 or not len(background):
        raise UsageError(
            f"sampled Shapley values need two orders or more and a background, found {n_permutations!r} orders and "
            f"{len(background)!r} rows"
        )
    rng = np.random.default_rng(seed)
    walks, bases = [], []
    for _ in range(n_permutations):
        order, start = rng.permutation(x.shape[1]), background[rng.integers(len(background))]
        forward, base = _walk(predict, x, start, order)
        backward, _ = _walk(predict, x, start, order[::-1])
        walks.append((forward + backward) / 2)
        bases.append(base)
    each = np.stack(walks)
    error = each.std(axis=0, ddof=1) / np.sqrt(n_permutations)
    return Contributions(each.mean(axis=0), np.mean(bases, axis=0), error)


def shap_importance(
    told: Contributions, feature_names: Sequence[str], classes: Sequence[str], pool: Ints | None = None
) -> pl.DataFrame:
    """Mean absolute value of each feature and class, largest first: `feature`, `outcome`, `shap`, and two errors.

    Under the outcome `all` stands the sum over classes. `standard_error` is that of the mean over pools (of rows, where
    no pools are given): what other pools would change. `sampling_error` is what a row's sampled values are off by; a
    feature whose `shap` is no more than that cannot be told from one that does nothing.

    Raises:
        InputError: names and values do not fit together.
    """
    n_rows, n_classes, n_features = told.values.shape
    if (n_classes, n_features) != (len(classes), len(feature_names)):
        raise InputError(
            f"values of {told.values.shape!r} do not fit {len(classes)} classes, {len(feature_names)} features"
        )
    unit = np.arange(n_rows) if pool is None else np.unique(pool, return_inverse=True)[1]
    size, off = np.abs(told.values), told.standard_error.mean(axis=0)
    parts = [("all", size.sum(axis=1), off.sum(axis=0))]
    parts += [(name, size[:, k], off[k]) for k, name in enumerate(classes)]
    rows = []
    for name, part, sampling_error in parts:
        mean, error = _mean_over_units(part, unit)
        columns = {"feature": list(feature_names), "shap": mean, "standard_error": error}
        rows.append(
            pl.DataFrame(columns | {"sampling_error": sampling_error}).with_columns(pl.lit(name).alias("outcome"))
        )
    order = pl.col("shap").filter(pl.col("outcome") == "all").first().over("feature")
    frame = pl.concat(rows).with_columns(order.alias("rank"))
    frame = frame.sort("rank", "feature", descending=[True, False], maintain_order=True)
    return frame.select("feature", "outcome", "shap", "standard_error", "sampling_error")


def _walk(predict: Predict, x: Any, start: Any, order: Ints) -> tuple[Floats, Floats]:
    """Each feature's step on the way from `start` to each row, (rows, K, features), and the output at `start`."""
    n_rows, n_features = x.shape
    on_the_way = np.repeat(np.broadcast_to(start, (1, n_rows, n_features)), n_features + 1, axis=0)
    for step, feature in enumerate(order, start=1):
        on_the_way[step:, :, feature] = x[:, feature]
    said = predict(on_the_way.reshape(-1, n_features)).reshape(n_features + 1, n_rows, -1)
    steps = np.empty((n_rows, said.shape[2], n_features))
    steps[:, :, order] = np.moveaxis(np.diff(said, axis=0), 0, 2)
    return steps, said[0]


def _mean_over_units(values: Floats, unit: Ints) -> tuple[Floats, Floats]:
    """Mean over rows (rows, F) -> (F,), and its standard error with rows of a unit taken together (a ratio of sums)."""
    n_units = int(unit.max()) + 1
    mean = values.mean(axis=0)
    excess = np.zeros((n_units, values.shape[1]))
    np.add.at(excess, unit, values - mean)
    if n_units < 2:
        return mean, np.full(len(mean), np.nan)
    return mean, np.sqrt((excess**2).sum(axis=0) * n_units / (n_units - 1)) / len(values)
