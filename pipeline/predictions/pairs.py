"""Two sides' losses on the same rows, pool by pool, in an order that what became of the pools does not choose.

Belongs here: which predictions may be compared, when a pool may be looked at, and how much of one side's work the other
did. Stays out: what is concluded from losses (the gate).

**When a pool enters.** A rug is known when it happens, a healthy pool at the horizon. Whoever looks early at pools in
the order in which their labels arrive sees rugs first, and favours the side that cries rug. So a pool enters when its
whole window is over, whatever came: at its birth plus the oldest age at which it is decided on plus the horizon, or
when its last label became known, or was given up, if that is later. Until no prediction of it is pending it does not
enter at all.

**What is left out.** Rows that only one side scored, rows that are no evidence and censored rows. A label belongs to
pool, time and horizon, not to a side: a censored row is censored for both, a pending one is pending for both, and
both sides lose the same rows. Whether a row is evidence differs only by when each side said it, and a row counts if
it is evidence for both. Where a label changed between the two sides' outcomes, the row is left out as well: both are
judged by one truth. A pool with no row left never enters, for either side. What is left may be another mix of pools
than the market; it is no better mix for one side, unless what is censored depends on what was said. Predicted pools
are looked at more often, but whichever side predicted them.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import DAY, HOUR, require_utc
from pipeline.errors import InputError, UsageError
from pipeline.predictions.outcomes import CLIP
from pipeline.tables import OUTCOMES, POOL_KEY, POOL_TIME_KEY, UTC

PAIRS: Final = pl.Schema(
    {"pool": pl.String(), "matured_at": UTC, "loss_champion": pl.Float64(), "loss_challenger": pl.Float64()}
)
HELD: Final = 7 * DAY
"""How long a pool that is pending beyond its window holds back those after it, unless a caller says otherwise."""
LOSSES: Final = (*POOL_TIME_KEY, "age_hours", "status", "outcome", "is_evidence", "settled_at", "loss")
"""What a side is known by: one row a prediction. `status` is `pending` where there is no outcome yet; `settled_at` is
since when a label is known, or when it was given up."""


def losses_of(
    predictions: pl.DataFrame, outcomes: pl.DataFrame, *, model_name: str, version: int, horizon_hours: int
) -> pl.DataFrame:
    """One version's predictions at one horizon with their log losses, as `LOSSES`.

    Args:
        predictions: rows of `tables.PREDICTIONS`.
        outcomes: rows of `tables.PREDICTION_OUTCOMES`.
        model_name: the registered model.
        version: its version.
        horizon_hours: the horizon.
    """
    key = [*POOL_TIME_KEY, "horizon_hours", "model_name", "model_version"]
    own = predictions.filter(
        pl.col("model_name") == model_name,
        pl.col("model_version") == version,
        pl.col("horizon_hours") == horizon_hours,
    )
    settled_at = pl.coalesce("label_known_at", "known_at").alias("settled_at")
    told = outcomes.select(*key, "status", "outcome", "is_evidence", settled_at, pl.col("log_loss").alias("loss"))
    return own.join(told, on=key, how="left").with_columns(pl.col("status").fill_null("pending")).select(LOSSES)


def prior_losses(
    predictions: pl.DataFrame,
    outcomes: pl.DataFrame,
    prior: dict[str, float],
    *,
    model_name: str,
    version: int,
    horizon_hours: int,
) -> pl.DataFrame:
    """What a model that always says `prior` would have lost on one version's predictions, as `LOSSES`.

    Raises:
        UsageError: the prior does not name every outcome.
    """
    if set(prior) != set(OUTCOMES):
        raise UsageError(f"a prior over {OUTCOMES!r} is needed, found {prior!r}")
    own = losses_of(predictions, outcomes, model_name=model_name, version=version, horizon_hours=horizon_hours)
    said = pl.col("outcome").replace_strict(prior, default=None, return_dtype=pl.Float64).clip(CLIP, 1 - CLIP)
    return own.with_columns((-said.log()).alias("loss")).select(LOSSES)


def pairs(
    predictions: pl.DataFrame,
    outcomes: pl.DataFrame,
    champion_version: int,
    challenger_version: int,
    horizon_hours: int,
    *,
    model_name: str,
    last_age_hours: float,
    patience: timedelta,
    now: datetime,
    silent: pl.DataFrame | None = None,
    held: timedelta = HELD,
) -> pl.DataFrame:
    """Paired log losses of two versions, for a test that looks at pools one after the other.

    Args:
        predictions: rows of `tables.PREDICTIONS`.
        outcomes: rows of `tables.PREDICTION_OUTCOMES`.
        champion_version: the version in charge, or the reference.
        challenger_version: the version on trial, or the one whose harm is looked for.
        horizon_hours: the horizon.
        model_name: the registered model.
        last_age_hours: the oldest age at which a pool is decided on.
        patience: how long after a decision its label is settled, whatever came: the horizon, and where bars come once a
            day a day more.
        now: pools whose window is not over by now do not enter, UTC.
        silent: `LOSSES` that the challenger is given where it said nothing and the champion did, such as those of the
            class prior: a side that leaves out what is hard must not look better for it. None: such rows are left out.
        held: how long a pool that is pending beyond its window holds back those after it.

    Returns:
        as `PAIRS`, one row a snapshot that both scored, in order of `matured_at`, pool and time; `pool` is
        `network:address`, and all rows of a pool have one `matured_at`.

    Raises:
        UsageError: a version against itself, or `now` is not UTC.
        InputError: a side holds a prediction twice, or the rows are of several sources.
    """
    if champion_version == challenger_version:
        raise UsageError(f"paired version {champion_version!r} of {model_name!r} with itself")
    champion, challenger = (
        losses_of(predictions, outcomes, model_name=model_name, version=version, horizon_hours=horizon_hours)
        for version in (champion_version, challenger_version)
    )
    if silent is not None:
        unsaid = silent.join(challenger.select(POOL_TIME_KEY), on=list(POOL_TIME_KEY), how="anti")
        challenger = pl.concat([challenger, unsaid.select(challenger.columns)])
    return pairs_of(champion, challenger, last_age_hours=last_age_hours, patience=patience, now=now, held=held)


def pairs_of(
    champion: pl.DataFrame,
    challenger: pl.DataFrame,
    *,
    last_age_hours: float,
    patience: timedelta,
    now: datetime,
    held: timedelta = HELD,
) -> pl.DataFrame:
    """The same of any two sides' losses (`LOSSES`), such as a champion's and a baseline's; raises what `pairs` does."""
    for side in (champion, challenger):
        if side.select(POOL_TIME_KEY).is_duplicated().any():
            raise InputError(f"paired {side.height} predictions: a side holds one twice")
    other = challenger.select(*POOL_TIME_KEY, "status", "outcome", "is_evidence", "loss")
    both = champion.join(other, on=list(POOL_TIME_KEY), how="inner", suffix="_challenger")
    if both["source"].n_unique() > 1:
        raise InputError(f"paired predictions of several sources, {sorted(both['source'].unique())!r}: choose one")
    pending = pl.col("status").eq("pending") | pl.col("status_challenger").eq("pending")
    birth = pl.col("event_time") - pl.duration(seconds=(pl.col("age_hours") * 3600).round())
    by_pool = both.with_columns(
        pending.any().over(POOL_KEY).alias("is_pending"),
        (birth.min().over(POOL_KEY) + last_age_hours * HOUR + patience).alias("matured_at"),
        pl.col("settled_at").max().over(POOL_KEY),
    )
    over = pl.col("matured_at") <= require_utc(now)
    waits = by_pool.filter(over, pl.col("is_pending"), pl.col("matured_at") > now - held)["matured_at"].min()
    counted = (
        ~pl.col("is_pending")
        & over
        & (pl.lit(waits, UTC).is_null() | (pl.col("matured_at") < pl.lit(waits, UTC)))
        & (pl.col("settled_at") <= pl.col("matured_at") + held)
        & pl.col("is_evidence")
        & pl.col("is_evidence_challenger")
        & (pl.col("status") == "labelled")
        & (pl.col("status_challenger") == "labelled")
        & (pl.col("outcome") == pl.col("outcome_challenger"))
    )
    entered = by_pool.filter(counted).with_columns(
        pl.concat_str("network", "pool", separator=":").alias("pool"),
        pl.col("loss").alias("loss_champion"),
    )
    return entered.sort("matured_at", "pool", "event_time").select(
        pl.col(name).cast(dtype) for name, dtype in PAIRS.items()
    )


