"""The lives of simulated pools: what each fate does to one of them.

Belongs here: one pool, from its first liquidity to its last trade, out of its own random generator.
Stays out: the market it lives in, its calendar and its files (`simulator`).

Trades arrive as a Poisson process: a rush whose intensity decays, over a steady floor. Sizes are log-normal shares of
the reserve. Noise traders walk the price at random; arbitrage bends their odds towards a fair price that drifts. What
gives a rug away beforehand (few sales let through, thin liquidity) overlaps widely with the other fates, so that a
model can learn something real and far from everything.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.pools.constant_product import Reserves

Fate = Literal["rug_pull", "slow_bleed", "pump", "healthy", "dud"]
Event = tuple[int, Literal["trade", "dump", "withdraw"], float]
"""Seconds since birth, what happens, how large: a share of the reserve, a dump as a multiple of the base reserve."""

HOUR_S: Final = 3600.0
LARGEST_TRADE: Final = 0.4
TRADE_SIGMA: Final = 1.3
"""Spread of log trade sizes, as in recorded pools (5 % to 95 % of trades span a factor of two hundred)."""
WITHDRAWN_AT_ONCE: Final = 0.06
"""Share of the liquidity that the provider of a bleeding pool takes out each time."""
FAIR_VOLATILITY: Final = 0.04
"""Of the fair price, per square root of an hour."""


@dataclass(frozen=True)
class Temper:
    """What one pool is like; times in hours, shares of 1, the quote in whole tokens.

    `rush` trades at mean age `rush_hours`, then `floor_per_hour` until `quiet_at`. `arbitrage`: how far a price that is
    a factor e off its fair value bends the odds of a purchase. From `fate_after` on the log of the fair price drifts by
    `drift` per hour and is lifted by `lift`. Where `removed` is set the life ends there: `dumped` times the base
    reserve is sold into the pool and `removed` of the liquidity withdrawn, and `tail` trades follow; otherwise `tail`
    trades crowd after it. `withdrawn_every` so many hours the provider takes a little liquidity out.
    """

    quote: float
    price: float
    rush: float
    rush_hours: float
    floor_per_hour: float
    quiet_at: float
    buy_share: float
    size: float
    arbitrage: float = 0.0
    drift: float = 0.0
    lift: float = 0.0
    fate_after: float | None = None
    removed: float = 0.0
    dumped: float = 0.0
    tail: float = 0.0
    withdrawn_every: float = 0.0


@dataclass(frozen=True)
class Life:
    """One pool's updates (`seconds` since birth, multiples of the block time, in order) and its planted truth."""

    seconds: NDArray[np.int64]
    base: NDArray[np.float64]
    quote: NDArray[np.float64]
    fate: Fate
    fate_seconds: int | None
    parameters: str


def live(fate: Fate, rng: Generator, seconds_left: float, block_seconds: int, fee: float) -> Life:
    """The life of one pool of the given fate, watched for `seconds_left` from its birth."""
    temper = _TEMPERS[fate](rng)
    turn = None if temper.fate_after is None else _on_block(temper.fate_after * HOUR_S, block_seconds)
    ages = _arrivals(temper, rng, turn)
    blocks = np.unique(np.floor(ages[ages < seconds_left - block_seconds] / block_seconds), return_counts=True)
    seconds = (np.repeat(*blocks).astype(np.int64) + 1) * block_seconds
    events = sorted(
        _provided(temper, turn, seconds_left, block_seconds) + _traded(temper, rng, seconds), key=lambda event: event[0]
    )
    path = list(_path(temper, rng, events, turn, fee))
    when, base, quote = zip(*path, strict=True)
    said = {name: value for name, value in asdict(temper).items() if value is not None}
    told_turn = turn if fate in ("rug_pull", "slow_bleed", "pump") else None
    return Life(np.array(when, dtype=np.int64), np.array(base), np.array(quote), fate, told_turn, json.dumps(said))


def _arrivals(temper: Temper, rng: Generator, turn: int | None) -> NDArray[np.float64]:
    """Ages of the trades in seconds, in no order."""
    end = temper.quiet_at * HOUR_S
    rush = rng.exponential(temper.rush_hours * HOUR_S, rng.poisson(temper.rush))
    floor = rng.random(rng.poisson(temper.floor_per_hour * temper.quiet_at)) * end
    before = np.concatenate([rush[rush < end], floor])
    if turn is None:
        return before
    after = turn + rng.exponential(2.0 * HOUR_S, rng.poisson(temper.tail))
    return np.concatenate([before[before < turn - HOUR_S / 60] if temper.removed else before, after])


