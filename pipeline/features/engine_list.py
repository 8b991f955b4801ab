"""Which engine computes which kind of input, and what it reads.

Belongs here: the list. A new kind of input is a class in `inputs`, an engine of two modules, and one entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from pipeline.features.engine import MakeOnline, OverHistory
from pipeline.features.engines import extra_indicators, from_bars, from_index, from_tokens, from_trades
from pipeline.features.engines.online_bars import OnlineBars
from pipeline.features.engines.online_index import OnlineIndex
from pipeline.features.engines.online_snapshots import OnlineSnapshots
from pipeline.features.engines.online_tokens import OnlineTokens
from pipeline.features.engines.online_trades import OnlineTrades
from pipeline.features.inputs import EngineName
from pipeline.features.spec import FeaturesSpec


@dataclass(frozen=True)
class Engine:
    """Both ways of one engine.

    Attributes:
        tables: the hourly tables it reads.
        online: makes its state for one pool.
        over_history: adds its inputs to many snapshots; None for the snapshots themselves, which come first.
        tolerance: how much further back than asked for a value may come from.
        across: whether an input of it depends on other pools' rows.
    """

    tables: tuple[str, ...]
    online: MakeOnline
    over_history: OverHistory | None = None
    tolerance: Callable[[FeaturesSpec], timedelta] = lambda spec: spec.lag_tolerance
    across: Callable[[Any], bool] = lambda _read: False


ENGINES: Final[Mapping[EngineName, Engine]] = MappingProxyType(
    {
        "snapshots": Engine(("snapshots",), OnlineSnapshots),
        "tokens": Engine(("tokens",), OnlineTokens, from_tokens.attach, lambda spec: spec.token_tolerance),
        "bars": Engine(("candles",), OnlineBars, from_bars.attach),
        "extra": Engine(("candles",), extra_indicators.no_online, extra_indicators.attach),
        "index": Engine(("candles", "snapshots"), OnlineIndex, from_index.attach, from_index.reach, lambda _read: True),
        "trades": Engine(("trades",), OnlineTrades, from_trades.attach, across=from_trades.follows_wallets),
    }
)
