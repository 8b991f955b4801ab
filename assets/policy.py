"""What holds for every asset and is said once: owner, kinds, cadence, columns, where it lies, what it is made of.

Belongs here: whatever Dagster shows of an asset that does not depend on a run. Stays out: which assets there are
(`pipeline.definitions`), and what a run says of itself (the assets).
"""

import warnings
from collections.abc import Iterable
from typing import Any

import dagster as dg

from assets.jobs import COLLECTION, EXPORT, MATURING, REPORTS, SERVING, TRAINING, WATCHING
from assets.lineage import column_lineage
from assets.metadata import column_schema
from pipeline.tables import TABLES, Table

OWNER = "team:poolcast"
TABLE_OF = {
    "qlib_bins": "bin_exports", "training_set": "training_sets", "champion": "deployments",
    "return_dataset": "return_datasets", "return_champion": "deployments",
    "trial": "comparisons", "reign": "comparisons",
}  # fmt: skip
"""The table an asset writes, where the two have different names."""

HOURLY = "each hour, computed whole and replaced; collection brings the running hour up to date every 5 min"
ADDED = "with every collection; what was told once is added once and stays"
WEEKLY = "on 1,000 new labels, every Sunday 03:00 UTC, and whenever somebody asks"
CADENCE = {
    **dict.fromkeys(COLLECTION, HOURLY),
    **dict.fromkeys(TRAINING, WEEKLY),
    **dict.fromkeys(("pools", "trades", "raw_candles"), ADDED),
    "answers": "every 5 min, for as long as the schedule is on: each run collects until the next grid point",
    "reserves": "when a recording is imported; hours whose recording did not change are left alone",
    "market_labels": "every hour, for the last day",
    "labels": "every hour, for the last day: a label goes on changing until its longest horizon has passed",
    **dict.fromkeys(SERVING, "every 15 min: what is due is scored, what matured is judged; and after every training"),
    **dict.fromkeys(WATCHING, "every hour, and whenever somebody asks"),
    **dict.fromkeys(REPORTS, "every morning, and whenever somebody asks"),
    **dict.fromkeys(EXPORT, "every hour, before every training, and on demand; only what is new is written"),
}
KINDS = {
    **{name: {"polars", "deltalake"} for name in (*COLLECTION, *MATURING, "reserves")},
    "answers": {"http", "deltalake"},
    **{name: {"polars", "matplotlib"} for name in REPORTS},
    "qlib_bins": {"qlib"},
    "qlib_health": {"qlib", "matplotlib"},
    "return_dataset": {"qlib", "deltalake"},
    "return_model": {"qlib", "lightgbm", "mlflow"},
    "return_champion": {"mlflow", "deltalake"},
    "training_set": {"polars", "deltalake"},
    "outcome_model": {"xgboost", "mlflow"},
    "champion": {"mlflow", "deltalake"},
    "predictions": {"xgboost", "deltalake"},
    "outcomes": {"polars", "deltalake"},
    "performance_reports": {"polars", "matplotlib"},
    "quality_reports": {"scikitlearn", "matplotlib"},
    "alerts": {"polars", "deltalake"},
    "drift_reports": {"polars", "matplotlib"},
    "trial": {"mlflow", "deltalake"},
    "reign": {"mlflow", "deltalake"},
}


def under_policy(assets: Iterable[dg.AssetsDefinition], lake: str) -> list[dg.AssetsDefinition]:
    """The assets with all that holds for each of them; `lake` is the address of the lake's root."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # references to code are beta; the version is pinned
        told: list[Any] = list(dg.with_source_code_references(list(assets)))
    return list(dg.map_asset_specs(func=lambda spec: _with_policy(spec, lake), iterable=told))


def _with_policy(spec: dg.AssetSpec, lake: str) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    target = TABLES.get(TABLE_OF.get(name, name))
    return spec.replace_attributes(
        description=_description(spec.description or "", target, CADENCE[name]),
        owners=[OWNER],
        kinds=KINDS[name],
    ).merge_attributes(metadata=_of_table(target, lake) if target else {})


def _of_table(target: Table, lake: str) -> dict[str, Any]:
    """What Dagster shows of a table: its name and address, its columns, and what they are made of."""
    made = column_lineage(target.name)
    return {
        "dagster/table_name": target.name,
        "dagster/uri": f"{lake}/{target.name}",
        "dagster/column_schema": column_schema(target),
        **({"dagster/column_lineage": made} if made else {}),
    }


def _description(text: str, target: Table | None, cadence: str) -> str:
    """What the asset is, then its grain, key and dates, so that nobody has to read code to use it."""
    grain = f"\n\n**Grain** {target.grain}.\n\n**Key** `{'`, `'.join(target.key)}`." if target else ""
    dated = f" **Known since** `{target.as_of}`." if target else ""
    return f"{text}{grain}{dated}\n\n**Cadence** {cadence}."
