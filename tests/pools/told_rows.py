"""Rows of what the API told, by hand: each holds what it must, and what a test is about."""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.tables import RAW_CANDLES, RAW_POOLS, TOKENS, TRADES, Table

START = datetime(2026, 5, 28, 12, tzinfo=UTC)
KEY = {"source": "geckoterminal", "network": "eth", "pool": "0xaa"}


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def frame(table: Table, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows of the table; what a row does not say is null."""
    assert all(set(row) <= set(table.schema) for row in rows)
    return pl.DataFrame([{n: row.get(n) for n in table.schema} for row in rows], schema=table.schema, orient="row")


def record(at: float, **said: object) -> dict[str, object]:
    """A pool in an answer at so many minutes after START, born at START."""
    row = {
        **KEY, "event_time": after(at), "known_at": after(at), "answer_id": f"pools {at}", "place": 0,
        "endpoint": "pools_multi", "inclusion_probability": 1.0, "n_missed": 0, "created_at": START,
        "dex": "swap", "base_token": "0x01", "quote_token": "0x02",
    }  # fmt: skip
    return row | said


def trade(at: float, *, told: float, base: float | None = 1.0, quote: float | None = 1.0, kind: str = "buy",
          answer: str | None = None, n: int = 0, **said: object) -> dict[str, object]:  # fmt: skip
    """A swap at so many minutes after START, told by the answer of minute `told`; block and name follow the time."""
    block = int(at * 5)
    row = {
        **KEY, "event_time": after(at), "known_at": after(told), "answer_id": answer or f"trades {told}",
        "trade_id": f"eth_{block}_0xff_{n}_1779941075", "block": block, "tx_hash": "0xff", "kind": kind,
        "base_amount": base, "quote_amount": quote, "volume_usd": None if quote is None else quote * 2000,
    }  # fmt: skip
    return row | said


def bar(at: float, *, told: float, prices: tuple[float, float, float, float] = (1.0, 2.0, 0.5, 1.5),
        **said: object) -> dict[str, object]:  # fmt: skip
    """An OHLCV bar of minute `at`, told by the answer of minute `told`."""
    row = {**KEY, "timeframe": "5min", "event_time": after(at), "known_at": after(told), "currency": "quote"}
    return row | dict(zip(("open", "high", "low", "close"), prices, strict=True)) | {
        "answer_id": f"ohlcv {told}", "volume": 7.0,
    } | said  # fmt: skip


def token(address: str, at: float, **said: object) -> dict[str, object]:
    row = {**KEY, "token": address, "event_time": after(at), "known_at": after(at), "answer_id": f"info {at}"}
    del row["pool"]
    return row | {"is_name_hostile": False} | said


def records(*rows: dict[str, object]) -> pl.DataFrame:
    return frame(RAW_POOLS, list(rows))


def trades(*rows: dict[str, object]) -> pl.DataFrame:
    return frame(TRADES, list(rows))


def bars(*rows: dict[str, object]) -> pl.DataFrame:
    return frame(RAW_CANDLES, list(rows))


def tokens(*rows: dict[str, object]) -> pl.DataFrame:
    return frame(TOKENS, list(rows))
