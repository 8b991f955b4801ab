"""Runs a Python module that dies with the process that started it, however that one dies.

Belongs here: tying a process to its parent (Linux), before its own code runs. Stays out: whose process it is
(`dask_steps`: a killed worker must not leave a step behind that somebody else is given meanwhile).

Usage: python -m resources.tied PARENT MODULE ARGUMENTS...
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for the signal, and become the module; a parent that died before that is noticed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(f"the process {sys.argv[1]} that wanted this is gone")
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])  # noqa: S606 - our own command, no shell


if __name__ == "__main__":
    main()
