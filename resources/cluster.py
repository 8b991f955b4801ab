"""Workers on other machines: a Dask cluster that somebody else started.

Belongs here: giving parts to the cluster, and what is said when it is gone, hangs, or runs other code. Stays out: what
the parts are (the library), Dagster's steps on the same cluster (`dask_steps`), starting a worker (`dask_worker`).

A worker that dies loses its parts, and the scheduler gives them to another. A worker that hangs is given up by the
scheduler after its `worker-ttl`. Here only the whole is watched: as long as answers come in, it may take its time.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

from pipeline.errors import ClusterError, UsageError
from pipeline.provenance.code import numeric_versions
from pipeline.workers import HERE, Workers
from resources.settings import ROOT, named_build

CONNECT_SECONDS: Final = 20
CLOSE_SECONDS: Final = 2
SILENCE_SECONDS: Final = 3600.0
"""How long nothing may come in before the cluster is said to hang."""
_TRIES: Final = 3
_KEPT: Final = 4
"""Shared values that stay on the workers: a training has one a horizon."""


def workers_of(address: str | None) -> Workers:
    """The workers of the cluster at `address`; without one, this process."""
    return HERE if address is None else DaskWorkers(address)


def connect(address: str) -> Any:
    """A client of the scheduler at an address.

    Raises:
        UsageError: Dask is not installed here, or the address is none.
        ClusterError: nobody answers there.
    """
    try:
        from distributed import Client  # noqa: PLC0415  the extra `dask`
    except ImportError as error:
        raise UsageError("POOLCAST_DASK is set and Dask is not installed: docs/scaling.md says how it is") from error
    try:
        return Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_SECONDS, set_as_default=False, name="poolcast"
        )
    except ValueError as error:
        raise UsageError(f"POOLCAST_DASK is {address!r}: give an address like 'tcp://HOST:8786'") from error
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} within {CONNECT_SECONDS} s: start it, or unset POOLCAST_DASK"
        ) from error


class DaskWorkers:
    """The workers of one Dask scheduler; connects when it is first asked for something.

    Args:
        address: the scheduler's.
        silence_seconds: how long nothing may come in.
    """

    def __init__(self, address: str, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._address = address
        self._silence_seconds = silence_seconds
        self._client: Any = None
        self._sent: list[tuple[Any, Any]] = []
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many worker threads there are now.

        Raises:
            ClusterError: the scheduler does not answer, or has no workers.
        """
        client = self.cluster
        with self._in_our_words():
            found = sum(client.nthreads().values())
        if not found:
            raise ClusterError(f"the Dask scheduler at {self._address!r} has no workers: start one (`poolcast worker`)")
        return int(found)

    @property
    def cluster(self) -> Any:
        """The Dask client.

        Raises:
            ClusterError: the scheduler does not answer.
        """
        with self._lock:
            if self._client is not None and self._client.status != "running":
                self._client.close(timeout=CLOSE_SECONDS)
                self._client = None
            if self._client is None:
                self._client, self._sent = connect(self._address), []
            return self._client

    def each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        """The answers of `work(shared, part)`, in the order of the parts; see `pipeline.workers.Workers`."""
        for _ in range(_TRIES - 1):
            # A shared value that only a dead worker held is gone with all that waits for it; a scheduler, with
            # everything. Both may be back.
            with suppress(_LostError):
                return self._each(work, shared, parts)
            self._sent = []
        return self._each(work, shared, parts)

    def _each[S, P, R](self, work: Callable[[S, P], R], shared: S, parts: Sequence[P]) -> list[R]:
        client = self.cluster
        futures: list[Any] = []
        try:
            with self._in_our_words():
                sent = self._send(client, shared)
                # pure=False: what reads the lake may answer otherwise the next time.
                futures += [client.submit(_done, build(), work, sent, part, pure=False) for part in parts]
                self._wait(client, futures)
            self._raise_failures(futures)
            with self._in_our_words():
                return list(client.gather(futures))
        finally:
            client.cancel(futures)

    def _send(self, client: Any, shared: Any) -> Any:
        """The value on the workers, where it stays for the next time."""
        for value, sent in self._sent:
            if value is shared and not sent.cancelled():
                return sent
        sent = client.scatter(shared, broadcast=True, hash=False)
        self._sent = [*self._sent[-_KEPT + 1 :], (shared, sent)]
        return sent

    def _wait(self, client: Any, futures: Sequence[Any]) -> None:
        from distributed import wait  # noqa: PLC0415  as in `connect`

        left = list(futures)
        with client.as_current():
            while left:
                found = wait(  # type: ignore[no-untyped-call]
                    left, timeout=self._silence_seconds, return_when="FIRST_COMPLETED"
                )
                left = list(found.not_done)

    def _raise_failures(self, futures: Sequence[Any]) -> None:
        """What a part raised, as it raised it; that it killed its workers, in our words."""
        from distributed.scheduler import KilledWorker  # noqa: PLC0415  as in `connect`

        for future in futures:
            if future.status == "error":
                error = future.exception()
                if isinstance(error, KilledWorker):
                    raise ClusterError(
                        f"the cluster at {self._address!r} lost {error.allowed_failures + 1} workers to one part, the "
                        f"last at {error.last_worker.address!r}: look at their logs; memory is the usual reason"
                    ) from error
                raise error

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise ClusterError(
                f"the Dask cluster at {self._address!r} gave no answer for {self._silence_seconds:g} s: look whether "
                "its workers hang or wait for each other, and run again"
            ) from error
        except (OSError, CancelledError) as error:
            raise _LostError(
                f"the Dask cluster at {self._address!r} lost what it was given: look whether its scheduler is up, and "
                "run again"
            ) from error


class _LostError(ClusterError):
    """What was given to the cluster is gone; it may be given once more."""


def _done[S, P, R](asked_by: str, work: Callable[[S, P], R], shared: S, part: P) -> R:
    """One part, on a worker that runs our code."""
    if asked_by != build():
        raise UsageError(
            f"this worker runs build {build()!r} and is asked by build {asked_by!r}: give every machine the same "
            "checkout and the same lock, and start its workers again"
        )
    return work(shared, part)


@cache
def build() -> str:
    """What the answers of this process depend on: the name of its image, or its code and what computes."""
    named = named_build()
    if named is not None:
        return named
    digest = hashlib.sha256()
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        digest.update(f"{file.relative_to(ROOT)}\0".encode())
        digest.update(file.read_bytes())
    digest.update(repr(numeric_versions()).encode())
    return digest.hexdigest()[:16]
