"""Hands letters to one receiver through a process of its own, and ends it when its time is up.

Belongs here: starting, asking and ending `post`. Stays out: what becomes of a failure (`deliver`).
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Timer
from typing import Final

from pipeline.monitoring.alerts.message import Letter
from pipeline.monitoring.alerts.receivers import Receiver
from pipeline.monitoring.alerts.spec import AlertsSpec

_ROOT: Final = Path(__file__).resolve().parents[3]
_NEEDED: Final = (
    "PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY",
    "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip
"""Of our environment, what a process needs that speaks to the world; no key and no other address."""
_MOST_FAILURES: Final = 2
"""In a row, then the receiver is left alone until the next delivery."""
_DONE_SECONDS: Final = 2.0


def handed(receiver: Receiver, letters: Sequence[Letter], spec: AlertsSpec) -> Iterator[str]:
    """Hand the letters over one by one; for each, empty where it arrived, else why not.

    Ends early when the receiver failed twice in a row or its time is up: what is not answered was not sent.
    """
    environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.monitoring.alerts.post"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=_ROOT,
        env={**environment, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "ignore"},
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    alarm = Timer(spec.send_seconds, _end, [process])
    alarm.daemon = True
    alarm.start()
    try:
        n_failures, started = 0, time.monotonic()
        for why in _answers(process, receiver, letters, spec):
            yield why
            n_failures = n_failures + 1 if why else 0
            # Services have a pace of their own: what there is no time for is told by the next delivery, not cut off.
            if n_failures >= _MOST_FAILURES or time.monotonic() - started > spec.send_seconds / 2:
                return
    finally:
        alarm.cancel()
        _close(process)


def _answers(
    process: subprocess.Popen[str], receiver: Receiver, letters: Sequence[Letter], spec: AlertsSpec
) -> Iterator[str]:
    assert process.stdin is not None  # noqa: S101  both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps({"url": receiver.url, "longest": spec.longest_body}) + "\n")
        for letter in letters:
            process.stdin.write(json.dumps(asdict(letter)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise BrokenPipeError
            yield str(json.loads(answer)["why"])
    except BrokenPipeError:
        code = process.wait()
        late = f"it did not answer within {spec.send_seconds:g} s"
        yield late if code == -signal.SIGKILL else "the process that speaks to it broke down"


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _close(process: subprocess.Popen[str]) -> None:
    """End the process in order, or else by force; its pipes are closed either way."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(_DONE_SECONDS)
    except subprocess.TimeoutExpired:
        _end(process)
        process.wait()
