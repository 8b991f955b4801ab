"""A small market with features, labels and arrivals of its own, sound unless a test plants a leak.

240 pools, one born every hour or so, seen every half hour for 18 h; some vanish, some values are not told, some trades
are told late. Features are simple on purpose: what is tested is whether a leak in them is found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.calendars import Span
from pipeline.models.canaries import CanaryReport, History, run_canaries
from pipeline.models.spec import CanarySpec, TrainingSpec
from pipeline.models.training_set import TrainingSet, freeze

BORN = datetime(2020, 9, 8, tzinfo=UTC)
STEP = timedelta(minutes=30)
SOURCE = "recording:leaky"
NAMES = ("reserve", "change_1h", "against_mean", "spread", "size_in_market", "n_trades_1h")
SPEC = TrainingSpec(n_folds=2, canaries=CanarySpec(n_rounds=3, min_child_weight=1.0))
UTC_TIME = pl.Datetime("us", "UTC")
ALL_KNOWN = BORN + timedelta(days=100)
_POOL = ["source", "network", "pool"]
_KEY = [*_POOL, "event_time"]

type Compute = Callable[["Market"], pl.DataFrame]


@dataclass(frozen=True)
class Market:
    """Its tables, as the pipeline would have them.

    `seen` and `fates` are what snapshots and labels are made from: what was seen, and what became of it and since when.
    """

    seen: pl.DataFrame
    fates: pl.DataFrame
    snapshots: pl.DataFrame
    trades: pl.DataFrame
    answers: pl.DataFrame
    pools: pl.DataFrame
    labels: pl.DataFrame

    def cut(self, known_by: datetime) -> "Market":
        known = pl.col("known_at") <= known_by
        told = {name: getattr(self, name).filter(known) for name in ("snapshots", "trades", "pools")}
        return replace(self, **told | {"pools": told["pools"].with_columns(watched_until=pl.lit(None, UTC_TIME))})


def market(seed: int = 0, n_pools: int = 240) -> Market:
    rng = np.random.default_rng(seed)
    births = [BORN + i * timedelta(hours=1) + (i % 2) * STEP for i in range(n_pools)]
    vanish = np.where(rng.random(n_pools) < 0.1, rng.integers(4, 60, n_pools), 10_000)
    drift, n_steps = rng.normal(0, 0.015, n_pools), 84
    log_price = np.cumsum(drift[:, None] + rng.normal(0, 0.03, (n_pools, n_steps)), axis=1)
    crash = np.where(rng.random(n_pools) < 0.2, rng.integers(5, n_steps, n_pools), 10_000)
    log_price += np.where(np.arange(n_steps) >= crash[:, None], -4.0, 0.0)
    price = np.exp(log_price)
    seen = [(i, k) for i in range(n_pools) for k in range(37) if k < vanish[i]]
    snapshots = _rows(births, seen).with_columns(
        price=pl.Series([price[i, k] for i, k in seen]),
        reserve=pl.Series(np.exp(rng.normal(8, 1, len(seen)))),
        spread=pl.Series([None if hidden else float(v) for hidden, v in zip(rng.random(len(seen)) < 0.3,
                          rng.gamma(2, 1, len(seen)), strict=True)], dtype=pl.Float64),
    )  # fmt: skip
    pools = pl.DataFrame(
        {"source": SOURCE, "network": "eth", "pool": [_name(i) for i in range(n_pools)], "known_at": births,
         "created_at": births, "watched_until": BORN + timedelta(days=90),
         "base_token": [f"t{i - 100 * (i >= 100 and i % 20 == 19)}" for i in range(n_pools)]}
    )  # fmt: skip
    trades, answers = _trades(births, seen, rng)
    labels = _labels(births, seen, price, crash, vanish)
    return Market(snapshots, labels, snapshots, trades, answers, pools, labels)


def _name(i: int) -> str:
    return f"0x{i:04d}"


def _rows(births: list[datetime], seen: list[tuple[int, int]]) -> pl.DataFrame:
    times = [births[i] + k * STEP for i, k in seen]
    return pl.DataFrame(
        {"source": SOURCE, "network": "eth", "pool": [_name(i) for i, _ in seen], "event_time": times,
         "known_at": times}
    )  # fmt: skip


def _trades(
    births: list[datetime], seen: list[tuple[int, int]], rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Up to three trades a step, told at the next step or, one in five, two hours later."""
    happened = [(i, k) for i, k in seen for _ in range(rng.integers(0, 4))]
    rows = _rows(births, happened).with_columns(
        event_time=pl.col("event_time")
        - pl.Series([timedelta(minutes=int(m)) for m in rng.integers(1, 29, len(happened))])
    )
    late = rng.random(len(happened)) < 0.2
    rows = rows.with_columns(
        known_at=pl.col("known_at") + pl.Series([timedelta(hours=2) if x else timedelta(0) for x in late])
    )
    rows = rows.with_columns(answer_id=pl.format("{} {}", "pool", pl.col("known_at").dt.epoch("s")))
    return rows, rows.select("source", "answer_id", "known_at").unique()


