"""Random swaps, the snapshots they are looked at from, and every field of `OfTrades` over history and online."""

import math
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from pipeline.calendars import Span
from pipeline.features.engine import POOL_RUN, Event, micros
from pipeline.features.engines.from_trades import FIELDS, attach
from pipeline.features.engines.online_trades import OnlineTrades
from pipeline.features.engines.wallets import WalletBook
from pipeline.features.inputs import OfTrades
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_TIME_KEY, TRADES

START = datetime(2025, 9, 13, tzinfo=UTC)
HEAD = {"source": "simulation:1", "network": "solana"}
SPEC = FeaturesSpec(smart_trades=2, min_returns=3)
INPUTS = [OfTrades(field) for field in FIELDS]
HOSTILE = "<img src=x onerror=alert(1)>\u202e'; DROP"


def swap(
    pool, at, *, told=0, n=0, name="x{n}_{n}_1", trader="ann", kind="buy", usd=10.0, base=1.0, quote=1.0, answer=None
):
    """A row of TRADES at START + `at` seconds, learned `told` seconds later."""
    happened = START + timedelta(seconds=at)
    return dict.fromkeys(TRADES.schema) | HEAD | {
        "pool": pool, "event_time": happened, "known_at": happened + timedelta(seconds=told),
        "trade_id": name.format(n=n),
        "answer_id": answer or f"{pool} {at + told}", "block": int(at), "tx_hash": f"tx{n}", "trader": trader,
        "kind": kind, "base_amount": base, "quote_amount": quote, "volume_usd": usd,
    }  # fmt: skip


def frame_of(rows):
    return pl.DataFrame(rows, schema=TRADES.schema, orient="row")


def snapshots_of(moments, created=START):
    """Rows as an engine gets them: `moments` are (pool, seconds after START)."""
    rows = [
        HEAD | {"pool": pool, "event_time": START + timedelta(seconds=at), "created_at": created}
        for pool, at in sorted(set(moments))
    ]
    schema = dict.fromkeys(("source", "network", "pool"), pl.String()) | dict.fromkeys(
        ("event_time", "created_at"), pl.Datetime("us", "UTC")
    )
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col("pool").rle_id().alias(POOL_RUN)).sort(POOL_TIME_KEY)


def from_history(rows, snapshots, spec=SPEC, inputs=INPUTS):
    span = Span(snapshots["event_time"].min(), snapshots["event_time"].max() + timedelta(microseconds=1))
    found = attach(snapshots, inputs, Sources(snapshots.lazy(), trades=frame_of(rows).lazy()), span, spec)
    assert found.select(POOL_TIME_KEY).equals(snapshots.select(POOL_TIME_KEY))
    return [dict(zip(FIELDS, row, strict=True)) for row in found.select(i.name for i in inputs).iter_rows()]


def from_online(rows, snapshots, spec=SPEC):
    """The same from events in the order in which they were learned; ties among trades as they come."""
    events = [(row["known_at"], 0, row) for row in rows]
    events += [(row["event_time"], 1, row) for row in snapshots.iter_rows(named=True)]
    pools, book, found = {}, WalletBook(spec), {}
    for _, is_snapshot, row in sorted(events, key=lambda event: event[:2]):
        pool = pools.setdefault((row["source"], row["network"], row["pool"]), OnlineTrades(INPUTS, spec))
        if is_snapshot:
            pool.observe(Event("snapshots", row))
            values = pool.values(row, micros(row["event_time"]))
            found[row["pool"], row["event_time"]] = {i.field: values[i.name] for i in INPUTS}
        else:
            pool.observe(Event("trades", row | {"is_smart": book.take(row)}))
    return [found[row["pool"], row["event_time"]] for row in snapshots.iter_rows(named=True)]


POOLS = ("a", "b", "c")
_usd = st.sampled_from([0.0, 1e-9, 1.0, 2.5, 10.0, 33.3, 1e4, 1e8, None, math.nan, math.inf, -1.0, 1e12])
_tokens = st.sampled_from([0.0, 1.0, 1.0, 2.0, 7.5, 1e6, 3e-7, 1e15, None, math.nan, 1e300])
_names = st.sampled_from(["x{n}_{n}_1", "x{n}_7_1", "x{n}", "x{n}_99999999999999999999_1", "x{n}_\u0663_1"])
_traders = st.sampled_from(["ann", "ann", "bob", "cy", HOSTILE, "", None])


@st.composite
def histories(draw, most=25):
    """Rows of TRADES of a few pools, some late, some twice; and the snapshots at which they are looked at."""
    scale = draw(st.sampled_from([600, 7_200, 90_000, 12 * 86_400]))
    # On a coarse grid many swaps share a block, and their place in it settles the order.
    step = draw(st.sampled_from([1, 1, scale // 6]))
    rows = []
    for n in range(draw(st.integers(0, most))):
        at, delay = (
            draw(st.integers(0, scale // step)) * step,
            draw(st.sampled_from([0, 0, 0, 30, 300, 4_000, 80_000, 90_000])),
        )
        # Answers tell in batches: rounding makes several swaps known at one moment.
        told = -(-(at + delay) // 60) * 60 - at if draw(st.booleans()) else delay
        row = swap(
            draw(st.sampled_from(POOLS)), at, told=told, n=n, trader=draw(_traders),
            kind=draw(st.sampled_from(["buy", "sell"])), usd=draw(_usd), base=draw(_tokens), quote=draw(_tokens),
            name=draw(_names),
        )  # fmt: skip
        rows += [row] * draw(st.sampled_from([1, 1, 1, 2]))
    rows += [row | {"known_at": row["known_at"] + timedelta(hours=30)} for row in rows[: draw(st.integers(0, 2))]]
    moments = draw(st.lists(st.tuples(st.sampled_from(POOLS), st.integers(0, scale + 5_000)), min_size=1, max_size=12))
    moments += [(row["pool"], (row["known_at"] - START).total_seconds()) for row in rows[::3]]
    return draw(st.permutations(rows)), snapshots_of(moments, START + timedelta(seconds=draw(st.sampled_from([0, 30]))))


@st.composite
def traders_at_work(draw, most=30):
    """Swaps of few wallets that go in and out at changing prices, so that some become smart."""
    scale = draw(st.sampled_from([7_200, 90_000, 12 * 86_400]))
    rows = []
    for n in range(draw(st.integers(10, most))):
        at, price = draw(st.integers(0, scale)), draw(st.sampled_from([1.0, 2.0, 3.0, 0.5]))
        amount, told = draw(st.sampled_from([1.0, 2.0, 5.0])), draw(st.sampled_from([0, 0, 60, 5_000]))
        kind, who = draw(st.sampled_from(["buy", "sell"])), draw(st.sampled_from(["ann", "ann", "bob"]))
        rows.append(
            swap(
                draw(st.sampled_from("ab")), at, told=told, n=n, trader=who, kind=kind, usd=amount * price, base=amount
            )
        )
    moments = [(pool, (row["known_at"] - START).total_seconds()) for row in rows for pool in "ab"]
    return rows, snapshots_of(moments)
