"""A source under test, with what it kept and the clock it waited on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from misbehaving_server import (
    Behaviour,
    MisbehavingServer,
)
from timers import VirtualTimer

from pipeline.pools.answer import Answer, Call, new_pools
from pipeline.pools.budget import Budget
from pipeline.pools.collecting_spec import ClientSpec
from pipeline.pools.source import Asked, Source

CAP = 100_000
SPEC = ClientSpec(max_body_bytes=CAP, attempts=3, breaker_failures=5)
HASTY = replace(SPEC, read_timeout_s=1e6, deadline_s=0.6, attempts=1)
"""Minds the time of a whole call, and of nothing else."""
KEY = "CG-neverToBeSeen0123"
CALL = new_pools("eth")


def usable(asked: Asked) -> Answer:
    """The answer there must be."""
    assert asked.answer is not None, asked.error
    return asked.answer


class Bench:
    """A source, what it kept, and the clock it waited on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.timer, self.kept = folder, VirtualTimer(), list[Answer]()

    @contextmanager
    def source(
        self, url: str, spec: ClientSpec = SPEC, *, calls: int = 1000, key: str | None = None, seed: int = 7
    ) -> Iterator[Source]:
        with (
            Budget(self.folder / "budget", calls=calls, spec=spec, host=url) as budget,
            Source(
                url, timer=self.timer, budget=budget, spec=spec, seed=seed, keep=self.kept.append, api_key=key
            ) as source,
        ):
            yield source

    def ask(
        self, *behaviours: Behaviour, spec: ClientSpec = SPEC, call: Call = CALL
    ) -> tuple[Asked, MisbehavingServer]:
        with MisbehavingServer(*behaviours) as server, self.source(server.url, spec) as source:
            return source.ask(call), server
