"""Write series with QLib's own storage, in a process of its own: what its full dump writes for the same bars.

Usage: qlib_writer.py BARS.parquet OUTPUT. The bars have `freq`, `history`, `instrument`, `date` (naive) and fields; a
folder is made of each history. The calendar is the full grid between the first and the last bar of the history, and
every instrument is laid on it from its first to its last bar, as `DumpDataAll` of QLib's scripts/dump_bin.py does.
"""

import sys
from pathlib import Path

import pandas as pd
import qlib
from qlib.constant import REG_US
from qlib.data.storage.file_storage import FileFeatureStorage

if __name__ == "__main__":
    bars, output = pd.read_parquet(sys.argv[1]), Path(sys.argv[2])
    qlib.init(provider_uri=str(output), region=REG_US, kernels=1, expression_cache=None, dataset_cache=None)
    for (freq, history), told in bars.groupby(["freq", "history"]):
        root = output / str(history)
        (root / "calendars").mkdir(parents=True)
        calendar = pd.date_range(told["date"].min(), told["date"].max(), freq=freq.replace("day", "1D"))
        (root / "calendars" / f"{freq}.txt").write_text("\n".join(map(str, calendar)) + "\n")
        for instrument, rows in told.groupby("instrument"):
            (root / "features" / str(instrument)).mkdir(parents=True)
            span = calendar[(calendar >= rows["date"].min()) & (calendar <= rows["date"].max())]
            laid = rows.set_index("date").reindex(span)
            for field in set(bars.columns) - {"freq", "history", "instrument", "date"}:
                storage = FileFeatureStorage(instrument, field, freq, provider_uri=str(root))
                storage.write(laid[field].to_numpy(), index=int(calendar.get_loc(span[0])))
