"""What a collector needs to begin, as one plain value.

Belongs here: the value, and opening a collector from it; the HTTP client is imported then and not before. Stays out:
what a collector does (`collector`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.calendars import Timer
from pipeline.pools.attention import Bands
from pipeline.pools.collecting_spec import ClientSpec, CollectionSpec, SamplerSpec
from pipeline.pools.memory import Memory
from pipeline.pools.spec import PoolsSpec

if TYPE_CHECKING:
    from pipeline.pools.collector import Collector


@dataclass(frozen=True)
class CollectorSetup:
    """All that a collector needs to begin: where to ask, as whom, how much, for what, and where to remember it.

    Attributes:
        base_url: everything before `networks/...`.
        source: what the rows will say of where they come from.
        timer: whose minutes the budget counts and whose times the rows carry.
        folder: where collectors of this installation keep what they share.
        networks: the chains to watch.
        calls_per_minute: the budget, shared by all collectors on the folder.
        seed: of the sampler's and the pauses' chance.
        bands: the labels' thresholds, for what a pool's story looks like so far.
        name: of this collector, in its records.
    """

    base_url: str
    source: str
    timer: Timer
    folder: Path
    networks: tuple[str, ...]
    bands: Bands
    calls_per_minute: int = 30
    seed: int = 0
    api_key: str | None = field(default=None, repr=False)
    api_key_header: str = "x-cg-pro-api-key"
    name: str = "collector"
    outcome_counts: Mapping[str, int] = field(default_factory=dict)
    client: ClientSpec = field(default_factory=ClientSpec)
    collection: CollectionSpec = field(default_factory=CollectionSpec)
    sampler: SamplerSpec = field(default_factory=SamplerSpec)
    pools: PoolsSpec = field(default_factory=PoolsSpec)

    @property
    def memory_file(self) -> Path:
        """The file of what collectors must not forget."""
        return self.folder / "memory.sqlite"

    @contextmanager
    def open(self, say: Callable[[str], None] = lambda _words: None) -> Iterator["Collector"]:
        """A collector, for as long as the block lasts."""
        from pipeline.pools.budget import Budget  # noqa: PLC0415 - the HTTP client costs what loading a graph may not
        from pipeline.pools.collector import Collector  # noqa: PLC0415

        host = urlsplit(self.base_url).hostname or ""
        memory = Memory(self.memory_file)
        try:
            with Budget(
                self.folder / "budget.sqlite", calls=self.calls_per_minute, spec=self.client, host=host
            ) as budget:
                desk = Collector(self, memory, budget, say)
                with desk.api:
                    yield desk
        finally:
            memory.close()
