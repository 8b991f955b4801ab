"""Can the values be true?

Belongs here: one function a rule, over a whole panel at once. Stays out: files, headers and lists.
"""

from collections.abc import Callable, Iterator

import numpy as np

from pipeline.bins.health.calendar import Calendar
from pipeline.bins.health.panel import Floats, Mask, Panel, Places, hits
from pipeline.bins.health.spec import FACTOR, PRICES, REQUIRED, VOLUME, Finding, HealthSpec


def judge_values(panel: Panel, calendar: Calendar, spec: HealthSpec) -> Iterator[Finding]:
    """Every finding about the values of a panel."""
    if not panel.n_rows:
        return
    for field, values in panel.values.items():
        yield from _impossible(panel, calendar, field, values)
        if field in PRICES or field == VOLUME:
            yield from _large_steps(panel, calendar, field, values, spec)
            yield from _stale(panel, calendar, field, values, spec)
    yield from _order_of_prices(panel, calendar, spec)
    missing = {field: np.isnan(values) for field, values in panel.values.items()}
    is_bar = ~np.logical_and.reduce([mask for field, mask in missing.items() if field != FACTOR] or [*missing.values()])
    yield from _gaps(panel, calendar, is_bar, spec)
    for field, mask in missing.items():
        yield from _missing(panel, calendar, field, mask, is_bar, spec)


def _impossible(panel: Panel, calendar: Calendar, field: str, values: Floats) -> Iterator[Finding]:
    rows = np.flatnonzero(np.isinf(values))
    yield from hits(panel, calendar, "infinite", field, rows, say=lambda n, _: f"{n} infinite values")
    if field in PRICES:
        rows = np.flatnonzero(values <= 0)
        yield from hits(
            panel, calendar, "non_positive_price", field, rows, values[rows], worst=np.fmin, say=_words("the lowest")
        )
    if field == VOLUME:
        rows = np.flatnonzero(values < 0)
        yield from hits(
            panel, calendar, "negative_volume", field, rows, values[rows], worst=np.fmin, say=_words("the lowest")
        )
    if field == FACTOR:
        rows = np.flatnonzero(values <= 0)
        yield from hits(
            panel, calendar, "non_positive_factor", field, rows, values[rows], worst=np.fmin, say=_words("the lowest")
        )


def _words(what: str) -> Callable[[int, float | None], str]:
    return lambda n, value: f"{n} bars, {what} {value:.6g}"


def _large_steps(panel: Panel, calendar: Calendar, field: str, values: Floats, spec: HealthSpec) -> Iterator[Finding]:
    """|x_t / x_(t-1) - 1| in float32, over neighbours of the calendar and without filling, as QLib's checker has it."""
    threshold = spec.volume_step if field == VOLUME else spec.price_step
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        change = np.abs(values[1:] / values[:-1] - 1)
    rows = np.flatnonzero(change > threshold)
    rows = rows[panel.owner[rows] == panel.owner[rows + 1]]
    yield from hits(
        panel, calendar, "large_step", field, rows + 1, change[rows], say=_words(f"above {threshold:g}, the largest")
    )


def _stale(panel: Panel, calendar: Calendar, field: str, values: Floats, spec: HealthSpec) -> Iterator[Finding]:
    """Runs of one value. A bar without a value neither ends a run nor adds to it: a pool may rest."""
    known = np.flatnonzero(~np.isnan(values))
    if known.size < max(spec.stale_bars, 1):
        return
    seen, owner = values[known], panel.owner[known]
    starts = np.concatenate([[0], np.flatnonzero((seen[1:] != seen[:-1]) | (owner[1:] != owner[:-1])) + 1])
    lengths = np.diff(starts, append=known.size)
    long = np.flatnonzero(lengths >= max(spec.stale_bars, 2))
    yield from hits(
        panel,
        calendar,
        "stale",
        field,
        known[starts[long]],
        lengths[long],
        say=lambda n, value: f"{n} runs of one value, the longest over {value:.0f} bars",
    )


