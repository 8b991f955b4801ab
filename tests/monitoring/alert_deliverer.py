"""A deliverer as a process, for tests that kill it: `python alert_deliverer.py FOLDER ADDRESSES`."""

import sys
from pathlib import Path

from tests.monitoring.alert_bench import Bench

if __name__ == "__main__":
    Bench(Path(sys.argv[1]), to=sys.argv[2]).delivers()
