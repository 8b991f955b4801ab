"""Inputs from what was told of a pool's base token, over history.

Belongs here: looking up a token's facts as they were known. Stays out: parsing them (`pools`), and formulas.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.calendars import Span
from pipeline.features.engine import plausible_column
from pipeline.features.inputs import OfToken
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY, TOKENS

_TOKEN_KEY: Final = ("source", "network", "token")
_THEN: Final = "then"


def attach(
    rows: pl.DataFrame, inputs: Sequence[OfToken], sources: Sources, span: Span, spec: FeaturesSpec
) -> pl.DataFrame:
    """Each row with what was last told of its base token by `event_time` less the input's `ago`; see `OverHistory`.

    An answer does not speak of everything: each column is taken from the last answer that spoke of it, and is null if
    that one was learned more than `spec.token_tolerance` before. An answer counts from when it was learned.
    """
    base = sources.pools.select(*POOL_KEY, pl.col("base_token").alias("token")).unique(POOL_KEY).collect()
    rows = rows.join(base, on=list(POOL_KEY), how="left", maintain_order="left")
    reach = max(read.look_back for read in inputs) + spec.token_tolerance
    learned = pl.col("known_at")
    told = (
        sources.tokens.filter(learned >= span.start - reach, learned < span.end)
        .select(*_TOKEN_KEY, learned.alias(_THEN), "event_time", *dict.fromkeys(read.column for read in inputs))
        .join(base.lazy().rename({"pool": "of_pool"}).select(_TOKEN_KEY).unique(), on=list(_TOKEN_KEY), how="semi")
        .sort(*_TOKEN_KEY, _THEN, "event_time")
        .collect()
    )
    if told.is_empty():
        nothing = (pl.lit(None, TOKENS.schema[read.column]).alias(read.name) for read in inputs)
        return rows.drop("token").with_columns(nothing)
    for ago in dict.fromkeys(read.ago for read in inputs):
        rows = _with_facts(rows, told, [read for read in inputs if read.ago == ago], spec)
    return rows.drop("token")


def _with_facts(rows: pl.DataFrame, told: pl.DataFrame, inputs: list[OfToken], spec: FeaturesSpec) -> pl.DataFrame:
    """The rows with inputs of one `ago`; each column has its own last answer."""
    found = rows.with_columns((pl.col("event_time") - inputs[0].ago).alias(_THEN)).with_row_index("place").sort(_THEN)
    for read in inputs:
        facts = told.select(
            *_TOKEN_KEY, _THEN, plausible_column(TOKENS.column(read.column)).alias(read.name)
        ).drop_nulls(read.name)
        # Both sides are sorted by time within each token; Polars cannot check that beside `by`.
        found = found.join_asof(
            facts.sort(_THEN, maintain_order=True),
            on=_THEN,
            by=list(_TOKEN_KEY),
            strategy="backward",
            tolerance=spec.token_tolerance,
            check_sortedness=False,
        )
    return found.sort("place").drop(_THEN, "place")
