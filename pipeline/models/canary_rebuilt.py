"""The rebuilding canaries: what features and labels are made from, and labels, are what was known by their own moment.

Belongs here: comparing tables on record with the same tables built again from tables that end. That finds a row that
was revised after the moment at which it claims to have been known, a bar that holds later prices, snapshots that only
survivors have, and labels that nobody could know yet. Stays out: how they are built (whoever calls brings that), and
features (`canary_history`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

import polars as pl

from pipeline.calendars import Span
from pipeline.models.canary_history import differs, windows
from pipeline.models.canary_report import CanaryResult, counted
from pipeline.models.training_set import TrainingSet
from pipeline.tables import table

N_MOMENTS: Final = 8
"""At how many moments tables are built again."""
MOST: Final = timedelta(hours=2)
"""How much of a table is built again before each moment, at most; at least the decisions that are compared there."""
N_LABEL_MOMENTS: Final = 16
"""At how many moments labels are made again; half of them are moments at which a label was known early."""
N_LABELS: Final = 200
"""How many labels are made again at each moment, at most: those that were known last."""
_INSTANT: Final = timedelta(microseconds=1)
_DECISION: Final = ["network", "pool", "event_time"]


class Rebuild(Protocol):
    """Builds a table again, from tables that end."""

    def __call__(self, span: Span, known_by: datetime) -> pl.DataFrame:
        """Rows with span.start <= event_time < span.end, others beside them or not, in any order.

        Each table they are made from holds nothing but rows with `known_at` <= `known_by`; all pools are in it.
        """
        ...


class Relabel(Protocol):
    """Makes labels again, from tables that end."""

    def __call__(self, decisions: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """LABELS rows of some decisions (`source`, `network`, `pool`, `event_time`) as they could be made at `now`.

        Nothing that became known after `now` goes into them.
        """
        ...


def check_rebuilt(
    training_set: TrainingSet, told: Mapping[str, pl.LazyFrame], rebuild: Mapping[str, Rebuild]
) -> CanaryResult:
    """Tables built again from what was known at a few moments must hold the rows on record, with the same values.

    Every row on record that claims to have been known by a moment must come out again; every row that comes out must
    be on record, known then or later: where more was told of a bar afterwards, the bar on record is the later one. A
    bar made of swaps is the exception: what is told later may show that some of its swaps were not told, and it goes.

    Args:
        told: by name, the tables on record. rebuild: by name, how to build them again.
    """
    faults: dict[str, int] = {}
    n_rows = 0
    for name, again in rebuild.items():
        key = list(table(name).key)
        for span in _short(windows(training_set.decisions["event_time"], n_moments=N_MOMENTS)):
            known = pl.col("known_at") <= span.end
            rows = told[name].filter(_within(span)).collect()
            built = again(Span(span.start + _INSTANT, span.end + _INSTANT), span.end).filter(_within(span), known)
            n_rows += rows.filter(known).height
            lost = built.filter(_is_final(built)).join(rows, on=key, how="anti").height
            made_up = rows.filter(known).join(built, on=key, how="anti").height
            _count(faults, f"rows of {name} that are not on record", lost)
            _count(faults, f"rows of {name} on record that could not be known then", made_up)
            pairs = rows.filter(known).join(built, on=key, suffix="__again")
            for column, n in _differences(pairs, [c for c in rows.columns if c not in key]).items():
                _count(faults, f"values of {name}.{column} that could not be known then", n)
    if not rebuild:
        return CanaryResult("rebuilt", True, "nothing that could be built again", {})
    return counted("rebuilt", n_rows, f"rows of {sorted(rebuild)} on record, built again", faults)


def check_relabelled(training_set: TrainingSet, labels: pl.LazyFrame, relabel: Relabel) -> CanaryResult:
    """Labels made again at a moment by which they claim to be known must say the same.

    Moments are those at which some labels claim to have been known, so that these have no future at all in the second
    making. A rug that claims an earlier moment than its own is not labelled yet there. One that claims a later moment
    is left in peace: what was told later may have corrected the first evidence of it. The return of a label is
    compared where its path claims to be known; LABELS without `path_known_at` say it of all but rugs.

    Args:
        labels: LABELS rows of the set's source. relabel: see `Relabel`.
    """
    hours = training_set.spec.horizon_hours
    key = [*_DECISION, "horizon_hours"]
    of_set = training_set.frame.lazy().select(_DECISION)
    claimed = labels.filter(pl.col("horizon_hours") == hours).join(of_set, on=_DECISION, how="semi")
    held = claimed.filter(pl.col("status") == "labelled").sort("label_known_at", *_DECISION).collect()
    faults = dict.fromkeys(
        ("labelled before anybody could know", "whose outcome is another", "known earlier than they could be",
         "whose return is another"), 0,
    )  # fmt: skip
    n_rows = 0
    for now in label_moments(held, hours):
        known = held.filter(pl.col("label_known_at") <= now).tail(N_LABELS)
        again = relabel(known.select("source", *_DECISION), now).filter(pl.col("status") == "labelled")
        pairs = known.join(again, on=key, how="left", suffix="__again")
        is_known = pl.col("outcome__again").is_not_null()
        n_rows += known.height
        for fault, is_it in {
            "labelled before anybody could know": ~is_known,
            "whose outcome is another": is_known & (pl.col("outcome") != pl.col("outcome__again")),
            "known earlier than they could be": is_known & (pl.col("label_known_at") < pl.col("label_known_at__again")),
            "whose return is another": is_known
            & _is_path_known(held, now)
            & (
                differs("return_end_pct", "return_end_pct__again")
                | differs("return_executable_pct", "return_executable_pct__again")
            ),
        }.items():
            faults[fault] += pairs.filter(is_it).height
    return counted("relabelled", n_rows, "labels made again at moments by which they claim to be known", faults)


def label_moments(held: pl.DataFrame, horizon_hours: int) -> list[datetime]:
    """Moments at which labels claim to have been known, half of them before the horizon's end where there are such."""
    is_early = pl.col("label_known_at") < pl.col("event_time") + timedelta(hours=horizon_hours)
    chosen: set[datetime] = set()
    for part in (held.filter(is_early), held.filter(~is_early)):
        times = part["label_known_at"].to_list()
        n = N_LABEL_MOMENTS // 2
        chosen |= {times[(2 * k + 1) * len(times) // (2 * n)] for k in range(n) if times}
    return sorted(chosen)


def _short(spans: list[Span]) -> list[Span]:
    return [Span(max(span.start, span.end - MOST), span.end) for span in spans]


def _within(span: Span) -> pl.Expr:
    return pl.col("event_time").is_between(span.start, span.end, closed="right")


def _is_final(rows: pl.DataFrame) -> pl.Expr:
    """Rows that nothing told later can take away."""
    return pl.col("built_from") != "trades" if "built_from" in rows.columns else pl.lit(value=True)


def _is_path_known(held: pl.DataFrame, now: datetime) -> pl.Expr:
    if "path_known_at" in held.columns:
        return (pl.col("path_known_at") <= now).fill_null(value=False)
    return pl.col("outcome") != "RUG"


def _differences(pairs: pl.DataFrame, columns: list[str]) -> dict[str, int]:
    """How many values differ, by column: numbers by more than `differs` allows, all else at all."""
    numeric = {n for n in columns if pairs.schema[n].is_numeric()}
    return pairs.select(
        (differs(n, f"{n}__again") if n in numeric else pl.col(n).ne_missing(pl.col(f"{n}__again"))).sum().alias(n)
        for n in columns
        if f"{n}__again" in pairs.columns
    ).row(0, named=True)


def _count(faults: dict[str, int], fault: str, n: int) -> None:
    faults[fault] = faults.get(fault, 0) + int(n)
