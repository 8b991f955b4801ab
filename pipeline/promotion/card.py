"""A version's card, which a reviewer reads in the registry before anybody promotes it.

Belongs here: what the card says, in Markdown that no text from outside can break. Stays out: the figures themselves.
"""

from typing import Final

from pipeline.promotion.markdown import cell, pairs
from pipeline.promotion.run import TrainingRun

MAX_DESCRIPTION: Final = 5_000
"""Characters that MLflow's database keeps of a version's description."""
_MAX_METRICS: Final = 30


def describe(run: TrainingRun) -> str:
    """The version's card in Markdown, at most 5,000 characters: what it is, what it is worth, how to check it."""
    # The list of versions shows the first line as plain text.
    head = [
        f"Trained on set {cell(run.training_set_id[:12])}. {cell(run.kind.in_words)}",
        "",
        "**Where it stands**, and why, is in its tags `standing` and `evidence`; what each standing means is on the"
        " page of the model.",
        "",
        "**Before you approve or veto it**: read its rows in the `comparisons` table (gain, interval, pools), the"
        " metrics below beside those of the champion, and `plots/` of its run (calibration first). Then"
        " `poolcast promotion approve` or `veto`. An alias moved by hand does not last: it follows the `deployments`"
        " ledger.",
    ]
    shown = dict(list(run.metrics.items())[:_MAX_METRICS])
    parts = [
        "\n".join(head),
        pairs("Metrics, out of sample", {name: f"{value:.4g}" for name, value in shown.items()}),
        pairs("Training set", run.dataset),
        pairs("Made from", run.identity),
        pairs("Parameters", run.params),
        f"**{len(run.feature_names)} features**: {cell(', '.join(run.feature_names))}",
    ]
    text = "\n\n".join(part for part in parts if part)
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 2].rstrip() + " …"
