"""Bad records, planted into a sound answer, each noted.

Belongs here: what each kind of RECORD_FAULTS does to a document. Stays out: when (`faults`), and what happens to bytes
on their way (`responses`).
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from numpy.random import Generator

from pipeline.sandbox.records import decimal

Effect = Literal["refuse", "either", "keep"]
"""What a careful reader does: the value must not be taken for true; it may be read or refused; nothing may be lost."""

Document = dict[str, Any]

_RAW: Final = "~number:"
_MOST_RECORDS: Final = 3
_TOLD_LENGTH: Final = 200
_DECIMALS: Final = 80

_POOL_NUMBERS: Final = (
    "base_token_price_usd", "base_token_price_quote_token", "quote_token_price_usd", "reserve_in_usd",
    "volume_usd.m5", "volume_usd.h1", "volume_usd.h24",
)  # fmt: skip
_TRADE_NUMBERS: Final = ("from_token_amount", "to_token_amount", "price_to_in_usd", "volume_in_usd")
_POOL_FIELDS: Final = (
    *_POOL_NUMBERS, "price_change_percentage", "price_change_percentage.h1", "transactions", "transactions.h1.buys",
    "volume_usd", "pool_created_at", "address", "name",
)  # fmt: skip
_TRADE_FIELDS: Final = (*_TRADE_NUMBERS, "block_number", "block_timestamp", "kind", "tx_hash")
_TOKEN_FIELDS: Final = ("address", "name", "symbol", "decimals", "holders")
_BAR_FIELDS: Final = ("1", "2", "3", "4", "5")
_NUMBERS: Final = {"trades": _TRADE_NUMBERS, "ohlcv": _BAR_FIELDS}
_FIELDS: Final = {"trades": _TRADE_FIELDS, "ohlcv": _BAR_FIELDS, "token_info": _TOKEN_FIELDS}

HOSTILE_NAMES: Final = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "';--",
    "{{7*7}}",
    "../../name",
    "\u202eemanelif",
    "ze\u200bro\u200dwidth\ufeff",
    "bell\x07 escape\x1b[31m null\x00 line\nend",
    "A" * 10_000,
    "\U0001f680\U0001f525",
)
"""Markup, formulas, templates, paths, writing direction, hidden and control characters, a very long one, and emoji."""


@dataclass(frozen=True)
class Planted:
    """One thing that was done to a record: where, what is told now (JSON, cut), what is true (JSON, cut)."""

    kind: str
    record: str
    field: str
    told: str
    truth: str
    effect: Effect


def plant(kind: str, endpoint: str, document: Document, rng: Generator) -> list[Planted]:
    """Do `kind` to some records of the document, in place, and say what was done; nothing if there is none."""
    found = _records(document, endpoint)
    return list(_PLANTERS[kind](endpoint, document, found, rng)) if found else []


def render(document: Document) -> bytes:
    """The document as JSON, with planted numbers written digit by digit."""
    body = orjson.dumps(document)
    if _RAW.encode() not in body:
        return body
    return re.sub(rb'"%s([^"]*)"' % _RAW.encode(), rb"\1", body)


def _records(document: Document, endpoint: str) -> list[Any]:
    data = document["data"]
    if endpoint == "ohlcv":
        bars: list[Any] = data["attributes"]["ohlcv_list"]
        return bars
    return data if isinstance(data, list) else [data]


def _name(record: Any) -> str:
    return str(record[0] if isinstance(record, list) else record["id"])


def _said(value: Any) -> str:
    return json.dumps(value)[:_TOLD_LENGTH]


def _some(found: list[Any], rng: Generator) -> list[Any]:
    n = min(int(rng.integers(1, _MOST_RECORDS + 1)), len(found))
    return [found[place] for place in sorted(rng.choice(len(found), n, replace=False).tolist())]


def _duplicated(_endpoint: str, _document: Document, found: list[Any], rng: Generator) -> Iterator[Planted]:
    for record in _some(found, rng):
        found.insert(int(rng.integers(0, len(found) + 1)), record)
        yield Planted("duplicated", _name(record), "", "told twice", "told once", "keep")


def _reordered(_endpoint: str, _document: Document, found: list[Any], rng: Generator) -> Iterator[Planted]:
    before = [_name(record) for record in found]
    if len(before) < 2:
        return
    found[:] = [found[place] for place in rng.permutation(len(found)).tolist()]
    if [_name(record) for record in found] == before:
        found.reverse()
    yield Planted("reordered", "", "", _said([_name(record) for record in found]), _said(before), "keep")


def _vanished(_endpoint: str, _document: Document, found: list[Any], rng: Generator) -> Iterator[Planted]:
    for record in _some(found, rng):
        found.remove(record)
        yield Planted("vanished", _name(record), "", "not told", "told", "keep")


def _holder(record: Any, path: str) -> tuple[Any, Any]:
    """The container that a field lies in, and its key or index there."""
    if isinstance(record, list):
        return record, int(path)
    *above, last = path.split(".")
    holder = record["attributes"]
    for name in above:
        holder = holder[name]
    return holder, last


def _changed(
    kind: str, fields: tuple[str, ...], found: list[Any], rng: Generator, change: Callable[[Any], tuple[Any, Effect]]
) -> Iterator[Planted]:
    for record in _some(found, rng):
        path = str(rng.choice(list(fields)))
        holder, key = _holder(record, path)
        truth = holder[key]
        holder[key], effect = change(truth)
        yield Planted(kind, _name(record), path, _said(holder[key]).replace(_RAW, ""), _said(truth), effect)


def _bad_numbers(endpoint: str, _document: Document, found: list[Any], rng: Generator) -> Iterator[Planted]:
    def change(truth: Any) -> tuple[Any, Effect]:
        which = str(rng.choice(["NaN", "Infinity", "-Infinity", "1e400", "negative", "long"]))
        is_bar = endpoint == "ohlcv"
        if which == "long" and truth is not None:
            told = _long_decimal(str(truth), rng)
            return (_RAW + told if is_bar else told), "keep"
        if which == "1e400":
            return (_RAW + which if is_bar else which), "refuse"
        if which in {"negative", "long"}:
            value = -abs(float(truth or 0.0)) or -1.0
            return (value if is_bar else decimal(value)), "refuse"
        return which, "refuse"

    yield from _changed("bad_numbers", _NUMBERS.get(endpoint, _POOL_NUMBERS), found, rng, change)


def _long_decimal(text: str, rng: Generator) -> str:
    """The number with _DECIMALS decimals that reads as the same float: what is added lies far below its precision."""
    whole, _, fraction = format(float(text), ".60f").partition(".") if "e" in text else text.partition(".")
    told = f"{whole}.{fraction.ljust(60, '0')}{''.join(map(str, rng.integers(1, 10, 20).tolist()))}"
    return (
        told if len(fraction) <= _DECIMALS - 20 and float(told) == float(text) else f"{whole}.{fraction:0<{_DECIMALS}}"
    )


def _retyped(endpoint: str, _document: Document, found: list[Any], rng: Generator) -> Iterator[Planted]:
    def change(truth: Any) -> tuple[Any, Effect]:
        which = str(rng.choice(["scalar", "list", "null"]))
        if which == "null" and truth is not None:
            return None, "either"
        if which == "scalar" and isinstance(truth, int | float):
            return str(truth), "either"
        if which == "scalar" and isinstance(truth, str):
            return (float(truth), "either") if re.fullmatch(r"-?[0-9.]+", truth) else (7, "refuse")
        return (list(truth) if isinstance(truth, dict) else [truth]), "refuse"

    yield from _changed("retyped", _FIELDS.get(endpoint, _POOL_FIELDS), found, rng, change)


def _hostile_names(endpoint: str, document: Document, found: list[Any], rng: Generator) -> Iterator[Planted]:
    included = {record["id"]: record for record in document.get("included", ())}
    for record in _some(found, rng):
        hostile = HOSTILE_NAMES[int(rng.integers(len(HOSTILE_NAMES)))]
        for target, field, value in _named(endpoint, record, included, hostile):
            truth, target["attributes"][field] = target["attributes"][field], value
            yield Planted("hostile_names", _name(target), field, _said(value), _said(truth), "keep")


def _named(endpoint: str, record: Any, included: dict[str, Any], hostile: str) -> Iterator[tuple[Any, str, str]]:
    """Where a name goes: into the token, or into the pool and its base token where that is included."""
    token = record
    if endpoint not in {"token_info", "tokens_recently_updated"}:
        yield record, "name", f"{hostile} / {record['attributes']['name'].partition(' / ')[2]}"
        token = included.get(record["relationships"]["base_token"]["data"]["id"])
    if token is not None:
        yield token, "name", hostile
        yield token, "symbol", hostile


_PLANTERS: Final[dict[str, Callable[[str, Document, list[Any], Generator], Iterator[Planted]]]] = {
    "duplicated": _duplicated,
    "reordered": _reordered,
    "vanished": _vanished,
    "retyped": _retyped,
    "bad_numbers": _bad_numbers,
    "hostile_names": _hostile_names,
}
