"""The battery: what must hold for every feature, as functions over any list of features.

A check takes features and a frame of SNAPSHOTS rows and raises AssertionError with the feature's name if one fails.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from pipeline.calendars import DAY, MINUTE, Span
from pipeline.features.compute import compute_columns
from pipeline.features.feature import Feature
from pipeline.features.registry import look_back
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import SNAPSHOTS, WINDOWS_MINUTES

SPEC = FeaturesSpec()
START = datetime(2020, 9, 8, 12, tzinfo=UTC)
SPAN = Span(START - DAY, START + 9 * DAY)
NEVER_NULL = {c.name for c in SNAPSHOTS.columns if not c.nullable} - {"interval_minutes"}


def _one_pool(rng: np.random.Generator, name: str) -> pl.DataFrame:
    """A pool's snapshots at mixed intervals over two days and more, with quiet, drained and unknown stretches."""
    steps = rng.choice([5, 5, 15, 15, 15, 60, 240], size=int(rng.integers(1, 120)))
    born = START - float(rng.integers(0, 300)) * timedelta(seconds=1)
    first = START + int(rng.integers(0, 12)) * 5 * MINUTE
    n = len(steps)
    times = [first + int(m) * MINUTE for m in np.cumsum(steps) - steps[0]]
    price = np.exp(np.cumsum(rng.normal(0, 0.3, n)))
    quote = np.exp(rng.normal(3, 2, n)) * (rng.random(n) > 0.1)
    columns = {
        "event_time": times, "known_at": times, "created_at": [born] * n, "interval_minutes": steps,
        "price_quote": price, "price_usd": price * 375, "quote_reserve": quote, "base_reserve": quote / price,
        "reserve_usd": 2 * quote * 375, "observed_at": times, "inclusion_probability": [1.0] * n, "n_missed": [0] * n,
    }  # fmt: skip
    for window in WINDOWS_MINUTES:
        busy = rng.random(n) > 0.3
        columns[f"price_change_{window}_pct"] = np.maximum(rng.normal(0, 40, n), -100)
        columns[f"volume_{window}_usd"] = np.exp(rng.normal(4, 3, n)) * busy
        columns[f"n_buys_{window}"] = rng.integers(0, 9, n) * busy
        columns[f"n_sells_{window}"] = rng.integers(0, 9, n) * busy
    frame = pl.DataFrame(columns).with_columns(
        pl.lit("simulation:1").alias("source"), pl.lit("eth").alias("network"), pl.lit(name).alias("pool")
    )
    return frame.select(pl.col(c).cast(t) for c, t in SNAPSHOTS.schema.items())


def market(seed: int, n_pools: int = 4) -> pl.DataFrame:
    """SNAPSHOTS rows of a few pools; the same seed gives the same rows."""
    rng = np.random.default_rng(seed)
    frame = pl.concat(_one_pool(rng, f"pool{i}") for i in range(n_pools))
    holes = {c: rng.random(frame.height) < 0.03 for c in frame.columns if c not in NEVER_NULL}
    return frame.with_columns(pl.when(~pl.Series(hole)).then(pl.col(c)).alias(c) for c, hole in holes.items())


def computed(features: Iterable[Feature], frame: pl.DataFrame, span: Span = SPAN) -> pl.DataFrame:
    return compute_columns(frame, span, SPEC, features)


def _same(features: list[Feature], found: pl.DataFrame, expected: pl.DataFrame, what: str) -> None:
    try:
        assert_frame_equal(found, expected, check_exact=True)
    except AssertionError as difference:
        names = [f.name for f in features if not found[f.name].equals(expected[f.name])]
        raise AssertionError(f"{names} changed when {what}:\n{difference}") from difference


def _span_of(frame: pl.DataFrame) -> Span:
    """The moments of the frame's rows, so that real data is not filtered away by the small market's span."""
    return Span(frame["event_time"].min(), frame["event_time"].max() + timedelta(microseconds=1))


