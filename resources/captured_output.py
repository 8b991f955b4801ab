"""How Dagster keeps what a run prints: as it does by itself, except that Ctrl-C reaches the run alone.

Belongs here: the two files of each run and the helpers that show them on the terminal meanwhile. Stays out: what is
printed (`narrator`) and how long it is kept (`housekeeping`).
"""

import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from dagster import StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData


class CapturedOutput(LocalComputeLogManager):
    """Captures standard output and error of a run into two files.

    Dagster starts four helpers that mirror the files to the terminal. A terminal sends Ctrl-C to all processes in
    front of it: the helpers died of it with a traceback of their own, in the middle of the run's last words.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """One setting: Dagster's home; the files go where Dagster puts them by itself."""
        return {"home": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]) -> Self:
        """Build it from its section of `dagster.yaml`."""
        return cls(base_dir=str(Path(config_value["home"]) / "storage"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        """Capture while the context is open."""
        with ExitStack() as open_until_the_end:
            with _interrupts_wait():
                context = open_until_the_end.enter_context(super().capture_logs(log_key))
            yield context


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let SIGINT wait for the end of the block; what is started within inherits the mask, and never hears it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
