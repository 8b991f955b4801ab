"""Whom a collector watches, when each is due, and what more is wanted of it.

Belongs here: the watch list in a collector's memory, and how an answer changes it. All of it can be made again from the
lake: it says what to ask next, never what was told. Stays out: the choice among the pools that are due (`sampler`), the
lists of new pools (`feeds`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import polars as pl

from pipeline.calendars import ceil
from pipeline.errors import StorageError
from pipeline.pools.attention import interesting
from pipeline.pools.collecting_spec import CollectionSpec, SamplerSpec
from pipeline.pools.memory import NEVER, Memory, as_frame, micros, moment_of
from pipeline.pools.sampler import intervals_of, n_missed, next_due
from pipeline.tables import UTC

DUE: Final = pl.Schema(
    {
        "network": pl.String(), "pool": pl.String(), "slot": UTC, "due_at": UTC, "interval_minutes": pl.Int64(),
        "reserve_usd": pl.Float64(), "price_usd": pl.Float64(), "first_reserve_usd": pl.Float64(),
        "first_price_usd": pl.Float64(), "is_lifted": pl.Boolean(),
    }
)  # fmt: skip
_STATE: Final = ("reserve_usd", "price_usd", "volume_m5_usd", "volume_h1_usd", "n_buys_m5", "n_sells_m5")
_BEFORE: Final = pl.Schema(
    {
        **dict.fromkeys(("slot", "interval_minutes", "due_at", "lifted_until"), pl.Int64()),
        **dict.fromkeys(("reserve_usd", "price_usd", "volume_m5_usd", "volume_h1_usd"), pl.Float64()),
        **dict.fromkeys(("n_buys_m5", "n_sells_m5"), pl.Int64()),
    }
)
"""What is known of a pool before an observation; moments in microseconds."""

Detail = Literal["history_due", "trades_due", "info_due"]


@dataclass(frozen=True)
class Wanted:
    """A pool of which more than its state is wanted: bars that start before `before`, swaps, or its token's facts."""

    network: str
    pool: str
    base_token: str
    created_at: datetime
    before: datetime | None