def _on_block(age: float, block_seconds: int) -> int:
    return (int(age) // block_seconds + 1) * block_seconds


def _provided(temper: Temper, turn: int | None, seconds_left: float, block_seconds: int) -> list[Event]:
    """What the provider of the liquidity does; it comes before the trades of its block, since sorting is stable."""
    if turn is None:
        return []
    if temper.removed:
        dump: list[Event] = [(turn, "dump", temper.dumped)] if temper.dumped else []
        return [*dump, (turn, "withdraw", temper.removed)]
    if not temper.withdrawn_every:
        return []
    ages = np.arange(turn, seconds_left - 2 * block_seconds, temper.withdrawn_every * HOUR_S)
    return [(_on_block(age, block_seconds), "withdraw", WITHDRAWN_AT_ONCE) for age in ages.tolist()]


def _traded(temper: Temper, rng: Generator, seconds: NDArray[np.int64]) -> list[Event]:
    sizes = np.minimum(temper.size * rng.lognormal(0.0, TRADE_SIGMA, seconds.size), LARGEST_TRADE)
    return [(second, "trade", size) for second, size in zip(seconds.tolist(), sizes.tolist(), strict=True)]


def _path(
    temper: Temper, rng: Generator, events: list[Event], turn: int | None, fee: float
) -> Iterator[tuple[int, float, float]]:
    """The reserves after the first deposit and after each event."""
    reserves = Reserves(temper.quote / temper.price, temper.quote, fee)
    luck = rng.random(len(events)).tolist()
    fair = _fair_log_price(temper, rng, np.array([event[0] for event in events], dtype=np.float64), turn)
    yield 0, reserves.base, reserves.quote
    for (second, kind, amount), chance, worth in zip(events, luck, fair, strict=True):
        if kind == "withdraw":
            reserves.withdraw(amount)
        elif kind == "dump":
            reserves.sell(reserves.base * amount)
        elif chance < min(max(temper.buy_share - temper.arbitrage * (reserves.log_price - worth), 0.03), 0.97):
            reserves.buy(reserves.quote * amount)
        else:
            reserves.sell(reserves.base * amount / (1.0 - amount))
        yield second, reserves.base, reserves.quote


def _fair_log_price(temper: Temper, rng: Generator, seconds: NDArray[np.float64], turn: int | None) -> list[float]:
    hours = seconds / HOUR_S
    steps = np.diff(hours, prepend=0.0)
    walk = np.cumsum(FAIR_VOLATILITY * np.sqrt(steps) * rng.standard_normal(steps.size))
    since = np.maximum(hours - (0.0 if turn is None else turn / HOUR_S), 0.0)
    fair = np.log(temper.price) + walk + temper.drift * since + temper.lift * (1.0 - np.exp(-since))
    return [float(value) for value in fair]


def _log_normal(rng: Generator, median: float, sigma: float, low: float = 0.0, high: float = np.inf) -> float:
    return float(np.clip(median * np.exp(sigma * rng.standard_normal()), low, high))


def _rug_pull(rng: Generator) -> Temper:
    after = _log_normal(rng, 6.0, 1.1, 0.2, 40.0)
    return Temper(
        quote=_log_normal(rng, 8.0, 1.0), price=_log_normal(rng, 1e-3, 2.0),
        rush=_log_normal(rng, 18.0, 0.8), rush_hours=1.0, floor_per_hour=_log_normal(rng, 2.0, 0.8), quiet_at=after,
        buy_share=float(rng.beta(13, 5)), size=0.012, fate_after=after,
        removed=float(rng.uniform(0.95, 0.999)), dumped=_log_normal(rng, 4.0, 0.4, 2.5), tail=2.0,
    )  # fmt: skip


def _slow_bleed(rng: Generator) -> Temper:
    return Temper(
        quote=_log_normal(rng, 15.0, 1.0), price=_log_normal(rng, 1e-3, 2.0),
        rush=_log_normal(rng, 30.0, 0.7), rush_hours=1.5, floor_per_hour=_log_normal(rng, 1.5, 0.6),
        quiet_at=_log_normal(rng, 96.0, 0.5), buy_share=float(rng.beta(10, 10)), size=0.012, arbitrage=0.4,
        drift=-float(rng.uniform(0.02, 0.05)), fate_after=_log_normal(rng, 3.0, 0.5, 0.5, 12.0),
        withdrawn_every=6.0,
    )  # fmt: skip


def _pump(rng: Generator) -> Temper:
    return Temper(
        quote=_log_normal(rng, 20.0, 1.0), price=_log_normal(rng, 1e-3, 2.0),
        rush=_log_normal(rng, 25.0, 0.7), rush_hours=1.5, floor_per_hour=_log_normal(rng, 2.5, 0.7),
        quiet_at=_log_normal(rng, 120.0, 0.5), buy_share=float(rng.beta(11, 9)), size=0.012, arbitrage=0.4,
        lift=_log_normal(rng, 1.4, 0.3), fate_after=_log_normal(rng, 8.0, 0.8, 0.5, 36.0), tail=80.0,
    )  # fmt: skip


def _healthy(rng: Generator) -> Temper:
    return Temper(
        quote=_log_normal(rng, 40.0, 1.1), price=_log_normal(rng, 1e-3, 2.0),
        rush=_log_normal(rng, 40.0, 0.9), rush_hours=3.0, floor_per_hour=_log_normal(rng, 3.0, 1.0),
        quiet_at=1e4, buy_share=float(rng.beta(10, 10)), size=0.011, arbitrage=0.4,
    )  # fmt: skip


def _dud(rng: Generator) -> Temper:
    quiet = _log_normal(rng, 1.5, 1.4, 0.05, 44.0)
    is_withdrawn = bool(rng.random() < 0.8)
    return Temper(
        quote=_log_normal(rng, 5.0, 1.6), price=_log_normal(rng, 1e-3, 2.0),
        rush=_log_normal(rng, 5.0, 0.8), rush_hours=0.4, floor_per_hour=0.1, quiet_at=quiet,
        buy_share=float(rng.beta(12, 7)), size=0.012,
        fate_after=quiet if is_withdrawn else None, removed=0.999999 if is_withdrawn else 0.0,
    )  # fmt: skip


_TEMPERS: Final[dict[Fate, Callable[[Generator], Temper]]] = {
    "rug_pull": _rug_pull, "slow_bleed": _slow_bleed, "pump": _pump, "healthy": _healthy, "dud": _dud,
}  # fmt: skip
