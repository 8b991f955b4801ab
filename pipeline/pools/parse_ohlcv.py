"""Answers with the bars of a pool as rows of `raw_candles`.

Belongs here: a bar on the wire, and which of several tellings counts. Stays out: how values are read (`wire_values`),
what becomes of the refused (`wire_judging`), and the candles that labels rest on (`candles`).
"""

from typing import Any, Final, NamedTuple

import polars as pl

from pipeline.calendars import MINUTE
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.wire import Document, Documents, read_documents
from pipeline.pools.wire_judging import (
    Rule,
    answers_quarantined,
    asked_rules,
    judge,
    quarantined,
    times_between,
    together,
    value_notes,
    with_detail,
    without_copies,
)
from pipeline.pools.wire_urls import currency_of_bars, with_asked_pool
from pipeline.pools.wire_values import Fields, count, number, told_values
from pipeline.tables import RAW_CANDLES, UTC

BAR: Final = 5 * MINUTE
TIMEFRAME: Final = "5min"
_PLACES: Final = ("told_time", "open", "high", "low", "close", "volume")
_PRICES: Final = ("open", "high", "low", "close")
_FIELDS: Final = Fields({name: (name,) for name in _PLACES}, frozenset())
_COLUMNS: Final = tuple(RAW_CANDLES.column(name) for name in (*_PRICES, "volume"))


class ParsedBars(NamedTuple):
    """What answers of `ohlcv` said, as rows of RAW_CANDLES and QUARANTINE."""

    raw_candles: pl.DataFrame
    quarantine: pl.DataFrame


def parse_ohlcv(answers: pl.DataFrame, spec: PoolsSpec) -> ParsedBars:
    """The five-minute bars that answers of `ohlcv` tell, each as first told.

    Bars that had not ended when they were told are left out, since they were still to change.

    Args:
        answers: rows of ANSWERS, any number, in any order; those of other endpoints and errors are passed over, and
            so are bars of another length or of another token than the base token.
        spec: what a credible text is.
    """
    currencies = pl.Series("currency", [currency_of_bars(url) for url in answers["url"]], pl.String)
    asked = with_asked_pool(answers).with_columns(currencies).filter(pl.col("currency").is_not_null())
    parsed = [_parsed(documents, spec) for documents in read_documents(asked, ("ohlcv",))]
    bars, quarantine = zip(*parsed, strict=True)
    first_told = pl.concat(bars).unique(RAW_CANDLES.key, keep="first", maintain_order=True)
    return ParsedBars(first_told, together(quarantine))


def _parsed(documents: Documents, spec: PoolsSpec) -> ParsedBars:
    records, no_bars = documents.records(_bars_of)
    values = told_values([_named(bar) for bar in records.told], _FIELDS)
    told = values.beside(records)
    taken = told.select(number(column) for column in _COLUMNS)
    accepted, refused = judge(_placed(told, taken), _rules(spec))
    ended, _ = judge(accepted, (("not_ended", pl.col("time") + BAR <= pl.col("event_time")),))
    kept, copies = without_copies(ended, ("network", "pool", "time"), records.told)
    taken = taken[kept["row"]]
    notes = value_notes(kept, taken, _COLUMNS, values.strange, spec)
    refused = with_detail(pl.concat([refused, copies]), (*_PLACES,), spec)
    quarantine = [
        *answers_quarantined((documents.unread, no_bars), spec),
        *(quarantined(judged, records, "raw_candles", spec) for judged in (refused, notes)),
    ]
    return ParsedBars(_rows(kept, taken), pl.concat(quarantine))


def _bars_of(document: Document) -> list[Any] | str:
    data = document.get("data")
    if data is None:
        return "no_data"
    attributes = data.get("attributes") if isinstance(data, dict) else None
    bars = attributes.get("ohlcv_list") if isinstance(attributes, dict) else None
    return bars if isinstance(bars, list) else "no_list_of_bars"


def _named(bar: Any) -> Any:
    """A bar is a list of six; named by their places its values are read like any other record's."""
    is_bar = type(bar) is list and len(bar) == len(_PLACES)
    return dict(zip(_PLACES, bar, strict=True)) if is_bar else None


def _placed(told: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    seconds = count(pl.col("told_time"))
    return told.with_columns(
        pl.col("url_network").alias("network"),
        pl.from_epoch(seconds, time_unit="s").cast(UTC).alias("time"),
        *(taken[name].alias(f"{name}_taken") for name in _PRICES),
    )


def _rules(spec: PoolsSpec) -> tuple[Rule, ...]:
    return (
        ("not_a_bar", pl.col("is_object")),
        *asked_rules(spec),
        *times_between("time"),
        ("not_on_the_grid", pl.col("time").dt.truncate("5m") == pl.col("time")),
        ("price_not_credible", pl.all_horizontal(pl.col(f"{name}_taken").is_not_null() for name in _PRICES)),
        ("high_below_low", pl.col("low_taken") <= pl.col("high_taken")),
    )


def _rows(kept: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    others = kept.select(
        *("source", "network", "pool", "answer_id", "currency"),
        pl.lit(TIMEFRAME).alias("timeframe"),
        pl.col("time").alias("event_time"),
        pl.col("event_time").alias("known_at"),
    )
    return pl.concat([others, taken], how="horizontal").select(RAW_CANDLES.schema.names()).cast(RAW_CANDLES.schema)
