"""A version's card, which a reviewer reads in the registry before anybody promotes it.

Belongs here: what the card says, in Markdown that no text from outside can break. Stays out: the figures themselves.
"""

import re
from collections.abc import Mapping
from typing import Final

from pipeline.promotion.run import TrainingRun

MAX_DESCRIPTION: Final = 5_000
"""Characters that MLflow's database keeps of a version's description."""
_MAX_METRICS: Final = 30


def describe(run: TrainingRun) -> str:
    """The version's card in Markdown, at most 5,000 characters: what it is, what it is worth, how to check it."""
    head = [
        f"### {_cell(run.model_name)}, trained on set `{_cell(run.training_set_id[:12])}`",
        _cell(run.kind.in_words),
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
