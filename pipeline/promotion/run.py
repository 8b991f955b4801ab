"""What a training hands to the registry.

Belongs here: `TrainingRun`, its checks and its files. Stays out: MLflow (`registry`, `logbook`), training itself, and
the card that a reviewer reads (`card`).
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.errors import InputError
from pipeline.promotion.kinds import Kind
from pipeline.promotion.versions import DEFINITIONS, LABEL_RULE
from pipeline.text import uncalculated

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_METRIC: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,249}")

type Scalar = str | int | float | bool


@dataclass(frozen=True)
class TrainingRun:
    """One finished training: the model file, what it was made from, and what it is worth.

    Attributes:
        model_name: the registered model it becomes a version of.
        model_bytes: the model file, as its kind says.
        model_sha256: SHA-256 of `model_bytes`.
        training_set_id: the frozen training set.
        feature_set: hash of the features' names and formulas.
        code_version: of the code that trained it.
        feature_names: the model's inputs, in order.
        feature_definitions: input -> hash of its own definition, of all inputs; empty: the whole set alone names them,
            and the model can only be asked until any feature changes.
        label_rule: the thresholds by which the labels it learned were made; empty: none made them, or it is unknown.
        kind: what the file is and what the model puts out.
        params: hyper-parameters and whatever else was chosen.
        metrics: finite figures; the most telling first, the card shows the first 30.
        tables: name -> frame without nested columns; kept as CSV.
        plots: name -> PNG.
        documents: file name -> Markdown.
        dataset: the training set in a few scalars (rows, pools, first and last decision, source).
        dataset_table: the table that has the training set's row.
        example: a few rows of inputs, for whoever wants to try a forecaster in MLflow; None: no example is kept.
        tags: anything else to search runs by.
        run_name: what the run is called in MLflow.
        curves: metric -> (step, value): figures over the size of the training set, or over rounds.
        dagster_url: the page of the run that trained it; empty where Dagster did not.

    Raises:
        InputError: the hash is not that of the bytes, definitions are not those of the inputs, a metric is not finite,
            a name cannot be a file's name, or a plot is not a PNG.
    """

    model_name: str
    model_bytes: bytes = field(repr=False)
    model_sha256: str
    training_set_id: str
    feature_set: str
    code_version: str
    feature_names: tuple[str, ...]
    kind: Kind
    params: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    feature_definitions: Mapping[str, str] = field(default_factory=dict, repr=False)
    label_rule: Mapping[str, float | None] = field(default_factory=dict, repr=False)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    plots: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    documents: Mapping[str, str] = field(default_factory=dict, repr=False)
    dataset: Mapping[str, Scalar] = field(default_factory=dict)
    dataset_table: str = "training_sets"
    example: pl.DataFrame | None = field(default=None, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_name: str = "training"
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict, repr=False)
    dagster_url: str = ""

    def __post_init__(self) -> None:
        found = hashlib.sha256(self.model_bytes).hexdigest()
        if found != self.model_sha256:
            raise InputError(
                f"described a training run: model_sha256 is {self.model_sha256!r}, the bytes give {found!r}"
            )
        if self.feature_definitions and set(self.feature_definitions) != set(self.feature_names):
            raise InputError(
                f"described a training run: it defines {sorted(self.feature_definitions)!r}, and the model takes"
                f" {sorted(self.feature_names)!r}; give exactly the definitions of these"
            )
        names = {*self.tables, *self.plots, *self.documents}
        figures = (*self.metrics, *self.curves)
        bad = [n for n in names if not _NAME.fullmatch(n)] + [m for m in figures if not _METRIC.fullmatch(m)]
        if bad or not _NAME.fullmatch(self.model_name):
            raise InputError(f"described a training run: {[*bad, self.model_name]!r} cannot all be names of artifacts")
        wrong = {name: value for name, value in self.metrics.items() if not math.isfinite(value)}
        if wrong:
            raise InputError(f"described a training run: metrics {wrong!r} are not finite; leave out what has no value")
        if any(not png.startswith(b"\x89PNG\r\n") for png in self.plots.values()):
            raise InputError(f"described a training run: not every plot of {sorted(self.plots)!r} is a PNG")

    @property
    def told_inputs(self) -> dict[str, str]:
        """The tags of a version by which it is told whether it can still be asked, and whether of the same."""
        told = {"feature_names": json.dumps(self.feature_names)}
        if self.feature_definitions:
            told[DEFINITIONS] = json.dumps(dict(self.feature_definitions), sort_keys=True)
        if self.label_rule:
            told[LABEL_RULE] = json.dumps(dict(self.label_rule), sort_keys=True)
        return told

    @property
    def identity(self) -> dict[str, str]:
        """The tags by which a version is recognised, the same on the run, the model and the version."""
        return {
            "training_set_id": self.training_set_id,
            "feature_set": self.feature_set,
            "model_sha256": self.model_sha256,
            "code_version": self.code_version,
        }


def _uncalculated(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with texts that no spreadsheet takes for formulas: reviewers open these files there."""
    return frame.with_columns(pl.col(pl.String).map_elements(uncalculated, return_dtype=pl.String))


def write_files(run: TrainingRun, folder: Path) -> Path:
    """`tables/NAME.csv` and `plots/NAME.png`, which MLflow's pages show as tables and pictures, and the documents."""
    for name, frame in run.tables.items():
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        _uncalculated(frame).write_csv(folder / "tables" / f"{name}.csv")
    for name, png in run.plots.items():
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        (folder / "plots" / f"{name}.png").write_bytes(png)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in run.documents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
