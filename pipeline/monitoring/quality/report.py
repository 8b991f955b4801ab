"""One report: a frame measured, its parts, its score, and every figure behind them.

Belongs here: putting the parts together, and the report as rows. Stays out: the parts (`columns`, `rows`, `coverage`),
the formulas (`score`), and reading the lake (the asset and the command do).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import HOUR
from pipeline.errors import UsageError
from pipeline.monitoring.quality import coverage as visited
from pipeline.monitoring.quality import rows as doubled
from pipeline.monitoring.quality import score as points
from pipeline.monitoring.quality.columns import Measured, measured
from pipeline.monitoring.quality.outliers import outlying_vectors
from pipeline.monitoring.quality.score import UNKNOWN, Usual
from pipeline.monitoring.quality.spec import QUALITY, QualitySpec
from pipeline.tables import QUALITY_PARTS, QUALITY_REPORTS, Table

FIGURES: Final = QUALITY_REPORTS.empty().drop("source", "known_at", "table_name", "n_rows", "n_pools").schema


@dataclass(frozen=True)
class Finding:
    """One figure: `value` against its `bound`; `score` where it is that of a part as a whole."""

    part: str
    subject: str
    value: float | None
    bound: float | None = None
    is_warning: bool = False
    detail: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class Asked:
    """What a frame is, and what was to be expected of it.

    Attributes:
        name: of the table or the file.
        target: the table's spec; None: a file of anybody's, of which every column should be there.
        key: the columns that name a row; none: rows are compared as a whole.
        unit: the columns that name a pool; none: each row is one of its own.
        label: the column of outcomes; None: there is none.
        outcomes: what is told of the balance -> the rows it is taken from, the first being scored; without any, all.
        age: of what is newest; None: there is nothing.
        allowed_age: how old it may be; None: nobody expects it to be fresh.
        plan: for each pool `n_due` and `n_seen`; None: there is no plan.
        others: what else was found.
    """

    name: str
    target: Table | None = None
    key: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    label: str | None = None
    outcomes: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    age: timedelta | None = None
    allowed_age: timedelta | None = None
    plan: pl.DataFrame | None = None
    others: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class QualityReport:
    """What was found. `parts` that do not apply are None; so is the score where none does.

    `figures` has the columns part, subject, value, bound, is_warning, score, detail of `tables.QUALITY_REPORTS`.
    """

    name: str
    score: float | None
    parts: Mapping[str, float | None]
    figures: pl.DataFrame = field(repr=False)
    n_rows: int
    n_pools: int

    @property
    def warnings(self) -> pl.DataFrame:
        """The figures beyond their bounds."""
        return self.figures.filter("is_warning")

    def rows(self, source: str, known_at: datetime, *, is_distribution_told: bool = False) -> pl.DataFrame:
        """The report as rows of `tables.QUALITY_REPORTS`; distributions only if they were not told already."""
        kept = self.figures.filter(pl.col("part") != "distribution") if is_distribution_told else self.figures
        return kept.with_columns(
            source=pl.lit(source),
            known_at=pl.lit(known_at),
            table_name=pl.lit(self.name),
            n_rows=pl.lit(self.n_rows, pl.Int64),
            n_pools=pl.lit(self.n_pools, pl.Int64),
        ).select(pl.col(name).cast(dtype) for name, dtype in QUALITY_REPORTS.schema.items())


def quality_report(
    frame: pl.DataFrame, asked: Asked, usual: Usual = UNKNOWN, spec: QualitySpec = QUALITY
) -> QualityReport:
    """Measure a frame, and give it a score from 0 to 100.

    Raises:
        UsageError: the frame has not the columns that were asked for, or they cannot name a row or a pool.
    """
    _require(frame, asked)
    names = frame.columns
    safe = dict(zip(names, (f"c{i}" for i in range(len(names))), strict=True))  # `*` and `^a$` mean more to Polars
    plain = frame.rename(safe)
    unit = [safe[name] for name in asked.unit]
    declared = {safe[c.name]: c for c in asked.target.columns if c.name in safe} if asked.target else {}
    columns = [
        replace(one if name not in (*asked.key, *asked.unit) else one.as_name, column=name)
        for one, name in zip(measured(plain, unit, spec, declared), names, strict=True)
    ]
    vector = outlying_vectors(plain, _vector(columns, safe, asked), unit, spec) if frame.height else None
    n_pools = plain.select(pl.struct(unit).n_unique()).item() if unit else frame.height
    found, parts = _judged(plain, safe, columns, vector, asked, usual, spec)
    score = points.score_of(parts, spec)
    told = ", ".join(f"{name} {value:.0f}" for name, value in parts.items() if value is not None)
    whole = Finding(
        "score", "all", score, spec.floor, score is not None and score < spec.floor,
        told or "nothing could be judged", score,
    )  # fmt: skip
    by_part = [Finding(name, "all", value, score=value) for name, value in parts.items() if value is not None]
    rows = [[getattr(one, name) for name in FIGURES] for one in (whole, *by_part, *found)]
    return QualityReport(asked.name, score, parts, pl.DataFrame(rows, FIGURES, orient="row"), frame.height, n_pools)


def _judged(
    plain: pl.DataFrame,
    safe: Mapping[str, str],
    columns: Sequence[Measured],
    vector: float | None,
    asked: Asked,
    usual: Usual,
    spec: QualitySpec,
) -> tuple[list[Finding], dict[str, float | None]]:
    """Every finding and the points of every part."""
    unit = [safe[name] for name in asked.unit]
    required = [c.name for c in asked.target.columns if not c.nullable] if asked.target else list(safe)
    is_there = plain.height > 0
    by = [safe[name] for name in asked.key] or plain.columns
    repeated = doubled.repeated(plain, by, unit) if is_there else None
    copied = doubled.copied(plain, by, unit) if asked.key else None
    seen = None if asked.plan is None else visited.share_seen(asked.plan)
    outcomes = _outcomes(plain, safe, asked)
    classes = _classes(asked)
    first = next(iter(outcomes.values()), None)
    parts = dict.fromkeys(QUALITY_PARTS) | {
        "completeness": points.completeness(columns, usual, required, spec) if is_there else None,
        "validity": points.validity(columns, usual, spec, is_anybodys=asked.target is None) if is_there else None,
        "uniqueness": points.uniqueness(repeated),
        "timeliness": points.timeliness(asked.age, asked.allowed_age, spec),
        "coverage": points.coverage(seen),
        "balance": points.balance(first, classes, spec) if first else None,
    }
    found = [
        *_of_nulls(columns, usual, spec),
        *_of_values(columns, vector, usual, spec),
        *_of_rows(repeated, copied, spec, "key" if asked.key else "row"),
        *_of_time(asked),
        *_of_plan(seen, asked, spec),
        *_of_balance(outcomes, classes, spec),
        *asked.others,
        *(Finding("distribution", c.column, c.figures.get("median"), detail=c.as_json) for c in columns
          if c.kind in ("number", "flag")),
    ]  # fmt: skip
    return found, parts


def _require(frame: pl.DataFrame, asked: Asked) -> None:
    wanted = [*asked.key, *asked.unit, *([asked.label] if asked.label and not asked.outcomes else [])]
    for name in wanted:
        if name not in frame.columns:
            raise UsageError(f"looked at {asked.name!r}: it has no column {name!r}; it has {frame.columns!r}")
        if frame.schema[name].is_nested() or frame.schema[name] in (pl.Object, pl.Binary):
            raise UsageError(
                f"looked at {asked.name!r}: column {name!r} holds {frame.schema[name]}, which names no row or pool: "
                "choose a column of plain values"
            )


def _vector(columns: Sequence[Measured], safe: Mapping[str, str], asked: Asked) -> list[str]:
    """The numbers and flags that are not the same everywhere; what names a row is none of them."""
    return [
        safe[c.column]
        for c in columns
        if c.kind in ("number", "flag")
        and c.column not in (*asked.key, *asked.unit)
        and c.figures.get("min") != c.figures.get("max")
    ]


def _classes(asked: Asked) -> tuple[str, ...]:
    declared = asked.target.column(asked.label).values if asked.target and asked.label else None
    return declared or ()


def _outcomes(plain: pl.DataFrame, safe: Mapping[str, str], asked: Asked) -> dict[str, dict[str, float]]:
    if asked.label is None:
        return {}
    if not asked.outcomes:
        return {asked.label: doubled.spread(plain, safe[asked.label], [safe[name] for name in asked.unit])}
    return {told: doubled.spread(rows, asked.label, asked.unit) for told, rows in asked.outcomes.items()}


def _of_nulls(columns: Sequence[Measured], usual: Usual, spec: QualitySpec) -> list[Finding]:
    found = []
    for one in columns:
        known, share = usual.null.get(one.column), one.share_null
        told = None if known is None else f"usually {known:.0%}"
        found.append(Finding("completeness", one.column, share, spec.max_null_share, share > spec.max_null_share, told))
        allowed = usual.allowed_null(one.column, spec.max_null_share)
        if known is not None and share > allowed:
            words = f"{share:.0%} are missing, usually {known:.0%}"
            found.append(Finding("completeness", f"{one.column}, beyond usual", share, allowed, True, words))
    return found


def _of_values(columns: Sequence[Measured], vector: float | None, usual: Usual, spec: QualitySpec) -> list[Finding]:
    found = []
    for one in columns:
        if one.share_invalid > 0:
            words = "infinite, or outside of what its spec declares"
            found.append(Finding("validity", f"{one.column}, impossible", one.share_invalid, 0.0, True, words))
        if one.share_outlying is not None:
            (scale, other), share = (name.replace("_", " ") for name in one.by_scale), max(one.by_scale.values())
            told = f"outliers on the {scale} scale; {share:.1%} on the {other} one"
            found.append(_outlying(one.column, one.share_outlying, usual, spec, told))
        elif one.by_scale:
            words = f"not judged: {one.n_values} different values say too little, it takes {spec.min_values}"
            found.append(Finding("validity", one.column, None, detail=words))
    if vector is not None:
        found.append(
            _outlying(
                "vector", vector, usual, spec, "rows that an isolation forest takes for outliers; not in the score"
            )
        )
    return found


def _outlying(subject: str, share: float, usual: Usual, spec: QualitySpec, told: str) -> Finding:
    """A warning beyond the bound; where something is usual, beyond that by as much."""
    known = usual.outlying.get(subject)
    bound = min(1.0, usual.allowed_outlying(subject, spec.max_outlying_share))
    words = told if known is None else f"{told}; usually {known:.1%}"
    return Finding("validity", subject, share, bound, share > bound, words)


def _of_rows(repeated: float | None, copied: float | None, spec: QualitySpec, what: str) -> list[Finding]:
    found = []
    if repeated is not None:
        told = f"rows that repeat the {what} of an earlier one"
        found.append(Finding("uniqueness", f"repeated {what}", repeated, 0.0, repeated > 0, told))
    if copied is not None:
        told = "rows whose numbers are all those of a row of another pool; not in the score"
        bound = spec.max_outlying_share
        found.append(Finding("uniqueness", "copied from another pool", copied, bound, copied > bound, told))
    return found


def _of_time(asked: Asked) -> list[Finding]:
    if asked.allowed_age is None:
        return []
    bound = asked.allowed_age / HOUR
    if asked.age is None:
        return [Finding("timeliness", "age_hours", None, bound, True, "there is nothing at all")]
    age = asked.age / HOUR
    return [Finding("timeliness", "age_hours", age, bound, age > bound, "age of what is newest")]


def _of_plan(seen: float | None, asked: Asked, spec: QualitySpec) -> list[Finding]:
    if seen is None or asked.plan is None:
        return []
    due, made = asked.plan.select(pl.sum("n_due"), pl.sum("n_seen")).row(0)
    told = f"{made:,} of {due:,.0f} that were due; the share is a mean over {asked.plan.height:,} pools"
    return [Finding("coverage", "seen", seen, spec.min_coverage, seen < spec.min_coverage, told)]


def _of_balance(
    outcomes: Mapping[str, Mapping[str, float]], classes: Sequence[str], spec: QualitySpec
) -> list[Finding]:
    found = []
    for told, shares in outcomes.items():
        if not shares:
            continue
        ratio = doubled.imbalance(dict(shares), classes)
        words = ", ".join(f"{name} {share:.1%}" for name, share in sorted(shares.items(), key=lambda s: -s[1]))
        never = f"; never: {', '.join(name for name in classes if name not in shares)}" if ratio is None else ""
        is_warning = ratio is None or ratio > spec.max_imbalance
        found.append(Finding("balance", told, ratio, spec.max_imbalance, is_warning, words + never))
    return found
