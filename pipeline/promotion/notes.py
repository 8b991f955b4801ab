"""What MLflow's pages say around a version: of an experiment, of a registered model and its aliases, of a run.

Belongs here: those words. Stays out: a version's own description (`card`) and its card (`model_card`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.promotion.kinds import Kind
from pipeline.promotion.markdown import cell
from pipeline.promotion.run import TrainingRun
from pipeline.promotion.standing import Alias

NOTE: Final = "mlflow.note.content"
"""The tag that MLflow shows as the description of an experiment or a run."""

MEANING: Final[Mapping[Alias, str]] = MappingProxyType(
    {
        "champion": "in charge: what it says is what is acted on, and what every other version is measured by",
        "shadow": "on trial: it says what it would say beside the champion, and nobody acts on it",
        "challenger": "it won on the past; it waits for its trial in the shadow",
        "former": "in charge before the champion; kept beside it, to go back to when the champion does harm",
    }
)
"""What each alias means; MLflow has no place for it but the model's own description."""


def of_experiment(name: str, purpose: str) -> str:
    """The description of a model's experiment."""
    return (
        f"{purpose} Each run is one training of `{cell(name)}`: its name ends in the first letters of its training "
        "set's hash. Read `card.md` first, then `plots/` and `tables/`; the parameters say what was chosen, and after "
        "how many trials. A run whose model became a version is linked to it."
    )


def of_model(name: str, kind: Kind) -> str:
    """The description of a registered model: what it is for, and what its aliases mean."""
    rows = [f"| `{alias}` | {meaning} |" for alias, meaning in MEANING.items()]
    return "\n".join([
        kind.purpose,
        "",
        "| alias | what it means |",
        "|---|---|",
        *rows,
        "",
        "The aliases follow the hash-chained `deployments` table: one that is moved by hand here is put back. Who is "
        f"in charge, and why: `poolcast promotion status`. Each training: the experiment `{cell(name)}`.",
    ])  # fmt: skip


def of_run(run: TrainingRun) -> str:
    """The description of a run: what was trained on what, and where Dagster tells how."""
    extent = ", ".join(f"{cell(str(name))} {cell(str(value))}" for name, value in run.dataset.items())
    learned_from = f"Trained on set `{cell(run.training_set_id[:12])}`"
    told = [f"{run.kind.in_words} {learned_from}{extent and ': ' + extent}."]
    if run.dagster_url:
        told.append(f"Its log: [the run in Dagster]({run.dagster_url}).")
    return "\n\n".join(told)