@dataclass(frozen=True)
class TakenIn:
    """What an answer brought: pools seen for the first time, of these late ones; due visits, of these late."""

    n_found: int = 0
    n_found_late: int = 0
    n_observed: int = 0
    n_observed_late: int = 0

    def plus(self, other: "TakenIn") -> "TakenIn":
        """Both together."""
        return TakenIn(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def slot_of(moment: pl.Expr, spec: SamplerSpec) -> pl.Expr:
    """The grid point at or after each moment: where an observation belongs."""
    grid = f"{spec.grid_minutes}m"
    return moment.dt.offset_by(grid).dt.offset_by("-1us").dt.truncate(grid)


def missed_since(seen: datetime, interval_minutes: int, slot: datetime) -> int:
    """The visits that a pool seen for the grid point `seen` asked for and that did not happen before that at `slot`.

    Counted from what its state had asked for, whenever it is due by now: a pool that was left out of an answer is asked
    for later, and was missed all the same.

    >>> from pipeline.calendars import EPOCH, MINUTE
    >>> missed_since(EPOCH, 5, EPOCH + 5 * MINUTE), missed_since(EPOCH, 5, EPOCH + 20 * MINUTE)
    (0, 3)
    """
    return n_missed(next_due(seen, interval_minutes), slot, interval_minutes)


class Watch:
    """The watch list of one source in a collector's memory."""

    def __init__(self, memory: Memory, source: str, spec: SamplerSpec, collection: CollectionSpec) -> None:
        self.memory = memory
        self.source = source
        self.spec = spec
        self.collection = collection

    # Visits

    def due(self, slot: datetime, now: datetime, networks: Sequence[str]) -> pl.DataFrame:
        """Pools that are due for the grid point `slot` and that no other collector has claimed, in DUE.

        A claim reaches to the next grid point. One that reaches further was made by a clock that was wrong.
        """
        at, longest = micros(now), micros(now + 2 * self.spec.grid)
        rows = self.memory.rows(
            "SELECT network, pool, slot, due_at, interval_minutes, reserve_usd, price_usd, first_reserve_usd,"
            " first_price_usd, lifted_until > ? FROM watched"
            " WHERE source = ? AND due_at <= ? AND until > ? AND claimed_until NOT BETWEEN ? AND ?",
            at, self.source, micros(slot), at, at + 1, longest,
        )  # fmt: skip
        return as_frame(rows, DUE).filter(pl.col("network").is_in(list(networks)))

    def n_due(self, slot: datetime, now: datetime) -> dict[str, int]:
        """Pools due for `slot`, by network."""
        return dict(
            self.memory.rows(
                "SELECT network, count(*) FROM watched WHERE source = ? AND due_at <= ? AND until > ? GROUP BY network",
                self.source, micros(slot), micros(now),
            )
        )  # fmt: skip

    def claim(self, pools: Iterable[tuple[str, str]], until: datetime) -> None:
        """Tell the other collectors that these pools are about to be asked for; a claim lapses by itself."""
        with self.memory.writing("claim pools in") as db:
            db.executemany(
                "UPDATE watched SET claimed_until = ? WHERE source = ? AND network = ? AND pool = ?",
                [(micros(until), self.source, network, pool) for network, pool in pools],
            )

    def missed(self, network_pools: Sequence[tuple[str, str]], moment: datetime) -> dict[str, int]:
        """The visits each known pool had missed when it was seen at `moment`; those that missed none are left out."""
        slot, found = ceil(moment, self.spec.grid), {}
        for network, pool in network_pools:
            row = self._row(network, pool)
            if row and (n := missed_since(_moment(row["slot"]), row["interval_minutes"], slot)) > 0:
                found[pool] = n
        return found

    def known(self, network_pools: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the pools that are on the list."""
        return {key for key in network_pools if self._row(*key)}

    def take_in(self, records: pl.DataFrame) -> dict[str, TakenIn]:
        """Bring the list up to date with the RAW_POOLS rows of one answer, in one transaction.

        Gives what the answer brought, by network. An answer older than what is known of a pool changes nothing, and a
        pool that is too old to be followed is passed over: quiet chains list such pools for weeks.
        """
        followed = pl.col("event_time") < pl.col("created_at") + timedelta(days=self.spec.follow_days)
        seen = records.filter(followed).unique(["network", "pool"], keep="last", maintain_order=True)
        if seen.is_empty():
            return {}
        grown = self._grown(seen, self._states(seen))
        brought: dict[str, TakenIn] = {}
        with self.memory.writing("bring the watch list up to date in") as db:
            for row in grown.iter_rows(named=True):
                brought[row["network"]] = brought.get(row["network"], TakenIn()).plus(self._said(row))
                db.execute(_UPSERT, self._values(row))
        return brought

    def vanish(self, network: str, pools: Sequence[str], slot: datetime) -> None:
        """Note that an answer left these pools out though it was asked for them: they are asked for less and less."""
        with self.memory.writing("note absent pools in") as db:
            for pool in pools:
                db.execute(
                    "UPDATE watched SET n_vanished = n_vanished + 1, claimed_until = 0,"
                    " due_at = ? + ? * min(?, interval_minutes * (1 << min(n_vanished, 10)))"
                    " WHERE source = ? AND network = ? AND pool = ?",
                    (micros(slot), _MINUTE, self.spec.tiers[-1].interval_minutes, self.source, network, pool),
                )

    def lift(self, pools: Iterable[tuple[str, str, datetime]], due_at: datetime) -> None:
        """Watch pools (network, address, until when) as closely as the richest, from the grid point `due_at` on.

        A pool that is lifted already is due as it was.
        """
        with self.memory.writing("lift pools in") as db:
            db.executemany(
                "UPDATE watched SET due_at = min(due_at, ?), lifted_until = ?"
                " WHERE source = ? AND network = ? AND pool = ? AND lifted_until < ?",
                [
                    (micros(due_at), micros(until), self.source, network, pool, micros(until))
                    for network, pool, until in pools
                ],
            )

    def forget(self, now: datetime) -> int:
        """Drop the pools that are no longer followed; gives their number."""
        with self.memory.writing("drop grown-up pools from") as db:
            return db.execute(
                "DELETE FROM watched WHERE source = ? AND until <= ?", (self.source, micros(now))
            ).rowcount

    def n_watched(self) -> int:
        """Pools on the list."""
        return int(self.memory.rows("SELECT count(*) FROM watched WHERE source = ?", self.source)[0][0])

    def restore(self, records: pl.DataFrame) -> None:
        """Make the list again from RAW_POOLS rows, for a memory that was lost; the newest of each pool is enough.

        Found again is not found late: bars are wanted when the pool's day is over, as of any other.
        """
        # One transaction: a list that was restored by half would be taken for whole.
        self.take_in(records.sort("event_time", "answer_id", "place"))
        age = round(self.collection.history_age_hours * 60) * _MINUTE
        with self.memory.writing("restore the watch list in") as db:
            db.execute(
                "UPDATE watched SET history_due = created_at + ?, trades_due = ? WHERE source = ?",
                (age, NEVER, self.source),
            )

    # More than its state

    def histories(self, now: datetime, limit: int) -> list[Wanted]:
        """Pools whose bars are wanted, those found late first."""
        return self._wanted("history_due", now, limit)

    def swaps(self, now: datetime, limit: int) -> list[Wanted]:
        """Pools whose swaps are wanted: something happened there."""
        return self._wanted("trades_due", now, limit)

    def infos(self, now: datetime, limit: int) -> list[Wanted]:
        """Pools whose base token's facts are wanted."""
        return self._wanted("info_due", now, limit)

    def settle(self, column: Detail, wanted: Wanted, due: datetime | None, before: datetime | None = None) -> None:
        """Say when the same is wanted again (None: never), and for bars from where on backwards."""
        place = (self.source, wanted.network, wanted.pool)
        with self.memory.writing("note what was learned in") as db:
            db.execute(
                f"UPDATE watched SET {column} = ? WHERE source = ? AND network = ? AND pool = ?",  # noqa: S608
                (NEVER if due is None else micros(due), *place),
            )
            if column == "history_due":
                db.execute(
                    "UPDATE watched SET history_before = ? WHERE source = ? AND network = ? AND pool = ?",
                    (None if before is None else micros(before), *place),
                )

    def _wanted(self, column: Detail, now: datetime, limit: int) -> list[Wanted]:
        rows = self.memory.rows(
            f"SELECT network, pool, base_token, created_at, history_before FROM watched"  # noqa: S608
            f" WHERE source = ? AND {column} <= ? ORDER BY {column}, network, pool LIMIT ?",
            self.source, micros(now), limit,
        )  # fmt: skip
        return [Wanted(n, p, t, _moment(c), moment_of(b)) for n, p, t, c, b in rows]

    # How one observation changes what is known of its pool

    def _row(self, network: str, pool: str) -> dict[str, Any] | None:
        columns = ("slot", "interval_minutes", "due_at", "lifted_until", "trades_due", *_STATE)
        rows = self.memory.rows(
            f"SELECT {', '.join(columns)} FROM watched WHERE source = ? AND network = ? AND pool = ?",  # noqa: S608
            self.source, network, pool,
        )  # fmt: skip
        return dict(zip(columns, rows[0], strict=True)) if rows else None

    def _states(self, seen: pl.DataFrame) -> pl.DataFrame:
        """What was known of each pool before, in the order of `seen`; nulls where nothing was."""
        found = [self._row(*key) or dict.fromkeys(_BEFORE) for key in seen.select("network", "pool").iter_rows()]
        return pl.DataFrame([[row[name] for name in _BEFORE] for row in found], schema=_BEFORE, orient="row")

    def _grown(self, seen: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
        """The records with the grid point they belong to, what was known before, and what they ask for."""
        # The hour's figures of a younger pool cover time without a pool, and it is seen at every grid point anyway.
        is_grown = seen["event_time"] - seen["created_at"] >= timedelta(minutes=self.spec.newborn_minutes)
        told = interesting(before.select("reserve_usd"), seen.select(_STATE), self.spec)
        event = pl.select(pl.when(is_grown).then(told)).to_series().alias("event")
        rows = seen.hstack(before.rename({name: f"{name}_before" for name in before.columns})).with_columns(event)
        lift = pl.when(pl.col("event").is_not_null()).then(
            pl.col("event_time").dt.epoch("us") + self.spec.lift_minutes * _MINUTE
        )
        rows = rows.with_columns(lifted_until=pl.max_horizontal(pl.col("lifted_until_before").fill_null(0), lift))
        is_lifted = (rows["lifted_until"] > rows["event_time"].dt.epoch("us")).to_numpy()
        reserve = rows["reserve_usd"].fill_null(float("nan")).to_numpy()
        age = rows.select((slot_of(pl.col("event_time"), self.spec) - pl.col("created_at")).dt.total_seconds() / 60)
        return rows.with_columns(
            slot_of(pl.col("event_time"), self.spec).alias("new_slot"),
            pl.Series("asked_minutes", intervals_of(reserve, age.to_series().to_numpy(), is_lifted, self.spec)),
        )

    def _said(self, row: dict[str, Any]) -> TakenIn:
        age = row["event_time"] - row["created_at"]
        if row["slot_before"] is None:
            return TakenIn(n_found=1, n_found_late=int(age > self.collection.late), n_observed=1)
        was_due = row["due_at_before"] <= micros(row["new_slot"])
        is_late = was_due and row["due_at_before"] < micros(row["new_slot"])
        return TakenIn(n_observed=int(was_due), n_observed_late=int(is_late))

    def _values(self, row: dict[str, Any]) -> dict[str, Any]:
        created, seen_at, late = row["created_at"], row["event_time"], self.collection.late
        is_new = row["slot_before"] is None
        history = created + timedelta(hours=self.collection.history_age_hours)
        return {
            "source": self.source,
            **{name: row[name] for name in ("network", "pool", "base_token", *_STATE)},
            "created_at": micros(created),
            "seen_at": micros(seen_at),
            "until": micros(created + timedelta(days=self.spec.follow_days)),
            "slot": micros(row["new_slot"]),
            "interval_minutes": row["asked_minutes"],
            "due_at": micros(next_due(row["new_slot"], row["asked_minutes"])),
            "lifted_until": row["lifted_until"],
            # A pool found late is told about from its birth on, at once; any other when its first day is over.
            "history_due": micros(seen_at if is_new and seen_at - created > late else history),
            "trades_due": micros(seen_at) if row["event"] is not None else NEVER,
            "info_due": micros(created + timedelta(minutes=self.spec.newborn_minutes)),
        }


_MINUTE: Final = 60_000_000
# A pool that is known keeps its birth, its first state and what is wanted of it.
_UPSERT: Final = """
INSERT INTO watched (source, network, pool, base_token, created_at, first_seen_at, until, slot, interval_minutes,
    due_at, reserve_usd, price_usd, first_reserve_usd, first_price_usd,
    volume_m5_usd, volume_h1_usd, n_buys_m5, n_sells_m5, lifted_until, history_due, trades_due, info_due)
VALUES (:source, :network, :pool, :base_token, :created_at, :seen_at, :until, :slot, :interval_minutes, :due_at,
    :reserve_usd, :price_usd, :reserve_usd, :price_usd,
    :volume_m5_usd, :volume_h1_usd, :n_buys_m5, :n_sells_m5,
    :lifted_until, :history_due, :trades_due, :info_due)
ON CONFLICT (source, network, pool) DO UPDATE SET
    slot = excluded.slot, interval_minutes = excluded.interval_minutes, due_at = excluded.due_at, claimed_until = 0,
    n_vanished = 0, reserve_usd = excluded.reserve_usd, price_usd = excluded.price_usd,
    first_reserve_usd = coalesce(first_reserve_usd, excluded.first_reserve_usd),
    first_price_usd = coalesce(first_price_usd, excluded.first_price_usd),
    volume_m5_usd = excluded.volume_m5_usd, volume_h1_usd = excluded.volume_h1_usd,
    n_buys_m5 = excluded.n_buys_m5, n_sells_m5 = excluded.n_sells_m5, lifted_until = excluded.lifted_until,
    trades_due = min(coalesce(trades_due, 4611686018427387904), excluded.trades_due)
WHERE excluded.slot >= watched.slot
"""


def _moment(stored: int) -> datetime:
    found = moment_of(stored)
    if found is None:
        raise StorageError(f"a collector's memory says never where a moment belongs: {stored!r}")
    return found
