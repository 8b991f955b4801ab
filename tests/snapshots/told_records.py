"""What the API would tell: RAW_POOLS rows, by hand and from a recording, one grid point at a time."""

from datetime import datetime, timedelta

import polars as pl
from snapshot_oracle import WINDOWS, window

from pipeline.tables import RAW_POOLS

NOT_TOLD = {c.name: None for c in RAW_POOLS.columns if c.nullable}


def record(at: datetime, born: datetime, pool: str = "p", **told: object) -> dict[str, object]:
    """One record that tells nothing but what it must and what is given."""
    row = {
        "source": "geckoterminal", "network": "eth", "pool": pool, "event_time": at, "known_at": at,
        "answer_id": f"answer {at}", "place": 0, "endpoint": "pools_multi", "inclusion_probability": 1.0,
        "n_missed": 0, "created_at": born, "dex": "d", "base_token": "b", "quote_token": "q", **NOT_TOLD,
    }  # fmt: skip
    assert set(told) <= set(row)
    return row | told


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=RAW_POOLS.schema, orient="row")


def records_of(updates: list[tuple], born: datetime, price_usd: float, pool: str, grid_points: list) -> list[dict]:
    """A record at each grid point at which a state has been seen; updates are chained (time, base, quote, ...)."""
    rows = []
    for t in grid_points:
        seen = [u for u in updates if u[0] <= t]
        if t < born or not seen:
            continue
        states = [u[:3] for u in seen]
        _, base, quote = states[-1]
        row = record(t, born, pool, base_reserve=base, quote_reserve=quote, reserve_usd=2 * quote * price_usd,
                     price_quote=round(quote / base, 10), price_usd=quote / base * price_usd,
                     quote_price_usd=price_usd)  # fmt: skip
        for name, length in WINDOWS.items():
            told = window(t, length, seen, states)
            row |= {f"price_change_{name}_pct": told["change"], f"volume_{name}_usd": told["volume"] * price_usd}
            row |= {f"n_buys_{name}": told["buys"], f"n_sells_{name}": told["sells"]}
        rows.append(row)
    return rows


def grid_points(start: datetime, end: datetime) -> list[datetime]:
    """Every five minutes from `start`, before `end`."""
    return [start + n * timedelta(minutes=5) for n in range((end - start) // timedelta(minutes=5))]
