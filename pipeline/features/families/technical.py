"""The technical family: what indicators say at the pool's latest closed bar of 5, 15 and 60 min.

Belongs here: what each indicator is and where it comes from. Stays out: its computation, over history (`indicators`)
and online (`online_indicators`); bars (`bars`). Every indicator runs over the bars there are, prices in quote tokens,
volumes in USD, and each field of TECHNICAL_FIELDS becomes one feature a length of bar.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pipeline.features.algebra import Value
from pipeline.features.feature import Example, Feature, Formula, feature
from pipeline.features.inputs import OfBar, OfExtra, Row
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import BAR_MINUTES, EXTRA_COLUMNS, TECHNICAL_FIELDS

_UNKNOWN: Final = "an unknown volume"


@dataclass(frozen=True)
class _Indicator:
    """What a field is, after whom, how many bars it needs, and a value it may have."""

    meaning: str
    example: float
    bars: int = 1
    but: str = ""


def _bar(meaning: str, example: float = 2.0, but: str = "") -> _Indicator:
    return _Indicator(meaning, example, but=but)


_INDICATORS: Final[Mapping[str, _Indicator]] = MappingProxyType({
    "open": _bar("first price of the bar", but="its open is unknown"),
    "high": _bar("highest price of the bar"),
    "low": _bar("lowest price of the bar"),
    "close": _bar("last price of the bar"),
    "volume": _bar("value traded in the bar", 500.0, "it is unknown"),
    "vwap": _bar(
        "sum of typical price x volume / sum of volume over the bars of the UTC day so far, the typical price being "
        "(high + low + close) / 3 (Berkowitz, Logue & Noser 1988)",
        but=f"nothing was traded yet, or the day holds {_UNKNOWN}",
    ),
    "atr": _Indicator(
        "average of the true range, max(high, close before) - min(low, close before), started at the mean of the first "
        "14 and then (13 before + now) / 14 (Wilder 1978)", 0.2, 15),
    "rsi": _Indicator(
        "100 gain / (gain + loss), both averaged over 14 changes of the close in Wilder's way (Wilder 1978); 0 where "
        "the close never moved", 61.5, 15),
    "macd": _Indicator(
        "EMA12 - EMA26 of the close, each started at the mean of its first closes (Appel 1979)", -0.1, 34),
    "macd_signal": _Indicator("EMA9 of macd, started at the mean of its first nine (Appel 1979)", -0.05, 34),
    "macd_histogram": _Indicator("macd - macd_signal (Aspray 1986)", -0.05, 34),
    "bollinger_upper": _Indicator(
        "mean of 20 closes + 2 population standard deviations (Bollinger 2001)", 2.4, 20),
    "bollinger_middle": _Indicator("mean of 20 closes (Bollinger 2001)", 2.0, 20),
    "bollinger_lower": _Indicator(
        "mean of 20 closes - 2 population standard deviations (Bollinger 2001)", 1.6, 20),
    "bollinger_position": _Indicator(
        "(close - lower) / (upper - lower), %b (Bollinger 2001)", 0.75, 20, "the bands coincide"),
    "stoch_k": _Indicator(
        "3-bar mean of 100 (close - lowest low) / (highest high - lowest low) over 14 bars (Lane 1984); 0 where these "
        "coincide", 80.0, 18),
    "stoch_d": _Indicator("3-bar mean of stoch_k (Lane 1984)", 78.0, 18),
    "williams_r": _Indicator(
        "-100 (highest high - close) / (highest high - lowest low) over 14 bars (Williams 1979); 0 where they "
        "coincide", -20.0, 14),
    "cci": _Indicator(
        "(p - mean p) / (0.015 x mean |p - mean p|) over 14 bars of the typical price p (Lambert 1980); 0 where it "
        "stood still", 110.0, 14),
    "adx": _Indicator(
        "average over 14 of 100 |DI+ - DI-| / (DI+ + DI-), the directional movements over the true range, all in "
        "Wilder's way (Wilder 1978)", 25.0, 28),
    "obv": _Indicator(
        "sum of the volumes of bars that closed higher, and of the first, less those of bars that closed lower "
        "(Granville 1963)", -1_000.0, 1, f"there was {_UNKNOWN} since birth"),
    "mfi": _Indicator(
        "100 x typical price x volume of the bars with a rise in the typical price, over that of the bars with a rise "
        "or a fall, of 14 (Quong & Soudack 1989); 0 where there is neither", 45.0, 15,
        f"one of the 14 has {_UNKNOWN}"),
    "trend_strength": _Indicator(
        "macd / atr", -0.5, 34, "the atr is zero, or below a billionth of the close"),
})  # fmt: skip


def _formula(read: OfBar, meaning: str) -> Formula:
    def formula(x: Row, _: FeaturesSpec) -> Value:
        return x[read]

    formula.__name__ = f"{read.field}_{read.minutes}m"
    formula.__doc__ = f"At the latest closed bar of {read.minutes} min: {meaning}."
    return formula


def _null_rule(said: _Indicator, minutes: int) -> str:
    """When a field is null, in words."""
    first = "no bar closed yet" if said.bars == 1 else f"fewer than {said.bars} bars closed since birth"
    rule = f"{first}, or the last one ended more than the spec's `stale_bars` x {minutes} min ago"
    return f"{rule}, or {said.but}" if said.but else rule


def _define(field: str, minutes: int) -> Feature:
    said = _INDICATORS[field]
    read = OfBar(field, minutes)
    return feature(
        f"{field}_{minutes}m",
        family="technical",
        inputs=(read,),
        null_rule=_null_rule(said, minutes),
        example=Example({read.name: said.example}, said.example),
    )(_formula(read, said.meaning))


def extra(column: str) -> Feature:
    """The feature of a column of an extra indicator, as pandas-ta computes it."""
    read = OfExtra(column)

    def formula(x: Row, _: FeaturesSpec) -> Value:
        """As pandas-ta computes it at the latest closed bar."""
        return x[read]

    return feature(
        column,
        family="technical",
        inputs=(read,),
        null_rule="pandas-ta gives nothing, or the last bar ended more than the spec's `stale_bars` of its lengths ago",
        example=Example({read.name: 1.0}, 1.0),
    )(formula)


TECHNICAL: Final[dict[str, Feature]] = {
    f"{field}_{minutes}m": _define(field, minutes) for minutes in BAR_MINUTES for field, *_ in TECHNICAL_FIELDS
} | {column: extra(column) for column in EXTRA_COLUMNS}
"""The features of the family by name."""
