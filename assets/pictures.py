"""Pictures and pages as Dagster metadata: what to look at instead of reading.

Belongs here: how a picture is shown, and what a version's run holds to be seen. Stays out: drawing (`plots` of each
stage), tables and figures (`metadata`).
"""

from base64 import b64encode
from typing import Any

import dagster as dg

from pipeline.errors import RegistryError
from pipeline.promotion.registry import Registry
from pipeline.promotion.versions import RegisteredVersion


def picture(png: bytes, what: str) -> dg.MarkdownMetadataValue:
    """A PNG as Dagster shows it; `what` is read where it is not."""
    return dg.MetadataValue.md(f"![{what}](data:image/png;base64,{b64encode(png).decode()})")


def pictures_of(context: dg.AssetExecutionContext, registry: Registry, version: RegisteredVersion) -> dict[str, Any]:
    """The plots of a version's run as metadata; a run that somebody deleted has none."""
    try:
        plots = registry.plots(version)
    except RegistryError as error:
        context.log.warning(f"no plots: {error}")
        return {}
    return {name: picture(png, name.replace("_", " ")) for name, png in plots.items()}


def page_of(registry: Registry, version: RegisteredVersion) -> dg.MetadataValue[Any] | str:
    """A version's page in MLflow, as a link where a server shows it."""
    return linked(registry.page(version))


def linked(where: str) -> dg.MetadataValue[Any] | str:
    """An address as a link, and any other place as it is."""
    return dg.MetadataValue.url(where) if where.startswith("http") else where
