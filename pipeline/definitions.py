"""The roof: wires assets, checks, jobs, sensors, schedules and doors, and lays policy over all of them.

Belongs here: which there are. Stays out: what holds for every asset (`assets.policy`) and which assets a job runs
(`assets.jobs`). Nothing heavy is imported while this loads: MLflow, Great Expectations and QLib are paid for where they
are used.
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
)
from assets.jobs import JOBS
from assets.policy import under_policy
from pipeline.pools.collecting_spec import CollectionSpec
from resources.dask_steps import steps_executor
from resources.doors import doors
from resources.narrator import narrator
from resources.settings import Settings
from sensors import alerts as alert_watch
from sensors import clockwork
from sensors import collection as collection_watch
from sensors import drift as drift_watch
from sensors import edge as edge_watch
from sensors import labels as label_watch
from sensors import mute as mute_watch

STAGES = (pools, snapshots, features, labels, bins, models, promotion, predictions)
BESIDE = {bin_health: "bins", returns: "models", outcomes: "predictions", trial: "promotion"}
"""Modules that hold more assets of a stage."""


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
        assets=under_policy(assets, (settings.lake_url or settings.lake.as_uri()).rstrip("/")),
        asset_checks=dg.load_asset_checks_from_modules(
            [checks, drift, freshness, bin_health, outcomes, quality, returns, trial]
        ),
        jobs=JOBS,
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
            mute_watch.champion_mute,
        ],
        resources={**doors(settings), **(resource_overrides or {})},
        executor=steps_executor(settings.dask),
        loggers={"console": dg.colored_console_logger, "narrator": narrator},
    )


defs = build_defs()
