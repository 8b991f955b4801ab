"""From answers to rows: the door of the parser, one function an endpoint's kind.

Belongs here: nothing but names. What is read from which answers stands in the modules they come from; all of them take
rows of ANSWERS as they lie in the lake, give rows that their tables accept, and account for every told record: it is a
row, or it lies in the quarantine with its reason.
"""

from pipeline.pools.parse_ohlcv import ParsedBars, parse_ohlcv
from pipeline.pools.parse_pools import ParsedPools, parse_pools
from pipeline.pools.parse_tokens import ParsedTokens, parse_token_infos, richest
from pipeline.pools.parse_trades import ParsedTrades, parse_trades

__all__ = [
    "ParsedBars",
    "ParsedPools",
    "ParsedTokens",
    "ParsedTrades",
    "parse_ohlcv",
    "parse_pools",
    "parse_token_infos",
    "parse_trades",
    "richest",
]
