"""A writer over an object store: `python bucket_writer.py ADDRESS ID`; as `lake_writer.py`, without any lock."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count

from lake_tables import NOTES, READINGS, hours
from lake_writer import appended, replaced, say, upserted

from pipeline.errors import TransientError
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket


@dataclass(frozen=True)
class NoLocks:
    """What is left when the server of the locks is away: the store alone."""

    def held(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def courtesy(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


def unlocked(bucket: Bucket) -> Lake:
    return Lake(Bucket(bucket.uri, NoLocks(), bucket.is_plain))


def at_last(write: Callable[[], object]) -> None:
    """Write, again as long as the store is away: what a run that is retried does."""
    while True:
        try:
            write()
        except TransientError:
            time.sleep(0.1)
        else:
            return


def main() -> None:
    lake, writer = Lake(Bucket(sys.argv[1], NoLocks(), is_plain=True)), int(sys.argv[2])
    lake.version(READINGS)  # loads what the first write needs
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for batch in count():
        at_last(lambda: lake.append(READINGS, appended(writer, batch)))  # noqa: B023 - called at once
        say("append", batch)
        at_last(lambda: lake.replace(READINGS, replaced(writer, batch), hours(30, 31)))  # noqa: B023
        say("replace", batch)
        at_last(lambda: lake.upsert(NOTES, upserted(writer, batch)))  # noqa: B023
        say("upsert", batch)


if __name__ == "__main__":
    main()
