"""The roof: wires assets, checks, sensors, schedules and doors, and lays policy over all of them.

Policy is written here once for every asset: its group, owner, kinds, cadence, columns. Nothing heavy is
imported while this loads: MLflow, Great Expectations and QLib are paid for where they are used.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets import (
    alerts,
    bin_health,
    bins,
    checks,
    drift,
    features,
    freshness,
    labels,
    models,
    outcomes,
    pools,
    predictions,
    promotion,
    quality,
    reports,
    returns,
    snapshots,
    trial,
    upkeep,
)
from assets.metadata import column_schema
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.tables import FAMILY_TABLES, TABLES, Table
from resources.doors import doors
from resources.narrator import narrator
from resources.settings import Settings
from sensors import alerts as alert_watch
from sensors import clockwork
from sensors import collection as collection_watch
from sensors import drift as drift_watch
from sensors import edge as edge_watch
from sensors import labels as label_watch

STAGES = (pools, snapshots, features, labels, bins, models, promotion, predictions)
BESIDE = {bin_health: "bins", returns: "models", outcomes: "predictions", trial: "promotion"}
"""Modules that hold more assets of a stage."""
TABLE_OF = {
    "qlib_bins": "bin_exports", "training_set": "training_sets", "champion": "deployments",
    "return_dataset": "return_datasets", "return_champion": "deployments",
    "trial": "comparisons", "reign": "comparisons",
}  # fmt: skip
"""The table an asset writes, where the two have different names."""

TOLD = ("answers", "raw_pools", "tokens", "trades", "raw_candles")
"""What comes from the API; a replay of recordings has nothing to do there."""
FAMILIES = tuple(target.name for target in FAMILY_TABLES.values())
COLLECTION = (*TOLD, "pools", "candles", "snapshots", *FAMILIES, "features")
MATURING = ("labels", "market_labels")
REPORTS = ("features_report", "labels_report")
EXPORT = ("qlib_bins", "qlib_health")
WATCHING = ("quality_reports", "drift_reports", "alerts")
RETURNS = ("return_dataset", "return_model", "return_champion")
TRAINING = ("training_set", "outcome_model", "champion", "predictions", *EXPORT, *RETURNS)
OUTCOME_TRAINING = ("training_set", "outcome_model", "champion")
SERVING = ("predictions", "outcomes", "performance_reports", "trial", "reign")
OUTCOME_LOOP = (
    "reserves", "pools", "candles", "snapshots", *FAMILIES, "features", *MATURING, *OUTCOME_TRAINING, *SERVING,
)  # fmt: skip
"""From recorded updates to who is in charge of `pool-outcome`."""
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


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything Dagster is shown; tests put their own doors in place of the usual ones."""
    settings = Settings.from_environment()
    assets: list[Any] = [pools.answers_asset(settings.api.networks or CollectionSpec().networks)]
    assets += [
        asset
        for stage in STAGES
        for asset in dg.load_assets_from_modules([stage], group_name=stage.__name__.rpartition(".")[2])
    ]
    assets += [
        asset for module, stage in BESIDE.items() for asset in dg.load_assets_from_modules([module], group_name=stage)
    ]
    assets += dg.load_assets_from_modules([reports, alerts, drift, quality])
    return dg.Definitions(
        assets=dg.map_asset_specs(func=_with_policy, iterable=assets),
        asset_checks=dg.load_asset_checks_from_modules(
            [checks, drift, freshness, bin_health, outcomes, quality, returns, trial]
        ),
        jobs=[
            dg.define_asset_job(
                "loop",
                dg.AssetSelection.all() - dg.AssetSelection.assets(*TOLD),
                description="Everything that is made from recordings, from their reserves to the champion.",
            ),
            dg.define_asset_job(
                "collect",
                dg.AssetSelection.assets(*COLLECTION),
                executor_def=dg.in_process_executor,
                description="Asks the API until the next grid point, then brings the hours asked for up to date; hours "
                "whose inputs did not change are left alone.",
            ),
            dg.define_asset_job(
                "catch_up",
                dg.AssetSelection.assets(*(name for name in COLLECTION if name != "answers"), *MATURING),
                executor_def=dg.in_process_executor,
                description="Brings hours up to date whose answers or bars arrived late, without asking the API.",
            ),
            dg.define_asset_job(
                "mature",
                dg.AssetSelection.assets(*MATURING),
                executor_def=dg.in_process_executor,
                description="Lets the labels of the last day mature.",
            ),
            dg.define_asset_job(
                "train",
                dg.AssetSelection.assets(*TRAINING),
                description="Freezes a training set, trains and evaluates a model, lets the gate decide.",
            ),
            dg.define_asset_job(
                "serve",
                dg.AssetSelection.assets(*SERVING),
                executor_def=dg.in_process_executor,
                description="Lets every model in its role speak about the newest snapshots, judges what matured, and "
                "decides about the challenger on trial and the champion.",
            ),
            dg.define_asset_job(
                "export",
                dg.AssetSelection.assets(*EXPORT),
                executor_def=dg.in_process_executor,
                description="Adds to the QLib bins what is new, and checks them.",
            ),
            dg.define_asset_job(
                "report",
                dg.AssetSelection.assets(*REPORTS),
                executor_def=dg.in_process_executor,
                description="Draws what is missing and what became of the pools.",
            ),
            dg.define_asset_job(
                "watch",
                dg.AssetSelection.assets(*WATCHING),
                executor_def=dg.in_process_executor,
                description="Looks whether the data is sound and whether the world has moved.",
            ),
            upkeep.maintain,
            dg.define_asset_job(
                "look_at_freshness",
                dg.AssetSelection.checks(*(check.check_key for check in freshness.CHECKS)),
                executor_def=dg.in_process_executor,
                description="Looks whether what is collected is as fresh as it should be.",
            ),
        ],
        schedules=[
            clockwork.every_five_minutes,
            clockwork.every_hour,
            clockwork.every_hour_export,
            clockwork.every_hour_watch,
            clockwork.every_morning,
            clockwork.every_night,
            clockwork.every_quarter_hour,
            clockwork.every_quarter_hour_serve,
            clockwork.every_sunday,
        ],
        sensors=[
            alert_watch.failed_runs,
            alert_watch.alerts_told,
            collection_watch.pools_waiting,
            collection_watch.hours_to_catch_up,
            label_watch.enough_new_labels,
            drift_watch.drift_with_harm,
            edge_watch.edge_lost,
        ],
        resources={**doors(settings), **(resource_overrides or {})},
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
