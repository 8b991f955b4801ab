"""Every field of `OfTrades` by plain loops over lists of rows, and random swaps to try it on.

Nothing here shares code with the engine: windows are looked through one swap at a time, sums are fractions.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import polars as pl
from hypothesis import strategies as st

from pipeline.calendars import DAY, HOUR, MINUTE, Span
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


def units(value, per, most):
    if value is None or not 0 <= value <= most:
        return None
    return Fraction(round(value * per), int(per))


def usd_of(row):
    return units(row["volume_usd"], 2.0**20, 1e9)


def tokens_of(row):
    return units(row["base_amount"], 2.0**30, 1e20)


def order_of(row):
    found = re.search("_([0-9]+)_[0-9]+$", row["trade_id"])
    place = int(found[1]) if found and int(found[1]) < 2**63 else -1
    return row["event_time"], row["block"], place, row["trade_id"]


def log_of(row):
    base, quote = row["base_amount"], row["quote_amount"]
    if base is None or quote is None or not (base > 0 and quote > 0) or not 1e-30 <= quote / base <= 1e30:
        return None
    return Fraction(round(math.log(quote / base) * 2**40), 2**40)


def place_of(row):
    return row["source"], row["network"], row["pool"]


def once(rows):
    """The rows, each swap as first told, in the order in which they were learned."""
    found = {}
    for row in sorted(rows, key=lambda r: (r["known_at"], order_of(r))):
        found.setdefault((*place_of(row), row["event_time"], row["trade_id"]), row)
    return list(found.values())


def in_order(rows):
    """The sequence: learned within a day, and later on the chain than all such swaps of the pool learned before."""
    kept, newest = [], {}
    for row in once(rows):
        is_after = place_of(row) not in newest or order_of(row) > newest[place_of(row)]
        if is_after and row["known_at"] - row["event_time"] <= DAY:
            newest[place_of(row)] = order_of(row)
            kept.append(row)
    return kept


def gains(rows):
    """(source, network, wallet), when learned and gain in USD of every sale that closed something."""
    kept, found = in_order(rows), []
    for i, sale in enumerate(kept):
        value, tokens = usd_of(sale), tokens_of(sale)
        if sale["kind"] != "sell" or sale["trader"] is None or value is None or not tokens:
            continue
        bought = cost = sold = Fraction(0)
        for row in kept[:i]:
            is_same = place_of(row) == place_of(sale) and row["trader"] == sale["trader"]
            if not is_same or row["known_at"] <= sale["known_at"] - 2 * DAY or tokens_of(row) is None:
                continue
            if row["kind"] == "sell":
                sold += tokens_of(row)
            elif usd_of(row) is not None:
                bought, cost = bought + tokens_of(row), cost + usd_of(row)
        if bought > sold:
            gain = min(tokens, bought - sold) * (value / tokens - cost / bought)
            whole = Fraction(round(min(max(gain, -(2**30)), 2**30) * 2**20), 2**20)
            found.append(((*place_of(sale)[:2], sale["trader"]), sale["known_at"], whole))
    return found


def is_smart(row, realised, spec):
    if row["trader"] is None:
        return None
    wallet, now = (row["source"], row["network"], row["trader"]), row["known_at"]
    counted = [gain for who, when, gain in realised if who == wallet and now - 3 * DAY < when < now]
    won = sum(gain > 0 for gain in counted)
    return len(counted) >= spec.smart_trades and won >= spec.smart_win_share * len(counted) and sum(counted) > 0


def expected(rows, snapshots, spec=SPEC):
    realised = gains(rows)
    return [_one(rows, snapshot, realised, spec) for snapshot in snapshots.iter_rows(named=True)]


def _one(rows, snapshot, realised, spec):
    now = snapshot["event_time"]
    mine = [r for r in once(rows) if place_of(r) == place_of(snapshot) and r["known_at"] <= now]
    hour = [r for r in mine if r["event_time"] > now - HOUR]
    day = [r for r in mine if r["event_time"] > now - DAY and r["trader"] is not None and tokens_of(r) is not None]
    valued = [r for r in hour if usd_of(r) is not None]
    bought = [r for r in valued if r["kind"] == "buy"]
    by_buyer = {r["trader"]: sum(usd_of(o) for o in bought if o["trader"] == r["trader"]) for r in bought}
    named = [r for r in hour if r["trader"] is not None]
    kept, smart = {}, set()
    for r in day:
        kept[r["trader"]] = kept.get(r["trader"], 0) + tokens_of(r) * (1 if r["kind"] == "buy" else -1)
        smart |= {r["trader"]} if is_smart(r, realised, spec) else set()
    return {
        "n_valued_1h": len(valued),
        "bought_usd_1h": sum(map(usd_of, bought)),
        "sold_usd_1h": sum(usd_of(r) for r in valued if r["kind"] == "sell"),
        "largest_usd_1h": max(map(usd_of, valued), default=None),
        "n_unnamed_buys_1h": sum(r["trader"] is None and r["kind"] == "buy" for r in hour),
        "buyer_squares_1h": sum(usd**2 for wallet, usd in by_buyer.items() if wallet is not None),
        "n_named_1h": len(named),
        "smart_net_buys_1h": sum(
            (1 if r["kind"] == "buy" else -1) * bool(is_smart(r, realised, spec)) for r in named
        ),
        "n_placed_24h": len(day),
        "held_24h": sum(max(0, net) for net in kept.values()),
        "smart_held_24h": sum(max(0, net) for wallet, net in kept.items() if wallet in smart),
        "roll_spread_1h": _roll([r for r in in_order(rows) if r in mine and r in hour], spec),
        **_first(mine, snapshot),
    }  # fmt: skip


def _roll(rows, spec):
    prices = [log for log in map(log_of, rows) if log is not None]
    steps = [after - before for before, after in pairwise(prices)]
    pairs = list(pairwise(steps))
    if len(pairs) < spec.min_returns:
        return None
    mean = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
    covariance = sum((x - mean[0]) * (y - mean[1]) for x, y in pairs) / len(pairs)
    return 2 * math.sqrt(-covariance) if covariance < -(2.0**-56) else None


def _first(mine, snapshot):
    born, now = snapshot["created_at"], snapshot["event_time"]
    found = dict.fromkeys(("first_minute_buyers", "first_minute_usd", "first_hour_usd"))
    lived = [r for r in mine if r["event_time"] >= born and r["known_at"] < born + DAY]
    if now >= born + 7 * DAY:
        return found
    minute, hour = (_told_whole(lived, born + length) for length in (MINUTE, HOUR))
    buys = [r for r in lived if r["kind"] == "buy"]
    if minute is not None:
        buyers = [r["trader"] for r in buys if r["event_time"] < born + MINUTE and r["known_at"] <= minute]
        found["first_minute_buyers"] = None if None in buyers else len(set(buyers))
    if hour is not None:
        known = [r for r in buys if r["event_time"] < born + HOUR and r["known_at"] <= hour]
        if all(usd_of(r) is not None for r in known):
            found["first_minute_usd"] = sum(usd_of(r) for r in known if r["event_time"] < born + MINUTE)
            found["first_hour_usd"] = sum(map(usd_of, known))
    return found


def _told_whole(lived, end):
    """When everything up to `end` was told for certain, or None."""
    after = [r["known_at"] for r in lived if r["known_at"] >= end]
    if not after:
        return None
    told = {}
    for r in lived:
        if r["known_at"] <= min(after):
            told[r["answer_id"]] = told.get(r["answer_id"], 0) + 1
    return min(after) if max(told.values()) < 300 else None


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
