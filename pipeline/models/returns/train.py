"""Train the return models: every horizon, one file that travels, and the evidence that belongs to its bytes.

Belongs here: what comes out and in which order. Stays out: one horizon's work (`walk`), the registry, files, the clock.

The model that is evaluated on the last block is the model that is registered: its members learned from what lies before
that block. Fitting again on everything would use newer data, but the figures would then belong to other bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.errors import InputError, UsageError
from pipeline.models.intervals import Figure
from pipeline.models.returns.expressions import MOMENTUM_FEATURE, REVERSAL_FEATURE, expressions
from pipeline.models.returns.kinds import competing
from pipeline.models.returns.metrics import Panel
from pipeline.models.returns.plots import ic_by_day, importance_plot, quantile_returns
from pipeline.models.returns.portable import ReturnModel
from pipeline.models.returns.qlib_session import Tracking, record, recorded, start_qlib
from pipeline.models.returns.spec import LAST_BLOCK, MODEL, ReturnsSpec
from pipeline.models.returns.targets import KEYS, feature_columns, label_end_name, return_name, scored
from pipeline.models.returns.walk import NONE, Walked, walk

__all__ = ["Figure", "Tracking", "TrainedReturns", "train_returns"]


@dataclass(frozen=True)
class TrainedReturns:
    """A trained model and the evidence that belongs to its bytes.

    Attributes:
        model_bytes: for `portable.load_returns`.
        evaluation: out-of-sample forecasts of the last block, `model` and each baseline, row for row: `predictor`,
            `instrument`, `network`, `pool`, `base_token`, `event_time`, `horizon_hours`, `target`, `forecast`,
            `forward_return`, `label_end`.
        figures: `figures.FIGURES`: each kind and seed on the inner folds, model and baselines on the last block.
        importance: `horizon_hours`, `feature`, `gain`, `permutation`, on the newest inner fold.
        chosen: horizon (hours) -> kind, or `walk.NONE` where no kind told anything and the forecast is 0.
        skipped: kind -> why it did not compete.
        params: flat values for a run's parameters.
        plots: PNG bytes: `ic_by_day`, `quantile_returns`, `importance`.
        learned_until: the last moment anything it learned from was known at.
    """

    dataset_id: str
    source: str
    model_bytes: bytes = field(repr=False)
    model_sha256: str
    feature_names: tuple[str, ...] = field(repr=False)
    evaluation: pl.DataFrame = field(repr=False)
    figures: pl.DataFrame = field(repr=False)
    importance: pl.DataFrame = field(repr=False)
    chosen: Mapping[int, str]
    skipped: Mapping[str, str]
    params: Mapping[str, str | int | float] = field(repr=False)
    plots: Mapping[str, bytes] = field(repr=False)
    n_train_rows: int
    n_train_pools: int
    learned_until: datetime

    def figure(self, metric: str, horizon: int, *, predictor: str = MODEL, block: str = LAST_BLOCK) -> Figure:
        """One figure over the seeds' mean forecast; on the inner folds, that of the chosen kind.

        Raises:
            InputError: there is none like it.
        """
        kind = self.chosen.get(horizon) if predictor == MODEL else None
        if block != LAST_BLOCK and kind == NONE:
            raise InputError(f"no kind was chosen at {horizon!r} h, so none has figures on {block!r}")
        found = self.figures.filter(
            pl.col("metric") == metric, pl.col("horizon_hours") == horizon, pl.col("predictor") == predictor,
            pl.col("block") == block, pl.col("seed").is_null(), pl.col("kind").eq_missing(pl.lit(kind, pl.String)),
        )  # fmt: skip
        if found.height != 1:
            raise InputError(f"no figure {metric!r} of {predictor!r} on {block!r} at {horizon!r} h")
        row = found.row(0, named=True)
        return Figure(row["value"], row["low"], row["high"], row["n_rows"], row["n_pools"])


def train_returns(
    rows: pl.DataFrame,
    spec: ReturnsSpec,
    *,
    dataset_id: str,
    source: str,
    progress: Callable[[str, float], None] = lambda _step, _share: None,
    tracking: Tracking | None = None,
) -> TrainedReturns:
    """Walk forward before the last block, choose a kind for each horizon, evaluate it once on the last block.

    Args:
        rows: as `rows.return_rows` gives them. Every column beside the keys and the returns is a feature.
        progress: told of each step and the share of the work that is done.
        tracking: where QLib's recorder keeps one run a horizon and kind; None: nowhere.

    Raises:
        InputError: columns are missing, or too few pools or too short a history for the splits.
        UsageError: simulated rows without leave, or a kind that is not installed.
    """
    _check(rows, source, spec)
    kinds, skipped = competing(spec)
    names = feature_columns(rows, spec)
    start_qlib(tracking=tracking)
    walked = []
    for at, horizon in enumerate(spec.horizons_hours):

        def told(step: str, share: float, at: int = at, horizon: int = horizon) -> None:
            progress(f"{horizon} h: {step}", (at + share) / len(spec.horizons_hours))

        own = scored(rows, horizon, spec)
        if own.is_empty():
            raise InputError(
                f"no hour has {spec.min_hour_pools!r} pools with a known return over {horizon!r} h: collect for longer"
            )
        with threadpool_limits(1):  # sums over several threads differ in their last bits
            walked.append(walk(own, names, horizon, kinds, spec, told))
    known = expressions(spec)
    model = ReturnModel(
        spec.model_name, dataset_id, source, max(w.learned_until for w in walked), spec.sha256(),
        {name: known.get(name) for name in names}, {w.horizon: w.model for w in walked},
    )  # fmt: skip
    trained = _trained(model, walked, skipped, spec)
    _keep(trained, tracking)
    progress("done", 1.0)
    return trained


def _check(rows: pl.DataFrame, source: str, spec: ReturnsSpec) -> None:
    if source.startswith("simulation") and not spec.is_simulation_allowed:
        raise UsageError(f"rows of {source!r} are simulated: allow it by name in the spec, or train on other bins")
    wanted = [
        *KEYS,
        REVERSAL_FEATURE,
        MOMENTUM_FEATURE,
        *(name for h in spec.horizons_hours for name in (return_name(h), label_end_name(h))),
    ]
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise InputError(f"rows without the columns {missing!r}: make them with return_rows")


def _trained(
    model: ReturnModel, walked: Sequence[Walked], skipped: Mapping[str, str], spec: ReturnsSpec
) -> TrainedReturns:
    importance = pl.concat(w.importance for w in walked)
    panels = {
        w.horizon: (Panel.of(said, spec), said)
        for w in walked for said in [w.evaluation.filter(pl.col("predictor") == MODEL)]
    }  # fmt: skip
    chosen = {w.horizon: w.chosen for w in walked}
    return TrainedReturns(
        dataset_id=model.dataset_id,
        source=model.source,
        model_bytes=model.to_bytes(),
        model_sha256=model.sha256,
        feature_names=model.feature_names,
        evaluation=pl.concat(w.evaluation for w in walked),
        figures=pl.concat(w.figures for w in walked),
        importance=importance,
        chosen=chosen,
        skipped=skipped,
        params=_params(model, walked, skipped, spec),
        plots={
            "ic_by_day": ic_by_day(panels),
            "quantile_returns": quantile_returns({h: panel for h, (panel, _) in panels.items()}),
            "importance": importance_plot(importance),
        },
        n_train_rows=max(w.n_train_rows for w in walked),
        n_train_pools=len(frozenset().union(*(w.train_pools for w in walked))),
        learned_until=model.learned_until,
    )


def _params(
    model: ReturnModel, walked: Sequence[Walked], skipped: Mapping[str, str], spec: ReturnsSpec
) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {
        "horizons_hours": ",".join(map(str, spec.horizons_hours)), "n_features": len(model.features),
        "seeds": ",".join(map(str, spec.seeds)), "n_folds": spec.n_folds, "last_block_share": spec.last_block_share,
        "cost_round_trip": spec.cost_round_trip, "spec_sha256": model.spec_sha256,
    }  # fmt: skip
    for w in walked:
        found |= {
            f"kind_{w.horizon}h": w.chosen, f"slope_{w.horizon}h": w.model.slope,
            f"standard_slope_{w.horizon}h": w.standard_slope, f"usable_folds_{w.horizon}h": w.n_folds,
        }  # fmt: skip
        found |= {f"skill_{kind}_{w.horizon}h": skill for kind, skill in w.skills.items()}
    return found | {f"skipped_{kind}": why for kind, why in skipped.items()}


def _keep(trained: TrainedReturns, tracking: Tracking | None) -> None:
    """One QLib recorder a horizon and kind on the inner folds, and one a horizon for what was chosen."""
    if tracking is None:
        return
    of_mean = trained.figures.filter(
        pl.col("seed").is_null(), pl.col("value").is_not_null(), pl.col("predictor") == MODEL
    )
    groups = of_mean.group_by("horizon_hours", "block", "kind", maintain_order=True)
    for (horizon, block, kind), own in groups:
        with recorded(tracking, f"{kind} {horizon}h {block}"):
            params = {"dataset_id": trained.dataset_id, "kind": kind, "horizon_hours": horizon, "block": block}
            record(params, dict(own.select("metric", "value").iter_rows()))