def _labels(births, seen, price, crash, vanish) -> pl.DataFrame:
    rows = []
    for i, k in seen:
        ratio, end = price[i, min(k + 48, 83)] / price[i, k], births[i] + (k + 48) * STEP
        is_rug = k < crash[i] <= k + 48
        is_gone = vanish[i] < k + 48 and not (is_rug and crash[i] < vanish[i])
        bounds = ((2.0, "MOON"), (1.3, "PUMP"), (1.05, "RISE"), (0.95, "STABLE"), (0.7, "DIP"), (-1.0, "DECLINE"))
        outcome = "RUG" if is_rug else next(name for bound, name in bounds if ratio > bound)
        known_at = births[i] + int(crash[i]) * STEP if is_rug else end
        pct = 100 * (ratio - 1)
        rows.append(("censored", *[None] * 4) if is_gone else ("labelled", outcome, pct, pct - 1, known_at))
    told = pl.DataFrame(
        rows,
        schema={"status": pl.String, "outcome": pl.String, "return_end_pct": pl.Float64,
                "return_executable_pct": pl.Float64, "label_known_at": pl.Datetime("us", "UTC")},
        orient="row",
    )  # fmt: skip
    return _rows(births, seen).drop("known_at").hstack(told).with_columns(horizon_hours=pl.lit(24, pl.Int32))


def features_of(of: Market) -> pl.DataFrame:
    """Every feature of every snapshot, from what lies before it."""
    price = pl.col("price")
    rows = of.snapshots.sort(_KEY).with_columns(
        change_1h=(price / price.shift(2) - 1).over(_POOL),
        against_mean=(price / price.rolling_mean(4)).over(_POOL),
    )
    return with_trades(with_market(rows), of.trades).select(*_KEY, "known_at", *NAMES)


def with_market(rows: pl.DataFrame) -> pl.DataFrame:
    """The reserve against the mean of all that was seen in the market so far."""
    so_far = (
        rows.group_by("event_time")
        .agg(pl.col("reserve").sum(), pl.len())
        .sort("event_time")
        .select("event_time", mean=pl.col("reserve").cum_sum() / pl.col("len").cum_sum())
    )
    return rows.join(so_far, on="event_time").with_columns(size_in_market=pl.col("reserve") / pl.col("mean"))


def with_trades(rows: pl.DataFrame, trades: pl.DataFrame) -> pl.DataFrame:
    """How many trades of the last hour are known at the time of the snapshot."""
    at, traded = pl.col("event_time"), pl.col("traded_at")
    told = trades.select(*_POOL, pl.col("event_time").alias("traded_at"), pl.col("known_at").alias("told_at"))
    counts = (
        rows.select(_KEY)
        .join(told, on=_POOL)
        .filter(traded <= at, traded > at - timedelta(hours=1), pl.col("told_at") <= at)
        .group_by(_KEY)
        .agg(pl.len().cast(pl.Float64).alias("n_trades_1h"))
    )
    return rows.join(counts, on=_KEY, how="left").with_columns(pl.col("n_trades_1h").fill_null(0.0))


def frozen(of: Market, features: pl.DataFrame, *, known_by: datetime = ALL_KNOWN) -> TrainingSet:
    return freeze(
        features.lazy(),
        of.labels.lazy(),
        of.pools.lazy(),
        source=SOURCE,
        known_by=known_by,
        feature_set="leaky",
        feature_names=NAMES,
        spec=SPEC,
    )


def history(of: Market, compute: Compute = features_of) -> History:
    """The market, with its features computed again by the same code that computed them, and so its other tables."""

    def recompute(span: Span, known_by: datetime) -> pl.DataFrame:
        return compute(of.cut(known_by)).filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))

    def snapshots(span: Span, known_by: datetime) -> pl.DataFrame:
        return of.seen.filter(pl.col("known_at") <= known_by)

    def relabel(decisions: pl.DataFrame, now: datetime) -> pl.DataFrame:
        return of.fates.join(decisions, on=_KEY, how="semi").filter(pl.col("label_known_at") <= now)

    told = {"snapshots": of.snapshots.lazy(), "trades": of.trades.lazy()}
    rebuild, features = {"snapshots": snapshots}, compute(of).lazy()
    return History(of.pools.lazy(), of.labels.lazy(), told, of.answers.lazy(), recompute, rebuild, relabel, features)


def judged(of: Market, compute: Compute = features_of, **options) -> CanaryReport:
    """The whole way: features, training set, every canary."""
    return run_canaries(frozen(of, compute(of)), history=history(of, compute), **options)
