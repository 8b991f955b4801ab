"""QLib in this process: set up once, quiet, one core, nothing cached on disk, its recorder kept in hand.

Belongs here: `qlib.init` and the recorder. Stays out: what is read and fitted.

QLib keeps its settings in globals. Asked again for the same provider, nothing happens; for another one it is set up
anew, which clears its memory caches (without that, 0.9.7 would answer from the old provider). Its models log every
round of every fit to the recorder; those go nowhere unless a recorder was started on purpose (`recorded`).
"""

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InputError
from pipeline.models.returns.qlib_recorder import on_purpose

_LOCK: Final = threading.RLock()
_STATE: dict[str, tuple[str, str | None]] = {}
_NOWHERE: Final = "sqlite:///:memory:"


@dataclass(frozen=True)
class Tracking:
    """Where QLib's recorder writes: an MLflow tracking URI (a server or a database, no folder) and the experiment."""

    uri: str
    experiment: str = "pool-return"


def start_qlib(provider: Path | None = None, tracking: Tracking | None = None) -> None:
    """Set QLib up for a provider directory and, if given, a tracking server; idempotent.

    Args:
        provider: a QLib directory; a link is resolved, so the export that is in force now stays in use. None: whichever
            is in use, for work that reads no bins.
        tracking: for `recorded`; None keeps the one in use.

    Raises:
        InputError: there is no such directory.
    """
    if provider is not None and not (provider / "calendars").is_dir():
        raise InputError(
            f"expected a QLib provider directory, found no calendars in {str(provider)!r}: export bins first"
        )
    with _LOCK:
        before = _STATE.get("qlib", ("", None))
        wanted = (
            str(provider.resolve()) if provider is not None else before[0],
            tracking.uri if tracking is not None else before[1],
        )
        if "qlib" in _STATE and wanted == before:
            return
        _init(*wanted)
        _STATE["qlib"] = wanted


@contextmanager
def recorded(tracking: Tracking | None, name: str) -> Iterator[None]:
    """A recorder of QLib's in our experiment while the block runs; without tracking, nothing is kept.

    What `record` is told goes to the MLflow run called `name`, which ends FINISHED, or FAILED if the block raises.
    """
    if tracking is None:
        yield
        return
    start_qlib(tracking=tracking)
    from qlib.workflow import R  # noqa: PLC0415  QLib takes seconds to import

    with R.start(experiment_name=tracking.experiment, recorder_name=name):
        yield


def record(params: Mapping[str, object], metrics: Mapping[str, float]) -> None:
    """Parameters and figures into the recorder that `recorded` started; nowhere without one."""
    from qlib.workflow import R  # noqa: PLC0415

    R.log_params(**params)
    R.log_metrics(**metrics)


@contextmanager
def quiet() -> Iterator[None]:
    """Swallow what QLib's and LightGBM's Python code prints while the block runs."""
    with redirect_stdout(StringIO()):
        yield


def _init(provider: str, tracking_uri: str | None) -> None:
    import qlib  # noqa: PLC0415
    from qlib.constant import REG_US  # noqa: PLC0415

    hook = sys.excepthook
    qlib.init(
        provider_uri=provider or ".",
        region=REG_US,
        kernels=1,
        expression_cache=None,
        dataset_cache=None,
        logging_level=logging.ERROR,
        logging_config=None,
        exp_manager={
            "class": on_purpose(),
            "kwargs": {"uri": tracking_uri or _NOWHERE, "default_exp_name": "pool-return"},
        },
    )
    # QLib hangs itself into the interpreter's hook for uncaught exceptions; the process is not its own.
    sys.excepthook = hook


def qlib_data() -> Any:
    """QLib's `D`, for the provider in use."""
    from qlib.data import D  # noqa: PLC0415

    return D


def qlib_expressions() -> Any:
    """QLib's provider of expressions, for the provider in use."""
    from qlib.data.data import ExpressionD  # noqa: PLC0415

    return ExpressionD
