"""Rows as a person, a spreadsheet or a program reads them.

Belongs here: what every command prints rows with. Text in them may come from a chain, where anybody may write anything:
it is shown, never interpreted, neither by the terminal nor by a spreadsheet. Stays out: which rows.
"""

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.cli.screen import err, out, plain, print_json
from pipeline.text import spelled, uncalculated

if TYPE_CHECKING:
    import polars as pl

_WIDEST_CELL: Final = 80


def size(n_bytes: int) -> str:
    """A number of bytes to read.

    >>> [size(n) for n in (0, 999, 1_000, 12_345_678, 10**13)]
    ['0 B', '999 B', '1.0 kB', '12.3 MB', '10.0 TB']
    """
    amount, unit = float(n_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def show_rows(rows: "pl.DataFrame") -> None:
    """The rows as a table on the screen, long cells cut, what cannot be printed made visible."""
    shown = RichTable(box=None, pad_edge=False)
    for name in rows.columns:
        shown.add_column(as_cell(name))
    for row in rows.iter_rows():
        shown.add_row(*(Text(printable(cell)) for cell in row))
    print_wide(shown)
    err.print(f"{rows.height:,} row{'' if rows.height == 1 else 's'}", markup=False)


def print_wide(shown: RichTable) -> None:
    """The table in its own width: a line that the screen breaks tells more than a column cut to a letter."""
    wanted = Measurement.get(out, out.options.update(width=100_000), shown).maximum
    Console(highlight=False, width=max(1, wanted)).print(shown, crop=False)


def as_cell(value: Any) -> Text:
    """A value on one bounded line of a table, whatever it begins with."""
    return Text(_cut(spelled("" if value is None else str(plain(value)))))


def printable(cell: Any) -> str:
    r"""A cell as text that no terminal interprets, of a bounded length.

    >>> [printable(cell) for cell in (None, b"abc", "[red]a\x1b[2Jb\n", "x" * 100)][:3]
    ['', '3 bytes', '[red]a\\x1b[2Jb\\n']
    >>> len(printable("x" * 100))
    80
    """
    text = "" if cell is None else str(plain(cell))
    # A plan is many lines of drawing on purpose; only those are kept.
    drawn = "\n".join(spelled(line) for line in text.splitlines()) if text.startswith(("╭", "┌")) else spelled(text)
    return drawn if "\n" in drawn else _cut(drawn)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST_CELL else text[: _WIDEST_CELL - 1] + "…"


def print_csv(rows: "pl.DataFrame") -> None:
    """The rows as CSV on standard output, safe to open in a spreadsheet."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([harmless(name) for name in rows.columns])
    writer.writerows([harmless(plain(cell)) for cell in row] for row in rows.iter_rows())


def harmless(cell: Any) -> Any:
    r"""A text that a spreadsheet would take for a formula, with an apostrophe before it; control characters in words.

    >>> [harmless(cell) for cell in ("=1+1", "a=b", "\x1b[2J", -1.5, None)]
    ["'=1+1", 'a=b', '\\x1b[2J', -1.5, None]
    """
    if not isinstance(cell, str):
        return json.dumps(cell, default=str) if isinstance(cell, list | dict) else cell
    return uncalculated(cell)


def print_rows_as_json(rows: "pl.DataFrame") -> None:
    """The rows as a JSON list of objects on standard output; columns that share a name keep the last."""
    print_json([dict(zip(rows.columns, row, strict=True)) for row in rows.iter_rows()], indent=None)
