"""Small markets, their frames, and the official description of the API."""

import copy
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openapi_schema_validator import OAS30Validator

from pipeline.pools.recording import RecordedFrames, read_recording
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.sandbox.market import Market
from pipeline.tables import POOLS, RESERVES

START = datetime(2024, 3, 1, tzinfo=UTC)
SOURCE = "recording:test"
API_DATA = Path(__file__).parents[3] / "shared" / "data" / "geckoterminal_api"
SIMULATED = SimulationSpec(n_pools=90, days=4, birth_days=2)


@dataclass(frozen=True)
class Update:
    """One update: seconds after START, reserves after it, and before it if they are not those of the update before."""

    seconds: float
    base: float
    quote: float
    before: tuple[float, float] | None = None


def frames(
    lives: dict[tuple[str, str], Sequence[Update]],
    *,
    created: timedelta = timedelta(0),
    quote_price_usd: float | None = 2.0,
    quote_symbol: str | None = "WETH",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of RESERVES and POOLS for the lives of pools, by network and address."""
    reserves, pools = [], []
    for (network, pool), updates in lives.items():
        before: tuple[float | None, float | None] = (None, None)
        for place, update in enumerate(updates):
            moment = START + timedelta(seconds=update.seconds)
            told = before if update.before is None else update.before
            row = (SOURCE, network, pool, moment, moment, place, 0, 0, update.base, update.quote, *told)
            reserves.append(row)
            before = (update.base, update.quote)
        told_pool = (
            SOURCE, network, pool, START, START + created, "swap", f"{pool}-base", "weth", quote_symbol, 18, 18,
            quote_price_usd, True, None,
        )  # fmt: skip
        pools.append(told_pool)
    return (
        pl.DataFrame(reserves, schema=RESERVES.schema, orient="row"),
        pl.DataFrame(pools, schema=POOLS.schema, orient="row"),
    )


def market(lives: dict[tuple[str, str], Sequence[Update]], **options: Any) -> Market:
    """The market of these lives."""
    return Market.of(*frames(lives, **options), SOURCE)


def at(seconds: float) -> int:
    """Microseconds since the epoch, so many seconds after START."""
    return int((START + timedelta(seconds=seconds)).timestamp()) * 1_000_000 + int(seconds % 1 * 1_000_000)


def simulated(folder: Path, spec: SimulationSpec = SIMULATED, seed: int = 7) -> RecordedFrames:
    """A simulated market, read as a recording."""
    written = write_recording(simulate(spec, seed), folder / spec.network, spec, seed)
    return read_recording(written, PoolsSpec(), START + timedelta(days=365))


def openapi() -> dict[str, Any]:
    """The official description; the test is skipped where it is absent."""
    file = API_DATA / "openapi" / "demo-api.json.gz"
    if not file.is_file():
        pytest.skip(f"the official OpenAPI description is not at {file}")
    told: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return told


def validator(description: dict[str, Any], path: str) -> OAS30Validator:
    """Judges answers of one on-chain path; references lead into the description itself."""
    answer = description["paths"][f"/onchain/{path}"]["get"]["responses"]["200"]["content"]["application/json"]
    schema = copy.deepcopy(answer["schema"]) | {"components": description["components"]}
    return OAS30Validator(schema)


def breaches(judge: OAS30Validator, document: Any) -> Iterator[tuple[str, str, Any]]:
    """Each breach: the field's name (places in lists left out), which rule, and what was found."""
    for error in judge.iter_errors(document):
        names = [str(step) for step in error.absolute_path if not isinstance(step, int)]
        yield (names[-1] if names else ""), str(error.validator), error.instance
