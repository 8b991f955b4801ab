"""What became of each prediction.

Belongs here: joining labels to predictions as of a moment, what counts as evidence, and the proof that nothing is lost.
Stays out: making labels (the labels stage), and what is concluded (`pairs`, `performance`).

A prediction ends in exactly one of labelled, censored, pending, and only the first two are rows. A label enters when it
is known and its horizon is over: a rug is known early, and its siblings would be missing. What is known of the path is
refined until it is known to the end; from then on an outcome stays as it is, whatever the labels say later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.calendars import require_utc
from pipeline.errors import InputError
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import OUTCOMES, POOL_TIME_KEY, PREDICTION_OUTCOMES, ROLES, UTC

CLIP: Final = 1e-15
"""Probabilities are clipped to this before the logarithm: who calls the outcome impossible loses 34.5 nats."""
_LABEL: Final = (*POOL_TIME_KEY, "horizon_hours")
_PATH: Final = ("return_end_pct", "return_peak_pct", "return_trough_pct", "peak_at", "trough_at", "path_known_at")
_HOLDS: Final = ("model_name", "model_version", "role")
HELD: Final = pl.Schema(
    {"model_name": pl.String(), "model_version": pl.Int64(), "role": pl.String(), "role_since": UTC}
)


def settle(
    predictions: pl.DataFrame, labels: pl.DataFrame, held: pl.DataFrame, now: datetime, spec: PredictionSpec
) -> pl.DataFrame:
    """The outcome of every prediction of which one is known at `now`.

    Args:
        predictions: rows of `tables.PREDICTIONS`.
        labels: rows of `tables.LABELS`.
        held: since when which version had which role, as `HELD` (`roles_held`).
        now: UTC. Labels that are known later, and horizons that end later, do not enter.
        spec: how soon after its snapshot a prediction must be said to be evidence.

    Returns:
        rows of `tables.PREDICTION_OUTCOMES` with `known_at` now, in order of the key.

    Raises:
        InputError: a prediction or a label is there twice.
    """
    for name, rows, key in (("predictions", predictions, PREDICTION_OUTCOMES.key), ("labels", labels, _LABEL)):
        if rows.select(key).is_duplicated().any():
            raise InputError(f"settled {predictions.height} predictions: some {name} are there twice")
    p_outcome = pl.coalesce(*(pl.when(pl.col("outcome") == o).then(pl.col(f"p_{o}")) for o in OUTCOMES))
    said = pl.concat_list(f"p_{o}" for o in OUTCOMES).list.arg_max()
    return (
        predictions.filter(pl.col("known_at") <= require_utc(now))
        .rename({"known_at": "predicted_at"})
        .join(_known(labels, now), on=list(_LABEL), how="inner")
        .join(held, on=list(_HOLDS), how="left")
        .with_columns(
            pl.lit(now).alias("known_at"),
            p_outcome.alias("p_outcome"),
            (-p_outcome.clip(CLIP, 1 - CLIP).log()).alias("log_loss"),
            pl.when(pl.col("outcome").is_not_null())
            .then(said == pl.col("outcome").replace_strict({o: i for i, o in enumerate(OUTCOMES)}, default=None))
            .alias("is_correct"),
            _is_evidence(spec).alias("is_evidence"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in PREDICTION_OUTCOMES.schema.items())
        .sort(*PREDICTION_OUTCOMES.key)
    )


def roles_held(deployments: pl.DataFrame) -> pl.DataFrame:
    """Since when each version had each role, the first time it did, as `HELD`; from rows of `tables.DEPLOYMENTS`.

    Whoever takes charge makes the one before the former champion, which needs no row of its own.
    """
    took = deployments.select("model_name", "known_at", pl.col("version"), pl.col("alias").alias("role"))
    is_moved = (pl.col("alias") == "champion") & pl.col("previous_version").is_not_null()
    yielded = deployments.filter(is_moved).select(
        "model_name", "known_at", pl.col("previous_version").alias("version"), pl.lit("former").alias("role")
    )
    moves = pl.concat([took, yielded]).rename({"version": "model_version"}).filter(pl.col("role").is_in(ROLES))
    first = moves.group_by(_HOLDS).agg(pl.col("known_at").min().alias("role_since"))
    return first.select(pl.col(name).cast(dtype) for name, dtype in HELD.items()).sort(_HOLDS)


def open_predictions(predictions: pl.LazyFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The predictions without an outcome, or with one that is not final."""
    final = outcomes.filter(_is_final()).select(PREDICTION_OUTCOMES.key)
    return predictions.join(final.lazy(), on=PREDICTION_OUTCOMES.key, how="anti").collect()


