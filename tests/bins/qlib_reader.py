"""Read a provider directory with the real QLib, in a process of its own, and write down what it answers.

QLib keeps global state and warns while it is imported; here neither reaches the tests.
Usage: qlib_reader.py DIRECTORY OUTPUT.parquet [FREQ [FIELD...]].
"""

import sys

import qlib
from qlib.constant import REG_US
from qlib.data import D

FIELDS = ["open", "high", "low", "close", "volume", "vwap", "factor"]

if __name__ == "__main__":
    freq, fields = (sys.argv[3:4] or ["60min"])[0], sys.argv[4:] or FIELDS
    qlib.init(provider_uri=sys.argv[1], region=REG_US, kernels=1, expression_cache=None, dataset_cache=None)
    instruments = D.list_instruments(D.instruments("all"), freq=freq, as_list=True)
    frame = D.features(instruments, [f"${field}" for field in fields], freq=freq)
    frame.columns = [name.removeprefix("$") for name in frame.columns]
    frame.reset_index().to_parquet(sys.argv[2])
