"""The history canaries: what is known at a decision can be computed again from what was known at the decision.

Belongs here: comparing features with the same features from tables that end at a moment. That finds any value that
is not such a function of the past, however little it tells and however much noise covers it: windows that reach
ahead, fills from behind, labels, statistics over pools not yet born, and rows that only survivors have.
Stays out: how features are computed (whoever calls brings that), and rows that lie about when they were learned
(`canary_arrivals`): cut by a false `known_at`, a table holds the same on both sides.
"""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol

import polars as pl

from pipeline.calendars import Span
from pipeline.models.canary_report import CanaryResult
from pipeline.models.training_set import TrainingSet, choose_decisions
from pipeline.tables import POOL_TIME_KEY

N_MOMENTS: Final = 24
"""At how many moments the past is computed again; spread evenly over the decisions. What reaches ahead by less than
the decisions lie apart shows only in those made at such a moment, so that many moments with few decisions each find
more than few moments with many."""
N_DECISIONS: Final = 25
"""How many decisions before each moment are compared, at least."""
LATELY: Final = timedelta(hours=1)
"""All features of so long before each moment are compared, those of decisions and the others."""
TOLERANCE: Final = 1e-9
"""Relative; a table computed hour by hour adds in another order than one computed at once."""
_KEY: Final = list(POOL_TIME_KEY)
_INSTANT: Final = timedelta(microseconds=1)


class Recompute(Protocol):
    """Computes features again, from tables that end."""

    def __call__(self, span: Span, known_by: datetime) -> pl.DataFrame:
        """FEATURES rows of every pool with span.start <= event_time < span.end, in any order.

        Each table they are made from holds nothing but rows with `known_at` <= `known_by`; all pools are in it.
        """
        ...


def check_recomputed(
    training_set: TrainingSet, pools: pl.LazyFrame, recompute: Recompute, on_record: pl.LazyFrame | None = None
) -> CanaryResult:
    """Decisions and their features must be the same when computed again from what was known at a few moments.

    The last `N_DECISIONS` before each moment are compared, labelled or not: those that exist on one side only are
    counted as gone or come, and values that differ by more than `TOLERANCE`, by feature. So are the rows on record of
    the last `LATELY`, decisions or not: the same code computed them, and there are many more of them.

    Rows at the moment itself have no future at all in the second computation. There is no false alarm where features
    are functions of the past. However little a leak reaches ahead, one that shows in a share s of all rows is missed
    with probability (1 - s)^n, where n is the number of rows at those very moments (`n_without_future`); one that
    reaches further shows in the rows before them, too.

    Args:
        pools: POOLS rows of the set's source, those without features included.
        recompute: see `Recompute`.
        on_record: FEATURES rows of the set's source; not given, the rows of the set alone are compared.
    """
    spans = windows(training_set.decisions["event_time"])
    names = list(training_set.feature_names)
    frame = training_set.frame.select("network", "pool", "event_time", *names)
    counts = dict.fromkeys(("n_decisions", "n_without_future", "n_rows", "n_gone", "n_come"), 0.0)
    changed: dict[str, float] = {}
    n_different = [differs(n, f"{n}__again").sum().alias(n) for n in names]
    for span in spans:
        features = _features_again(training_set, recompute, span)
        again = _decisions_again(training_set, pools, features, span)
        kept = training_set.decisions.filter(pl.col("event_time").is_between(span.start, span.end, closed="right"))
        counts["n_decisions"] += kept.height
        counts["n_gone"] += again.join(kept, on=_KEY, how="anti").height
        counts["n_come"] += kept.join(again, on=_KEY, how="anti").height
        pairs = [frame.join(again, on=["network", "pool", "event_time"], suffix="__again")]
        if on_record is not None and span.end <= _settled_by(training_set):
            pairs.append(_lately(on_record, span).join(features, on=_KEY, suffix="__again"))
        # The rows of the set are among those on record: they are counted once.
        counts["n_rows"] += max(both.height for both in pairs)
        counts["n_without_future"] += max(both.filter(pl.col("event_time") == span.end).height for both in pairs)
        for both in pairs:
            found = both.select(n_different).row(0, named=True)
            changed |= {name: changed.get(name, 0.0) + n for name, n in found.items() if n}
    is_passed = counts["n_rows"] > 0 and not (counts["n_gone"] or counts["n_come"] or changed)
    return CanaryResult("recomputed", is_passed, _words(counts, changed, len(spans)), counts | changed)


