"""What QLib's own health checker would find, written anew over the real QLib, in a process of its own.

For every instrument QLib lists: is a value missing in a column, does a column change by more than its threshold between
neighbouring rows, is the factor missing altogether.
Usage: qlib_health_oracle.py DIRECTORY FREQ OUTPUT.json
"""

import json
import sys
from pathlib import Path

import qlib
from qlib.constant import REG_US
from qlib.data import D

THRESHOLDS = {"open": 0.5, "high": 0.5, "low": 0.5, "close": 0.5, "volume": 3.0}


def problems_of(instrument: str, freq: str) -> list[dict[str, object]]:
    columns = [*THRESHOLDS, "factor"]
    frame = D.features([instrument], [f"${column}" for column in columns], freq=freq)
    frame.columns = columns
    found: list[dict[str, object]] = []
    if frame["factor"].isna().all():
        found.append({"problem": "missing_factor", "column": "factor"})
    missing = frame.isna().sum()
    found += [{"problem": "missing_data", "column": column, "n": int(n)} for column, n in missing.items() if n]
    for column, threshold in THRESHOLDS.items():
        change = frame[column].pct_change(fill_method=None).abs()
        if change.max() > threshold:
            first = change.index[change > threshold][0][1]
            told = {"time": f"{first:%Y-%m-%d %H:%M:%S}", "value": repr(float(change.max()))}
            found.append({"problem": "large_step", "column": column, **told})
    return [{"instrument": instrument, **row} for row in found]


if __name__ == "__main__":
    directory, freq, output = sys.argv[1:]
    qlib.init(provider_uri={freq: directory}, region=REG_US, kernels=1, expression_cache=None, dataset_cache=None)
    names = D.list_instruments(D.instruments("all"), freq=freq, as_list=True)
    Path(output).write_text(json.dumps([row for name in names for row in problems_of(name, freq)]))
