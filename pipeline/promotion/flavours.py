"""How each kind of model becomes an MLflow model, without a pickle.

Belongs here: the check that a model file is what its run says, and the folder that MLflow loads it from. Stays out:
where the folder goes (`logbook`).

A classifier is saved in MLflow's own XGBoost flavour. What is one file of our own (a forecaster, a model of outcomes)
is saved as a pyfunc with a *loader module*: MLflow imports a module of ours by name and hands it the folder. Nothing
in the folder is executed; what is loaded there is one JSON file. (MLflow's "models from code" would run a copy of our
code out of the artifact store, which whoever can write there could change.)
"""

import importlib
import json
import tempfile
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import InputError
from pipeline.promotion.connection import flavour, mlflow
from pipeline.promotion.kinds import Classifier, Forecaster, Outcomes
from pipeline.promotion.run import TrainingRun

_KEYS: Final = {"instrument": "string", "event_time": "datetime"}
_PINNED: Final = ("mlflow", "numpy", "pandas", "scikit-learn")


def check_model(run: TrainingRun) -> None:
    """Make sure that the model file can be read, and takes and gives what the run says.

    Raises:
        InputError: it is not, or does not.
    """
    if isinstance(run.kind, Classifier):
        parse_booster(run, run.kind)
    else:
        _check_loaded(run, run.kind)


def save_model(run: TrainingRun, folder: Path, model: Any) -> None:
    """Write the folder of MLflow's `model`: `MLmodel`, the environment, and the model file, byte for byte."""
    if isinstance(run.kind, Classifier):
        flavour("xgboost").save_model(
            parse_booster(run, run.kind),
            str(folder),
            mlflow_model=model,
            signature=signature(run),
            conda_env=_environment("xgboost"),
            model_format="ubj",
        )
    else:
        _save_loaded(run, run.kind, folder, model)
    (folder / run.kind.file).write_bytes(run.model_bytes)


def _save_loaded(run: TrainingRun, kind: Forecaster | Outcomes, folder: Path, model: Any) -> None:
    example = None if run.example is None else run.example.select(run.feature_names).cast(pl.Float64).to_pandas()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*An input example was not provided", category=UserWarning)
        flavour("pyfunc").save_model(
            str(folder),
            loader_module=kind.loader,
            mlflow_model=model,
            signature=signature(run),
            input_example=example,
            conda_env=_environment("polars"),
        )


def signature(run: TrainingRun) -> Any:
    """The model's inputs and outputs, all real numbers, as MLflow says it.

    A forecaster may also be told whose row it is and of when, in case it looks back; MLflow drops what is not named.
    """
    types = mlflow().types
    inputs = [types.ColSpec("double", name) for name in run.feature_names]
    if isinstance(run.kind, Forecaster):
        inputs += [types.ColSpec(kind, name, required=False) for name, kind in _KEYS.items()]
    return mlflow().models.ModelSignature(
        inputs=types.Schema(inputs),
        outputs=types.Schema([types.ColSpec("double", name) for name in run.kind.outputs]),
    )


def parse_booster(run: TrainingRun, kind: Classifier) -> Any:
    """The booster of a run; raises InputError where it is none, or has other inputs or outputs than the run says."""
    xgboost = importlib.import_module("xgboost")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(run.model_bytes))
        n_classes = int(json.loads(booster.save_config())["learner"]["learner_model_param"]["num_class"])
    except xgboost.core.XGBoostError as error:
        raise InputError(f"registered {run.model_name!r}: {len(run.model_bytes)} bytes are no booster") from error
    if tuple(booster.feature_names or ()) != tuple(run.feature_names) or n_classes != len(kind.classes):
        raise InputError(
            f"registered {run.model_name!r}: the booster takes {booster.feature_names!r} and tells {n_classes} classes"
            f" apart, the run says {run.feature_names!r} and {kind.classes!r}"
        )
    return booster


def _check_loaded(run: TrainingRun, kind: Forecaster | Outcomes) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        (Path(tmp) / kind.file).write_bytes(run.model_bytes)
        # As MLflow will: by the loader's name, from a folder.
        model = importlib.import_module(kind.loader)._load_pyfunc(tmp)
    if tuple(model.feature_names) != tuple(run.feature_names) or tuple(model.outputs) != kind.outputs:
        raise InputError(
            f"registered {run.model_name!r}: the model file takes {model.feature_names!r} and gives {model.outputs!r},"
            f" the run says {run.feature_names!r} and {kind.outputs!r}"
        )


def _environment(reader: str) -> dict[str, object]:
    """What loads the model elsewhere, said outright: MLflow would start a process to guess it.

    Args:
        reader: the library that reads the model file.
    """
    pins = [f"{name}=={installed(name)}" for name in _PINNED]
    pins.append(f"{reader}=={importlib.import_module(reader).__version__}")
    return {"name": "poolcast", "channels": ["conda-forge"], "dependencies": ["python=3.12", "pip", {"pip": pins}]}
