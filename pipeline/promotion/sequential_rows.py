"""A sequential verdict as a row of `tables.COMPARISONS`, which a move names as its evidence.

Belongs here: the figures that stand beside the wealth. Stays out: the verdict (`sequential`), offline rows (`gate`).
"""

import hashlib
import json
from datetime import datetime
from typing import Literal

import polars as pl

from pipeline.calendars import require_utc
from pipeline.promotion.sequential import LOSSES, SequentialVerdict
from pipeline.tables import COMPARISONS


def sequential_row(
    verdict: SequentialVerdict,
    pairs: pl.DataFrame,
    *,
    procedure: Literal["trial", "harm"],
    model_name: str,
    challenger_version: int,
    opponent: str,
    known_at: datetime,
) -> pl.DataFrame:
    """The verdict as one row; the same pools and bets always get the same `comparison_id`, however often one looks.

    The losses are means over the pools that counted. Of harm, the challenger is the model in charge, whose loss is the
    pairs' `loss_champion`; of a trial it is the one on trial.

    Args:
        verdict: what was found.
        pairs: the pairs it was found in.
        procedure: the question that was asked.
        model_name: the registered model.
        challenger_version: the version that is judged.
        opponent: `version:N` or `baseline:NAME`.
        known_at: when it was found, UTC.
    """
    counted = pairs.join(verdict.path.select("pool"), on="pool", how="semi").sort("pool", *LOSSES)
    by_pool = counted.group_by("pool", maintain_order=True).agg(pl.col(LOSSES).mean())
    champion, challenger = (float(by_pool[name].mean() or 0.0) for name in LOSSES)  # type: ignore[arg-type]
    own, other = (champion, challenger) if procedure == "harm" else (challenger, champion)
    row = {
        "comparison_id": _identity(verdict, procedure, model_name, challenger_version, opponent),
        "known_at": require_utc(known_at),
        "procedure": procedure,
        "model_name": model_name,
        "challenger_version": challenger_version,
        "opponent": opponent,
        "n_pools": verdict.n_pools,
        "loss": "log_loss",
        "loss_challenger": own,
        "loss_opponent": other,
        "gain_pct": 100 * (1 - own / other) if other > 0 else 0.0,
        "wealth": verdict.wealth,
        "wealth_needed": verdict.bound,
        "alpha": 1 / verdict.bound,
        "is_passed": verdict.decision == "promote",
        "reason": verdict.reason,
    }
    return pl.DataFrame([row], schema=COMPARISONS.schema)


def _identity(verdict: SequentialVerdict, *told: object) -> str:
    digest = hashlib.sha256(json.dumps([*told, verdict.bound, verdict.decision]).encode())
    digest.update("\n".join(verdict.path["pool"]).encode())
    digest.update(verdict.path["difference"].to_numpy().astype("<f8").tobytes())
    return digest.hexdigest()
