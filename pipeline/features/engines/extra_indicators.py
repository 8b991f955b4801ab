"""Any further indicator of pandas-ta, by name: computed by pandas-ta itself, pool by pool.

Belongs here: which names may be asked for, what their columns are called, their values at closed bars and at snapshots.
Stays out: the indicators that are part of the vocabulary (`indicators`), which are tens of times faster.

`FeaturesSpec.extra_indicators` names them, each with pandas-ta's own parameters, and each is computed on bars of every
length in `extra_minutes`. Where TA-Lib is installed, pandas-ta computes with it.
"""

import contextlib
import io
import math
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

import polars as pl

from pipeline.calendars import MINUTE, Span
from pipeline.errors import UsageError
from pipeline.features.engine import POOL_RUN, Online
from pipeline.features.engines.bars import five_minute_bars, longer_bars, numbered_pools
from pipeline.features.engines.from_bars import ENDED, look_up
from pipeline.features.inputs import SINCE_BIRTH, OfExtra
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import EXTRA_COLUMNS, POOL_KEY

NOT_CAUSAL: Final = frozenset({"ichimoku", "dpo", "tos_stdevall", "zigzag"})
"""What these say of a bar changes when later bars arrive."""


_INPUTS: Final = ("open", "high", "low", "close", "volume")
_TOO_SHORT: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What pandas-ta's indicators raise, instead of giving nothing, on a series that is too short for them."""


def extra_columns(spec: FeaturesSpec) -> tuple[str, ...]:
    """The columns that the extra indicators of a spec make: `ta_<pandas-ta's name>_<minutes>m`.

    Raises:
        UsageError: pandas-ta has no such indicator, or what it says of a bar changes when later bars arrive.
    """
    names = [column for name in require_known(spec.extra_indicators) for column in _columns_of(name)]
    return tuple(_named(column, minutes) for minutes in spec.extra_minutes for column in names)


