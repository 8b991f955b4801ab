"""The addresses of pages that one tool shows of another's: a run in Dagster, as MLflow links to it.

Belongs here: addresses. Stays out: who shows them.
"""

from resources.settings import Settings


def run_page(run_id: str) -> str:
    """The page of a run in Dagster, as far as this installation knows where Dagster is; empty without a run."""
    return f"{Settings.from_environment().dagster_url}/runs/{run_id}" if run_id else ""
