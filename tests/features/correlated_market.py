"""A market whose pools move together, and three ways to compare a pool with it: over history, event by event, slowly.

Pools of two networks and two quote tokens; bars come late, contradict their order, or not at all.
"""

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.features.engine import POOL_RUN, Event, micros
from pipeline.features.engines import from_index
from pipeline.features.engines.online_index import OnlineIndex
from pipeline.features.inputs import OfIndex
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import CANDLES, POOL_KEY, POOLS, SNAPSHOTS

SPEC = FeaturesSpec()
STEP = 5 * MINUTE
START = datetime(2020, 9, 8, 12, tzinfo=UTC)
FIELDS = from_index.FIELDS
INPUTS = tuple(OfIndex(field) for field in FIELDS)
NAMES = {read.name: read.field for read in INPUTS}
MOMENT = pl.Datetime("us", "UTC")


def table(rows: list[dict], schema: dict) -> pl.DataFrame:
    """Rows of a table, null where they say nothing."""
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def market(seed: int, n_pools: int = 5, n_bars: int = 380, noise: float = 0.02) -> Sources:
    """Pools of two networks and two quote tokens whose returns share a part, with gaps, late and contradicting bars."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.05, (2, n_bars))
    worth = {"weth": 375 * np.exp(np.cumsum(rng.normal(0, 0.004, n_bars))), "usdc": np.ones(n_bars)}
    bars, snapshots, pools = [], [], []
    for i in range(n_pools):
        network = i % 4 == 3
        quote = "usdc" if i % 3 == 2 else "weth"
        key = {"source": "simulation:1", "network": "bsc" if network else "eth", "pool": f"pool{i}"}
        pools.append(key | {"quote_token": quote})
        born, busy = int(rng.integers(0, 100)), float(rng.choice([0.3, 0.9, 1.0]))
        moves = shared[int(network)] * rng.normal(1, 0.3) + rng.normal(0, noise, n_bars)
        moves[rng.random(n_bars) < 0.01] += rng.choice([-3, 5])
        price = 10.0 ** rng.integers(-9, 9) * np.exp(np.cumsum(moves))
        for j in range(born, n_bars):
            start = START + j * STEP
            if rng.random() < busy:
                late = rng.choice([0, 1, 9, 10, 11, 60], p=[0.8, 0.08, 0.03, 0.03, 0.03, 0.03]) * MINUTE
                close = price[j] * (rng.random() > 0.002)
                bars.append(key | {"timeframe": "5min", "event_time": start, "known_at": start + STEP + late,
                                   "open": close, "high": close, "low": close, "close": close})  # fmt: skip
            if rng.random() < 0.8:
                usd = worth[quote][j] * price[j] * (1 + rng.normal(0, 1e-4) * (quote == "weth"))
                snapshots.append(key | {"event_time": start + STEP, "known_at": start + STEP, "created_at": START,
                                        "price_quote": price[j], "price_usd": usd})  # fmt: skip
    return Sources(
        snapshots=table(snapshots, SNAPSHOTS.schema).lazy(),
        pools=table(pools, POOLS.schema).lazy(),
        candles=table(bars, CANDLES.schema).lazy(),
    )


def everything(sources: Sources) -> Span:
    times = sources.snapshots.select("event_time").collect().to_series()
    return Span(times.min(), times.max() + MINUTE)


def attached(sources: Sources, span: Span | None = None) -> pl.DataFrame:
    """Every field of every snapshot of the span, by key."""
    span = span or everything(sources)
    rows = (
        sources.snapshots.filter(pl.col("event_time") >= span.start, pl.col("event_time") < span.end)
        .select(*POOL_KEY, "event_time", "known_at", "created_at")
        .sort(*POOL_KEY, "event_time")
        .collect()
        .with_columns(pl.struct(POOL_KEY).rle_id().alias(POOL_RUN))
    )
    found = from_index.attach(rows, INPUTS, sources, span, SPEC)
    assert found.select(rows.columns).equals(rows)
    return found.select(*POOL_KEY, "event_time", *NAMES).rename(NAMES)


def rebuilt(sources: Sources) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The index and the quote tokens' returns, of all there is."""
    return from_index.market_rows(sources, Span(START, START + 900 * DAY), SPEC)


def events_of(sources: Sources, pool: dict) -> list[Event]:
    """What a pool's state is told, in the order in which it was learned, the snapshots last."""
    index, quotes = rebuilt(sources)
    its = [pl.col(name) == pool[name] for name in POOL_KEY]
    frames = {
        "candles": sources.candles.filter(its).sort("known_at", "event_time").collect(),
        "index": index.filter(its[:2]),
        "quote": quotes.filter(*its[:2], pl.col("quote_token") == pool["quote_token"]),
        "snapshots": sources.snapshots.filter(its).sort("event_time").collect(),
    }
    order = ("quote", "index", "candles", "snapshots")
    events = [Event(name, row) for name in order for row in frames[name].iter_rows(named=True)]
    return sorted(events, key=lambda event: event.row["known_at"])


def online(sources: Sources) -> pl.DataFrame:
    rows = []
    for pool in sources.pools.collect().sort(POOL_KEY).iter_rows(named=True):
        state = OnlineIndex(INPUTS, SPEC)
        for event in events_of(sources, pool):
            state.observe(event)
            if event.table == "snapshots":
                found = state.values(event.row, micros(event.row["event_time"]))
                key = {name: event.row[name] for name in (*POOL_KEY, "event_time")}
                rows.append(key | {field: found[name] for name, field in NAMES.items()})
    schema = dict.fromkeys(POOL_KEY, pl.String) | {"event_time": MOMENT} | dict.fromkeys(FIELDS, pl.Float64)
    return pl.DataFrame(rows, schema=schema)


