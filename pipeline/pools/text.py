"""Text from a chain is hostile: what of it may be shown.

Belongs here: the one way a name or symbol is cleaned, and what an address or an identifier may look like.
Stays out: the raw text; it is kept in the quarantine's record alone.
"""

import polars as pl

from pipeline.pools.spec import PoolsSpec

_UNSEEN = r"[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\x{2800}]"
_MARKUP = r"[<>]"
_CUT_BEFORE_WORK = 1024
"""Compatibility forms can grow eighteen-fold under NFKC; a megabyte of them is cut before, not after."""


def clean_text(column: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    """The text as it may be shown: NFKC, nothing unseen (control, bidi, zero-width), no angle brackets, cut, or null.

    Null where nothing is left.

    >>> told = pl.DataFrame({"symbol": ["\\u202eHTEW<b>", "\\uff37ETH\\u200b", "\\x07"]})
    >>> told.select(clean_text(pl.col("symbol"), PoolsSpec()))["symbol"].to_list()
    ['HTEWb', 'WETH', None]
    """
    seen = column.str.slice(0, _CUT_BEFORE_WORK).str.normalize("NFKC").str.replace_all(_UNSEEN, "")
    # Taking characters out can leave neighbours that compose, so the form is made normal once more.
    plain = seen.str.replace_all(_MARKUP, "").str.normalize("NFKC").str.replace_all(r"\s+", " ").str.strip_chars()
    cut = plain.str.slice(0, spec.max_text_length).str.strip_chars()
    return pl.when(cut.str.len_chars() > 0).then(cut)


def is_address(column: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    """Whether the text can be an address on any chain we know: plain ASCII letters, digits and ``:_.-``."""
    return column.str.contains(rf"^[A-Za-z0-9:_.\-]{{1,{spec.max_address_length}}}$")


def shown_pool(column: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    """A pool's address, whole however long it is; of what can be none, what may be shown."""
    return pl.when(is_address(column, spec)).then(column).otherwise(clean_text(column, spec))


def is_identifier(column: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    """Whether the text can name a network; networks become folder names in the lake."""
    return column.str.contains(rf"^[A-Za-z0-9_\-]{{1,{spec.max_text_length}}}$")
