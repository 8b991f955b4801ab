"""How many pools a second the parser turns from answers into rows, beside what people would use instead.

    python benchmarks/parser.py RESPONSE [--answers 500] [--rounds 5]

RESPONSE is an answer of the API as it was told, a page of pools with what is included. Everyone starts from the same
gzip bodies. Ours judges every value, keeps the tokens beside and the quarantine; pydantic judges types; pandas flattens
and turns texts into numbers, and judges nothing.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
from pydantic import BaseModel, FiniteFloat
from rich.console import Console
from rich.table import Table

from pipeline.pools.answer import Answer, new_pools
from pipeline.pools.parse import parse_pools
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import ANSWERS

BUDGET_A_MINUTE = 900
"""Pools that 30 calls a minute can ask for."""
AT = datetime(2026, 1, 1, tzinfo=UTC)
_RENAMED = {"attributes.pool_created_at": "created_at"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("response", type=Path)
    arguments.add_argument("--answers", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    answers = told_often(given.response.read_bytes(), given.answers)
    bodies = answers["body"].to_list()
    runs: dict[str, Callable[[], int]] = {
        "ours": lambda: parse_pools(answers, PoolsSpec()).raw_pools.height,
        "pydantic models": lambda: with_pydantic(bodies),
        "pandas.json_normalize, a frame a page": lambda: with_pandas(bodies),
    }
    rates = {name: rate(run, given.rounds) for name, run in runs.items()}
    table = Table("", "pools/s", "ours is faster by", f"times the budget of {BUDGET_A_MINUTE} a minute")
    for name, speed in rates.items():
        table.add_row(name, f"{speed:,.0f}", f"{rates['ours'] / speed:.1f}", f"{speed * 60 / BUDGET_A_MINUTE:,.0f}")
    Console().print(table)


def told_often(body: bytes, n: int) -> pl.DataFrame:
    """The same page as `n` answers, a second apart."""
    call = new_pools(None)
    moments = [AT + timedelta(seconds=i) for i in range(n)]
    told = [Answer("geckoterminal", call, call.path, at, at, 200, "application/json", body) for at in moments]
    return pl.DataFrame([answer.as_row() for answer in told], schema=ANSWERS.schema)


def rate(run: Callable[[], int], rounds: int) -> float:
    """The best of the rounds: what others do on the machine meanwhile can only slow a round down."""
    speeds = []
    for _ in range(rounds):
        started = time.perf_counter()
        n_pools = run()
        speeds.append(n_pools / (time.perf_counter() - started))
    return max(speeds)


class Counts(BaseModel):
    buys: int | None = None
    sells: int | None = None
    buyers: int | None = None
    sellers: int | None = None


class Attributes(BaseModel):
    address: str
    name: str | None
    pool_created_at: datetime | None
    base_token_price_usd: FiniteFloat | None
    base_token_price_quote_token: FiniteFloat | None = None
    quote_token_price_usd: FiniteFloat | None
    reserve_in_usd: FiniteFloat | None
    fdv_usd: FiniteFloat | None
    market_cap_usd: FiniteFloat | None
    price_change_percentage: dict[str, FiniteFloat | None]
    volume_usd: dict[str, FiniteFloat | None]
    transactions: dict[str, Counts]


class Related(BaseModel):
    data: dict[str, str]


class Pool(BaseModel):
    id: str
    attributes: Attributes
    relationships: dict[str, Related]


class Token(BaseModel):
    id: str
    type: str
    attributes: dict[str, object]


class Page(BaseModel):
    data: list[Pool]
    included: list[Token] = []


def with_pydantic(bodies: list[bytes]) -> int:
    """Models of each page, then one frame of them all."""
    rows = []
    for body in bodies:
        rows += [pool.model_dump() for pool in Page.model_validate_json(gzip.decompress(body)).data]
    return pl.DataFrame(rows, infer_schema_length=None).height


def with_pandas(bodies: list[bytes]) -> int:
    """Each page flattened, numbers made of all columns that look like some."""
    frames = []
    for body in bodies:
        frame = pd.json_normalize(json.loads(gzip.decompress(body))["data"]).rename(columns=_RENAMED)
        told = [name for name in frame if name.startswith("attributes.") and not name.endswith(("address", "name"))]
        frame[told] = frame[told].apply(pd.to_numeric, errors="coerce")
        frame["created_at"] = pd.to_datetime(frame["created_at"])
        frames.append(frame)
    return len(pd.concat(frames))


if __name__ == "__main__":
    main()
