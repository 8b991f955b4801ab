"""One door a plain object: the lake, the recordings, the clock, the source to learn from, the model registry.

Each takes configuration in and hands a library object out; assets never see a Dagster resource. The values come
from `settings`, and a run may override any of them (a replay sets the clock, a demo names its source).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline.calendars import Clock, FixedClock, SystemClock, require_utc
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.promotion.registry import Registry
from resources.settings import Settings


class LakeDoor(dg.ConfigurableResource[Any]):
    """Where frames rest."""

    root: str

    def create_resource(self, _context: dg.InitResourceContext) -> Lake:
        """The lake under `root`."""
        return Lake(Path(self.root))


class ShelfDoor(dg.ConfigurableResource[Any]):
    """Which recordings are replayed."""

    folder: str

    def create_resource(self, _context: dg.InitResourceContext) -> Shelf:
        """The shelf in `folder`."""
        return Shelf(Path(self.folder))


class ClockDoor(dg.ConfigurableResource[Any]):
    """What time it is: the machine's, or for a replay the moment `at` (ISO 8601, UTC)."""

    at: str | None = None

    def create_resource(self, _context: dg.InitResourceContext) -> Clock:
        """A standing clock if `at` is set, else the machine's."""
        return (
            SystemClock()
            if self.at is None
            else FixedClock(require_utc(datetime.fromisoformat(self.at).astimezone(UTC)))
        )


class SourceDoor(dg.ConfigurableResource[Any]):
    """Which source's pools to learn from; empty: the only one there is, and never a simulation unless it is named."""

    name: str = ""

    def create_resource(self, _context: dg.InitResourceContext) -> str:
        """The source's name, or an empty text."""
        return self.name


class RegistryDoor(dg.ConfigurableResource[Any]):
    """The model registry, reached through its database so that no server has to be up."""

    tracking_uri: str
    artifact_root: str

    def create_resource(self, _context: dg.InitResourceContext) -> Registry:
        """A registry that connects when it is first asked for something."""
        return Registry(self.tracking_uri, Path(self.artifact_root))


class FolderDoor(dg.ConfigurableResource[Any]):
    """A folder that something outside the lake is written to."""

    path: str

    def create_resource(self, _context: dg.InitResourceContext) -> Path:
        """The folder; it need not exist yet."""
        return Path(self.path)


def doors(settings: Settings) -> dict[str, dg.ConfigurableResource[Any]]:
    """Every resource of the graph, by the name the assets ask for."""
    return {
        "lake": LakeDoor(root=str(settings.lake)),
        "shelf": ShelfDoor(folder=str(settings.recordings)),
        "qlib": FolderDoor(path=str(settings.qlib)),
        "clock": ClockDoor(),
        "wall_clock": ClockDoor(),
        "source": SourceDoor(),
        "registry": RegistryDoor(
            tracking_uri=settings.tracking_uri or settings.mlflow_url, artifact_root=str(settings.mlflow_artifacts)
        ),
    }
