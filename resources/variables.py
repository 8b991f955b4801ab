"""Which `POOLCAST_*` variables there are, so that a misspelt one is not passed over in silence.

Belongs here: their names. Stays out: what they mean and hold (`settings`, and docs/reference/settings.md for people). A
test holds the three together.
"""

import os
from difflib import get_close_matches
from typing import Final

_OURS: Final = "POOLCAST_"

KNOWN: Final = (
    "POOLCAST_ALERTS_TO",
    "POOLCAST_ALERT_RULES",
    "POOLCAST_ALLOWED_HOSTS",
    "POOLCAST_API_CALLS_PER_MINUTE",
    "POOLCAST_API_KEY",
    "POOLCAST_API_KEY_HEADER",
    "POOLCAST_API_URL",
    "POOLCAST_BIND",
    "POOLCAST_BUILD",
    "POOLCAST_DAGSTER_PORT",
    "POOLCAST_DASK",
    "POOLCAST_DATABASE_PATIENCE_S",
    "POOLCAST_DATA_DIR",
    "POOLCAST_LAKE_URL",
    "POOLCAST_MLFLOW_PORT",
    "POOLCAST_NETWORKS",
    "POOLCAST_POSTGRES_URL",
    "POOLCAST_SANDBOX_URL",
    "POOLCAST_SIGN_IN",
    "POOLCAST_WORKSPACE",
)
"""What people set."""

INNER: Final = ("POOLCAST_DAGSTER_URL", "POOLCAST_RUN_LOGS")
"""What processes of ours tell one another."""


def misspelt() -> list[str]:
    """A sentence for each variable of our name in the environment that nothing reads; what it holds is not repeated."""
    strange = sorted(name for name in os.environ if name.startswith(_OURS) and name not in (*KNOWN, *INNER))
    return [f"{name!r} is set and is no setting of poolcast: {_advice(name)}" for name in strange]


def _advice(name: str) -> str:
    # Without what all have in common, or any two names would be near.
    nearest = get_close_matches(name.removeprefix(_OURS), [each.removeprefix(_OURS) for each in KNOWN], n=1)
    return f"did you mean {_OURS}{nearest[0]}?" if nearest else "docs/reference/settings.md has them all"
