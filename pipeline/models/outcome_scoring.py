"""An outcome model as MLflow scores it: the loader that a registered version names.

Belongs here: from the folder MLflow hands over to probabilities as a table. Stays out: the model's file
(`outcome_model`), and MLflow itself, which calls this and is not needed here.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.outcome_model import OutcomeModel, load_outcome, p_pump, p_rug, signal_score
from pipeline.tables import OUTCOMES

MODEL_FILE: Final = "model.json"


class OutcomeScorer:
    """What MLflow calls a model: rows of features in; probabilities of each horizon and the signal out."""

    def __init__(self, model: OutcomeModel) -> None:
        self._model = model
        self.feature_names = model.feature_names
        self.outputs = tuple(self._told(np.zeros((0, len(model.feature_names)), np.float32)))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Probabilities and signal, row for row, as a pandas frame; `is_high_signal` is NaN where the model abstains.

        Args:
            model_input: a pandas frame with the model's features, NaN where missing.
            params: none are known; MLflow hands it over all the same.

        Raises:
            InputError: a feature is missing, or infinite.
        """
        del params
        rows = pl.from_pandas(model_input.reset_index(drop=True), nan_to_null=True)
        return pl.DataFrame(self._told(self._model.matrix(rows))).to_pandas()

    def _told(self, x: Any) -> dict[str, Any]:
        model, own = self._model, self._model.horizon_hours
        said = {hours: model.predict_matrix(x, hours) for hours in model.horizons_hours}
        told = {f"p_{outcome}": said[own][:, k] for k, outcome in enumerate(OUTCOMES)}
        for hours in model.further_hours:
            told |= {f"p_{outcome}_{hours}h": said[hours][:, k] for k, outcome in enumerate(OUTCOMES)}
        score, threshold = signal_score(said[own]), model.signal_rule.threshold
        is_high = np.full(len(score), np.nan) if threshold is None else (score > threshold).astype(np.float64)
        return told | {
            "p_rug": p_rug(said[own]),
            "p_pump": p_pump(said[own]),
            "signal_score": score,
            "is_high_signal": is_high,
        }


def _load_pyfunc(folder: str) -> OutcomeScorer:
    """What MLflow calls by this name: the model in `folder`, checked as `load_outcome` does it, its hash first.

    MLflow hands over a folder and no hash: what lies beside the file could be changed along with it. Whoever serves a
    model that others could have written loads it through our registry first, which compares it with the ledger.

    Raises:
        InputError: there is no such file, it is no outcome model, or it was damaged or edited.
    """
    try:
        model_bytes = (Path(folder) / MODEL_FILE).read_bytes()
    except OSError as e:
        raise InputError(f"cannot read {MODEL_FILE!r} in {folder!r}: {e}. Take it from the registry again") from e
    return OutcomeScorer(load_outcome(model_bytes))
