"""What an export is: the bar's length, the fields, the calendar, QLib's limits. Hashed into the asset's code version.

Belongs here: constants that change the bytes of an export. Stays out: where exports are kept and how many.
"""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pipeline.calendars import EPOCH
from pipeline.errors import UsageError

Freq = Literal["5min", "15min", "60min", "day"]

_STEPS: Final[dict[str, timedelta]] = {
    "5min": timedelta(minutes=5),
    "15min": timedelta(minutes=15),
    "60min": timedelta(hours=1),
    "day": timedelta(days=1),
}
FREQS: Final = tuple(_STEPS)
"""The bar lengths, as QLib names them."""

_FIELD: Final = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
RESERVED: Final = ("instrument", "event_time")
"""The columns that say whose bar it is and when it starts: no field can have these names."""


@dataclass(frozen=True)
class BinsSpec:
    """The fields and the grid of an export, and the limits of the format.

    `freq` is the bar's length as QLib names it. `fields` are columns of the bars: prices, volumes, and whatever feature
    is wanted beside them. `calendar_start` is the first bar of the calendar; if none is given that is the first bar
    of any instrument. `factor` is QLib's price adjustment where the bars bring none: pools have neither splits nor
    dividends. `largest_index` is the largest place in the calendar that a bin can state: the place is kept as a
    float32, which is exact up to 2^24. `timeframe` names the candles that bars are made of.

    Raises:
        UsageError: there is no such bar length, a field's name cannot be part of a file's name or is that of another
            column, the factor is no finite number, or the calendar starts off the grid or not in UTC.

    >>> BinsSpec().freq, BinsSpec(freq="day").step
    ('60min', datetime.timedelta(days=1))
    """

    freq: Freq = "60min"
    fields: tuple[str, ...] = ("open", "high", "low", "close", "volume", "vwap", "factor")
    calendar_start: datetime | None = None
    factor: float = 1.0
    largest_index: int = 2**24
    timeframe: Literal["5min"] = "5min"

    def __post_init__(self) -> None:
        if self.freq not in _STEPS:
            raise UsageError(f"there is no bar length {self.freq!r}; there are {FREQS!r}")
        wrong = [field for field in self.fields if not _FIELD.fullmatch(field)]
        if wrong or not self.fields or len(set(self.fields)) < len(self.fields):
            raise UsageError(
                f"fields must be different names of a-z, 0-9 and _, found {self.fields!r}: rename, add or drop some"
            )
        taken = [field for field in self.fields if field in RESERVED]
        if taken:
            raise UsageError(
                f"no field can be named {taken!r}: these columns say whose bar it is and when; rename them"
            )
        if not math.isfinite(self.factor):
            raise UsageError(f"the factor must be a finite number, found {self.factor!r}")
        start = self.calendar_start
        if start is not None and (start.utcoffset() != timedelta(0) or (start - EPOCH) % self.step):
            raise UsageError(f"a calendar of {self.freq} starts on the UTC grid of {self.step}, found {start!r}")

    @property
    def step(self) -> timedelta:
        """The bar's length."""
        return _STEPS[self.freq]


def time_format(freq: str) -> str:
    """How QLib writes times of a calendar: days without the time of day.

    >>> time_format("day")
    '%Y-%m-%d'
    """
    return "%Y-%m-%d" if freq == "day" else "%Y-%m-%d %H:%M:%S"


def step_of(freq: str) -> timedelta:
    """The length of a bar.

    >>> step_of("15min")
    datetime.timedelta(seconds=900)
    """
    return _STEPS[freq]
