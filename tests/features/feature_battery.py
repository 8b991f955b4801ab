"""The battery: what must hold for every feature, as functions over any list of features.

A check takes features and raises AssertionError with the feature's name if one fails. Checks of formulas see one
feature and rows of inputs; checks of the whole way see a market.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import product

import polars as pl
from battery_market import NEVER_NULL, SPAN, Market
from polars.testing import assert_frame_equal

from pipeline.calendars import HOUR, Span
from pipeline.features.compute import compute_columns
from pipeline.features.feature import Feature
from pipeline.features.inputs import Now
from pipeline.features.online import Event, start, update
from pipeline.features.registry import look_backs
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_TIME_KEY, SNAPSHOTS

SPEC = FeaturesSpec()
EXACT = {"snapshots", "tokens"}
"""Inputs of these are looked up; of the others some are sums, whose last bits depend on what came before."""


def computed(features: Iterable[Feature], market: Market, span: Span = SPAN) -> pl.DataFrame:
    return compute_columns(market.sources(), span, SPEC, features)


def is_of_the_market(one: Feature) -> bool:
    """Whether it compares the pool with others, so that it changes when they do."""
    return any(read.engine == "index" for read in one.inputs) or one.family == "smart_money"


def _same(features: Iterable[Feature], found: pl.DataFrame, expected: pl.DataFrame, what: str) -> None:
    assert found.select(POOL_TIME_KEY).equals(expected.select(POOL_TIME_KEY)), f"other rows when {what}"
    for one in features:
        is_exact = all(read.engine in EXACT and getattr(read, "how", "max") == "max" for read in one.inputs)
        try:
            assert_frame_equal(
                found.select(one.name), expected.select(one.name), check_exact=is_exact, rel_tol=1e-9, abs_tol=1e-12
            )
        except AssertionError as difference:
            raise AssertionError(f"{one.name} changed when {what}:\n{difference}") from difference


# Formulas ------------------------------------------------------------------------------------------------------------


def check_example(features: list[Feature]) -> None:
    for one in features:
        expected = one.example.gives
        for found in (one.worked().select(one.expr(SPEC)).item(), one.value(one.example.given, SPEC)):
            is_right = found == expected or (isinstance(expected, float) and abs(found - expected) < 1e-9)
            assert is_right, f"{one.name}: the example gives {found!r}, not {expected!r}"


def check_inputs_are_declared(features: list[Feature]) -> None:
    for one in features:
        read = set(one.expr(SPEC).meta.root_names())
        declared = {i.name for i in one.inputs}
        assert read == declared, f"{one.name} reads {read}, declares {declared}"


def check_says_what_it_is(features: list[Feature]) -> None:
    for one in features:
        assert one.formula.__doc__, f"{one.name} has no formula in its docstring"
        assert one.null_rule, f"{one.name} does not say when it is null"
        assert one.formula.__module__.endswith(f".{one.family}"), f"{one.name} lives in another family"
        assert one.column.meaning, f"{one.name} has no meaning"
        assert one.column.dtype != pl.Float64() or one.column.unit, f"{one.name} has no unit"


def check_unknown_input_gives_null(features: list[Feature]) -> None:
    """A formula whose inputs are not all known has nothing to say, least of all zero."""
    for one in (one for one in features if one.needs_all):
        for read in one.inputs:
            given = {**one.example.given, read.name: None}
            assert one.value(given, SPEC) is None, f"{one.name} speaks although {read.name} is unknown"


def check_column_and_value_agree(features: list[Feature]) -> None:
    """A formula says the same over a column and over single values, at odd values, too."""
    odd = [None, 0.0, 1.0, -1.0, 5e-324, 1e308, 0.3, 7.0]
    for one in features:
        dtypes = {read.name: one.worked().schema[read.name] for read in one.inputs}
        choices = {n: _of_dtype(odd, dtype) for n, dtype in dtypes.items()}
        cases = list(product(*choices.values())) if len(choices) <= 3 else _some(choices)
        rows = pl.DataFrame(dict(zip(choices, zip(*cases, strict=True), strict=True)), schema=dtypes, strict=False)
        columns = rows.select(one.expr(SPEC)).to_series().to_list()
        for row, column in zip(rows.iter_rows(named=True), columns, strict=True):
            value = one.value(row, SPEC)
            is_same = value == column or (None not in (value, column) and abs(value - column) <= 1e-9 * abs(column))
            assert is_same, f"{one.name} is {column!r} as a column and {value!r} as a value, of {row!r}"


def _of_dtype(odd: list, dtype: pl.DataType) -> list:
    if dtype == pl.Boolean():
        return [None, True, False]
    return [None, 0, 1, 7, 3_600_000_000] if dtype.is_integer() else odd


def _some(choices: dict[str, list]) -> list[tuple]:
    """Each value of each input beside the second and the last of the others."""
    cases = []
    for place in (1, -1):
        rest = {name: values[place] for name, values in choices.items()}
        cases += [tuple({**rest, name: v}.values()) for name, values in choices.items() for v in values]
    return cases


# The whole way -------------------------------------------------------------------------------------------------------


def check_future_cut(features: list[Feature], market: Market, cuts: Iterable[datetime] | None = None) -> None:
    """Rows up to t are the same whether or not what is learned after t is there."""
    span = market.span()
    whole = computed(features, market, span)
    times = market.snapshots["event_time"].unique().sort()
    for cut in cuts or times.gather_every(max(1, len(times) // 6)):
        past = whole.filter(pl.col("event_time") <= cut)
        _same(features, computed(features, market.known_by(cut), span), past, f"the future of {cut} was cut")


def check_past_beyond_the_look_back(features: list[Feature], market: Market) -> None:
    """The last moments' rows are the same by themselves, with no more past than is declared, as among all."""
    span = market.span()
    late = Span(max(span.start, span.end - 6 * HOUR), span.end)
    reach = look_backs(features, SPEC)

    def kept(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("event_time") >= late.start - reach.get(name, timedelta(0)))

    whole = computed(features, market, span).filter(pl.col("event_time") >= late.start)
    found = computed(features, market.each(kept), late)
    _same(features, found, whole, "rows before the declared look-back were left out")