def check_future_cut(features: list[Feature], frame: pl.DataFrame, cuts: Iterable[datetime] | None = None) -> None:
    """Rows up to t are the same whether or not the rows after t are there."""
    span = _span_of(frame)
    whole = computed(features, frame, span)
    for cut in cuts or frame["event_time"].unique().sort().gather_every(max(1, frame.height // 6)):
        past = pl.col("event_time") <= cut
        _same(
            features, computed(features, frame.filter(past), span), whole.filter(past), f"the future of {cut} was cut"
        )


def check_past_beyond_the_look_back(features: list[Feature], frame: pl.DataFrame) -> None:
    """The last moments' rows are the same by themselves, with no more past than is declared, as among all."""
    span = _span_of(frame)
    late = Span(span.end - 6 * 60 * MINUTE, span.end)
    reach = max(f.look_back for f in features) + SPEC.lag_tolerance
    time = pl.col("event_time")
    found = computed(features, frame.filter(time >= late.start - reach), late)
    whole = computed(features, frame, span).filter(time >= late.start)
    _same(features, found, whole, "rows before the declared look-back were left out")
    assert reach <= look_back(SPEC)


def check_shuffled(features: list[Feature], frame: pl.DataFrame) -> None:
    span = _span_of(frame)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=7)
    _same(features, computed(features, mixed, span), computed(features, frame, span), "the rows were shuffled")


def check_other_pools_removed(features: list[Feature], frame: pl.DataFrame) -> None:
    span = _span_of(frame)
    whole = computed(features, frame, span)
    for pool in frame["pool"].unique().sort().head(3):
        alone = pl.col("pool") == pool
        found = computed(features, frame.filter(alone), span)
        _same(features, found, whole.filter(alone), f"{pool} was alone")


def check_repeated_rows(features: list[Feature], frame: pl.DataFrame) -> None:
    span = _span_of(frame)
    twice = pl.concat([frame, frame.head(40), frame.tail(40)])
    _same(features, computed(features, twice, span), computed(features, frame, span), "rows were repeated")


def check_unknown_input_gives_null(features: list[Feature], frame: pl.DataFrame) -> None:
    """An input that is null, absent, infinite, NaN or below its range leaves nothing to say, least of all zero."""
    for feature in features:
        for column in sorted({read.column for read in feature.inputs} - {"event_time"}):
            dtype = SNAPSHOTS.schema[column]
            worlds = {"null": frame.with_columns(pl.lit(None, dtype=dtype).alias(column)), "absent": frame.drop(column)}
            if dtype == pl.Float64():
                for bad in (float("nan"), float("inf"), -float("inf"), -1e6):
                    worlds[str(bad)] = frame.with_columns(pl.lit(bad).alias(column))
            for what, world in worlds.items():
                found = computed([feature], world)[feature.name]
                assert found.null_count() == len(found), f"{feature.name} speaks although {column} is {what}"


def check_null_in_some_rows(features: list[Feature], frame: pl.DataFrame) -> None:
    """A null in one row's own inputs makes that row's value null."""
    for feature in features:
        for column in {read.column for read in feature.inputs if type(read).__name__ == "Now"} - {"event_time"}:
            hole = pl.int_range(pl.len()) % 3 == 0
            world = frame.with_columns(pl.when(~hole).then(pl.col(column)).alias(column))
            rows = computed([feature], world).join(world, on=["pool", "event_time"])
            spoken = rows.filter(pl.col(column if column != feature.name else f"{column}_right").is_null())
            assert spoken[feature.name].null_count() == spoken.height, f"{feature.name} speaks without {column}"


def check_range_dtype_and_unit(features: list[Feature], frame: pl.DataFrame) -> None:
    """What comes out is what the table says, also where everything is zero."""
    zero = [c for c in SNAPSHOTS.schema if c not in NEVER_NULL | {"interval_minutes"}]
    nothing = frame.with_columns(pl.lit(0).cast(SNAPSHOTS.schema[c]).alias(c) for c in zero)
    huge = frame.with_columns(pl.lit(1e308).alias(c) for c in zero if SNAPSHOTS.schema[c] == pl.Float64())
    tiny = frame.with_columns(pl.lit(5e-324).alias(c) for c in zero if SNAPSHOTS.schema[c] == pl.Float64())
    for world in (frame, nothing, huge, tiny):
        found = computed(features, world, _span_of(world))
        for feature in features:
            _keeps_to_the_table(feature, found[feature.name])


def _keeps_to_the_table(feature: Feature, values: pl.Series) -> None:
    column = feature.column
    assert values.dtype == column.dtype, f"{feature.name} is {values.dtype}, the table says {column.dtype}"
    assert column.nullable or values.null_count() == 0
    if values.dtype == pl.Float64():
        assert column.unit, f"{feature.name} has no unit"
        assert values.drop_nulls().is_finite().all(), f"{feature.name} is not finite"
    known = values.drop_nulls()
    if len(known) and column.minimum is not None:
        assert known.min() >= column.minimum, f"{feature.name} is {known.min()}, below {column.minimum}"
    if len(known) and column.maximum is not None:
        assert known.max() <= column.maximum, f"{feature.name} is {known.max()}, above {column.maximum}"


def check_one_row_pools(features: list[Feature], frame: pl.DataFrame) -> None:
    """A pool seen once has a row, and what looks back in time has nothing to say."""
    once = frame.unique(subset="pool", keep="first", maintain_order=True)
    found = computed(features, once)
    assert found.height == once.height
    for feature in features:
        if any(type(read).__name__ == "Lagged" for read in feature.inputs):
            assert found[feature.name].null_count() == found.height, f"{feature.name} remembers what never was"
        _keeps_to_the_table(feature, found[feature.name])


def check_example(features: list[Feature], _: pl.DataFrame | None = None) -> None:
    for feature in features:
        given = pl.DataFrame({name: [value] for name, value in feature.example.given.items()})
        found = given.select(feature.expr(SPEC)).item()
        expected = feature.example.gives
        is_right = found == expected or (isinstance(expected, float) and abs(found - expected) < 1e-9)
        assert is_right, f"{feature.name}: the example gives {found!r}, not {expected!r}"


def check_inputs_are_declared(features: list[Feature], _: pl.DataFrame | None = None) -> None:
    for feature in features:
        read = set(feature.expr(SPEC).meta.root_names())
        declared = {i.name for i in feature.inputs}
        assert read == declared, f"{feature.name} reads {read}, declares {declared}"


def check_says_what_it_is(features: list[Feature], _: pl.DataFrame | None = None) -> None:
    for feature in features:
        assert feature.formula.__doc__, f"{feature.name} has no formula in its docstring"
        assert feature.null_rule, f"{feature.name} does not say when it is null"
        assert feature.formula.__module__.endswith(f".{feature.family}"), f"{feature.name} lives in another family"


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
