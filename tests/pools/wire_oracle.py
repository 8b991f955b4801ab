"""A second reading of answers, slow and plain, that shares nothing with the parser: what a field told, and as what."""

import json
import re
from dataclasses import dataclass
from typing import Any

_WINDOWS = ("m5", "m15", "m30", "h1", "h6", "h24")
_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]+", re.ASCII)


WRONG = object()


class Literal(str):
    """A number as it stood in the document."""

    __slots__ = ()


class Constant(str):
    """NaN or an infinity as it stood in the document."""

    __slots__ = ()


@dataclass(frozen=True)
class Field:
    """Where a number is told, and between what it is credible; `is_count`: whole numbers alone are."""

    path: tuple[str, ...]
    low: float = 0.0
    high: float = 1e30
    is_count: bool = False


POOL_FIELDS = {
    "price_quote": Field(("attributes", "base_token_price_quote_token")),
    "price_usd": Field(("attributes", "base_token_price_usd")),
    "quote_price_usd": Field(("attributes", "quote_token_price_usd")),
    "base_reserve": Field(("attributes", "base_token_balance")),
    "quote_reserve": Field(("attributes", "quote_token_balance")),
    "reserve_usd": Field(("attributes", "reserve_in_usd")),
    "fdv_usd": Field(("attributes", "fdv_usd")),
    "market_cap_usd": Field(("attributes", "market_cap_usd")),
    "lp_burned_pct": Field(("attributes", "locked_liquidity_percentage"), high=100.0),
}
for _w in _WINDOWS:
    POOL_FIELDS[f"price_change_{_w}_pct"] = Field(("attributes", "price_change_percentage", _w), low=-100.0)
    POOL_FIELDS[f"volume_{_w}_usd"] = Field(("attributes", "volume_usd", _w))
    for _who in ("buys", "sells", "buyers", "sellers"):
        POOL_FIELDS[f"n_{_who}_{_w}"] = Field(("attributes", "transactions", _w, _who), high=1e12, is_count=True)

TOKEN_FIELDS = {
    "decimals": Field(("attributes", "decimals"), high=77, is_count=True),
    "n_holders": Field(("attributes", "holders", "count"), high=1e12, is_count=True),
    "top10_pct": Field(("attributes", "holders", "distribution_percentage", "top_10"), high=100.0),
    "gt_score": Field(("attributes", "gt_score"), high=100.0),
}
BUY_FIELDS = {
    "base_amount": Field(("attributes", "to_token_amount")),
    "quote_amount": Field(("attributes", "from_token_amount")),
    "price_usd": Field(("attributes", "price_to_in_usd")),
    "volume_usd": Field(("attributes", "volume_in_usd")),
    "block": Field(("attributes", "block_number"), high=1e12, is_count=True),
}
SELL_FIELDS = BUY_FIELDS | {
    "base_amount": BUY_FIELDS["quote_amount"],
    "quote_amount": BUY_FIELDS["base_amount"],
    "price_usd": Field(("attributes", "price_from_in_usd")),
}
BAR_PLACES = ("open", "high", "low", "close", "volume")


def read(body: bytes) -> Any:
    """The document, every number in it as it was written.

    Raises:
        ValueError, RecursionError: it is none.
    """
    return json.loads(body.decode(), parse_int=Literal, parse_float=Literal, parse_constant=Constant)


def told(record: Any, path: tuple[str, ...]) -> Any:
    """What the record tells there, or WRONG if something else than an object is on the way."""
    for name in path:
        if record is None:
            return None
        if not isinstance(record, dict):
            return WRONG
        record = record.get(name)
    return record


def number(value: Any, field: Field) -> float | int | None:
    """The one number that this value may become."""
    if field.is_count:
        whole = _whole(value)
        return whole if whole is not None and 0 <= whole <= field.high else None
    is_plain = type(value) is str and len(value) <= 200 and _PLAIN.fullmatch(value)
    if not is_plain and type(value) is not Literal:
        return None
    real = float(value)
    return real if field.low <= real <= field.high else None


def _whole(value: Any) -> int | None:
    if type(value) is Literal:
        return int(value) if _WHOLE.fullmatch(value) and len(value) < 30 else None
    is_plain = type(value) is str and _WHOLE.fullmatch(value) and not value.startswith("-") and len(value) <= 13
    return int(value) if is_plain else None
