"""The roof: wires assets, checks, sensors, schedules and doors, and lays policy over all of them.

Policy is written here once for every asset: its group, owner, kinds, cadence, columns. Nothing heavy is
imported while this loads: MLflow, Great Expectations and QLib are paid for where they are used.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets import bins, checks, features, labels, models, pools, predictions, promotion, snapshots
from assets.metadata import column_schema
from pipeline.tables import TABLES, Table
from resources.doors import doors
from resources.narrator import narrator
from resources.settings import Settings
from sensors import clockwork
from sensors import labels as label_watch

STAGES = (pools, snapshots, features, labels, bins, models, promotion, predictions)
TABLE_OF = {"qlib_bins": "bin_exports", "training_set": "training_sets", "champion": "deployments"}
"""The table an asset writes, where the two have different names."""

COLLECTION = ("reserves", "pools", "candles", "snapshots", "features", "labels")
TRAINING = ("training_set", "outcome_model", "champion", "predictions")
HOURLY = "each hour, computed whole and replaced; collection brings the running hour up to date every 5 min"
WEEKLY = "on 1,000 new labels, every Sunday 03:00 UTC, and whenever somebody asks"
CADENCE = {
    **dict.fromkeys(COLLECTION, HOURLY),
    **dict.fromkeys(TRAINING, WEEKLY),
    "pools": "with every collection; a pool is added once and updated in place",
    "qlib_bins": "when somebody asks; an export that would be the same is not written again",
}
KINDS = {
    **{name: {"polars", "deltalake"} for name in COLLECTION},
    "qlib_bins": {"qlib"},
    "training_set": {"polars", "deltalake"},
    "outcome_model": {"xgboost", "mlflow"},
    "champion": {"mlflow", "deltalake"},
    "predictions": {"xgboost", "deltalake"},
}


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything Dagster is shown; tests put their own doors in place of the usual ones."""
    assets = [
        asset
        for stage in STAGES
        for asset in dg.load_assets_from_modules([stage], group_name=stage.__name__.rpartition(".")[2])
    ]
    return dg.Definitions(
        assets=dg.map_asset_specs(func=_with_policy, iterable=assets),  # type: ignore[arg-type]  # takes all a loader gives
        asset_checks=dg.load_asset_checks_from_modules([checks]),
        jobs=[
            dg.define_asset_job(
                "loop", dg.AssetSelection.all(), description="Everything, from the records to the champion."
            ),
            dg.define_asset_job(
                "collect",
                dg.AssetSelection.assets(*COLLECTION),
                executor_def=dg.in_process_executor,
                description="Brings the hours asked for up to date; hours whose inputs did not change are left alone.",
            ),
            dg.define_asset_job(
                "train",
                dg.AssetSelection.assets(*TRAINING),
                description="Freezes a training set, trains and evaluates a model, lets the gate decide.",
            ),
        ],
        schedules=[clockwork.every_five_minutes, clockwork.every_sunday],
        sensors=[label_watch.enough_new_labels],
        resources={**doors(Settings.from_environment()), **(resource_overrides or {})},
        executor=dg.in_process_executor,
        loggers={"console": dg.colored_console_logger, "narrator": narrator},
    )


def _with_policy(spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    target = TABLES.get(TABLE_OF.get(name, name))
    columns = {"dagster/column_schema": column_schema(target)} if target else {}
    return spec.replace_attributes(
        description=_description(spec.description or "", target, CADENCE[name]),
        owners=["team:poolcast"],
        kinds=KINDS[name],
    ).merge_attributes(metadata=columns)


def _description(text: str, target: Table | None, cadence: str) -> str:
    """What the asset is, then its grain, key and dates, so that nobody has to read code to use it."""
    grain = f"\n\n**Grain** {target.grain}.\n\n**Key** `{'`, `'.join(target.key)}`." if target else ""
    dated = f" **Known since** `{target.as_of}`." if target else ""
    return f"{text}{grain}{dated}\n\n**Cadence** {cadence}."


defs = build_defs()
