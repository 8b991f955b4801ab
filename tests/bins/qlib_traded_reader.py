"""Read every instrument of a provider directory with the real QLib, and write down the bars that have a value.

Beside `qlib_reader`, for directories so large that writing down the gaps would take longer than reading them.
Usage: qlib_traded_reader.py DIRECTORY OUTPUT.parquet; prints how many rows QLib gave, gaps included.
"""

import sys

import qlib
from qlib.constant import REG_US
from qlib.data import D

FIELDS = ["$open", "$high", "$low", "$close", "$volume", "$vwap", "$factor"]

if __name__ == "__main__":
    qlib.init(provider_uri=sys.argv[1], region=REG_US, kernels=1, expression_cache=None, dataset_cache=None)
    instruments = D.list_instruments(D.instruments("all"), freq="60min", as_list=True)
    frame = D.features(instruments, FIELDS, freq="60min")
    traded = frame.dropna(how="all")
    traded.columns = [name.removeprefix("$") for name in traded.columns]
    traded.reset_index().to_parquet(sys.argv[2])
    sys.stdout.write(f"{len(frame)}\n")
