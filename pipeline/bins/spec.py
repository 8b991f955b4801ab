"""What an export is: the bar's length, the fields, QLib's limits. Hashed into the asset's code version.

Belongs here: constants that change the bytes of an export. Stays out: where exports are kept and how many.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BinsSpec:
    """The fields and the grid of an export, and the limits of the format.

    `timeframe` names the candles it is made of. `factor` is QLib's price adjustment: pools have neither splits nor
    dividends. `largest_index` is the largest place in the calendar that a bin can state: the place is kept as
    a float32, which is exact up to 2^24.

    >>> BinsSpec().freq
    '60min'
    """

    timeframe: Literal["5min"] = "5min"
    bar_minutes: int = 60
    fields: tuple[str, ...] = ("open", "high", "low", "close", "volume", "vwap", "factor")
    factor: float = 1.0
    largest_index: int = 2**24

    @property
    def freq(self) -> str:
        """The bar's length as QLib names it."""
        return f"{self.bar_minutes}min"