def require_known(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, if features may be made of them.

    Raises:
        UsageError: one is unknown, or its values change when later bars arrive.
    """
    chosen = tuple(dict.fromkeys(names))
    if not chosen:
        return ()
    known = {name for group in _pandas_ta().Category.values() for name in group}
    for name in chosen:
        if name in NOT_CAUSAL:
            raise UsageError(f"extra indicator {name!r} changes when later bars arrive: no feature can be made of it")
        if name not in known:
            raise UsageError(f"pandas-ta has no indicator {name!r}: use one of {sorted(known - NOT_CAUSAL)!r}")
    return chosen


def extra_of_bars(candles: pl.DataFrame | pl.LazyFrame, minutes: int, spec: FeaturesSpec) -> pl.DataFrame:
    """The extra indicators of a spec at every closed bar of every pool.

    Args:
        candles: as `indicators.technical_of_bars` takes them.
        minutes: length of the bars wanted.
        spec: which indicators, and when a longer bar closes.

    Returns:
        POOL_KEY, `event_time` (the bar's start), `closed_at` and a column for every column that pandas-ta makes, sorted
        by POOL_KEY and `event_time`. What pandas-ta leaves open, or says without it being a number, is null.

    Raises:
        UsageError: an indicator may not be used, or bars of that length cannot be made.
    """
    pools = numbered_pools(candles.lazy().select(POOL_KEY).unique().collect())
    found = _computed(longer_bars(five_minute_bars(candles, pools), minutes, spec), minutes, spec)
    keys = (pools[name].gather(found[POOL_RUN]) for name in POOL_KEY)
    return found.select(*keys, pl.exclude(POOL_RUN))


def require_in_vocabulary(spec: FeaturesSpec) -> None:
    """Check that the columns of the spec's extra indicators are those of the vocabulary.

    Raises:
        UsageError: they are not; the message says what to write there.
    """
    made = extra_columns(spec)
    if made != EXTRA_COLUMNS:
        raise UsageError(
            f"the spec's extra indicators make the columns {made!r}, the vocabulary has {EXTRA_COLUMNS!r}: write the "
            "former into EXTRA_COLUMNS in pipeline/tables/featured.py"
        )


def attach(
    rows: pl.DataFrame, inputs: Sequence[OfExtra], sources: Sources, span: Span, spec: FeaturesSpec
) -> pl.DataFrame:
    """The rows in the same order, with each `OfExtra` as a column beside them; see `engine.OverHistory`.

    Raises:
        UsageError: the spec does not switch an indicator on that makes a column.
    """
    made = extra_columns(spec)
    missing = [read.column for read in inputs if read.column not in made]
    if missing:
        raise UsageError(f"no extra indicator of the spec makes {missing!r}, only {made!r}: name it in the spec")
    found = attach_extra(rows.select(*POOL_KEY, "event_time", POOL_RUN), sources, span, spec)
    return rows.with_columns(found[read.column].alias(read.name) for read in inputs)


def no_online(inputs: Sequence[OfExtra], spec: FeaturesSpec) -> Online:
    """Refuse: pandas-ta computes over whole series.

    Raises:
        UsageError: always.
    """
    del spec
    raise UsageError(
        f"extra indicators {[read.column for read in inputs]!r} have no online form: follow a pool without them"
    )


def attach_extra(rows: pl.DataFrame, sources: Sources, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """The rows in the same order with `extra_columns(spec)` beside them, as of the latest bar that had closed.

    As `from_bars.attach` does it: null where that bar ended more than `spec.stale_bars` of its lengths before.

    Raises:
        UsageError: an indicator may not be used.
    """
    if not require_known(spec.extra_indicators):
        return rows
    pools = rows.select(*POOL_KEY, POOL_RUN).unique()
    start = pl.col("event_time")
    candles = sources.candles.filter(start >= span.start - SINCE_BIRTH, start < span.end)
    parts = five_minute_bars(candles, pools)
    for minutes in spec.extra_minutes:
        found = _computed(longer_bars(parts, minutes, spec), minutes, spec)
        ended = (start + minutes * MINUTE).alias(ENDED)
        rows = look_up(rows, found.select(pl.exclude("event_time"), ended), minutes, spec)
    return rows


def _computed(bars: pl.DataFrame, minutes: int, spec: FeaturesSpec) -> pl.DataFrame:
    """POOL_RUN, `event_time`, `closed_at` and the extra columns of the bars, in their order."""
    names = require_known(spec.extra_indicators)
    columns = [column for name in names for column in _columns_of(name)]
    head = bars.select(POOL_RUN, "event_time", "closed_at")
    schema = {_named(column, minutes): pl.Float64() for column in columns}
    parts = [
        pl.DataFrame(_of_one_pool(one, names, columns), schema=schema)
        for one in bars.partition_by(POOL_RUN, maintain_order=True)
    ]
    return pl.concat([head, pl.concat(parts) if parts else pl.DataFrame(schema=schema)], how="horizontal")


def _of_one_pool(bars: pl.DataFrame, names: Iterable[str], columns: Iterable[str]) -> list[list[float | None]]:
    """One pool's values, a list a column."""
    frame = _as_pandas(bars)
    told: dict[str, Any] = {}
    for name in names:
        with contextlib.suppress(*_TOO_SHORT):
            told |= _indicator(frame, name)
    nothing: list[float | None] = [None] * bars.height
    # Some indicators say something of an early bar only where enough later bars exist: that would tell who survived.
    first = {column: n for name in names for column, n in _first_told(name).items()}
    return [
        [None if i < first[column] else _number(value) for i, value in enumerate(told[column])]
        if column in told
        else nothing
        for column in columns
    ]


def _indicator(frame: Any, name: str) -> dict[str, Any]:
    """What pandas-ta makes of one pool's bars, by its own names; empty if it makes nothing."""
    with _in_its_pandas():
        made = getattr(frame.ta, name)()
    if made is None:
        return {}
    pairs = made.items() if made.ndim > 1 else [(made.name, made)]
    return {str(column): values for column, values in pairs}


@cache
def _columns_of(name: str) -> tuple[str, ...]:
    """pandas-ta's names of an indicator's columns, found by trying it on a wave of 400 bars."""
    return tuple(_indicator(_wave(400), name))


@cache
def _first_told(name: str) -> Mapping[str, int]:
    """How many bars at the start of a series each column says nothing of: those that it does not tell by themselves."""

    def is_told(column: str, n: int) -> bool:
        with contextlib.suppress(*_TOO_SHORT):
            told = _indicator(_wave(n), name).get(column)
            return told is not None and any(_number(value) is not None for value in told)
        return False

    lengths = range(1, 401)
    return {column: bisect_left(lengths, True, key=partial(is_told, column)) for column in _columns_of(name)}


def _wave(n: int) -> Any:
    """The first bars of a wave, as pandas-ta takes them."""
    wave = [10 + math.sin(i / 7) + i / 100 for i in range(n)]
    frame = pl.DataFrame(
        {
            "event_time": [1_600_000_000_000_000 + 300_000_000 * i for i in range(n)],
            "open": wave,
            "high": [value + 0.3 for value in wave],
            "low": [value - 0.25 for value in wave],
            "close": [value + math.cos(i) / 30 for i, value in enumerate(wave)],
            "volume": [100 + 10 * math.sin(i) for i in range(n)],
        }
    ).with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC")))
    return _as_pandas(frame)


def _as_pandas(bars: pl.DataFrame) -> Any:
    return bars.select("event_time", *_INPUTS).to_pandas().set_index("event_time").astype(float)


def _named(column: str, minutes: int) -> str:
    """Our name of pandas-ta's column.

    >>> _named("BBL_5_2.0_2.0", 15)
    'ta_bbl_5_2p0_2p0_15m'
    """
    return f"ta_{re.sub(r'[^a-z0-9_]', '_', column.lower().replace('.', 'p'))}_{minutes}m"


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _pandas_ta() -> Any:
    import pandas as pd  # noqa: PLC0415

    # Importing it switches pandas to copy on write for the whole process, under which QLib's code means other things.
    with warnings.catch_warnings(), pd.option_context("mode.copy_on_write", pd.options.mode.copy_on_write):
        warnings.simplefilter("ignore")
        import pandas_ta  # noqa: PLC0415 - it compiles for seconds, and most runs ask for no extra indicator

    return pandas_ta


@contextlib.contextmanager
def _in_its_pandas() -> Iterator[None]:
    """pandas as pandas-ta wants it, and silent: it warns of what later releases refuse, and prints what fails."""
    import pandas as pd  # noqa: PLC0415

    _pandas_ta()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        pd.option_context("mode.copy_on_write", True),
    ):
        warnings.simplefilter("ignore")
        yield
