"""The sampler again, slowly: plain Python, one pool, one grid point, one update at a time. An oracle, not a model."""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.tables import POOLS, RESERVES

BIRTH = datetime(2020, 9, 8, 17, 49, 6, tzinfo=UTC)
WINDOWS = {"m5": 5, "h1": 60, "h6": 360, "h24": 1440}
PRICE_USD = 375.0


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def on_grid(moment: datetime, step: int) -> bool:
    return (moment.timestamp() / 60) % step == 0


def interval(t: datetime, born: datetime, quote: float, price_usd: float | None) -> int:
    if t < born + minutes(60):
        return 5
    if price_usd is None:
        return 240
    reserve = 2 * quote * price_usd
    return 5 if reserve > 100_000 else 15 if reserve >= 10_000 else 60 if reserve >= 1_000 else 240


def window(t: datetime, length: int, seen: list, states: list) -> dict:
    """Figures of (t - length, t]; `seen` are the updates up to t, in order, `states` (time, base, quote) of them."""
    start = t - minutes(length)
    volume, buys, sells = 0.0, 0, 0
    for when, base, quote, base_before, quote_before in reversed(seen):
        if when <= start:
            break
        if base_before is None:
            continue
        if quote > quote_before and base < base_before:
            volume, buys = volume + quote - quote_before, buys + 1
        elif quote < quote_before and base > base_before:
            volume, sells = volume + quote_before - quote, sells + 1
    earlier = next((s for s in reversed(states) if s[0] <= start), None)
    reference = earlier or next((s for s in states if s[1] > 0 and s[2] > 0), None)
    now, change = states[-1], None
    if reference is not None and now[1] > 0 and reference[1] > 0 and reference[2] > 0:
        change = (now[2] / now[1] / (reference[2] / reference[1]) - 1) * 100
    return {"change": change, "volume": volume, "buys": buys, "sells": sells}


def snapshots_of(
    updates: list[tuple], born: datetime, price_usd: float | None, watched_until: datetime | None = None
) -> list[dict]:
    """Every snapshot of one pool; updates are (time, base, quote, base_before, quote_before) in order."""
    rows, due = [], born
    t = datetime.fromtimestamp(-(-born.timestamp() // 300) * 300, UTC)
    while t < born + timedelta(days=7) and (watched_until is None or t <= watched_until):
        seen = [u for u in updates if u[0] <= t]
        if seen and t >= due:
            states = [u[:3] for u in seen]
            step = interval(t, born, states[-1][2], price_usd)
            rows.append({"event_time": t, "interval_minutes": step, "base": states[-1][1], "quote": states[-1][2]})
            rows[-1] |= {name: window(t, length, seen, states) for name, length in WINDOWS.items()}
            due = t + minutes(5)
            while not on_grid(due, step):
                due += minutes(5)
        t += minutes(5)
    return rows


def pool_frame(pools: dict[str, datetime], price: float | None = PRICE_USD, until: datetime | None = None):
    """POOLS rows of pools born when told."""
    rows = [
        {"source": "simulation:1", "network": "eth", "pool": pool, "known_at": born, "created_at": born, "dex": "d",
         "base_token": "b", "quote_token": "q", "quote_symbol": "WETH", "base_decimals": 18, "quote_decimals": 18,
         "quote_price_usd": price, "is_quote_price_nominal": True, "watched_until": until}
        for pool, born in pools.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=POOLS.schema, orient="row")


def chained(states: list[tuple[datetime, float, float]]) -> list[tuple]:
    """States with the one before beside them."""
    before = [(None, None), *((base, quote) for _, base, quote in states)]
    return [(*state, *prior) for state, prior in zip(states, before[:-1], strict=True)]


def update_frame(updates: dict[str, list[tuple]]) -> pl.DataFrame:
    """RESERVES rows of chained states per pool, in order."""
    rows = [
        ("simulation:1", "eth", pool, when, when, 100 + i, 0, i, base, quote, base_before, quote_before)
        for pool, told in updates.items()
        for i, (when, base, quote, base_before, quote_before) in enumerate(told)
    ]
    return pl.DataFrame(rows, schema=RESERVES.schema, orient="row")