def coverage(
    predictions: pl.DataFrame,
    champion_version: int,
    challenger_version: int,
    horizon_hours: int,
    *,
    model_name: str,
    since: datetime,
) -> float | None:
    """The share of the champion's snapshots since `since` that the challenger scored too; None where it has none.

    A mean over pools: a rich pool is looked at more often, and counts no more.

    Snapshots from before do not count, whenever they were scored: in a replay the champion alone has hindsight.

    Args:
        predictions: rows of `tables.PREDICTIONS`.
        champion_version: the version in charge.
        challenger_version: the version on trial.
        horizon_hours: the horizon.
        model_name: the registered model.
        since: when the challenger took its role; what the champion said before, the challenger could not, UTC.
    """
    asked = predictions.filter(
        pl.col("model_name") == model_name,
        pl.col("horizon_hours") == horizon_hours,
        pl.col("known_at") >= require_utc(since),
        pl.col("event_time") >= since,
    )
    own, other = (
        asked.filter(pl.col("model_version") == version).select(POOL_TIME_KEY)
        for version in (champion_version, challenger_version)
    )
    if own.is_empty():
        return None
    told = own.join(other.with_columns(is_said=pl.lit(1.0)), on=list(POOL_TIME_KEY), how="left")
    by_pool = told.group_by(POOL_KEY).agg(pl.col("is_said").fill_null(0.0).mean())
    return float(by_pool.select(pl.col("is_said").mean()).item())
