"""How many broken rows an hour of a table may hold before the hour itself is at fault.

Belongs here: one rule a table, with its reason. Stays out: what makes a row broken (`meaning`).

Up to here single rows are put aside and the rest is written. Beyond, nothing of the hour is: what broke so many rows
has touched the others too, and what is left would be a choice that nobody made. Two rows of one key stop an hour
whatever their share, for nobody can say which of them is true.
"""

from dataclasses import dataclass
from typing import Final

from pipeline.errors import UsageError
from pipeline.tables import Table


@dataclass(frozen=True)
class Tolerance:
    """An hour stops where more rows are broken than `rows`, and more than `share` of all.

    Raises:
        UsageError: the share is outside [0, 1], or the rows are negative.

    >>> Tolerance(0.01, 20).is_exceeded(21, 4_000), Tolerance(0.01, 20).is_exceeded(41, 4_000)
    (False, True)
    """

    share: float
    rows: int

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.rows < 0:
            raise UsageError(f"a tolerance is a share from 0 to 1 and rows from 0, found {self!r}")

    def is_exceeded(self, n_broken: int, n_rows: int) -> bool:
        """Whether so many broken rows of so many are too many."""
        return n_broken > self.rows and n_broken > self.share * n_rows


TOLD: Final = Tolerance(0.05, 20)
"""Anybody's word: single records are broken every day. One in twenty says that the API has changed its tongue."""
DERIVED: Final = Tolerance(0.01, 20)
"""Made by us of rows that were sound. An odd pool may fall out of a bound; one row in a hundred is a broken formula."""
WHOLE: Final = Tolerance(0.0, 0)
"""A few rows an hour that speak of the whole market: a broken one is the hour."""

_OF_TABLE: Final = {
    "raw_pools": TOLD,
    "tokens": TOLD,
    "reserves": TOLD,
    "trades": TOLD,
    "raw_candles": TOLD,
    "market_labels": WHOLE,
}


def tolerance_of(table: Table) -> Tolerance:
    """The rule of a table: `DERIVED`, unless another is written down here."""
    return _OF_TABLE.get(table.name, DERIVED)