def check_shuffled(features: list[Feature], market: Market) -> None:
    mixed = market.each(lambda _, frame: frame.sample(fraction=1.0, shuffle=True, seed=7))
    _same(features, computed(features, mixed), computed(features, market), "the rows were shuffled")


def check_other_pools_removed(features: list[Feature], market: Market) -> None:
    own = [one for one in features if not is_of_the_market(one)]
    whole = computed(own, market)
    for pool in market.snapshots["pool"].unique().sort().head(3):
        alone = market.each(lambda n, f, p=pool: f if n == "tokens" else f.filter(pl.col("pool") == p))
        _same(own, computed(own, alone), whole.filter(pl.col("pool") == pool), f"{pool} was alone")


def check_repeated_rows(features: list[Feature], market: Market) -> None:
    twice = market.each(lambda _, frame: pl.concat([frame, frame.head(40), frame.tail(40)]))
    _same(features, computed(features, twice), computed(features, market), "rows were repeated")


def check_unknown_column_gives_null(features: list[Feature], market: Market) -> None:
    """A column of the snapshot that is null, absent, infinite, NaN or below its range leaves nothing to say."""
    columns = {read.column for one in features for read in one.inputs if isinstance(read, Now)}
    for column in sorted(columns):
        reading = [f for f in features if f.needs_all and column in {getattr(i, "column", None) for i in f.inputs}]
        reading = [f for f in reading if any(i.engine == "snapshots" for i in f.inputs)]
        for what, world in _worlds_without(column, market):
            found = computed(reading, world)
            for one in reading:
                values = found[one.name]
                assert values.null_count() == len(values), f"{one.name} speaks although {column} is {what}"


def _worlds_without(column: str, market: Market) -> Iterable[tuple[str, Market]]:
    dtype = SNAPSHOTS.schema[column]

    def world(change) -> Market:
        return market.each(lambda name, frame: change(frame) if name == "snapshots" else frame)

    yield "null", world(lambda f: f.with_columns(pl.lit(None, dtype=dtype).alias(column)))
    yield "absent", world(lambda f: f.drop(column))
    for bad in (float("nan"), float("inf"), -float("inf"), -1e6) if dtype == pl.Float64() else ():
        yield str(bad), world(lambda f, bad=bad: f.with_columns(pl.lit(bad).alias(column)))


