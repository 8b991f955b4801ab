"""A forecaster of three numbers, in the form that a loader of the registry must have."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import polars as pl
from training_runs import a_png

from pipeline.promotion.kinds import Forecaster
from pipeline.promotion.run import TrainingRun

INPUTS = ("momentum", "volume")
HORIZONS = (1, 24)
KIND = Forecaster(HORIZONS, __name__, {1: "linear", 24: "lightgbm"})


class Tiny:
    def __init__(self, told: dict) -> None:
        self.feature_names = tuple(told["feature_names"])
        self.outputs = tuple(f"forecast_{hours}h" for hours in told["horizons"])
        self.slope = told["slope"]

    def predict(self, frame: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
        first = frame[self.feature_names[0]]
        return pd.DataFrame({name: self.slope * (k + 1) * first for k, name in enumerate(self.outputs)})


def _load_pyfunc(folder: str) -> Tiny:
    return Tiny(json.loads((Path(folder) / KIND.file).read_bytes()))


def tiny_bytes(slope: float = 0.5, horizons: tuple[int, ...] = HORIZONS) -> bytes:
    return json.dumps({"feature_names": INPUTS, "horizons": horizons, "slope": slope}).encode()


def a_forecasting_run(model_name: str, slope: float = 0.5, **other) -> TrainingRun:
    model_bytes = other.pop("model_bytes", None) or tiny_bytes(slope)
    told = {
        "model_name": model_name,
        "model_bytes": model_bytes,
        "model_sha256": hashlib.sha256(model_bytes).hexdigest(),
        "training_set_id": "d" * 64,
        "feature_set": "fs",
        "code_version": "c",
        "feature_names": INPUTS,
        "kind": KIND,
        "params": {"seeds": "11, 12"},
        "metrics": {"rank_ic/1h": 0.04},
        "plots": {"ic_by_day": a_png()},
        "dataset": {"rows": 90, "pools": 30},
        "dataset_table": "return_datasets",
        "example": pl.DataFrame({"volume": [1.5, None], "momentum": [2, 3]}),
    }
    return TrainingRun(**{**told, **other})
