"""Every field of `OfTrades` by plain loops over lists of rows.

Nothing here shares code with the engine: windows are looked through one swap at a time, sums are fractions.
"""

import math
import re
from fractions import Fraction
from itertools import pairwise

from traded_worlds import SPEC

from pipeline.calendars import DAY, HOUR, MINUTE


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
