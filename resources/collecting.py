"""Which market is collected from: the real API, or a sandbox with its own address, name and clock.

Belongs here: a collector's setup from this installation's settings. Stays out: the sandbox itself (`pipeline.sandbox`),
and what a collector does (`pipeline.pools.collector`).
"""

import os
from pathlib import Path
from socket import gethostname

from pipeline.calendars import SystemClock, Timer
from pipeline.labels.spec import LabelsSpec
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.pools.collector_setup import CollectorSetup
from resources.settings import ApiSettings

REAL_SOURCE = "geckoterminal"
"""What rows of the real API say of where they come from."""


def market_clock(sandbox_url: str | None) -> Timer:
    """The clock that rules the market: the machine's, or the sandbox's."""
    if sandbox_url is None:
        return SystemClock()
    from pipeline.sandbox.clock import SandboxTimer  # noqa: PLC0415 - the HTTP client is imported where it is used

    return SandboxTimer(sandbox_url)


def api_address(api: ApiSettings) -> str:
    """What the calls' paths are appended to: the real API's address, or the sandbox's."""
    return api.base_url if api.sandbox_url is None else f"{api.sandbox_url}/api/v2"


def collector_setup(api: ApiSettings, folder: Path) -> CollectorSetup:
    """What a collector of this installation needs to begin; `folder` is where collectors keep what they share.

    Raises:
        ServiceError: no sandbox answers where one is asked for.
    """
    is_real = api.sandbox_url is None
    return CollectorSetup(
        base_url=api_address(api),
        source=REAL_SOURCE if api.sandbox_url is None else _source_of(api.sandbox_url),
        timer=market_clock(api.sandbox_url),
        folder=folder,
        networks=api.networks or CollectionSpec().networks,
        bands=LabelsSpec(),
        calls_per_minute=api.calls_per_minute,
        api_key=api.key if is_real else None,
        api_key_header=api.key_header,
        name=f"{gethostname()}-{os.getpid()}",
    )


def _source_of(sandbox_url: str) -> str:
    from pipeline.sandbox.control import SandboxControl  # noqa: PLC0415 - as above

    return SandboxControl(sandbox_url).market().source
