"""The kinds of model, each fitted through QLib's own class and handed out as plain values.

Belongs here: parameters, seeds, what of a fitted model travels. Stays out: forecasting from it (`portable`), the rows.

A fitted member is a dictionary that JSON can hold. Whatever forecasts, in training as in production, does so from it,
so there is one path and nothing to be reconciled. Every kind draws from its seed alone and runs on one thread.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from pipeline.errors import UsageError
from pipeline.models.returns.dataset import Bench, Floats
from pipeline.models.returns.processors import Matrix
from pipeline.models.returns.qlib_session import quiet, start_qlib
from pipeline.models.returns.spec import GET_TORCH, KINDS, Kind, ReturnsSpec
from pipeline.models.splits import Rows

type State = dict[str, Any]


def competing(spec: ReturnsSpec) -> tuple[tuple[Kind, ...], dict[str, str]]:
    """The kinds that compete, and why others do not.

    Raises:
        UsageError: the spec names a kind that is not installed.
    """
    absent = f"PyTorch is not installed: {GET_TORCH}"
    has_torch = find_spec("torch") is not None
    if "transformer" in spec.kinds and not has_torch:
        raise UsageError(f"the kind 'transformer' was asked for, but {absent}")
    if spec.kinds:
        return spec.kinds, {kind: "not asked for" for kind in KINDS if kind not in spec.kinds}
    if has_torch:
        return KINDS, {}
    return tuple(kind for kind in KINDS if kind != "transformer"), {"transformer": absent}


def fit_member(kind: Kind, bench: Bench, seed: int) -> State:
    """One kind fitted with one seed on the training rows of a bench, as JSON can hold it."""
    start_qlib()
    with _own_draws(), quiet(), _unwarned():
        return _FITS[kind](bench, seed)


def _linear(bench: Bench, seed: int) -> State:
    from qlib.contrib.model.linear import LinearModel  # noqa: PLC0415

    spec = bench.spec
    model = LinearModel(estimator="ridge", alpha=spec.ridge_alpha, fit_intercept=True)
    model.fit(bench.member(seed, spec.max_train_rows))
    return {"coefficients": [float(c) for c in model.coef_], "intercept": float(model.intercept_)}


def _lightgbm(bench: Bench, seed: int) -> State:
    from qlib.contrib.model.gbdt import LGBModel  # noqa: PLC0415

    t = bench.spec.trees
    rounds = t.n_rounds_max if bench.guided else t.n_rounds_unguided
    model = LGBModel(
        loss="mse", num_boost_round=rounds, early_stopping_rounds=t.early_stopping_rounds, **_leaves(bench.spec, seed)
    )
    model.fit(bench.member(seed, bench.spec.max_train_rows), verbose_eval=0)
    return {"trees": model.model.model_to_string()}


def _xgboost(bench: Bench, seed: int) -> State:
    from qlib.contrib.model.xgboost import XGBModel  # noqa: PLC0415

    t = bench.spec.trees
    model = XGBModel(
        objective="reg:squarederror", tree_method="hist", eta=t.learning_rate, max_depth=t.max_depth,
        min_child_weight=t.min_rows_in_leaf, subsample=t.row_share, colsample_bytree=t.column_share,
        reg_lambda=t.l2, max_bin=t.max_bin, nthread=1, seed=seed, base_score=0.0,
    )  # fmt: skip
    model.fit(
        bench.member(seed, bench.spec.max_train_rows),
        num_boost_round=t.n_rounds_max if bench.guided else t.n_rounds_unguided,
        early_stopping_rounds=t.early_stopping_rounds,
        verbose_eval=False,
        evals_result={},
    )
    best = model.model[: model.model.best_iteration + 1]
    # Attributes of the fit (best score, best round) are no part of the forecast.
    best.set_attr(**dict.fromkeys(best.attributes()))
    return {"trees": best.save_raw("json").decode()}


def _double_ensemble(bench: Bench, seed: int) -> State:
    from qlib.contrib.model.double_ensemble import DEnsembleModel  # noqa: PLC0415

    class Selecting(DEnsembleModel):  # type: ignore[misc]  # QLib ships no types
        """QLib's, whose selection draws the same features, in order and in a fraction of the time.

        QLib's copies all rows a feature and sub-model through pandas, and hands out a set, whose order changes by
        process. QLib's draws from NumPy's global generator at `seed`; this one has a generator of the same draws.
        """

        draws = np.random.RandomState(seed)

        def feature_selection(self, df_train: Any, loss_values: Any) -> Any:
            x, y = df_train["feature"], df_train["label"].to_numpy().squeeze()
            at = [x.columns.get_indexer(columns) for columns in self.sub_features]
            told = [booster.predict for booster in self.ensemble]
            loss = loss_values.to_numpy()
            return x.columns[select_features(x.to_numpy(), y, loss, told, at, self.sample_ratios, self.draws)]

    e = bench.spec.ensemble
    model = Selecting(num_models=e.n_models, epochs=e.n_rounds, decay=0.5, **_leaves(bench.spec, seed))
    model.fit(bench.member(seed, e.max_rows))
    place = {name: at for at, name in enumerate(bench.table.names)}
    return {
        "members": [
            {"trees": booster.model_to_string(), "columns": [place[name] for name in columns]}
            for booster, columns in zip(model.ensemble, model.sub_features, strict=True)
        ],
        "weights": [float(w) for w in model.sub_weights],
    }


def _transformer(bench: Bench, seed: int) -> State:
    from pipeline.models.returns.transformer import fit_transformer  # noqa: PLC0415  needs PyTorch

    return fit_transformer(bench, seed)


_FITS: Final[dict[Kind, Callable[[Bench, int], State]]] = {
    "linear": _linear,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "double_ensemble": _double_ensemble,
    "transformer": _transformer,
}


def _leaves(spec: ReturnsSpec, seed: int) -> dict[str, Any]:
    """LightGBM's parameters."""
    t = spec.trees
    return {
        "learning_rate": t.learning_rate, "num_leaves": t.n_leaves, "max_depth": t.max_depth,
        "min_data_in_leaf": t.min_rows_in_leaf, "bagging_fraction": t.row_share, "bagging_freq": 1,
        "feature_fraction": t.column_share, "lambda_l2": t.l2, "max_bin": t.max_bin,
        "seed": seed, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip


def select_features(
    x: Matrix,
    y: Floats,
    loss: Floats,
    told: Sequence[Callable[..., Any]],
    columns: Sequence[Rows],
    ratios: Sequence[float],
    draws: np.random.RandomState,
) -> list[int]:
    """DoubleEnsemble's feature selection (Zhang et al. 2020, sec. 3.3): the places of the features drawn, in order.

    A feature is worth what shuffling it adds to the loss, over that rise's spread; features are cut by worth into bins
    of equal width, and of the better bins a larger share is drawn.

    Args:
        x: (n, n_features). y: (n,) targets. loss: (n,) of the ensemble so far.
        told: what each sub-model predicts. columns: which features it takes.
        ratios: the share drawn of each bin, best first.
        draws: what shuffles and chooses; one of NumPy's legacy kind, so that QLib's own draws can be held against it.
    """
    import pandas as pd  # noqa: PLC0415

    x = np.array(x, dtype=x.dtype, order="C")
    base = [f(x[:, at], num_threads=1) for f, at in zip(told, columns, strict=True)]
    worth = np.zeros(x.shape[1])
    for feature in range(x.shape[1]):
        shuffled = draws.permutation(x[:, feature])
        kept = x[:, feature].copy()
        x[:, feature] = shuffled
        said = [
            f(x[:, at], num_threads=1) if feature in at else held
            for f, at, held in zip(told, columns, base, strict=True)
        ]
        x[:, feature] = kept
        rise = (y - np.mean(said, axis=0)) ** 2 - loss
        worth[feature] = rise.mean() / (rise.std() + 1e-7)
    bins = pd.cut(np.nan_to_num(worth), len(ratios), labels=False)
    chosen: list[int] = []
    for k, of_bin in enumerate(sorted(set(bins.tolist()), reverse=True)):
        inside = np.flatnonzero(bins == of_bin)
        chosen += draws.choice(inside, int(np.ceil(ratios[k] * len(inside))), replace=False).tolist()
    return sorted(chosen)


@contextmanager
def _own_draws() -> Iterator[None]:
    """NumPy's global generator as it was afterwards: QLib's Transformer seeds it, and it is not ours."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without what QLib 0.9.7 provokes in the pandas, LightGBM and PyTorch it runs under."""
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        for module in (r"qlib\..*", r"lightgbm\..*", r"torch\..*"):
            warnings.filterwarnings("ignore", module=module)
        yield
