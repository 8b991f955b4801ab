"""One door a plain object: the lake, the recordings, the clock, the source to learn from, the model registry.

Each takes configuration in and hands a library object out; assets never see a Dagster resource. The values come
from `settings`, and a run may override any of them (a replay sets the clock, a demo names its source).
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline.calendars import Clock, FixedClock, require_utc
from pipeline.lake import Lake
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.shelf import Shelf
from pipeline.promotion.registry import Registry
from pipeline.workers import Workers
from resources.cluster import workers_of
from resources.collecting import collector_setup, market_clock
from resources.lake import lake_at
from resources.settings import ApiSettings, Settings


class LakeDoor(dg.ConfigurableResource[Any]):
    """Where frames rest. Keys and passwords stay in the environment: a resource's configuration is shown in the UI."""

    root: str

    def create_resource(self, _context: dg.InitResourceContext) -> Lake:
        """The lake under `root`, a folder or a prefix of an object store."""
        return lake_at(self.root, Settings.from_environment())


class ShelfDoor(dg.ConfigurableResource[Any]):
    """Which recordings are replayed."""

    folder: str

    def create_resource(self, _context: dg.InitResourceContext) -> Shelf:
        """The shelf in `folder`."""
        return Shelf(Path(self.folder))


class ClockDoor(dg.ConfigurableResource[Any]):
    """What time it is: the machine's, or for a replay the moment `at` (ISO 8601, UTC)."""

    at: str | None = None
    sandbox_url: str | None = None

    def create_resource(self, _context: dg.InitResourceContext) -> Clock:
        """A standing clock if `at` is set, else the sandbox's if there is one, else the machine's."""
        if self.at is not None:
            return FixedClock(require_utc(datetime.fromisoformat(self.at).astimezone(UTC)))
        return market_clock(self.sandbox_url)


class CollectorDoor(dg.ConfigurableResource[Any]):
    """How pools are collected. The key stays in the environment: a resource's configuration is shown in the UI."""

    base_url: str
    folder: str
    calls_per_minute: int
    networks: list[str]
    sandbox_url: str | None = None

    def create_resource(self, _context: dg.InitResourceContext) -> CollectorSetup:
        """A setup that opens nothing before a collector is asked for."""
        api = replace(
            ApiSettings.from_environment(),
            base_url=self.base_url,
            calls_per_minute=self.calls_per_minute,
            networks=tuple(self.networks),
            sandbox_url=self.sandbox_url,
        )
        return collector_setup(api, Path(self.folder))


class AlertsDoor(dg.ConfigurableResource[Any]):
    """Who is told of what. The addresses stay in the environment: a resource's configuration is shown in the UI."""

    folder: str
    rule_file: str | None = None

    def create_resource(self, _context: dg.InitResourceContext) -> AlertSetup:
        """A setup that reads neither rules nor addresses before they are asked for."""
        rules = None if self.rule_file is None else Path(self.rule_file)
        return AlertSetup(Path(self.folder), rules, Settings.from_environment().alerts_to)


class SourceDoor(dg.ConfigurableResource[Any]):
    """Which source's pools to learn from; empty: the only one there is, and never a simulation unless it is named."""

    name: str = ""

    def create_resource(self, _context: dg.InitResourceContext) -> str:
        """The source's name, or an empty text."""
        return self.name


class RegistryDoor(dg.ConfigurableResource[Any]):
    """The model registry. Its address stays in the environment: it may be the database's, with the password in it."""

    artifact_root: str

    def create_resource(self, _context: dg.InitResourceContext) -> Registry:
        """A registry that connects when it is first asked for something."""
        settings = Settings.from_environment()
        return Registry(settings.tracking_uri or settings.mlflow_url, Path(self.artifact_root))


class WorkersDoor(dg.ConfigurableResource[Any]):
    """Who computes what falls into parts: this process, or the workers of the Dask scheduler at `address`."""

    address: str | None = None

    def create_resource(self, _context: dg.InitResourceContext) -> Workers:
        """Workers that are connected to when they are first asked for something."""
        return workers_of(self.address)


class FolderDoor(dg.ConfigurableResource[Any]):
    """A folder that something outside the lake is written to."""

    path: str

    def create_resource(self, _context: dg.InitResourceContext) -> Path:
        """The folder; it need not exist yet."""
        return Path(self.path)


def doors(settings: Settings) -> dict[str, dg.ConfigurableResource[Any]]:
    """Every resource of the graph, by the name the assets ask for."""
    return {
        "lake": LakeDoor(root=settings.lake_url or str(settings.lake)),
        "shelf": ShelfDoor(folder=str(settings.recordings)),
        "qlib": FolderDoor(path=str(settings.qlib)),
        "return_datasets": FolderDoor(path=str(settings.return_datasets)),
        "model_cache": FolderDoor(path=str(settings.model_cache)),
        "alert_setup": AlertsDoor(
            folder=str(settings.alerts), rule_file=str(settings.alert_rules) if settings.alert_rules else None
        ),
        "clock": ClockDoor(sandbox_url=settings.api.sandbox_url),
        "wall_clock": ClockDoor(),
        "source": SourceDoor(),
        "workers": WorkersDoor(address=settings.dask),
        "collector": CollectorDoor(
            base_url=settings.api.base_url,
            folder=str(settings.collector),
            calls_per_minute=settings.api.calls_per_minute,
            networks=list(settings.api.networks or CollectionSpec().networks),
            sandbox_url=settings.api.sandbox_url,
        ),
        "registry": RegistryDoor(artifact_root=str(settings.mlflow_artifacts)),
    }
