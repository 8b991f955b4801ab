"""The how-to page is run as it stands, against bins made here."""

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.export import export_all
from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec

PAGE = Path(__file__).parents[2] / "docs" / "qlib-backtest.md"
START = datetime(2026, 3, 1, tzinfo=UTC)
N_POOLS, N_HOURS = 40, 240
TOLD = """
told = {"rank_ic": rank_ic.mean(), "hours": len(report), "trades": int((report["turnover"] > 0).sum())}
told |= {"accounts": report["account"].tolist(), "costs": report["total_cost"].tolist()}
print(json.dumps(told))
"""


def reverting_bars() -> tuple[pl.DataFrame, dict[str, tuple[str, ...]]]:
    """Prices that fall back to 1, by 30 % an hour: the page's signal must be worth something here.

    An hour in twenty is quiet.
    """
    rng = np.random.default_rng(5)
    parts, identities = [], {}
    for at in range(N_POOLS):
        name = instrument_name("eth", f"0x{at:040x}")
        identities[name] = ("eth", f"0x{at:040x}")
        log_close = np.zeros(N_HOURS)
        for hour in range(1, N_HOURS):
            log_close[hour] = 0.7 * log_close[hour - 1] + 0.1 * rng.normal()
        close = np.exp(log_close)
        frame = pl.DataFrame(
            {
                "instrument": name,
                "event_time": [START + timedelta(hours=h) for h in range(N_HOURS)],
                **dict.fromkeys(("open", "high", "low", "close", "vwap"), close),
                "volume": rng.exponential(1_000, N_HOURS),
            }
        )
        parts.append(frame.filter(pl.Series(rng.random(N_HOURS) > 0.05)))
    return pl.concat(parts).with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC"))), identities


def code_of(page: Path) -> str:
    """The page's Python, as a reader saves it: its blocks one after the other."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL))


@pytest.mark.slow
def test_the_commands_of_the_page_end_well_on_a_file_of_bars(tmp_path: Path) -> None:
    """As they stand, in a folder with such a file as the page describes: one without a factor."""
    bars, _ = reverting_bars()
    plain = bars.rename({"instrument": "symbol", "event_time": "date"}).drop("vwap")
    plain.write_parquet(tmp_path / "BARS.parquet")
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert block.count("\n") == 2
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "poolcast"
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(PAGE.parents[1])},
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    assert (tmp_path / "data/qlib/mine/calendars/60min.txt").exists()


@pytest.mark.slow
def test_the_page_leads_from_bins_to_a_backtest(tmp_path: Path) -> None:
    bars, identities = reverting_bars()
    export_all(bars, identities, tmp_path / "qlib", BinsSpec())
    code, n = re.subn(r'PROVIDER = ".*"', f"PROVIDER = {str(tmp_path / 'qlib')!r}", code_of(PAGE))
    assert n == 1
    script = tmp_path / "page.py"
    script.write_text(code + TOLD)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert f"{N_POOLS} pools" in done.stdout
    assert f"is {list(identities[min(identities)])!r}" in done.stdout
    # An AR(1) with coefficient 0.7: the move from the next hour to the one after it correlates with minus the level
    # now by 0.3 * 0.7 / sqrt(2 * 0.3) = 0.27; the mean of 12 hours in the signal, and ranks, take a little away.
    assert 0.15 < told["rank_ic"] < 0.27
    assert told["hours"] == N_HOURS - 1 - 12
    assert told["trades"] > 100
    assert np.isfinite(told["accounts"]).all()
    assert told["accounts"][-1] > 100_000
    assert told["costs"][-1] > 0