def _order_of_prices(panel: Panel, calendar: Calendar, spec: HealthSpec) -> Iterator[Finding]:
    """Low <= open, close, vwap <= high, where all three are prices and stand in sound files."""
    if not {"high", "low"} <= panel.values.keys():
        return
    high, low = panel.values["high"], panel.values["low"]
    compared = _compared(panel, "high", "low")
    crossed = compared & (low > high * np.float32(1 + spec.tolerance))
    rows = np.flatnonzero(crossed)
    with np.errstate(over="ignore"):
        excess = low[rows] / high[rows] - 1
    yield from hits(panel, calendar, "high_below_low", "high", rows, excess, say=_words("low above high by at most"))
    for field, problem in (
        ("open", "price_outside_bar"),
        ("close", "price_outside_bar"),
        ("vwap", "vwap_outside_bar"),
    ):
        if field not in panel.values:
            continue
        price = panel.values[field]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            excess = np.fmax(price / high, low / price) - 1
        rows = np.flatnonzero(compared & _compared(panel, field) & ~crossed & (excess > spec.tolerance))
        yield from hits(panel, calendar, problem, field, rows, excess[rows], say=_words("outside by at most"))


def _compared(panel: Panel, *fields: str) -> Mask:
    """Rows in which these fields are prices, of instruments whose files of them are sound."""
    mask = np.ones(panel.n_rows, np.bool_)
    for field in fields:
        values = panel.values[field]
        mask &= (values > 0) & (values < np.inf) & panel.trusts[field][panel.owner]
    return mask


def _gaps(panel: Panel, calendar: Calendar, is_bar: Mask, spec: HealthSpec) -> Iterator[Finding]:
    rows = np.flatnonzero(~is_bar)
    if not rows.size:
        return
    owner = panel.owner[rows]
    is_start = np.ones(rows.size, np.bool_)
    is_start[1:] = (np.diff(rows) != 1) | (np.diff(owner) != 0)
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=rows.size)
    run_owner = owner[starts]
    edges = np.flatnonzero(np.diff(run_owner, prepend=-1))
    n_runs = np.diff(edges, append=starts.size)
    longest = np.maximum.reduceat(lengths, edges)
    n_bars = np.add.reduceat(lengths, edges)
    share = n_bars / panel.lengths()[run_owner[edges]]
    for at, edge in enumerate(edges.tolist()):
        who, row, n = int(run_owner[edge]), int(rows[starts[edge]]), int(n_bars[at])
        time = calendar.time(int(panel.firsts[who] + row - panel.begins[who]))
        label = panel.labels[who]
        told = f"{n_runs[at]} gaps, the longest of {longest[at]} bars; {share[at]:.1%} of its range"
        yield Finding("gap", label, None, time, n, float(longest[at]), told)
        if share[at] > spec.missing_share:
            yield Finding("mostly_gaps", label, None, time, n, float(share[at]), f"{share[at]:.1%} of its range")


def _missing(
    panel: Panel, calendar: Calendar, field: str, missing: Mask, is_bar: Mask, spec: HealthSpec
) -> Iterator[Finding]:
    """Bars that have other values but not this one, of instruments that have the column."""
    partial = missing & is_bar & panel.has[field][panel.owner]
    problem = "missing_value" if field in REQUIRED else "missing_extra"
    rows = np.flatnonzero(partial)
    yield from hits(panel, calendar, problem, field, rows, say=lambda n, _: f"missing in {n} bars that have others")
    n_missing, n_bars, n_places = panel.counts(partial), panel.counts(is_bar), panel.lengths()
    is_empty = panel.has[field] & (panel.counts(~missing) == 0) & (n_places > 0)
    if field in REQUIRED:
        yield from _whole(panel, calendar, "all_missing", field, is_empty, n_places, n_places)
    is_rare = n_missing > spec.missing_share * n_bars
    yield from _whole(panel, calendar, "mostly_missing", field, is_rare, n_missing, n_bars)


def _whole(
    panel: Panel, calendar: Calendar, problem: str, field: str, which: Mask, counts: Places, of: Places
) -> Iterator[Finding]:
    """A finding about a column as a whole, at the instrument's first bar."""
    for at in np.flatnonzero(which).tolist():
        n, all_ = int(counts[at]), int(of[at])
        told = f"missing in {n} of {all_} bars, {n / all_:.1%}"
        yield Finding(problem, panel.labels[at], field, calendar.time(int(panel.firsts[at])), n, n / all_, told)