def assert_same(found: pl.DataFrame, expected: pl.DataFrame, tolerance: float = 1e-9) -> None:
    """Equal to 1e-9: absolute for correlations and shares, relative for slopes above one."""
    assert found.height == expected.height
    assert found.select(*POOL_KEY, "event_time").equals(expected.select(*POOL_KEY, "event_time"))
    for name in FIELDS:
        pairs = zip(found[name].to_list(), expected[name].to_list(), strict=True)
        for row, (a, b) in enumerate(pairs):
            is_same = a is b is None or (
                a is not None and b is not None and math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
            )
            assert is_same, f"{name} of {expected.row(row)[:4]} is {a!r}, expected {b!r}"


class Slowly:
    """The definitions, one decision at a time, from nothing but what was known at it."""

    def __init__(self, sources: Sources) -> None:
        self.candles = sources.candles.sort("known_at", "event_time").collect().to_dicts()
        self.snapshots = sources.snapshots.collect().to_dicts()
        self.quote_of = {p["pool"]: p["quote_token"] for p in sources.pools.collect().to_dicts()}

    def at(self, pool: str, network: str, t: datetime) -> dict[str, float | None]:
        sequences = self.sequences(network, t)
        own = self.returns(sequences.get(pool, {}))
        quote = self.quotes(network, self.quote_of[pool], t)
        others = self.others(sequences, pool, t)
        correlation, slope = self.compare([(b, own[b], quote[b]) for b in own if b in quote], t)
        found = {"quote_correlation": correlation, "quote_beta": slope}
        found["index_correlation"], found["index_beta"] = self.compare(
            [(b, own[b], others[b]) for b in own if b in others], t
        )
        between = [b for b in own if b - STEP in others and b + STEP in others]
        found["lead_correlation"], _ = self.compare([(b, own[b], others[b + STEP]) for b in between], t)
        found["lag_correlation"], _ = self.compare([(b, own[b], others[b - STEP]) for b in between], t)
        return found | {"share_rising": self.share(sequences, t)}

    def sequences(self, network: str, t: datetime) -> dict[str, dict[datetime, dict]]:
        found: dict[str, dict[datetime, dict]] = {}
        for bar in self.candles:
            bars = found.setdefault(bar["pool"], {}) if bar["network"] == network and bar["known_at"] <= t else None
            if bars is not None and (not bars or bar["event_time"] > max(bars)):
                bars[bar["event_time"]] = bar
        return {pool: bars for pool, bars in found.items() if bars}

    def returns(self, bars: dict[datetime, dict]) -> dict[datetime, float]:
        close = {b: bar["close"] for b, bar in bars.items()}
        return {
            b: math.log(close[b] / close[b - STEP])
            for b in bars
            if b - STEP in close and close[b] > 0 and close[b - STEP] > 0
        }  # fmt: skip

    def timely(self, bars: dict[datetime, dict]) -> list[datetime]:
        return [b for b, bar in bars.items() if bar["known_at"] <= b + STEP + 10 * MINUTE]

    def others(self, sequences: dict, pool: str, t: datetime) -> dict[datetime, float]:
        moves: dict[datetime, list[float]] = {}
        for name, bars in sequences.items():
            returns = self.returns(bars)
            for b in self.timely(bars):
                if name != pool and b in returns and b + STEP + 10 * MINUTE <= t:
                    moves.setdefault(b, []).append(min(max(returns[b], -0.2), 0.2))
        return {b: sum(some) / len(some) for b, some in moves.items()}

    def quotes(self, network: str, quote: str, t: datetime) -> dict[datetime, float]:
        prices: dict[datetime, list[float]] = {}
        for s in self.snapshots:
            if s["network"] == network and self.quote_of[s["pool"]] == quote and s["event_time"] <= t:
                prices.setdefault(s["event_time"], []).append(s["price_usd"] / s["price_quote"])
        price = {g: float(np.median(some)) for g, some in prices.items()}
        return {g - STEP: math.log(price[g] / price[g - STEP]) for g in price if g - STEP in price}

    def compare(self, pairs: list, t: datetime) -> tuple[float | None, float | None]:
        pairs = sorted(pairs)
        if not pairs or t - (pairs[-1][0] + STEP) > HOUR:
            return None, None
        pairs = [(x, y) for b, x, y in pairs if b > pairs[-1][0] - DAY]
        x, y = np.array(pairs).T
        if len(pairs) < SPEC.min_returns or min(x.std(), y.std()) <= 1e-7:
            return None, None
        return float(np.corrcoef(x, y)[0, 1]), float(np.polyfit(y, x, 1)[0])

    def share(self, sequences: dict, t: datetime) -> float | None:
        index = [
            b + k * STEP for bars in sequences.values() for b in self.timely(bars) for k in range(12)
            if b + k * STEP + STEP + 10 * MINUTE <= t
        ]  # fmt: skip
        if not index or t - (max(index) + STEP) > HOUR:
            return None
        at, rose = max(index), []
        for bars in sequences.values():
            timely = [b for b in self.timely(bars) if b <= at]
            hour = [b for b in timely if b > at - HOUR]
            before = [b for b in timely if at - DAY < b <= at - HOUR]
            if hour and (before or len(hour) > 1):
                rose.append(bars[hour[-1]]["close"] > bars[before[-1] if before else hour[0]]["close"])
        return sum(rose) / len(rose) if rose else None