def renewed(before: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Of the fresh outcomes those that are new or say more than before; `known_at` says since when the end is known.

    An outcome whose path is known to the end, or that is censored, is final.

    Args:
        before: rows of `tables.PREDICTION_OUTCOMES` as they are stored.
        fresh: what `settle` gives now.
    """
    end = ("status", "outcome", "label_known_at")
    key, stored = list(PREDICTION_OUTCOMES.key), [f"{name}_before" for name in (*end, "known_at", "path_known_at")]
    is_same_end = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in end)
    old = before.select(*key, pl.col(*end, "known_at", "path_known_at").name.suffix("_before"))
    met = fresh.join(old, on=key, how="left", maintain_order="left")
    open_ = met.filter(pl.col("status_before").is_null() | ~_is_final("_before")).with_columns(
        pl.when(pl.col("status_before").is_not_null() & is_same_end)
        .then("known_at_before")
        .otherwise("known_at")
        .alias("known_at")
    )
    return open_.drop(stored).join(before, on=fresh.columns, how="anti", nulls_equal=True, maintain_order="left")


@dataclass(frozen=True)
class Reconciled:
    """How the predictions of some stretch end; the three add up, or `faults` says in words what does not."""

    n_predictions: int
    n_labelled: int
    censored: Mapping[str, int]
    n_pending: int
    faults: tuple[str, ...]

    def in_words(self) -> str:
        """One line, and one for each fault."""
        n_censored = sum(self.censored.values())
        head = (
            f"{self.n_predictions:,} predictions: {self.n_labelled:,} labelled, {n_censored:,} censored,"
            f" {self.n_pending:,} pending"
        )
        return "\n".join([head, *(f"- {fault}" for fault in self.faults)])


def reconcile(predictions: pl.DataFrame, outcomes: pl.DataFrame, labels: pl.DataFrame, now: datetime) -> Reconciled:
    """Count how predictions end, and prove that each ends once and none waits for what is known.

    Args:
        predictions: rows of `tables.PREDICTIONS`; the key and `known_at` are enough.
        outcomes: rows of `tables.PREDICTION_OUTCOMES` of the same stretch.
        labels: rows of `tables.LABELS`; those of predictions without an outcome are enough.
        now: the moment up to which outcomes were joined, UTC.
    """
    key = list(PREDICTION_OUTCOMES.key)
    ended = outcomes.select(*key, "status", "censor_reason")
    pending = predictions.join(ended, on=key, how="anti")
    known = _known(labels, now).select(_LABEL)
    found = {
        "outcomes are there twice": int(ended.select(key).is_duplicated().sum()),
        "outcomes are of no prediction": ended.join(predictions, on=key, how="anti").height,
        "predictions wait for a label that is known": pending.filter(pl.col("known_at") <= now)
        .join(known, on=list(_LABEL), how="semi")
        .height,
        "outcomes say neither what came nor why nobody knows": outcomes.filter(
            pl.col("outcome").is_null() & pl.col("censor_reason").is_null()
        ).height,
        "outcomes were told before their horizon ended": outcomes.filter(
            pl.col("known_at") < pl.col("event_time") + pl.duration(hours=pl.col("horizon_hours"))
        ).height,
    }
    n_labelled = ended.filter(pl.col("status") == "labelled").height
    reasons = ended.filter(pl.col("status") == "censored").group_by("censor_reason").len()
    censored = dict(reasons.sort("censor_reason").iter_rows())
    if n_labelled + sum(censored.values()) + pending.height != predictions.height:
        found["predictions do not add up"] = predictions.height
    faults = tuple(f"{n:,} {words}" for words, n in found.items() if n)
    return Reconciled(predictions.height, n_labelled, censored, pending.height, faults)


def _is_final(suffix: str = "") -> pl.Expr:
    """Whether an outcome's path is known to the end, or nobody will know it."""
    return pl.col(f"path_known_at{suffix}").is_not_null() | (pl.col(f"status{suffix}") == "censored")


def _known(labels: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Labels that may enter at `now`, with what of their path is known by then."""
    is_over = pl.col("event_time") + pl.duration(hours=pl.col("horizon_hours")) <= now
    is_labelled = (pl.col("status") == "labelled") & (pl.col("label_known_at") <= now)
    usable = labels.filter(is_over, is_labelled | (pl.col("status") == "censored"))
    is_told = (pl.col("path_known_at") <= now) & (pl.col("status") == "labelled")
    return usable.select(
        *_LABEL, "status", "outcome", "censor_reason", "label_known_at",
        pl.when(is_told).then(pl.col(_PATH)).name.keep(),
    )  # fmt: skip


def _is_evidence(spec: PredictionSpec) -> pl.Expr:
    prompt = pl.col("event_time") + pl.duration(minutes=pl.col("horizon_hours") * 60 * spec.prompt_share)
    return (
        (pl.col("predicted_at") <= prompt)
        & (pl.col("label_known_at").is_null() | (pl.col("predicted_at") < pl.col("label_known_at")))
        & (pl.col("predicted_at") >= pl.col("role_since")).fill_null(value=False)
    )
