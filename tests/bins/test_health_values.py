"""The rules about values, against the same rules written bar by bar."""

import math
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bins.health.check import check_bins
from pipeline.bins.health.spec import HealthSpec
from tests.bins.sound_provider import FIELDS, Provider, at

NAN, INF = math.nan, math.inf
NUMBERS = st.sampled_from([NAN, NAN, 1.0, 1.0, 1.0, 1.2, 1.6, 4.5, 0.0, -1.0, INF])


def of_length(n: int) -> st.SearchStrategy[dict[str, list[float]]]:
    """Bars of one instrument; some hours hold nothing at all, or a factor alone."""
    columns = st.fixed_dictionaries({field: st.lists(NUMBERS, min_size=n, max_size=n) for field in FIELDS})
    resting = st.lists(st.booleans(), min_size=n, max_size=n)
    return st.builds(
        lambda bars, rests: {
            field: [NAN if rest and field != "factor" else value for value, rest in zip(values, rests, strict=True)]
            for field, values in bars.items()
        },
        columns,
        resting,
    )


BARS = st.integers(1, 12).flatmap(of_length)
PRICES = ("open", "high", "low", "close", "vwap")
Bars = dict[str, list[float]]
Row = tuple[str, str | None, int, int, float | None]
"""Problem, field, first bar, how often, the worst number."""


def told(problem: str, field: str | None, bad: dict[int, float | None], worst: type[max] = max) -> Iterator[Row]:
    if bad:
        numbers = [number for number in bad.values() if number is not None]
        yield problem, field, min(bad), len(bad), worst(numbers) if numbers else None


def runs_of(values: list[float]) -> Iterator[tuple[int, int]]:
    known = [(at, value) for at, value in enumerate(values) if not math.isnan(value)]
    for _, run in groupby(known, key=lambda pair: pair[1]):
        pairs = list(run)
        yield pairs[0][0], len(pairs)


def step(before: float, after: float) -> float:
    with np.errstate(all="ignore"):
        return float(abs(np.float32(after) / np.float32(before) - np.float32(1)))


def expected(bars: Bars) -> Iterator[Row]:
    n = len(bars["open"])
    is_bar = [any(not math.isnan(bars[f][t]) for f in FIELDS if f != "factor") for t in range(n)]
    for field in FIELDS:
        values = bars[field]
        yield from told("infinite", field, {t: None for t in range(n) if math.isinf(values[t])})
        if field in PRICES:
            yield from told("non_positive_price", field, {t: v for t, v in enumerate(values) if v <= 0}, min)
        if field == "volume":
            yield from told("negative_volume", field, {t: v for t, v in enumerate(values) if v < 0}, min)
        if field == "factor":
            yield from told("non_positive_factor", field, {t: v for t, v in enumerate(values) if v <= 0}, min)
        if field != "factor":
            threshold = 3.0 if field == "volume" else 0.5
            steps = {t: step(values[t - 1], values[t]) for t in range(1, n)}
            yield from told("large_step", field, {t: s for t, s in steps.items() if s > threshold})
            yield from told("stale", field, {t: float(k) for t, k in runs_of(values) if k >= 3})
        yield from missing(field, values, is_bar)
    yield from gaps(is_bar)
    yield from order(bars, n)


def missing(field: str, values: list[float], is_bar: list[bool]) -> Iterator[Row]:
    n_bars, n = sum(is_bar), len(values)
    holes = {t: None for t in range(n) if is_bar[t] and math.isnan(values[t])}
    yield from told("missing_extra" if field == "vwap" else "missing_value", field, holes)
    if field != "vwap" and all(map(math.isnan, values)):
        yield "all_missing", field, 0, n, 1.0
    if n_bars and len(holes) / n_bars > 0.3:
        yield "mostly_missing", field, 0, len(holes), len(holes) / n_bars


def gaps(is_bar: list[bool]) -> Iterator[Row]:
    lengths = [len(list(run)) for held, run in groupby(is_bar) if not held]
    if lengths:
        first, n = is_bar.index(False), sum(lengths)
        yield "gap", None, first, n, float(max(lengths))
        if n / len(is_bar) > 0.3:
            yield "mostly_gaps", None, first, n, n / len(is_bar)


def order(bars: Bars, n: int) -> Iterator[Row]:
    def is_price(*fields: str, t: int) -> bool:
        return all(0 < bars[field][t] < INF for field in fields)

    crossed = {
        t: step(bars["high"][t], bars["low"][t])
        for t in range(n)
        if is_price("high", "low", t=t) and bars["low"][t] > bars["high"][t]
    }
    yield from told("high_below_low", "high", crossed)
    for field in ("open", "close", "vwap"):
        outside = {}
        for t in range(n):
            if is_price("high", "low", field, t=t) and t not in crossed:
                low, price, high = (np.float32(bars[f][t]) for f in ("low", field, "high"))
                if not low <= price <= high:
                    outside[t] = float(max(price / high, low / price) - np.float32(1))
        problem = "vwap_outside_bar" if field == "vwap" else "price_outside_bar"
        yield from told(problem, field, outside)


@settings(max_examples=150)
@given(st.lists(BARS, min_size=1, max_size=3), st.integers(0, 5), st.sampled_from([1, 100, 10**6]))
def test_every_finding_is_that_of_the_rules_written_bar_by_bar(worlds: list[Bars], first: int, chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Provider(Path(folder) / "q")
        for part in ("calendars", "instruments"):
            (made.root / part).mkdir(parents=True)
        made.calendar.write_text("".join(f"{at(place):%F %T}\n" for place in range(20)))
        made.listed.write_text("")
        wanted = set()
        for number, bars in enumerate(worlds):
            name = f"eth-{number}"
            for field, values in bars.items():
                made.put(name, field, np.array([first, *values], np.float32))
            made.add_line(made.listed, f"{name}\t{at(first):%F %T}\t{at(first + len(values) - 1):%F %T}")
            wanted |= {(name, *row[:2], at(first + row[2]), row[3], row[4]) for row in expected(as_float32(bars))}
        problems = check_bins(
            made.root, "60min", HealthSpec(stale_bars=3, missing_share=0.3, chunk_values=chunk)
        ).problems
        found = set(problems.select("instrument", "problem", "field", "time", "n", "value").rows())
        assert found == wanted


def as_float32(bars: Bars) -> Bars:
    return {field: [float(np.float32(value)) for value in values] for field, values in bars.items()}
