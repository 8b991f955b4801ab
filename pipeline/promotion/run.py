"""What a training hands to the registry, and the card that a reviewer reads.

Belongs here: `TrainingRun`, its checks, its files and its description in Markdown. Stays out: MLflow, training itself.
"""

import hashlib
import importlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import InputError

MAX_DESCRIPTION: Final = 5_000
"""Characters that MLflow's database keeps of a version's description."""
_MAX_METRICS: Final = 30
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_METRIC: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,249}")

type Scalar = str | int | float | bool


@dataclass(frozen=True)
class TrainingRun:
    """One finished training: the model file, what it was made from, and what it is worth.

    Attributes:
        model_name: the registered model it becomes a version of.
        model_bytes: the booster in XGBoost's own UBJSON, as `Booster.save_raw("ubj")` gives it.
        model_sha256: SHA-256 of `model_bytes`.
        training_set_id: the frozen training set.
        feature_set: hash of the features' names and formulas.
        code_version: of the code that trained it.
        feature_names: the model's inputs, in order.
        classes: the outcomes its probabilities stand for, in order.
        params: hyper-parameters and whatever else was chosen.
        metrics: finite figures; the most telling first, the card shows the first 30.
        tables: name -> frame without nested columns; kept as CSV.
        plots: name -> PNG.
        dataset: the training set in a few scalars (rows, pools, first and last decision, source).
        tags: anything else to search runs by.
        run_name: what the run is called in MLflow.

    Raises:
        InputError: the hash is not that of the bytes, a metric is not finite, a name cannot be a file's name, or a
            plot is not a PNG.
    """

    model_name: str
    model_bytes: bytes = field(repr=False)
    model_sha256: str
    training_set_id: str
    feature_set: str
    code_version: str
    feature_names: tuple[str, ...]
    classes: tuple[str, ...]
    params: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    plots: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    dataset: Mapping[str, Scalar] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_name: str = "training"

    def __post_init__(self) -> None:
        found = hashlib.sha256(self.model_bytes).hexdigest()
        if found != self.model_sha256:
            raise InputError(
                f"described a training run: model_sha256 is {self.model_sha256!r}, the bytes give {found!r}"
            )
        names = {*self.tables, *self.plots}
        bad = [n for n in names if not _NAME.fullmatch(n)] + [m for m in self.metrics if not _METRIC.fullmatch(m)]
        if bad or not _NAME.fullmatch(self.model_name):
            raise InputError(f"described a training run: {[*bad, self.model_name]!r} cannot all be names of artifacts")
        wrong = {name: value for name, value in self.metrics.items() if not math.isfinite(value)}
        if wrong:
            raise InputError(f"described a training run: metrics {wrong!r} are not finite; leave out what has no value")
        if any(not png.startswith(b"\x89PNG\r\n") for png in self.plots.values()):
            raise InputError(f"described a training run: not every plot of {sorted(self.plots)!r} is a PNG")

    @property
    def identity(self) -> dict[str, str]:
        """The tags by which a version is recognised, the same on the run, the model and the version."""
        return {
            "training_set_id": self.training_set_id,
            "feature_set": self.feature_set,
            "model_sha256": self.model_sha256,
            "code_version": self.code_version,
        }


def parse_booster(run: TrainingRun) -> Any:
    """The booster of a run; raises InputError where it is none, or has other inputs or outputs than the run says."""
    xgboost = importlib.import_module("xgboost")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(run.model_bytes))
        n_classes = int(json.loads(booster.save_config())["learner"]["learner_model_param"]["num_class"])
    except xgboost.core.XGBoostError as error:
        raise InputError(f"registered {run.model_name!r}: {len(run.model_bytes)} bytes are no booster") from error
    if tuple(booster.feature_names or ()) != tuple(run.feature_names) or n_classes != len(run.classes):
        raise InputError(
            f"registered {run.model_name!r}: the booster takes {booster.feature_names!r} and tells {n_classes} classes"
            f" apart, the run says {run.feature_names!r} and {run.classes!r}"
        )
    return booster


def write_files(run: TrainingRun, folder: Path) -> Path:
    """`tables/NAME.csv` and `plots/NAME.png`, which MLflow's pages show as tables and pictures."""
    for name, frame in run.tables.items():
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        frame.write_csv(folder / "tables" / f"{name}.csv")
    for name, png in run.plots.items():
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        (folder / "plots" / f"{name}.png").write_bytes(png)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def describe(run: TrainingRun) -> str:
    """The version's card in Markdown, at most 5,000 characters: what it is, what it is worth, how to check it."""
    head = [
        f"### {_cell(run.model_name)}, trained on set `{_cell(run.training_set_id[:12])}`",
        f"Gives one probability for each of {len(run.classes)} outcomes: {_cell(', '.join(run.classes))}.",
        "",
        "**Before you promote it**: read its rows in the `comparisons` table and `plots/` of its run. Moving the"
        " champion alias by hand does not last: the alias follows the `deployments` ledger.",
    ]
    shown = dict(list(run.metrics.items())[:_MAX_METRICS])
    parts = [
        head,
        _table("Metrics, out of sample", {name: f"{value:.4g}" for name, value in shown.items()}),
        _table("Training set", run.dataset),
        _table("Made from", run.identity),
        _table("Parameters", run.params),
        [f"**{len(run.feature_names)} features**: {_cell(', '.join(run.feature_names))}"],
    ]
    text = "\n\n".join("\n".join(part) for part in parts if part)
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 2].rstrip() + " …"


def _table(title: str, rows: Mapping[str, object]) -> list[str]:
    if not rows:
        return []
    return [f"| {title} | |", "|---|---|", *(f"| {_cell(str(k))} | {_cell(str(v))} |" for k, v in rows.items())]


def _cell(text: str) -> str:
    """Text that cannot break out of a Markdown table, nor be read as a tag or a link."""
    return re.sub(r"([\\`|<>\[\]*])", r"\\\1", " ".join(text.split()))
