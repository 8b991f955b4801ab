"""One report of the watch: everything that may have moved since the champion learned, as rows of `drift_reports`.

Belongs here: which comparisons are made of which rows, and the verdict over them. Stays out: choosing the rows
(`windows`, `reference`), the formulas, and hysteresis (`alarm`).

| kind | compared | of |
|---|---|---|
| `feature` | each feature; all pools of the first hours against the reference | `comparison`, `days` |
| `multivariate` | all features at once, by a classifier | `classifier` |
| `prediction` | each probability the champion gives, against what it said of its own last block | `comparison` |
| `label` | what became of pools, against the reference | `comparison` |
| `performance` | log loss, `observed` and `estimated`, against that of the last block | `harm` |
| `concept` | the stream of its losses with itself | `concept` |
| `alarm` | the verdict | `alarm` |
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.monitoring.drift.alarm import ASKS, SEEN, STANDS, Look, alarm
from pipeline.monitoring.drift.classifier import domain_classifier
from pipeline.monitoring.drift.comparison import compare
from pipeline.monitoring.drift.concept import cuts, stream
from pipeline.monitoring.drift.days import usual_auc, usual_js
from pipeline.monitoring.drift.divergence import benjamini_hochberg
from pipeline.monitoring.drift.evidence import PROBABILITIES, Evidence
from pipeline.monitoring.drift.harm import Harm, loss_up, with_losses
from pipeline.monitoring.drift.reference import OUTCOME
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import GROUP, n_pools
from pipeline.monitoring.drift.words import in_words
from pipeline.tables import DRIFT_REPORTS, OUTCOMES

SHIFTS: Final = ("feature", "multivariate", "prediction", "label")
ALL: Final = "all"
OBSERVED: Final = "observed"
ESTIMATED: Final = "estimated"

type Row = dict[str, Any]


def report(told: Evidence, past: Sequence[Look], now: datetime, spec: WatchSpec) -> pl.DataFrame:
    """The report of now, as `tables.DRIFT_REPORTS`, in order of kind and subject.

    Args:
        told: what there is.
        past: the reports before on the same version, oldest first.
        now: UTC.
        spec: the rule.
    """
    with threadpool_limits(1):  # sums over several threads differ in their last bits, and threads wait for each other
        found = [
            *_features(told, spec),
            _multivariate(told, spec),
            *_predictions(told, spec),
            *_labels(told, spec),
            _performance(OBSERVED, told, spec),
            _performance(ESTIMATED, told, spec),
            _concept(told, spec),
        ]
    rows = [_window_of(row, told) for row in [*found, *_verdict(found, told, past, now, spec)]]
    head = {
        "source": told.source, "known_at": now, "model_name": told.learned.model_name,
        "model_version": told.learned.version, "reference_id": told.reference.reference_id,
    }  # fmt: skip
    blank = dict.fromkeys(DRIFT_REPORTS.schema.names())
    frame = pl.DataFrame([{**blank, **row, **head} for row in rows], schema=DRIFT_REPORTS.schema)
    return frame.sort("kind", "subject")


def _features(told: Evidence, spec: WatchSpec) -> list[Row]:
    if _few(told.reference.rows, told.current, spec):
        return []
    return _compared("feature", told.reference.rows, told.current, told.learned.feature_names, spec)


def _multivariate(told: Evidence, spec: WatchSpec) -> Row:
    before, after = told.reference.rows, told.current
    row = _row("multivariate", ALL, before, after)
    if _few(before, after, spec):
        return row | _too_few(spec)
    names = told.learned.feature_names
    found = domain_classifier(before, after, group=GROUP, columns=names, spec=spec.drift)
    is_apart, usual = found.p_value <= spec.alpha and found.auc >= spec.min_auc, None
    if is_apart:  # the days cost as much as the test, and tell nothing of what is not even apart
        usual = usual_auc(before, names, spec)
    return row | {
        "mean_reference": 0.5, "mean_current": found.auc, "p_value": found.p_value, "q_value": found.p_value,
        "usual": usual, "is_drifted": is_apart and found.auc > (usual or 0.0),
    }  # fmt: skip


def _predictions(told: Evidence, spec: WatchSpec) -> list[Row]:
    before, after = told.evaluated, told.said
    if _few(before, after, spec):
        return [_row("prediction", name, before, after) | _too_few(spec) for name in PROBABILITIES]
    return _compared("prediction", before, after, PROBABILITIES, spec, with_means=True)


def _labels(told: Evidence, spec: WatchSpec) -> list[Row]:
    before, after = (rows.filter(pl.col(OUTCOME).is_not_null()) for rows in (told.reference.rows, told.labelled))
    if _few(before, after, spec):
        return [_row("label", ALL, before, after) | _too_few(spec)]
    (whole,) = _compared("label", before, after, [OUTCOME], spec)
    shares = [
        _row("label", outcome, before, after)
        | {"mean_reference": _share(before, outcome), "mean_current": _share(after, outcome)}
        for outcome in OUTCOMES
    ]
    return [whole | {"subject": ALL}, *shares]


def _performance(subject: str, told: Evidence, spec: WatchSpec) -> Row:
    label, current = ("label", told.judged) if subject == OBSERVED else (None, told.said)
    before, after = (with_losses(rows, label) for rows in (told.evaluated, current))
    found: Harm = loss_up(before, after, spec, told.learned.seed % 2**32)
    row = _row("performance", subject, before, after)
    if found.is_up is None:
        return row | _too_few(spec)
    return row | {
        "mean_reference": found.mean_reference, "mean_current": found.mean_current, "usual": found.usual,
        "increase_low": found.increase_low, "p_value": found.p_value, "q_value": found.p_value,
        "is_drifted": found.is_up,
    }  # fmt: skip


def _concept(told: Evidence, spec: WatchSpec) -> Row:
    losses = stream(told.errors)
    row = {"kind": "concept", "subject": "loss", "n_reference_pools": 0, "n_current_pools": losses.height}
    if losses.height < spec.min_pools:
        return row | _too_few(spec)
    found = cuts(losses, spec)
    if not found:
        return row | {"is_drifted": False, "mean_current": losses["loss"].mean(), "words": "its mean did not change"}
    last = found[-1]
    return row | {
        "n_reference_pools": last.n_before, "n_current_pools": last.n_after, "mean_reference": last.before,
        "mean_current": last.after, "is_drifted": last.is_up,
        "words": f"changed {len(found)} times, last at {last.changed_at:%Y-%m-%d %H:%M} UTC, noticed at"
                 f" {last.at:%Y-%m-%d %H:%M}: the loss went {'up' if last.is_up else 'down'}",
    }  # fmt: skip


def _verdict(found: list[Row], told: Evidence, past: Sequence[Look], now: datetime, spec: WatchSpec) -> list[Row]:
    """Three rows: whether this report sees a shift with harm, whether the alarm stands, whether it asks now."""
    is_shift, is_harm = _is_shift(found, spec), _any(row for row in found if row["kind"] == "performance")
    is_seen = None if is_shift is None or is_harm is None else is_shift and is_harm
    said = alarm([*past, Look(now, told.lately.until, is_seen)], spec)
    row = _row("alarm", SEEN, told.reference.rows, told.current)
    words = in_words(found, is_shift, is_harm)
    return [
        row | {"subject": subject, "is_drifted": value, "words": words}
        for subject, value in ((SEEN, is_seen), (STANDS, said.is_standing), (ASKS, said.is_asking))
    ]


def _is_shift(found: list[Row], spec: WatchSpec) -> bool | None:
    """Whether any kind of shift holds when four are looked for at once; None: none could be looked for.

    The smallest q-value of a kind is a p-value for "nothing of this kind moved" (Simes 1986); these are held against
    Benjamini and Hochberg once more.
    """
    kinds = {kind: [row for row in found if row["kind"] == kind and row.get("q_value") is not None] for kind in SHIFTS}
    told = {kind: rows for kind, rows in kinds.items() if rows}
    if not told:
        return None
    q_values = benjamini_hochberg(np.array([min(row["q_value"] for row in rows) for rows in told.values()]))
    return any(
        q_value <= spec.alpha and _any(rows) is True for q_value, rows in zip(q_values, told.values(), strict=True)
    )


def _any(rows: Any) -> bool | None:
    """Whether any row says so; None where none can tell."""
    said = [row["is_drifted"] for row in rows if row.get("is_drifted") is not None]
    return any(said) if said else None


def _compared(
    kind: str, before: pl.DataFrame, after: pl.DataFrame, columns: Sequence[str], spec: WatchSpec, *,
    with_means: bool = False,
) -> list[Row]:  # fmt: skip
    """A row a column; one that permutations call drifted must also exceed what days differ by anyhow."""
    found = compare(before, after, group=GROUP, columns=columns, spec=spec.drift).columns
    usual: Mapping[str, float] = usual_js(before, columns, spec)
    rows = []
    for told in found.iter_rows(named=True):
        name = told["column"]
        is_news = told["js"] - told["js_by_chance"] > usual.get(name, 0.0)
        figures = {key: told[key] for key in ("js", "psi", "p_value", "q_value", "share_null_reference",
                                              "share_null_current")}  # fmt: skip
        means = {"mean_reference": before[name].mean(), "mean_current": after[name].mean()} if with_means else {}
        judged = {"usual": usual.get(name), "is_drifted": told["is_drifted"] and is_news}
        rows.append(_row(kind, name, before, after) | figures | means | judged)
    return rows


def _row(kind: str, subject: str, before: pl.DataFrame, after: pl.DataFrame) -> Row:
    return {
        "kind": kind, "subject": subject, "n_reference_pools": n_pools(before), "n_current_pools": n_pools(after),
    }  # fmt: skip


def _window_of(row: Row, told: Evidence) -> Row:
    """The row with the births it speaks of."""
    is_later = row["kind"] in ("label", "concept") or row["subject"] == OBSERVED
    born = told.matured if is_later else told.lately
    return row | {"window_start": born.after, "window_end": born.until}


def _few(before: pl.DataFrame, after: pl.DataFrame, spec: WatchSpec) -> bool:
    return min(n_pools(before), n_pools(after)) < spec.min_pools


def _too_few(spec: WatchSpec) -> Row:
    return {"words": f"too few pools to tell: {spec.min_pools} are needed on either side"}


def _share(rows: pl.DataFrame, outcome: str) -> float:
    """How frequent an outcome is, each pool counting once."""
    by_pool = rows.group_by(GROUP, maintain_order=True).agg((pl.col(OUTCOME) == outcome).mean().alias("share"))
    return float(by_pool.select(pl.col("share").mean()).item())
