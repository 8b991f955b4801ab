"""What the science of the return models is: horizons, features, splits, kinds, sizes, costs.

Belongs here: every constant that a forecast or a figure depends on. Stays out: anything about one run.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Final, Literal, get_args

from pipeline.errors import UsageError

RETURN_MODEL_NAME: Final = "pool-return"
MODEL: Final = "model"
"""The chosen kind among the predictors of an evaluation; the others are baselines."""
RETURN_BASELINES: Final = ("no_forecast", "reversal", "momentum")
"""What stands beside the model in every evaluation, and what a first champion must beat."""
LAST_BLOCK: Final = "last_block"
WALK_FORWARD: Final = "walk_forward"
"""The out-of-fold forecasts of all inner folds together."""
GET_TORCH: Final = ".venv/bin/uv pip install 'torch>=2.6'"
"""How PyTorch comes into a checkout's environment, which has uv and no pip; the requirement is the extra `torch`."""

type Kind = Literal["linear", "lightgbm", "xgboost", "double_ensemble", "transformer"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind.__value__)


@dataclass(frozen=True)
class TreeSpec:
    """Boosted trees (LightGBM, XGBoost, and the sub-models of DoubleEnsemble).

    `n_rounds_max` is a bound: the rounds are found by early stopping on pools the trees have not seen. Where the purge
    leaves none, `n_rounds_unguided` are fitted.
    """

    n_rounds_max: int = 120
    n_rounds_unguided: int = 30
    early_stopping_rounds: int = 15
    learning_rate: float = 0.05
    n_leaves: int = 12
    max_depth: int = 4
    min_rows_in_leaf: int = 60
    row_share: float = 0.7
    column_share: float = 0.5
    l2: float = 20.0
    max_bin: int = 63


@dataclass(frozen=True)
class EnsembleSpec:
    """DoubleEnsemble (Zhang, Li, Chen & Li 2020): sub-models on reweighted rows and selected features.

    Selecting features predicts all rows once a feature and sub-model, so the rows are capped lower than elsewhere.
    """

    n_models: int = 2
    n_rounds: int = 30
    max_rows: int = 3_000


@dataclass(frozen=True)
class TransformerSpec:
    """An encoder over the last `n_bars` decisions of a pool (Vaswani et al. 2017), as QLib's `pytorch_transformer_ts`.

    QLib's feed-forward layers are 2,048 wide whatever `width` is, so the rows are capped lower than elsewhere.
    """

    n_bars: int = 6
    width: int = 16
    n_heads: int = 2
    n_layers: int = 1
    dropout: float = 0.1
    n_epochs: int = 5
    early_stopping_epochs: int = 2
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    max_rows: int = 2_000


@dataclass(frozen=True)
class ReturnsSpec:
    """What is forecast, from what, by whom, and how it is judged.

    Attributes:
        horizons_hours: forward returns that are forecast; each entered `entry_lag_bars` bars after the decision's bar.
        min_bars: a decision needs this many traded bars of its pool until then.
        max_age_hours: decisions on pools older than this are not made: the subject is what has just been born.
        min_hour_pools: an hour with fewer decisions is neither learned from nor judged: a rank among three says little.
        windows: of Alpha158's rolling expressions, in bars.
        kinds: which kinds compete; empty: all that are installed.
        seeds: every kind is fitted once with each; a seed also draws the pools a member learns from.
        bag_share: the share of the training pools a member sees, and `max_train_rows` the bound on its rows.
        last_block_share: the newest pools by birth, touched once. `n_folds`: inner walk-forward folds before them.
        min_fold_pools, min_fold_rows: a fold that would train on fewer is left out.
        validation_share: the newest of the training pools, purged, on which rounds and epochs stop.
        clip: robust z-scores beyond this are cut.
        top_k: pools held by the portfolio whose precision and turnover are told.
        quantile: the share of an hour's pools in the long and in the short leg.
        cost_round_trip: what entering and leaving a position costs, as a share of it: two swap fees of 0.3 % and 0.2 %
            of slippage each way. Charged on each leg for each decision, as if nothing were held over.
        n_resamples: of the bootstrap over pools.

    Raises:
        UsageError: the values contradict each other.
    """

    model_name: str = RETURN_MODEL_NAME
    freq: Literal["60min"] = "60min"
    horizons_hours: tuple[int, ...] = (1, 24)
    entry_lag_bars: int = 1
    min_bars: int = 12
    max_age_hours: int = 336
    min_hour_pools: int = 10
    windows: tuple[int, ...] = (5, 10, 20, 30, 60)
    kinds: tuple[Kind, ...] = ()
    seeds: tuple[int, ...] = (11, 12, 13, 14, 15)
    bag_share: float = 0.8
    max_train_rows: int = 20_000
    last_block_share: float = 0.30
    n_folds: int = 3
    min_fold_pools: int = 25
    min_fold_rows: int = 300
    embargo_hours: int = 24
    validation_share: float = 0.2
    clip: float = 3.0
    ridge_alpha: float = 1_000.0
    trees: TreeSpec = field(default_factory=TreeSpec)
    ensemble: EnsembleSpec = field(default_factory=EnsembleSpec)
    transformer: TransformerSpec = field(default_factory=TransformerSpec)
    top_k: int = 5
    quantile: float = 0.2
    cost_round_trip: float = 0.01
    n_resamples: int = 200
    confidence: float = 0.95
    min_gain: float = 0.01
    seed: int = 20_200_908
    is_simulation_allowed: bool = False

    def __post_init__(self) -> None:
        if not self.horizons_hours or min(self.horizons_hours) < 1 or self.entry_lag_bars < 1:
            raise UsageError(
                "expected horizons of at least 1 h and an entry at least one bar after the decision's, found "
                f"{self.horizons_hours!r} and {self.entry_lag_bars!r}"
            )
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or len(set(self.kinds)) != len(self.kinds):
            raise UsageError(f"kinds of model {self.kinds!r}: expected different ones of {KINDS!r}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"seeds {self.seeds!r}: expected at least one, each once")
        shares = (self.bag_share, self.last_block_share, self.validation_share, self.quantile, self.confidence)
        if any(not 0 < share <= 1 for share in shares) or not self.quantile <= 0.5:
            raise UsageError(f"expected shares between 0 and 1 and quantile up to a half, found {shares!r}")
        if self.n_folds < 1 or self.min_bars < 1 or self.min_hour_pools < 2 or self.top_k < 1:
            raise UsageError(
                "expected n_folds, min_bars, top_k >= 1 and min_hour_pools >= 2, found "
                f"{(self.n_folds, self.min_bars, self.top_k, self.min_hour_pools)!r}"
            )

    @property
    def step(self) -> timedelta:
        """The length of a bar."""
        return timedelta(hours=1)

    def as_json(self) -> str:
        """The spec as JSON with sorted keys: what goes into a dataset's id."""
        return json.dumps(asdict(self), sort_keys=True)

    def sha256(self) -> str:
        """SHA-256 of `as_json`."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()
