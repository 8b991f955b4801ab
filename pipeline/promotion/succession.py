"""Who may take over from whom, and the verdict on one challenger.

Belongs here: the rule of succession and the comparisons it rests on. Stays out: how two models are compared (`gate`),
the record of moves (`ledger`) and the alias (`registry`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from pipeline.errors import InputError
from pipeline.promotion.gate import Verdict, comparison_row, first_champion_verdict
from pipeline.promotion.losses import compare_evaluations
from pipeline.promotion.spec import PromotionSpec
from pipeline.tables import COMPARISONS

MODEL = "model"


@dataclass(frozen=True)
class Incumbent:
    """The version in charge, and what it learned from."""

    version: int
    source: str


@dataclass(frozen=True)
class Judged:
    """A verdict, and the comparisons it rests on as rows of `COMPARISONS`."""

    verdict: Verdict
    comparisons: pl.DataFrame


def judge(
    evaluations: Mapping[str, pl.DataFrame],
    *,
    baselines: Collection[str],
    version: int,
    source: str,
    incumbent: Incumbent | None,
    known_at: datetime,
    spec: PromotionSpec,
    n_reads: int = 1,
) -> Judged:
    """Compare a challenger with every baseline, and say whether it may take over.

    Args:
        evaluations: predictor -> what it said out of sample of the same rows, in the columns that the rule's loss
            needs (`losses`); `model` is the challenger, the others are baselines.
        baselines: those that must be there, all of them: a baseline that is missing was not beaten.
        version: the challenger's version in the registry.
        source: what the challenger learned from.
        incumbent: the champion; None while there is none.
        known_at: when the verdict is reached, UTC.
        spec: the gate's numbers.
        n_reads: how often a model was evaluated on these rows; more than once is told in the verdict, as no interval
            knows of the others.

    Raises:
        InputError: the predictions of a baseline or of the model are not there.
    """
    if set(evaluations) != {MODEL, *baselines}:
        raise InputError(
            f"judged version {version}: expected the predictions of {[MODEL, *baselines]!r}, found "
            f"{sorted(evaluations)!r}; the evidence is incomplete, train again"
        )
    compared = {
        f"baseline:{name}": compare_evaluations(evaluations[MODEL], frame, spec)
        for name, frame in evaluations.items()
        if name != MODEL
    }
    rows = [
        comparison_row(
            comparison, model_name=spec.model_name, challenger_version=version, opponent=opponent, known_at=known_at
        )
        for opponent, comparison in compared.items()
    ]
    if incumbent is not None and incumbent.version == version:
        barred = f"version {version} is in charge already"
    else:
        barred = why_barred(source, incumbent.source if incumbent else None)
    verdict = Verdict(False, barred, ()) if barred else first_champion_verdict(compared)
    if verdict.is_promoted and incumbent is not None:
        replaced = f"; replaces version {incumbent.version}, which learned from {incumbent.source}"
        verdict = replace(verdict, reason=verdict.reason + replaced)
    if not barred and n_reads > 1:
        verdict = replace(verdict, reason=f"{verdict.reason}; models were evaluated {n_reads} times on these rows")
    return Judged(verdict, pl.concat(rows) if rows else COMPARISONS.empty())


def why_barred(source: str, incumbent_source: str | None) -> str:
    """Why a challenger from `source` may not take over from a champion from `incumbent_source`; empty if it may.

    >>> why_barred("recording:uniswap_v2_2020", "simulation:7")
    ''
    >>> why_barred("simulation:7", "recording:uniswap_v2_2020")
    'the champion learned from real pools; a model of a simulation never replaces it'
    """
    if incumbent_source is None:
        return ""
    simulated, incumbent_simulated = (s.startswith("simulation:") for s in (source, incumbent_source))
    if incumbent_simulated and not simulated:
        return ""
    if simulated and not incumbent_simulated:
        return "the champion learned from real pools; a model of a simulation never replaces it"
    return "a champion is in charge, and no challenger takes over before it has run in its shadow"
