"""A return model as MLflow scores it: the loader that a registered version names.

Belongs here: from the folder MLflow hands over to forecasts as a table. Stays out: the model's file
(`returns.portable`), and MLflow itself, which calls this and is not needed here.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import RegistryError
from pipeline.models.returns.portable import ReturnModel, load_returns

MODEL_FILE: Final = "model.json"
_KEYS: Final = pl.Schema({"instrument": pl.String(), "event_time": pl.Datetime("us", "UTC")})


class ReturnScorer:
    """What MLflow calls a model: rows of features in, one forecast column a horizon out."""

    def __init__(self, model: ReturnModel) -> None:
        self._model = model
        self.feature_names = model.feature_names
        self.outputs = tuple(f"forecast_{hours}h" for hours in sorted(model.horizons))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Forecasts of the target (see `returns.targets`), row for row, as a pandas frame.

        Args:
            model_input: a pandas frame with the model's features; `instrument` and `event_time` beside them let a model
                that looks back see what earlier rows of the same pool say. Without them every row is a pool by itself.
            params: none are known; MLflow hands it over all the same.

        Raises:
            InputError: a feature is missing.
        """
        del params
        rows = pl.from_pandas(model_input.reset_index(drop=True))
        alone = {
            "instrument": pl.int_range(pl.len()).cast(pl.String),
            "event_time": pl.lit(datetime.fromtimestamp(0, UTC), _KEYS["event_time"]),
        }
        if set(_KEYS) <= set(rows.columns):
            time = pl.col("event_time").cast(pl.Datetime("us"))
            rows = rows.with_columns(pl.col("instrument").cast(pl.String), time.dt.replace_time_zone("UTC"))
        else:
            rows = rows.with_columns(**alone)
        horizons = sorted(self._model.horizons)
        said = {name: self._model.forecast(rows, hours) for name, hours in zip(self.outputs, horizons, strict=True)}
        return pl.DataFrame(said).to_pandas()


def _load_pyfunc(folder: str) -> ReturnScorer:
    """What MLflow calls by this name: the model in `folder`, checked as `load_returns` does it, its hash first.

    MLflow hands over a folder and no hash: what lies beside the file could be changed along with it. Whoever serves a
    model that others could have written loads it through our registry first, which compares it with the ledger.

    Raises:
        RegistryError: there is no such file, it is no return model, or it was damaged or edited.
        UsageError: a Transformer where PyTorch is not installed.
    """
    try:
        model_bytes = (Path(folder) / MODEL_FILE).read_bytes()
    except OSError as e:
        raise RegistryError(f"cannot read {MODEL_FILE!r} in {folder!r}: {e}. Take it from the registry again") from e
    return ReturnScorer(load_returns(model_bytes))
