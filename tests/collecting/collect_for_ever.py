"""A collector that runs until it is killed, and says of every answer that it was acknowledged.

    python collect_for_ever.py BASE_URL SANDBOX_URL SOURCE FOLDER LAKE NETWORK...

It hands its journal to the lake after each cycle.
"""

import sys
from dataclasses import replace
from pathlib import Path

from market_under_test import HURRIED

from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.pools.answer import Answer
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.drain import drain
from pipeline.pools.journal import Journal
from pipeline.sandbox.clock import SandboxTimer


class TellingJournal(Journal):
    """A journal that prints what it acknowledged, once it has."""

    def keep(self, answer: Answer) -> None:
        super().keep(answer)
        print(f"kept {answer.answer_id}", flush=True)


def main() -> None:
    base_url, sandbox_url, source, folder, lake, calls, *networks = sys.argv[1:]
    from pipeline.pools import collector

    collector.Journal = TellingJournal  # type: ignore[misc]
    setup = CollectorSetup(
        base_url=base_url, source=source, timer=SandboxTimer(sandbox_url), folder=Path(folder),
        networks=tuple(networks), bands=LabelsSpec(), client=HURRIED, calls_per_minute=int(calls),
        collection=replace(CollectionSpec(), workers=1),
    )  # fmt: skip
    with setup.open() as desk:
        while True:
            cycle = desk.cycle(desk.next_slot())
            drain(desk.journal, Lake(Path(lake)))
            print(f"cycle {cycle.slot.isoformat()}", flush=True)


if __name__ == "__main__":
    main()
