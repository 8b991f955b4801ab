"""From records to columns: what was told in each field, as text, and the number, time or flag it stands for.

Belongs here: walking records without trusting their shape, and which texts are numbers and times. Stays out: which
fields a table needs (the `parse_*` modules) and what happens to those that are wrong (`wire_judging`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from pipeline.pools.wire import Records, as_json
from pipeline.tables import UTC, Column

LARGEST: Final = 1e30
"""No amount is larger: all the money there is comes to 1e15 USD, and 1e30 leaves fifteen more digits for tokens that
are worth next to nothing. Products and squares of what passes stay far below the largest float."""
LARGEST_COUNT: Final = 10**12
"""No chain has made a trillion blocks, and nothing in a day is done a trillion times."""
_LONGEST_NUMBER: Final = 200
_REAL: Final = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_COUNT: Final = r"^[0-9]{1,13}$"
_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?(Z|\+00:00)$"
_NOTHING: Final[dict[str, Any]] = {}

Path = tuple[str, ...]


@dataclass(frozen=True)
class Strange:
    """A value of a kind that its field cannot have: a list where a text belongs, a text where an object belongs."""

    row: int
    path: Path
    value: Any


@dataclass(frozen=True)
class Fields:
    """What to read: a column's name -> the path of its value in a record; those in `texts` must be JSON strings."""

    paths: Mapping[str, Path]
    texts: Collection[str]


@dataclass(frozen=True)
class ToldValues:
    """One text column a field, null where nothing was told, with `is_object` (the record is a JSON object)."""

    columns: pl.DataFrame
    strange: list[Strange]

    def beside(self, records: Records) -> pl.DataFrame:
        """The records' frame with these columns; the network that was asked about becomes `asked_network`."""
        return pl.concat([records.frame.rename({"network": "asked_network"}), self.columns], how="horizontal")


def told_values(told: Sequence[Any], fields: Fields) -> ToldValues:
    """What the records tell in each field, column by column.

    A number is given as the shortest text that reads as the same number, so that numbers told as numbers and numbers
    told as texts are judged alike.
    """
    strange: list[Strange] = []
    nodes: dict[Path, Sequence[dict[str, Any]]] = {(): [r if type(r) is dict else _NOTHING for r in told]}
    columns = [pl.Series("is_object", [type(record) is dict for record in told], pl.Boolean)]
    for name, path in fields.paths.items():
        values = [node.get(path[-1]) for node in _nodes(nodes, path[:-1], strange)]
        texts = _texts(values, path, strange) if name in fields.texts else _written(values)
        columns.append(pl.Series(name, texts, pl.String))
    return ToldValues(pl.DataFrame(columns), strange)


def real(told: pl.Expr, low: float | None = None, high: float | None = None) -> pl.Expr:
    """The number that a decimal text stands for, correctly rounded; null if it is none or lies outside the bounds.

    >>> told = pl.DataFrame({"x": ["0.10", "-3e2", "1e400", "NaN", "1_0", " 1", "+1", "0x1", "\u0661", "", "9e30"]})
    >>> told.select(real(pl.col("x")))["x"].to_list()
    [0.1, -300.0, None, None, None, None, None, None, None, None, None]
    """
    is_number = (told.str.len_bytes() <= _LONGEST_NUMBER) & told.str.contains(_REAL)
    number = pl.when(is_number).then(told).cast(pl.Float64, strict=False)
    inside = number.is_between(-LARGEST if low is None else low, LARGEST if high is None else high)
    # Adding nothing turns -0.0 into 0.0.
    return pl.when(inside).then(number + 0.0)


def count(told: pl.Expr, high: float | None = None) -> pl.Expr:
    """The whole number that a text of digits stands for; null if it is none or too large."""
    number = pl.when(told.str.contains(_COUNT)).then(told).cast(pl.Int64, strict=False)
    return pl.when(number <= (LARGEST_COUNT if high is None else int(high))).then(number)


def number(column: Column) -> pl.Expr:
    """The told text of this name as the column's number, within the bounds of the column's spec."""
    told = pl.col(column.name)
    value = real(told, column.minimum, column.maximum) if column.dtype.is_float() else count(told, column.maximum)
    return value.cast(column.dtype).alias(column.name)


def moment(told: pl.Expr) -> pl.Expr:
    """The UTC time that an ISO 8601 text stands for, or null.

    >>> told = pl.DataFrame({"t": ["2025-09-08T20:09:26Z", "2025-02-30T00:00:00Z", "2025-09-08", "soon"]})
    >>> told.select(moment(pl.col("t")).dt.to_string("%d %H:%M"))["t"].to_list()
    ['08 20:09', None, None, None]
    """
    plain = pl.when(told.str.contains(_TIME)).then(told).str.replace(r"(Z|\+00:00)$", "")
    return plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False).cast(UTC)


def _nodes(nodes: dict[Path, Sequence[dict[str, Any]]], path: Path, strange: list[Strange]) -> Sequence[dict[str, Any]]:
    """The object at `path` in each record; an empty one where there is none."""
    if path not in nodes:
        found: list[Any] = [node.get(path[-1]) for node in _nodes(nodes, path[:-1], strange)]
        if set(map(type, found)) != {dict}:
            strange += [Strange(r, path, v) for r, v in enumerate(found) if v is not None and type(v) is not dict]
            found = [value if type(value) is dict else _NOTHING for value in found]
        nodes[path] = found
    return nodes[path]


def _texts(values: list[Any], path: Path, strange: list[Strange]) -> list[str | None]:
    if _is_plain(values):
        return values
    strange += [Strange(r, path, v) for r, v in enumerate(values) if v is not None and type(v) is not str]
    return [value if type(value) is str else None for value in values]


def _written(values: list[Any]) -> list[str | None]:
    return values if _is_plain(values) else [_as_text(value) for value in values]


def _as_text(value: Any) -> str | None:
    kind = type(value)
    if kind is int or kind is float:
        return repr(value)
    return value if value is None or kind is str else as_json(value)


def _is_plain(values: Iterable[Any]) -> bool:
    return set(map(type, values)) <= {str, type(None)}
