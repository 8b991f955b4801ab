"""Starts deliveries of alerts, each in a process of its own, so that whoever asks for one need not wait.

Belongs here: starting `poolcast alerts deliver`, one at a time. Stays out: what a delivery does
(`pipeline.monitoring.alerts`).
"""

import subprocess
import sys
from pathlib import Path

from resources.settings import ROOT, inherited_environment

_UNDER_WAY: list[subprocess.Popen[bytes]] = []
"""Deliveries of this process: what has ended is waited for when the next is asked for, so that none stays a zombie."""


def is_delivering() -> bool:
    """Whether a delivery that this process started still works."""
    _UNDER_WAY[:] = [process for process in _UNDER_WAY if process.poll() is None]
    return bool(_UNDER_WAY)


def start_delivery(data_dir: Path) -> None:
    """Let everybody be told what is due; what it says is kept in `DATA_DIR/logs/alerts.log`.

    It ends by itself: no receiver may take longer than the spec says.
    """
    log = data_dir / "logs" / "alerts.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as told:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "pipeline.cli", "alerts", "deliver", "--data-dir", str(data_dir)],
            cwd=ROOT,
            env=inherited_environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
    _UNDER_WAY.append(process)
