"""From the bytes of an answer to the records it tells.

Belongs here: unpacking and decoding bodies, whatever is in them, and laying their records side by side. Stays out: what
a record says (`wire_values`) and whether it can be true (`wire_judging`).
"""

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import polars as pl

MOST_RECORDS: Final = 5_000
"""The API tells at most 1,000 (bars) in one answer; five million empty records fit under the cap of a body."""
BATCH_BYTES: Final = 16_000_000
"""So much of the bodies is decoded at a time; as Python objects they take about six times the room."""
_LONGEST_INTEGER: Final = 308
_TOO_DEEP: Final = '"nested too deeply to be written"'

Document = dict[str, Any]
Pick = Callable[[Document], "list[Any] | str"]
"""Takes the records out of a document, or says by a short name why it cannot."""


@dataclass(frozen=True)
class Records:
    """Records of many answers: `told[i]` belongs to row i of `frame`.

    `frame` has `row` (from 0), `answer` (number of its answer), `place` (in its answer, from 0) and every column of the
    answers but the body. An answer that told nothing usable is a record too, with `reason` and `detail`.
    """

    told: list[Any]
    frame: pl.DataFrame


@dataclass(frozen=True)
class Documents:
    """Successful answers in the order in which they came, each decoded; `unread` are those that could not be."""

    answers: pl.DataFrame
    decoded: list[Document]
    unread: Records

    def records(self, pick: Pick) -> tuple[Records, Records]:
        """The records that `pick` finds in each document, and the answers in which it finds none where some belong."""
        told: list[Any] = []
        lengths: list[int] = []
        reasons: list[str | None] = []
        for document in self.decoded:
            found = pick(document)
            if isinstance(found, list) and len(found) > MOST_RECORDS:
                found = "too_many_records"
            records = [] if isinstance(found, str) else found
            reasons.append(found if isinstance(found, str) else None)
            told += records
            lengths.append(len(records))
        return Records(told, _spread(self.answers, lengths)), _refused(self.answers, reasons, self.decoded)


def read_documents(answers: pl.DataFrame, endpoints: Sequence[str]) -> Iterator[Documents]:
    """The answers of these endpoints with a status of success, decoded; at least one batch of them, maybe empty.

    Args:
        answers: rows of ANSWERS in any order; columns may have been added. A row that is there twice counts once.
        endpoints: the others are passed over, and so is every answer that says it is an error.
    """
    wanted = pl.col("endpoint").is_in(list(endpoints)) & pl.col("status").is_between(200, 299)
    rows = answers.filter(wanted).unique("answer_id", keep="first", maintain_order=True).sort("event_time", "answer_id")
    batched = rows.with_columns(batch=pl.col("n_bytes").cum_sum() // BATCH_BYTES)
    batches = batched.partition_by("batch", maintain_order=True, include_key=False)
    yield from (_read(batch) for batch in batches or [rows])


def _read(answers: pl.DataFrame) -> Documents:
    decoded = [_decoded(body) for body in answers["body"]]
    reasons = [None if isinstance(d, dict) else d[0] for d in decoded]
    is_read = pl.Series([reason is None for reason in reasons], dtype=pl.Boolean)
    rows = answers.drop("body")
    unread = _refused(rows, reasons, [d if isinstance(d, dict) else d[1] for d in decoded])
    return Documents(rows.filter(is_read), [d for d in decoded if isinstance(d, dict)], unread)


def data_of(document: Document) -> list[Any] | str:
    """The records of a document: its `data`, a list or one object."""
    data = document.get("data")
    if data is None:
        return "no_data"
    if isinstance(data, list):
        return data
    return [data] if isinstance(data, dict) else "data_not_records"


def as_json(value: Any) -> str:
    """The value as JSON; equal objects give equal text."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return _TOO_DEEP


def _decoded(packed: bytes) -> Document | tuple[str, str]:
    """The document, or the reason why there is none with what was found instead, as text."""
    try:
        body = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        return "body_damaged", f"{len(packed)} packed bytes: {error}"
    try:
        document = _loaded(body)
    except (ValueError, RecursionError):
        return "not_json", body.decode("utf-8", "replace")
    return document if isinstance(document, dict) else ("no_data", body.decode("utf-8", "replace"))


def _loaded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _mended(body)


def _mended(body: bytes) -> Any:
    """The document where all but single values is JSON: NaN, numbers beyond a float, halves of a character.

    One poisoned token name must not cost the other pools of its page. Such a number becomes a text, which no rule takes
    for a number; half a character becomes a question mark.

    Raises:
        ValueError, RecursionError: more than that is wrong.
    """
    # Decoded first: given bytes, the module would take UTF-16 and UTF-32 as well.
    document = json.loads(body.decode(), parse_constant=str, parse_float=_finite_or_text, parse_int=_whole_or_text)
    return orjson.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def _finite_or_text(told: str) -> float | str:
    number = float(told)
    return number if math.isfinite(number) else told


def _whole_or_text(told: str) -> int | str:
    return int(told) if len(told) <= _LONGEST_INTEGER else told


def _spread(answers: pl.DataFrame, lengths: Sequence[int]) -> pl.DataFrame:
    """One row a record, with its place and its answer's columns."""
    answer = [number for number, length in enumerate(lengths) for _ in range(length)]
    place = [place for length in lengths for place in range(length)]
    columns = [pl.Series("answer", answer, pl.UInt32), pl.Series("place", place, pl.Int64)]
    return answers[columns[0]].with_columns(columns).with_row_index("row")


def _refused(answers: pl.DataFrame, reasons: Sequence[str | None], found: Sequence[Any]) -> Records:
    frame = (
        answers.with_row_index("answer")
        .with_columns(
            place=pl.lit(0, pl.Int64),
            reason=pl.Series(reasons, dtype=pl.String),
            detail=pl.format("an answer to {}", "endpoint"),
        )
        .filter(pl.col("reason").is_not_null())
    )
    told = [found[number] for number in frame["answer"]]
    return Records(told, frame.with_row_index("row"))
