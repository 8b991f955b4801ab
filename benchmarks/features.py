"""How fast features are: all technical features against pandas-ta, how time and memory grow, and the online path.

    python benchmarks/features.py [--pools 2000] [--bars 1500] [--sample 100] [--seed 0]

The market is synthetic, seeded, and the same for both: `--pools` pools of `--bars` five-minute bars each. Ours computes
every technical field on bars of 5, 15 and 60 min of all pools. Theirs is pandas-ta, with TA-Lib if that is installed,
looped over `--sample` of the same pools with the same indicators on the same lengths, in the same process, in turns.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.calendars import MINUTE
from pipeline.features.engine import Event, micros
from pipeline.features.engines.bars import five_minute_bars, longer_bars, numbered_pools
from pipeline.features.engines.indicators import FIELDS, over_history
from pipeline.features.engines.online_bars import OnlineBars
from pipeline.features.inputs import OfBar
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import BAR_MINUTES
from pipeline.tables import UTC as UTC_TIME

SPEC = FeaturesSpec()
START = datetime(2020, 9, 8, tzinfo=UTC)
TURNS = 3
AROUND = (100, 10_000, 100_000)


def synthetic_candles(n_pools: int, n_bars: int, seed: int) -> pl.DataFrame:
    """Rows of CANDLES, as far as indicators read them: random walks, a bar in ten missing, one in ten learned late."""
    rng = np.random.default_rng(seed)
    shape = (n_pools, n_bars)
    close = np.exp(np.cumsum(rng.normal(0, 0.03, shape), axis=1))
    first = close * np.exp(rng.normal(0, 0.01, shape))
    start = np.cumsum(np.where(rng.random(shape) < 0.1, 2, 1), axis=1)
    late = np.where(rng.random(shape) < 0.1, rng.integers(1, 4, shape), 0)
    five, origin = 5 * 60_000_000, micros(START)
    pools = pl.Series("pool", [f"0x{i:040x}" for i in range(n_pools)], dtype=pl.String)
    return pl.DataFrame(
        {
            "pool": pools.gather(np.repeat(np.arange(n_pools), n_bars)),
            "event_time": (start * five + origin).ravel(),
            "known_at": ((start + 1) * five + late * 60_000_000 + origin).ravel(),
            "open": first.ravel(),
            "high": (np.maximum(first, close) * (1 + 0.01 * rng.random(shape))).ravel(),
            "low": (np.minimum(first, close) * (1 - 0.01 * rng.random(shape))).ravel(),
            "close": close.ravel(),
            "volume_usd": rng.lognormal(5, 2, shape).ravel(),
        }
    ).with_columns(
        pl.lit("simulation:0").alias("source"), pl.lit("eth").alias("network"),
        pl.col("event_time", "known_at").cast(UTC_TIME),
    )  # fmt: skip


def ours(candles: pl.DataFrame) -> int:
    """Every technical field on bars of every length; returns how many values that were."""
    parts = five_minute_bars(candles, numbered_pools(candles))
    return sum(over_history(longer_bars(parts, m, SPEC), m, SPEC).height for m in BAR_MINUTES) * len(FIELDS)


def theirs(candles: pl.DataFrame) -> int:
    """The same with pandas-ta, pool by pool."""
    import pandas_ta as ta

    frame = candles.select("pool", "event_time", "open", "high", "low", "close", "volume_usd").to_pandas()
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume_usd": "sum"}
    n_values = 0
    for _, one in frame.set_index("event_time").groupby("pool", sort=False):
        for minutes in BAR_MINUTES:
            bars = one if minutes == BAR_MINUTES[0] else one.resample(f"{minutes}min").agg(how).dropna()
            n_values += len(bars) * len(of_pandas_ta(ta, bars))
    return n_values


def of_pandas_ta(ta: Any, bars: Any) -> list[Any]:
    """The columns that pandas-ta makes of one pool's bars, and the two made of them."""
    h, low, c, v = (bars[name] for name in ("high", "low", "close", "volume_usd"))
    atr, macd, bands = ta.atr(h, low, c, length=14), ta.macd(c), ta.bbands(c, length=20)
    found = [
        bars["open"], h, low, c, v, ta.vwap(h, low, c, v, anchor="D"), atr, ta.rsi(c, length=14),
        ta.stoch(h, low, c, k=14, d=3, smooth_k=3), ta.willr(h, low, c, length=14), ta.cci(h, low, c, length=14),
        ta.adx(h, low, c, length=14), ta.obv(c, v), ta.mfi(h, low, c, v, length=14), macd, bands,
    ]  # fmt: skip
    if macd is not None and atr is not None and bands is not None:
        found += [macd.iloc[:, 0] / atr, (c - bands.iloc[:, 0]) / (bands.iloc[:, 2] - bands.iloc[:, 0])]
    return found


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def against_pandas_ta(candles: pl.DataFrame, n_sample: int) -> None:
    """Print rows per second of both, and the ratio."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas_ta

        pools = candles["pool"].unique().sort()
        sample = candles.filter(pl.col("pool").is_in(pools.head(n_sample).to_list()))
        theirs(sample.filter(pl.col("pool") == pools[0]))  # what is compiled or imported at first use does not count
        ours(sample)
        # In turns, and the best of each: what else runs on the machine slows both, and never the same at two moments.
        turns = [(seconds(lambda: theirs(sample)), seconds(lambda: ours(candles))) for _ in range(TURNS)]
    their_rate, our_rate = sample.height / min(t for t, _ in turns), candles.height / min(o for _, o in turns)
    lib = "with TA-Lib" if pandas_ta.Imports["talib"] else "WITHOUT TA-Lib: install it for the fair comparison"
    print(f"pandas-ta {lib}, {n_sample} pools, {sample.height:,} rows: {their_rate:>12,.0f} rows/s")
    print(f"ours, {pools.len():,} pools, {candles.height:,} rows: {our_rate:>12,.0f} rows/s")
    print(f"ratio: {our_rate / their_rate:.1f}\n")


def growth(n_pools: int, n_bars: int, seed: int) -> None:
    """Print how time grows with pools and with days, from a quarter of the market to all of it."""
    for what, sizes in (
        ("pools", [(n_pools // 4, n_bars), (n_pools // 2, n_bars), (n_pools, n_bars)]),
        ("days", [(n_pools, n_bars // 4), (n_pools, n_bars // 2), (n_pools, n_bars)]),
    ):
        for times, (pools, bars) in zip((1, 2, 4), sizes, strict=True):
            candles = synthetic_candles(pools, bars, seed)
            took = min(seconds(lambda frame=candles: ours(frame)) for _ in range(2))
            rate = candles.height / took
            print(f"{times}x {what}: {pools:,} pools x {bars:,} bars in {took:.2f} s, {rate:,.0f} rows/s")
    print()


def peak_memory(n_pools: int, n_bars: int, seed: int) -> None:
    """Print the most memory that a fresh process held, market included."""
    command = [sys.executable, __file__, "--only-memory"]
    command += ["--pools", str(n_pools), "--bars", str(n_bars), "--seed", str(seed)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - this very file


def online(seed: int) -> None:
    """Print how long one event of one pool takes, early and late in its life: by the clock, and of the processor."""
    inputs = [OfBar(field, minutes) for minutes in BAR_MINUTES for field in FIELDS]
    state, took = OnlineBars(inputs, SPEC), []
    for event, at_us in _events(AROUND[-1] + 500, seed):
        clock, processor = time.perf_counter_ns(), time.thread_time_ns()
        state.observe(event)
        state.values({}, at_us)
        took.append((time.perf_counter_ns() - clock, time.thread_time_ns() - processor))
    micro = np.array(took) / 1_000
    for number in AROUND:
        near = micro[number // 2 : number + number // 2] if number < 1_000 else micro[number - 500 : number + 500]
        (p50, p50_own), (p99, p99_own) = np.percentile(near, [50, 99], axis=0)
        print(
            f"online, around event {number:,}, a candle and its decision: p50 {p50:.0f} us, p99 {p99:.0f} us by the "
            f"clock; p50 {p50_own:.0f} us, p99 {p99_own:.0f} us of the processor"
        )


def _events(n: int, seed: int) -> Iterator[tuple[Event, int]]:
    rows = synthetic_candles(1, n, seed).sort("known_at", "event_time").iter_rows(named=True)
    return ((Event("candles", row), micros(row["known_at"] + MINUTE)) for row in rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pools", type=int, default=2_000)
    arguments.add_argument("--bars", type=int, default=1_500, help="five-minute bars of each pool")
    arguments.add_argument("--sample", type=int, default=100, help="pools that pandas-ta is timed on")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only-memory", action="store_true", help="print the peak memory of one run of ours")
    given = arguments.parse_args()
    if given.only_memory:
        ours(synthetic_candles(given.pools, given.bars, given.seed))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory, market included: {peak:,.0f} MiB")
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} as it starts\n")
    against_pandas_ta(synthetic_candles(given.pools, given.bars, given.seed), given.sample)
    peak_memory(given.pools, given.bars, given.seed)
    growth(given.pools, given.bars, given.seed)
    online(given.seed)


if __name__ == "__main__":
    main()
