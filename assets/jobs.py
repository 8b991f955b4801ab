"""The jobs: which assets are brought up to date together, and what a run of theirs may claim.

Belongs here: selections, and the place of each job in the queue. Stays out: when they run (`sensors`), and how many
runs there are at once (`dagster.yaml`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets import freshness, upkeep
from pipeline.tables import FAMILY_TABLE_NAMES

TOLD = ("answers", "raw_pools", "tokens", "trades", "raw_candles")
"""What comes from the API; a replay of recordings has nothing to do there."""
COLLECTION = (*TOLD, "pools", "candles", "snapshots", *FAMILY_TABLE_NAMES, "features")
MATURING = ("labels", "market_labels")
REPORTS = ("features_report", "labels_report")
EXPORT = ("qlib_bins", "qlib_health")
WATCHING = ("quality_reports", "drift_reports", "alerts")
RETURNS = ("return_dataset", "return_model", "return_champion")
TRAINING = ("training_set", "outcome_model", "champion", "predictions", *EXPORT, *RETURNS)
OUTCOME_TRAINING = ("training_set", "outcome_model", "champion")
SERVING = ("predictions", "outcomes", "performance_reports", "trial", "reign")
OUTCOME_LOOP = (
    "reserves", "pools", "candles", "snapshots", *FAMILY_TABLE_NAMES, "features", *MATURING, *OUTCOME_TRAINING,
    *SERVING,
)  # fmt: skip
"""From recorded updates to who is in charge of `pool-outcome`."""

FIRST, SOON, LAST = 10, 5, -5
"""Places in the queue: what is observed now cannot be observed later, a training can wait; a run has 0 untold."""
PLACE: Final[Mapping[str, int]] = MappingProxyType(
    {"collect": FIRST, "catch_up": SOON, "mature": SOON, "serve": SOON, "train": LAST, "report": LAST, "maintain": LAST}
)


def _job(
    name: str, selection: dg.AssetSelection, description: str, *, is_light: bool = True
) -> UnresolvedAssetJobDefinition:
    """A job; a light one works in one process, which spares it seconds a step."""
    return dg.define_asset_job(
        name,
        selection,
        description=description,
        tags={"dagster/priority": str(PLACE[name])} if name in PLACE else {},
        executor_def=dg.in_process_executor if is_light else None,
    )


_of = dg.AssetSelection.assets
JOBS = (
    _job("collect", _of(*COLLECTION),
         "Asks the API until the next grid point, then brings the hours asked for up to date; hours whose inputs did "
         "not change are left alone. One place in the queue is always kept free for it."),
    _job("catch_up", _of(*(name for name in COLLECTION if name != "answers"), *MATURING),
         "Brings hours up to date whose answers or bars arrived late, without asking the API."),
    _job("mature", _of(*MATURING),
         "Lets the labels of the last day mature: each is labelled, censored with a reason, or still pending."),
    _job("export", _of(*EXPORT),
         "Adds to the QLib bins what is new, and checks every file of them."),
    _job("train", _of(*TRAINING),
         "Freezes a training set, trains and evaluates a model of outcomes and one of returns, lets the gate decide.",
         is_light=False),
    _job("serve", _of(*SERVING),
         "Lets every model in its role speak about the newest snapshots, judges what matured, and decides about the "
         "challenger on trial and the champion."),
    _job("watch", _of(*WATCHING),
         "Looks whether the data is sound and whether the world has moved, and writes down what somebody should know."),
    _job("report", _of(*REPORTS),
         "Draws what is missing and what became of the pools."),
    _job("look_at_freshness", dg.AssetSelection.checks(*(check.check_key for check in freshness.CHECKS)),
         "Looks whether what is collected is as fresh as it should be."),
    _job("loop", dg.AssetSelection.all() - _of(*TOLD),
         "Everything that is made from recordings, from their reserves to the champion.", is_light=False),
    upkeep.maintain,
)  # fmt: skip
