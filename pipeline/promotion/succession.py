"""Who may take over from whom: the first step of a challenger, judged offline on the last block in time.

Belongs here: the rule of succession and the comparisons it rests on. Stays out: how two models are compared (`gate`),
what happens in the shadow (`trial`), the record of moves (`ledger`) and the aliases (`registry`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

import polars as pl

from pipeline.errors import InputError
from pipeline.promotion.gate import Comparison, Verdict, beats_all, comparison_row
from pipeline.promotion.losses import compare_evaluations
from pipeline.promotion.spec import PromotionSpec
from pipeline.promotion.standing import Standing

MODEL = "model"
UNKNOWN_SOURCE: Final = "unknown"
"""What a champion learned from whose training set is not on record."""

type Step = Literal["promote", "challenge", "stay"]
"""What the verdict allows: take charge at once, ask for a trial in the champion's shadow, or nothing."""


@dataclass(frozen=True)
class Incumbent:
    """The version in charge, what it learned from, and what it says of the challenger's own last block.

    Attributes:
        said: its predictions of those rows of the challenger's evaluation that came after both had learned, in the same
            columns; None where it was not asked.
        mute: why it can no longer be asked (a feature that it takes is defined otherwise now), in words; else empty.
        learned: where it learned labels of other thresholds than those it is compared on, which; else empty.
    """

    version: int
    source: str
    said: pl.DataFrame | None = None
    mute: str = ""
    learned: str = ""


@dataclass(frozen=True)
class Judged:
    """A verdict, the step it allows, and the comparisons it rests on as rows of `COMPARISONS`."""

    verdict: Verdict
    comparisons: pl.DataFrame
    step: Step


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
    """Compare a challenger with every baseline and with the champion, and say what it may do next.

    A first champion must beat every baseline, and so must whoever asks for a trial; that one must beat the champion
    too, by the same rule, on rows that neither had seen. Whether it takes charge, its trial decides. A champion that
    can no longer be asked predicts nothing either: who beats every baseline takes its place, and the verdict says that
    the two were not compared, and why.

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
        InputError: the predictions of a baseline or of the model are not there, or the champion's are of other rows.
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
    barred = why_barred(version, source, incumbent)
    if incumbent is not None and not barred and _is_rival(source, incumbent):
        compared |= _against(evaluations[MODEL], incumbent, spec)
    verdict, step = _verdict(compared, barred, source, incumbent)
    if not barred:
        verdict = _with_notes(verdict, incumbent, n_reads)
    rows = [
        comparison_row(done, model_name=spec.model_name, challenger_version=version, opponent=name, known_at=known_at)
        for name, done in compared.items()
    ]
    return Judged(verdict, pl.concat(rows), step)


def why_barred(version: int, source: str, incumbent: Incumbent | None) -> str:
    """Why a challenger from `source` may not even be compared with the champion; empty if it may.

    >>> why_barred(2, "recording:uniswap_v2_2020", Incumbent(1, "simulation:7"))
    ''
    >>> why_barred(2, "simulation:7", Incumbent(1, "recording:uniswap_v2_2020"))
    'the champion learned from real pools; a model of simulation:7 never replaces it'
    """
    if incumbent is None:
        return ""
    if incumbent.version == version:
        return f"version {version} is in charge already"
    if _reality(source) < _reality(incumbent.source):
        what = "real pools" if _reality(source) == 0 else "the live market"
        return f"the champion learned from {what}; a model of {source} never replaces it"
    if _is_rival(source, incumbent) and incumbent.said is None:
        return "a champion is in charge, and no challenger takes over before it has run in its shadow"
    return ""


def why_tried(ledger: pl.DataFrame, model_name: str, version: int, stands: Standing) -> str:
    """Why a challenger was judged enough: its trial against this very champion ended; empty where none did.

    The same evidence would let it in again and again, and each trial costs a share of the year's budget.
    """
    if stands.champion is None:
        return ""
    ended = ledger.filter(
        pl.col("model_name") == model_name, pl.col("action") == "reject", pl.col("version") == version,
        pl.col("sequence") > stands.champion.sequence,
    )  # fmt: skip
    return "its trial against this champion has ended" if ended.height else ""


def _reality(source: str) -> int:
    """0: a market that was made up; 1: one that was recorded, and has ended (or is not on record); 2: the live one."""
    if source.startswith("simulation:"):
        return 0
    return 1 if source.startswith("recording:") or source == UNKNOWN_SOURCE else 2


def _is_rival(source: str, incumbent: Incumbent) -> bool:
    """Whether the champion must be beaten: it can be asked, and knows a market as real as the challenger's.

    One that knows a recording alone says nothing of live pools, so no trial beside it would ever end. One whose source
    is not on record (its version was deleted, a tag of it changed) must be beaten by anybody: else whoever takes that
    away takes charge without a comparison.
    """
    is_unknown = incumbent.source == UNKNOWN_SOURCE
    return not incumbent.mute and (is_unknown or _reality(incumbent.source) >= _reality(source))


def _against(evaluation: pl.DataFrame, incumbent: Incumbent, spec: PromotionSpec) -> dict[str, Comparison]:
    """The comparison with the champion on the rows it was asked for; empty where there are none."""
    if incumbent.said is None or incumbent.said.is_empty():
        return {}
    keys = ["pool", "time", "horizon"]
    shared = evaluation.join(incumbent.said.select(keys), on=keys, how="semi")
    return {f"version:{incumbent.version}": compare_evaluations(shared, incumbent.said, spec)}


def _verdict(
    compared: Mapping[str, Comparison], barred: str, source: str, incumbent: Incumbent | None
) -> tuple[Verdict, Step]:
    if barred:
        return Verdict(False, barred, ()), "stay"
    found = beats_all(compared)
    if incumbent is None:
        return found, "promote" if found.is_promoted else "stay"
    if not _is_rival(source, incumbent):
        told = f"{found.reason}; {_not_compared(incumbent, found.is_promoted)}"
        return Verdict(found.is_promoted, told, found.unbeaten), "promote" if found.is_promoted else "stay"
    if f"version:{incumbent.version}" not in compared:
        told = f"no pool of its last block was born after the champion, version {incumbent.version}, had learned"
        return Verdict(False, f"{told}: collect for longer", ()), "stay"
    if not found.is_promoted:
        return found, "stay"
    return Verdict(False, f"{found.reason}: may run in the shadow of version {incumbent.version}", ()), "challenge"


def _with_notes(verdict: Verdict, incumbent: Incumbent | None, n_reads: int) -> Verdict:
    """The verdict with what its figures do not show: that the champion learned another question, and earlier looks."""
    told = verdict.reason
    if incumbent is not None and incumbent.learned:
        told += f"; version {incumbent.version} learned labels of other thresholds than these: {incumbent.learned}"
    if n_reads > 1:
        told += f"; models were evaluated {n_reads} times on these rows"
    return replace(verdict, reason=told)


def _not_compared(incumbent: Incumbent, is_replaced: bool) -> str:
    """That the champion was not compared with, and why."""
    done = "takes charge without a" if is_replaced else "there was no"
    why = f"it cannot be asked any more: {incumbent.mute}" if incumbent.mute else f"it learned from {incumbent.source}"
    return f"{done} comparison with the champion, version {incumbent.version}: {why}"
