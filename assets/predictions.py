"""Predictions: what the champion, the challenger on trial and the champion before say of the same snapshots."""

from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from assets.features import SPEC as FEATURES_SPEC
from assets.metadata import frame_metadata, n_rows
from assets.models import SPEC as TRAINING
from pipeline.calendars import EPOCH, HOUR, MINUTE, Clock, Span
from pipeline.errors import PermanentError
from pipeline.features.definitions import feature_definitions
from pipeline.features.registry import feature_set_hash
from pipeline.lake import Lake
from pipeline.predictions.due import due_in_replay, due_live
from pipeline.predictions.scoring import Role, Served, score, skipped
from pipeline.predictions.spec import PredictionSpec
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed, standing
from pipeline.promotion.versions import Fed
from pipeline.tables import DEPLOYMENTS, FEATURES, PREDICTIONS, UNSCORED

SPEC = PredictionSpec(
    min_age_hours=min(TRAINING.decision_ages_hours),
    max_age_hours=max(TRAINING.decision_ages_hours) + TRAINING.age_tolerance_hours,
)
ROLES: tuple[Role, ...] = ("champion", "shadow", "former")
REPLAYED = ("recording:", "simulation:")


class Serving(NamedTuple):
    """A version in its role, and what it learned from; or why its file cannot be read."""

    served: Served
    source: str = ""
    error: PermanentError | None = None


@dg.asset(deps=["champion", "features"])
def predictions(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.MaterializeResult[Any]:
    """What champion, shadow and former say of the same newest snapshots, before anybody knows what comes of them.

    What was due and not scored is told in `unscored`, with its reason.
    """
    placed = standing(lake.scan(DEPLOYMENTS).collect(), TRAINING.model_name).placed
    if "champion" not in placed:
        context.log.info(
            "nobody is in charge, so nothing is predicted; the verdict on the last model is in `comparisons`"
        )
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "champion_version": "none"})
    fed = fed_today()
    serving = [_serving(registry, model_cache, role, placed[role], fed) for role in ROLES if role in placed]
    due = _due(lake, serving, clock)
    served = [one.served for one in serving]
    is_replayed = _source(serving).startswith(REPLAYED)
    scored = score(due, served, _already(lake, due), SPEC, None if is_replayed else perf_counter)
    lake.append(PREDICTIONS, scored.predictions)
    lake.append(UNSCORED, scored.unscored)
    for role, why in scored.failures.items():
        context.log.error(f"the {role} could not be asked: {why}")
    return dg.MaterializeResult(
        metadata={
            **frame_metadata(PREDICTIONS, scored.predictions, n_rows(lake, PREDICTIONS)),
            "snapshots_due": due.height,
            **{f"{role}_version": placed[role].version for role in ROLES if role in placed},
            **{f"skipped_{reason}": count for reason, count in skipped(scored.unscored).items()},
            **{f"failed_{role}": why for role, why in scored.failures.items()},
        }
    )


def fed_today() -> Fed:
    """What models are fed with by the features of this code."""
    return Fed(feature_set_hash(FEATURES_SPEC), feature_definitions(FEATURES_SPEC))


def _serving(registry: Registry, cache: Path, role: Role, deployed: Deployed, fed: Fed) -> Serving:
    """The version as it is asked; one whose file is not what it should be fails when it is, and stops no other."""
    from pipeline.models.outcome_model import load_outcome  # noqa: PLC0415 - its learners are slow to import

    named: dict[str, Any] = {
        "role": role, "model_name": deployed.model_name, "model_version": deployed.version,
        "model_sha256": deployed.model_sha256, "since": deployed.known_at,
    }  # fmt: skip
    try:
        loaded = load_in_charge(registry, cache, deployed, fed=fed)
        model = load_outcome(loaded.model_bytes)
    except PermanentError as error:
        return Serving(_unreadable(error, named), error=error)
    names, said = model.feature_names, model.attributes
    served = Served(
        **named,
        feature_set=fed.feature_set,
        feature_names=names,
        needed=tuple(name for name, share in zip(names, model.present, strict=True) if share >= SPEC.needed_share),
        horizons_hours=model.horizons_hours,
        learned_until=pl.Series([said["learned_until"]]).str.to_datetime(time_zone="UTC").item(),
        predict=model.predict,
        signal=model.signal,
    )
    return Serving(served, said["source"])


def _unreadable(error: PermanentError, named: dict[str, Any]) -> Served:
    def refuse(_: pl.DataFrame) -> dict[int, Any]:
        raise error

    horizons = (TRAINING.horizon_hours,)
    return Served(
        **named, feature_set="", feature_names=("age_hours",), needed=(), horizons_hours=horizons, learned_until=EPOCH,
        predict=refuse,
    )  # fmt: skip


def _due(lake: Lake, serving: list[Serving], clock: Clock) -> pl.DataFrame:
    """The snapshots that every role is asked about, chosen before any of them is."""
    now = clock.now()
    source = _source(serving)
    if not source.startswith(REPLAYED):
        lately = Span(now - SPEC.due, now + HOUR)
        return due_live(lake.scan(FEATURES, lately, sources=[source]), now, SPEC)
    since = min(one.served.since for one in serving)
    # A champion that cannot be asked has nothing to say with hindsight either.
    learned_until = serving[0].served.learned_until if serving[0].error is None else since
    span = Span(min(since, learned_until), now + HOUR)
    return due_in_replay(lake.scan(FEATURES, span, sources=[source]), now, since, learned_until, SPEC)


def _source(serving: list[Serving]) -> str:
    """Whose pools are spoken of: what the champion learned from, or the next whose file can be read."""
    for one in serving:
        if one.error is None:
            return one.source
    assert serving[0].error is not None  # noqa: S101  none could be read, so the champion could not
    raise serving[0].error


def _already(lake: Lake, due: pl.DataFrame) -> pl.DataFrame:
    """What was said of these snapshots before."""
    told = lake.scan(PREDICTIONS) if due.is_empty() else lake.scan(PREDICTIONS, _span(due))
    return told.select(PREDICTIONS.key).collect()


def _span(rows: pl.DataFrame) -> Span:
    first, last = rows.select(a=pl.col("event_time").min(), b=pl.col("event_time").max()).row(0)
    return Span(first, last + MINUTE)
