"""Recordings: folders of chain events that poolcast replays, read in bulk.

Belongs here: opening a recording, reading it into `reserves`, `pools` and `quarantine`, and describing it.
Stays out: which records are credible (`validation`), which recordings there are (`shelf`).
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import InputError
from pipeline.pools.quarantine import quarantine_rows
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text
from pipeline.pools.validation import (
    CHAIN_ORDER,
    MISDATED,
    POOL_NOTES,
    credible_decimals,
    judge_pools,
    judge_updates,
    note_pools,
)
from pipeline.tables import POOLS, RESERVES

POOLS_FILE: Final = "pools.parquet"
RESERVES_FILE: Final = "reserves.parquet"
SIMULATION_FILE: Final = "simulation.json"

_TEXT, _WHOLE, _REAL, _TIME = "text", "a whole number", "a real number", "a UTC time"
_FORMAT: Final = {
    POOLS_FILE: {
        **dict.fromkeys(("pool", "network", "dex", "base_token", "quote_token", "quote_symbol"), _TEXT),
        **dict.fromkeys(("base_decimals", "quote_decimals"), _WHOLE),
        "created_at": _TIME,
    },
    RESERVES_FILE: {
        "pool": _TEXT,
        "time": _TIME,
        **dict.fromkeys(("block", "tx_index", "log_index"), _WHOLE),
        **dict.fromkeys(("base_reserve", "quote_reserve"), _REAL),
    },
}
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Recording:
    """A recording that was found readable: where it lies, what it is called, and what it holds, by hash.

    `source` is `recording:NAME`, or `simulation:SEED` where a `simulation.json` lies beside the data.
    """

    path: Path
    name: str
    source: str
    sha256: str


@dataclass(frozen=True)
class RecordedFrames:
    """What a recording said, as rows of RESERVES, POOLS and QUARANTINE."""

    reserves: pl.DataFrame
    pools: pl.DataFrame
    quarantine: pl.DataFrame


def open_recording(path: Path) -> Recording:
    """The recording in the folder `path`, its files found whole and of the right columns.

    Raises:
        InputError: the folder, a file or a column is missing, a file is empty or truncated, a column holds another kind
            of value, or `simulation.json` is not readable.
    """
    if not path.is_dir():
        raise InputError(f"there is no recording at {str(path)!r}: give a folder that holds {POOLS_FILE!r}")
    for file in _FORMAT:
        _check_file(path / file)
    name = re.sub(r"[^a-z0-9_-]+", "-", path.resolve().name.lower()).strip("-")[:64] or "unnamed"
    return Recording(path, name, _source(path, name), _sha256_of(path))


def read_recording(recording: Recording, spec: PoolsSpec, now: datetime) -> RecordedFrames:
    """Everything the recording says, parsed: each row is stored, or quarantined with its reason.

    Rows of `reserves` are in chain order; `*_before` are the reserves after the pool's
    previous update, also where that one's time was refused.
    A pool without updates stays. Nothing in the recording may be later than `now`.

    Raises:
        InputError: a file cannot be read to its end.
    """
    told_pools, told_updates = (_read(recording.path / file) for file in _FORMAT)
    pools, refused_pools = judge_pools(told_pools, spec, now)
    updates, refused_updates = judge_updates(told_updates, pools, now)
    notes = note_pools(pools, spec)
    last = updates["time"].max()
    quarantine = [
        quarantine_rows(refused_pools, told_pools, source=recording.source, table_name="pools", spec=spec),
        quarantine_rows(notes, told_pools, source=recording.source, table_name="pools", spec=spec),
        quarantine_rows(refused_updates, told_updates, source=recording.source, table_name="reserves", spec=spec),
    ]
    return RecordedFrames(
        _as_reserves(updates, refused_updates, recording.source),
        _as_pools(pools, recording.source, last if isinstance(last, datetime) else None, spec),
        pl.concat(quarantine),
    )


def describe(frames: RecordedFrames) -> dict[str, Any]:
    """The recording in figures, JSON-able: pools, updates, span, quarantined by reason, quantiles over pools."""
    raw, quarantine = frames.reserves, frames.quarantine
    lives = frames.pools.select("network", "pool").join(
        raw.group_by("network", "pool").agg(
            pl.len().alias("n_updates"),
            ((pl.col("event_time").max() - pl.col("event_time").min()).dt.total_seconds() / 3600).alias("hours"),
        ),
        on=["network", "pool"],
        how="left",
    )
    reasons = quarantine.group_by("table_name", "reason").len().sort("table_name", "reason")
    return {
        "sources": sorted(frames.pools["source"].unique().to_list()),
        "n_pools": frames.pools.height,
        "n_pools_without_updates": lives["n_updates"].null_count(),
        "n_updates": raw.height,
        "first_time": _iso(raw["event_time"].min()),
        "last_time": _iso(raw["event_time"].max()),
        "quarantined": {f"{table}: {reason}": n for table, reason, n in reasons.iter_rows()},
        "n_pools_noted": quarantine.filter(pl.col("reason").is_in(POOL_NOTES)).n_unique(["network", "pool"]),
        "lifetime_hours_quantiles": _quantiles(lives["hours"]),
        "n_updates_quantiles": _quantiles(lives["n_updates"].fill_null(0)),
    }


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise InputError(f"the recording {str(file.parent)!r} has no file {file.name!r}: it needs {sorted(_FORMAT)}")
    if file.stat().st_size == 0:
        raise InputError(f"{str(file)!r} is empty (0 bytes): copy or record it again")
    try:
        found = pl.read_parquet_schema(file)
        n_rows = pl.scan_parquet(file).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(file, error) from error
    wanted = _FORMAT[file.name]
    missing = [column for column in wanted if column not in found]
    if missing:
        raise InputError(f"{str(file)!r} lacks the columns {missing!r}; it has {list(found)!r}: add them")
    for column, kind in wanted.items():
        if not _is_kind(found[column], kind):
            raise InputError(
                f"column {column!r} of {str(file)!r} must hold {kind}, found {found[column]!r}: convert it"
            )
    if n_rows == 0:
        raise InputError(f"{str(file)!r} is empty (no rows), so there is nothing to replay: record it again")


def _is_kind(dtype: pl.DataType, kind: str) -> bool:
    if kind == _TEXT:
        return dtype == pl.String
    if kind == _WHOLE:
        return dtype.is_integer()
    if kind == _REAL:
        return dtype.is_float()
    return isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC"


def _read(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, columns=list(_FORMAT[file.name]))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: BaseException) -> InputError:
    return InputError(f"{str(file)!r} is no whole parquet file ({str(error)[:200]!r}): copy or record it again")


def _source(path: Path, name: str) -> str:
    file = path / SIMULATION_FILE
    if not file.exists():
        return f"recording:{name}"
    try:
        seed = json.loads(file.read_bytes())["seed"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{str(file)!r} does not say its seed ({error!r}): simulate again, or remove it") from error
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"the seed in {str(file)!r} must be a whole number from 0, found {seed!r}: simulate again")
    return f"simulation:{seed}"


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _FORMAT:
        with (path / file).open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _as_reserves(updates: pl.DataFrame, refused: pl.DataFrame, source: str) -> pl.DataFrame:
    """Accepted updates with the reserves before each.

    An update whose time alone was refused still tells the reserves: without it the next update would seem to have
    moved everything that happened since the last dated one.
    """
    misdated = refused.filter(pl.col("reason").is_in(MISDATED)).select(updates.columns)
    dated = [rows.with_columns(is_dated=pl.lit(is_dated)) for rows, is_dated in ((updates, True), (misdated, False))]
    before = [pl.col(c).shift().over("pool_id").alias(f"{c}_before") for c in ("base_reserve", "quote_reserve")]
    return (
        pl.concat(dated)
        .sort(CHAIN_ORDER)
        .with_columns(*before)
        .filter("is_dated")
        .select(
            pl.lit(source).alias("source"),
            "network",
            "pool",
            pl.col("time").alias("event_time"),
            pl.col("time").alias("known_at"),
            *RESERVES.schema.names()[5:],
        )
        .cast(RESERVES.schema)
    )


def _as_pools(pools: pl.DataFrame, source: str, watched_until: datetime | None, spec: PoolsSpec) -> pl.DataFrame:
    prices = dict(spec.nominal_quote_price_usd)
    symbol = clean_text(pl.col("quote_symbol"), spec)
    price = symbol.replace_strict(prices, default=None, return_dtype=pl.Float64)
    return pools.select(
        pl.lit(source).alias("source"),
        "network",
        "pool",
        pl.col("created_at").alias("known_at"),
        "created_at",
        clean_text(pl.col("dex"), spec),
        "base_token",
        "quote_token",
        symbol.alias("quote_symbol"),
        credible_decimals("base_decimals", spec),
        credible_decimals("quote_decimals", spec),
        price.alias("quote_price_usd"),
        price.is_not_null().alias("is_quote_price_nominal"),
        pl.lit(watched_until, POOLS.schema["watched_until"]).alias("watched_until"),
    ).cast(POOLS.schema)


def _iso(moment: object) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else None


def _quantiles(values: pl.Series) -> dict[str, float | None]:
    return {f"{q:g}": values.quantile(q) for q in _QUANTILES}