def windows(times: pl.Series, n_moments: int = N_MOMENTS) -> list[Span]:
    """(start, moment] over at least `N_DECISIONS` before each of some moments of decision.

    The decisions are cut into as many parts of equal size, by time; a part's moment is when most of it was decided.
    """
    ordered = times.sort()
    edges = [len(ordered) * k // n_moments for k in range(n_moments + 1)]
    moments: set[datetime] = {ordered[a:b].mode().max() for a, b in pairwise(edges) if a < b}  # type: ignore[misc]
    found = []
    for moment in sorted(moments):
        n_before = int((ordered <= moment).sum())
        found.append(Span(ordered[max(0, n_before - N_DECISIONS)] - _INSTANT, moment))
    return found


def differs(name: str, other: str) -> pl.Expr:
    """Whether two columns differ: one null alone, or more than `TOLERANCE` apart, relative to the larger."""
    a, b = (pl.col(n).cast(pl.Float64) for n in (name, other))
    is_near = (a == b) | ((a - b).abs() <= TOLERANCE * pl.max_horizontal(a.abs(), b.abs()))
    return ~pl.when(a.is_null() | b.is_null()).then(a.is_null() & b.is_null()).otherwise(is_near)


def _features_again(training_set: TrainingSet, recompute: Recompute, span: Span) -> pl.DataFrame:
    """The features up to the span's end as they could be computed then."""
    # Whether a snapshot is the first of its age is told by those up to the tolerance before it.
    back = max(LATELY, timedelta(hours=training_set.spec.age_tolerance_hours))
    asked = Span(min(span.start, span.end - LATELY) - back, span.end + _INSTANT)
    return recompute(asked, span.end).filter(pl.col("source") == training_set.source)


def _decisions_again(
    training_set: TrainingSet, pools: pl.LazyFrame, features: pl.DataFrame, span: Span
) -> pl.DataFrame:
    """The decisions in (start, end] as they could be made at its end."""
    born = pools.filter(pl.col("known_at") <= span.end)
    decisions = choose_decisions(features.lazy(), born, training_set.feature_names, training_set.spec)
    return decisions.filter(pl.col("event_time") > span.start)


def _lately(on_record: pl.LazyFrame, span: Span) -> pl.DataFrame:
    """The rows on record of the last while before the span's end."""
    return on_record.filter(pl.col("event_time").is_between(span.end - LATELY, span.end, closed="right")).collect()


def _settled_by(training_set: TrainingSet) -> datetime:
    """Rows before this moment can be learned from; later ones may yet be brought up to date."""
    return training_set.known_by - timedelta(hours=training_set.spec.horizon_hours)


def _words(counts: dict[str, float], changed: dict[str, float], n_moments: int) -> str:
    said = (
        f"{counts['n_decisions']:.0f} decisions and the features of {counts['n_rows']:.0f} rows, computed again from "
        f"what was known at {n_moments} moments ({counts['n_without_future']:.0f} of them at that very moment): "
    )
    faults = []
    if counts["n_gone"]:
        faults.append(f"{counts['n_gone']:.0f} decisions that could be made are not in the set")
    if counts["n_come"]:
        faults.append(f"{counts['n_come']:.0f} decisions of the set could not be made")
    if changed:
        faults.append(f"these features differ (rows): { {n: int(v) for n, v in sorted(changed.items())}!r}")
    if not counts["n_rows"]:
        faults.append("nothing to compare")
    return said + ("; ".join(faults) if faults else "nothing differs")


def check_future_cut(full: pl.DataFrame, truncated: pl.DataFrame, moment: datetime) -> CanaryResult:
    """Features up to `moment` must be the same with and without the history after it.

    Args:
        full: features computed on all of the history. truncated: on the history up to `moment`.

    Returns:
        Passed if both hold the same rows up to `moment`, equal to the last bit, null for null.
    """
    key = [c for c in POOL_TIME_KEY if c in full.columns]
    before, cut = (f.filter(pl.col("event_time") <= moment).sort(key) for f in (full, truncated))
    n_missing = before.join(cut, on=key, how="anti").height + cut.join(before, on=key, how="anti").height
    changed = _changed_columns(before, cut, key) if not n_missing and before.height == cut.height else {}
    numbers = {"n_rows": float(before.height), "n_missing": float(n_missing)} | changed
    is_passed = before.height > 0 and before.height == cut.height and not n_missing and not changed
    words = f"{before.height} rows up to {moment:%Y-%m-%d %H:%M} with the future cut off: "
    if not before.height:
        words += "nothing to compare, choose a later moment"
    elif n_missing or before.height != cut.height:
        words += f"{n_missing} rows exist on one side only ({before.height} against {cut.height})"
    else:
        words += f"these columns changed (rows): {changed!r}" if changed else "nothing changed"
    return CanaryResult("future_cut", is_passed, words, numbers)


def _changed_columns(before: pl.DataFrame, cut: pl.DataFrame, key: list[str]) -> dict[str, float]:
    """Rows that differ, by column, where any do; a column that one side lacks differs everywhere."""
    changed = {}
    for name in sorted({*before.columns, *cut.columns} - {*key}):
        if name not in before.columns or name not in cut.columns:
            changed[name] = float(before.height)
        elif n := (~before[name].eq_missing(cut[name])).sum():
            changed[name] = float(n)
    return changed
