"""What a step does when the machines that compute for it, or the registry, are gone: it is tried again, or waits.

Belongs here: telling Dagster that a failure is nobody's fault, and waiting where too much would be lost. Stays
out: what is computed elsewhere (the library), and a step whose own worker is gone (`resources.dask_steps`).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import dagster as dg

from pipeline.errors import ClusterError, RegistryAwayError

TRIES: Final = 3
PAUSE_SECONDS: Final = 60
"""Long enough for a scheduler to be started again by whatever looks after it."""
REGISTRY_PAUSES: Final = (15.0,) * 80
"""Twenty minutes, and what each try takes: the fits of a training are in memory until its version is there."""


@contextmanager
def tried_again() -> Iterator[None]:
    """Have Dagster try the step again, after a pause, where the cluster is gone; what was committed stays."""
    try:
        yield
    except ClusterError as error:
        raise dg.RetryRequested(max_retries=TRIES, seconds_to_wait=PAUSE_SECONDS) from error


def once_it_answers[T](
    ask: Callable[[], T], say: Callable[[str], None], pauses: Iterable[float] = REGISTRY_PAUSES
) -> T:
    """What the registry answers; one that is away is waited for, as hours of fitting may stand behind the question."""
    for pause in pauses:
        try:
            return ask()
        except RegistryAwayError as error:
            say(f"{error}; asked again in {pause:g} s")
            time.sleep(pause)
    return ask()