def check_range_dtype_and_unit(features: list[Feature], market: Market) -> None:
    """What comes out is what the table says, also where everything is zero, huge, tiny or not a number."""
    for world in (market, *(market.each(lambda n, f, v=v: _all(n, f, v)) for v in (0, 1e308, 5e-324, float("nan")))):
        found = computed(features, world)
        for one in features:
            _keeps_to_the_table(one, found[one.name])


def _all(name: str, frame: pl.DataFrame, value: float) -> pl.DataFrame:
    """The frame with the value in every number that may be missing; whole numbers get it where they can."""
    kept = NEVER_NULL | {"interval_minutes", "high", "low", "close", "open"}
    reals = [c for c, t in frame.schema.items() if t == pl.Float64() and c not in kept]
    counts = [c for c, t in frame.schema.items() if t.is_integer() and c not in kept and value == 0]
    if name == "candles" and value == value and value > 0:  # noqa: PLR0124 - NaN is not itself; bars hold none
        reals += ["high", "low", "close", "open"]
    return frame.with_columns(pl.lit(value).cast(frame.schema[c]).alias(c) for c in (*reals, *counts))


def _keeps_to_the_table(one: Feature, values: pl.Series) -> None:
    column = one.column
    assert values.dtype == column.dtype, f"{one.name} is {values.dtype}, the table says {column.dtype}"
    known = values.drop_nulls()
    if values.dtype == pl.Float64():
        assert known.is_finite().all(), f"{one.name} is not finite"
    if len(known) and column.minimum is not None:
        assert known.min() >= column.minimum, f"{one.name} is {known.min()}, below {column.minimum}"
    if len(known) and column.maximum is not None:
        assert known.max() <= column.maximum, f"{one.name} is {known.max()}, above {column.maximum}"


def check_one_row_pools(features: list[Feature], market: Market) -> None:
    """A pool seen once has a row, and what looks back in time has nothing to say."""

    def first(_: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.unique("pool" if "pool" in frame.columns else "token", keep="first", maintain_order=True)

    once = market.each(first)
    found = computed(features, once)
    assert found.height == once.snapshots.height
    for one in features:
        if any(type(read).__name__ == "Lagged" for read in one.inputs):
            assert found[one.name].null_count() == found.height, f"{one.name} remembers what never was"
        _keeps_to_the_table(one, found[one.name])


def check_online_says_the_same(features: list[Feature], market: Market) -> None:
    """One pool at a time, event by event in the order learned, gives what history gives."""
    own = [one for one in features if not is_of_the_market(one)]
    whole = computed(own, market)
    for pool in market.pools["pool"]:
        state = start(SPEC, own)
        said = [(e.row["event_time"], update(state, e)) for e in events_of(market, pool)]
        rows = [{"event_time": t, **values} for t, values in said if values]
        schema = {"event_time": SNAPSHOTS.schema["event_time"], **{one.name: one.column.dtype for one in own}}
        expected = whole.filter(pl.col("pool") == pool)
        found = pl.DataFrame(rows, schema=schema)
        keyed = expected.select("source", "network", "pool").hstack(found)
        _same(own, keyed, expected, f"{pool} was followed event by event")


def events_of(market: Market, pool: str) -> list[Event]:
    """What was learned of a pool, in the order learned; snapshots last."""
    places = {"tokens": 0, "candles": 1, "trades": 2, "snapshots": 3}
    token = market.pools.filter(pl.col("pool") == pool)["base_token"].item()
    events = []
    for name in places:
        frame = getattr(market, name)
        mine = pl.col("token") == token if name == "tokens" else pl.col("pool") == pool
        events += [Event(name, row) for row in frame.filter(mine).iter_rows(named=True)]
    return sorted(events, key=lambda e: (e.row["known_at"], places[e.table], e.row["event_time"]))


FORMULA_CHECKS = [
    check_example, check_inputs_are_declared, check_says_what_it_is, check_unknown_input_gives_null,
    check_column_and_value_agree,
]  # fmt: skip
MARKET_CHECKS = [v for n, v in sorted(globals().items()) if n.startswith("check_") and v not in FORMULA_CHECKS]
