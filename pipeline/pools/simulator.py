"""A simulated market in the recording format, with the truth beside it.

Belongs here: births, the calendar of blocks, the frames and the folder of a simulated recording.
Stays out: what happens to one pool (`simulated_lives`).
"""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

import numpy as np
import polars as pl
from numpy.random import PCG64, Generator, SeedSequence

from pipeline.errors import UsageError
from pipeline.pools.recording import POOLS_FILE, RESERVES_FILE, SIMULATION_FILE, Recording, open_recording
from pipeline.pools.simulated_lives import Fate, Life, live
from pipeline.pools.spec import SimulationSpec
from pipeline.tables import UTC

TRUTH_FILE: Final = "truth.parquet"


@dataclass(frozen=True)
class SimulatedMarket:
    """`pools` and `reserves` as in a recording; `truth`: pool, fate, fate_at (null: no moment), parameters (JSON)."""

    pools: pl.DataFrame
    reserves: pl.DataFrame
    truth: pl.DataFrame


@dataclass(frozen=True)
class _Born:
    pool: str
    base_token: str
    birth_block: int
    life: Life


def simulate(spec: SimulationSpec, seed: int) -> SimulatedMarket:
    """The market of `spec` under `seed`: the same frames every time.

    Each pool draws from its own child of the seed, so its life does not depend on how many others there are.

    Raises:
        UsageError: the seed is negative.
    """
    if seed < 0:
        raise UsageError(f"a seed is a whole number from 0, found {seed!r}")
    born = [_born(spec, Generator(PCG64(child))) for child in SeedSequence(seed).spawn(spec.n_pools)]
    quote_token = "0x" + Generator(PCG64(SeedSequence([seed, spec.n_pools]))).bytes(20).hex()
    return SimulatedMarket(_pools(spec, born, quote_token), _reserves(spec, born), _truth(spec, born))


def write_recording(market: SimulatedMarket, directory: Path, spec: SimulationSpec, seed: int) -> Recording:
    """Put the market into the folder `directory`, whole or not at all, and open it as a recording.

    Does nothing where the folder already holds this very simulation.

    Raises:
        UsageError: the folder holds something else.
    """
    said = json.dumps({"seed": seed, "spec": asdict(spec)}, indent=2, sort_keys=True) + "\n"
    if _holds(directory, said):
        return open_recording(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{str(directory)!r} holds something else than this simulation: choose another, or delete it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        market.pools.write_parquet(beside / POOLS_FILE)
        market.reserves.write_parquet(beside / RESERVES_FILE)
        market.truth.write_parquet(beside / TRUTH_FILE)
        (beside / SIMULATION_FILE).write_text(said)
        beside.chmod(0o755)  # mkdtemp makes it private, a recording is not
        beside.rename(directory)
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # gone already where the rename came through
    return open_recording(directory)


def _holds(directory: Path, said: str) -> bool:
    # The folder appears by one rename, so the note's presence vouches for the files beside it.
    note = directory / SIMULATION_FILE
    return note.is_file() and note.read_text() == said


def _born(spec: SimulationSpec, rng: Generator) -> _Born:
    pool, base_token = ("0x" + rng.bytes(20).hex() for _ in range(2))
    fates, shares = zip(*spec.fate_shares, strict=True)
    fate = cast(Fate, fates[int(rng.choice(len(fates), p=shares))])
    birth_block = int(rng.integers(spec.birth_days * 86_400 // spec.block_seconds))
    left = spec.days * 86_400 - birth_block * spec.block_seconds
    return _Born(pool, base_token, birth_block, live(fate, rng, left, spec.block_seconds, spec.fee))


def _pools(spec: SimulationSpec, born: list[_Born], quote_token: str) -> pl.DataFrame:
    pools = {
        "pool": [b.pool for b in born],
        "network": spec.network,
        "dex": spec.dex,
        "base_token": [b.base_token for b in born],
        "quote_token": quote_token,
        "quote_symbol": spec.quote_symbol,
        "base_decimals": 18,
        "quote_decimals": 18,
        "created_at": [spec.start_at + timedelta(seconds=b.birth_block * spec.block_seconds) for b in born],
    }
    dtypes: dict[str, type[pl.DataType] | pl.DataType] = {
        "base_decimals": pl.Int64,
        "quote_decimals": pl.Int64,
        "created_at": UTC,
    }
    return pl.DataFrame(pools, schema_overrides=dtypes).sort("created_at", "pool")


def _reserves(spec: SimulationSpec, born: list[_Born]) -> pl.DataFrame:
    """One transaction a pool and block, numbered by the pool; several updates in it are several log entries."""
    n_updates = [b.life.seconds.size for b in born]
    since_start = np.concatenate([b.birth_block + b.life.seconds // spec.block_seconds for b in born])
    rows = pl.DataFrame(
        {
            "pool": np.repeat(np.array([b.pool for b in born]), n_updates),
            "block": spec.first_block + since_start,
            "tx_index": np.repeat(np.arange(len(born), dtype=np.int64), n_updates),
            "base_reserve": np.concatenate([b.life.base for b in born]),
            "quote_reserve": np.concatenate([b.life.quote for b in born]),
        }
    )
    time = pl.lit(spec.start_at) + pl.duration(seconds=(pl.col("block") - spec.first_block) * spec.block_seconds)
    log_index = pl.int_range(pl.len(), dtype=pl.Int64).over("tx_index", "block")
    return rows.select(
        "pool", time.cast(UTC).alias("time"), "block", "tx_index", log_index.alias("log_index"),
        "base_reserve", "quote_reserve",
    ).sort("block", "tx_index", "log_index")  # fmt: skip


def _truth(spec: SimulationSpec, born: list[_Born]) -> pl.DataFrame:
    def at(b: _Born) -> timedelta | None:
        if b.life.fate_seconds is None:
            return None
        return timedelta(seconds=b.birth_block * spec.block_seconds + b.life.fate_seconds)

    truth = {
        "pool": [b.pool for b in born],
        "fate": [b.life.fate for b in born],
        "fate_at": [None if (after := at(b)) is None else spec.start_at + after for b in born],
        "parameters": [b.life.parameters for b in born],
    }
    return pl.DataFrame(truth, schema_overrides={"fate_at": UTC}).sort("pool")
