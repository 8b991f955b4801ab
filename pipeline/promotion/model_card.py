"""The model card: what a model is, what it is for, what it is worth and how to check that, in one Markdown file.

Belongs here: the card's words and tables (after Mitchell et al. 2019), from plain values and frames; no text from
outside can break them. Stays out: the figures, and the short description that the registry shows (`card`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from pipeline.promotion.markdown import cell, pairs, table

FIGURES_SHOWN: Final = (
    ("log_loss", "all"), ("accuracy", "all"), ("f1", "macro"), ("roc_auc", "macro"), ("pr_auc", "macro"),
    ("brier", "all"), ("ece", "macro"),
)  # fmt: skip
SLICES_SHOWN: Final = (("log_loss", "all"), ("accuracy", "all"), ("roc_auc", "macro"))
PARTS: Final = ("brier", "brier_reliability", "brier_resolution", "brier_uncertainty", "ece")
CLASS_FIGURES: Final = ("precision", "recall", "f1", "roc_auc", "pr_auc")
LIMITS: Final = (
    "It speaks of pools like those it learned from: the source, the networks and the time named under *Data*. Markets "
    "change; what it is worth today, its live predictions tell.",
    "Its probabilities are not advice, and a pool that it calls safe can be drained a minute later.",
    "What no feature shows (who holds the keys, what was agreed elsewhere) it cannot know.",
    "Intervals say what other pools of the same days would have given, not what other days would.",
)
"""What holds for every model of ours."""


def model_card(
    name: str,
    in_words: str,
    *,
    identity: Mapping[str, object],
    data: Mapping[str, object],
    figures: pl.DataFrame,
    classes: Sequence[str],
    feature_names: Sequence[str],
    n_last_block_reads: int | None,
    n_trials: int | None,
    slices: pl.DataFrame | None = None,
    abstention: Mapping[str, object] | None = None,
    params: Mapping[str, object] | None = None,
    limits: Sequence[str] = (),
    model: str = "model",
) -> str:
    """The card in Markdown.

    Args:
        name: the registered model. in_words: what it puts out.
        identity: what it is recognised by: hashes, versions, the training set's id.
        data: the training set in a few scalars.
        figures: of the last block: `predictor`, `metric`, `outcome`, `value`, `low`, `high`.
        classes: in order.
        n_last_block_reads: how often the last block of this training set was looked at; None: not counted.
        n_trials: settings and kinds of model that were tried before this one was chosen; None: not counted.
        slices: `by`, `slice`, `metric`, `outcome`, `value`, `low`, `high`, `n_rows`, `n_pools` of the model.
        abstention: when it says nothing, and what that costs.
        limits: beside those of every model.
        model: the predictor that is the model; the others are baselines.
    """
    parts = [
        f"# {cell(name)}",
        cell(in_words),
        pairs("Recognised by", identity),
        "## What it is for",
        "To rank and to warn: which young pools are likely to end how. Its limits:",
        "\n".join(f"- {line}" for line in (*LIMITS, *(cell(line) for line in limits))),
        "## Data",
        pairs("Training set", data),
        "## What it is worth",
        "On the last block in time, which no probability was fitted or chosen on. In brackets 95 % intervals from a "
        "bootstrap over pools; a dash: not defined, or too few pools.",
        _beside_baselines(figures, model),
        _by_class(figures, model, classes),
        _slices(slices),
        "## How calibrated it is",
        "Brier score = reliability (0 is best) - resolution + uncertainty, up to what binning hides (Murphy 1973); ECE "
        "is the mean distance between what was said and what came, over bins of equal mass.",
        _calibration(figures, model, classes),
        "## How honest the figures are",
        _honesty(n_last_block_reads, n_trials),
        pairs("When it says nothing", abstention or {}),
        "## How to check it",
        _checks(identity),
        pairs("Parameters", params or {}),
        f"**{len(feature_names)} features**: {cell(', '.join(feature_names))}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _beside_baselines(figures: pl.DataFrame, model: str) -> str:
    names = [model, *sorted(set(figures["predictor"].to_list()) - {model})]
    rows = [[_name(key), *(_told(figures, name, *key) for name in names)] for key in FIGURES_SHOWN]
    return table(["figure", *names], rows)


def _by_class(figures: pl.DataFrame, model: str, classes: Sequence[str]) -> str:
    rows = [[name, *(_told(figures, model, metric, name) for metric in CLASS_FIGURES)] for name in classes]
    return table(["class", *CLASS_FIGURES], rows)


def _calibration(figures: pl.DataFrame, model: str, classes: Sequence[str]) -> str:
    rows = [[name, *(_told(figures, model, metric, name) for metric in PARTS)] for name in classes]
    return table(["class", *PARTS], rows)


def _slices(slices: pl.DataFrame | None) -> str:
    if slices is None or slices.is_empty():
        return ""
    rows = []
    for (by, part), own in slices.group_by("by", "slice", maintain_order=True):
        told = own.with_columns(pl.lit("").alias("predictor"))
        extent = [f"{own['n_pools'][0]:,}", f"{own['n_rows'][0]:,}"]
        rows.append([by, part, *extent, *(_told(told, "", *key) for key in SLICES_SHOWN)])
    return table(["by", "slice", "pools", "rows", *(_name(key) for key in SLICES_SHOWN)], rows)


def _honesty(n_reads: int | None, n_trials: int | None) -> str:
    reads = "a number of times that is not on record" if n_reads is None else f"{n_reads:,} time(s)"
    trials = "is not on record" if n_trials is None else f"is {n_trials:,}"
    return (
        f"The last block of this training set has been evaluated on {reads}: once is right, and each further time its "
        f"figures flatter a little. The number of settings and kinds tried, all on rows before it, {trials}."
    )


def _checks(identity: Mapping[str, object]) -> str:
    told = str(identity.get("model_sha256", ""))
    digest = f" It must be `{told}`." if told.isalnum() else ""
    return "\n".join([
        f"1. `sha256sum` of the model's file, against the registry's tag and the ledger.{digest}",
        "2. `poolcast evaluate evaluation.parquet --json` on the predictions of the last block gives these figures, "
        "and so does scikit-learn.",
        "3. `poolcast promotion status` checks the ledger's hash chain and says who is in charge and why.",
    ])  # fmt: skip


def _told(figures: pl.DataFrame, predictor: str, metric: str, outcome: str) -> str:
    found = figures.filter(
        pl.col("predictor") == predictor, pl.col("metric") == metric, pl.col("outcome") == outcome
    ).drop_nulls("value")
    if found.height != 1:
        return "-"
    row = found.row(0, named=True)
    interval = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
    return f"{row['value']:.3f}{interval}"


def _name(key: tuple[str, str]) -> str:
    metric, outcome = key
    return metric.replace("_", " ") + (f", {outcome}" if outcome != "all" else "")
