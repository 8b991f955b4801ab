"""Is the record of promotion sound? Every check that can be made from outside, each with what it found.

Belongs here: the chain, the rules, the evidence, and the registry beside the ledger. Stays out: mending anything.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from pipeline.errors import PoolcastError, RegistryError
from pipeline.lake import Lake
from pipeline.promotion.chain import verify
from pipeline.promotion.ledger import BY_HOURS, FIGURES, named_comparisons
from pipeline.promotion.reconciliation import Differences, differences
from pipeline.promotion.registry import Registry
from pipeline.promotion.rules import why_refused
from pipeline.promotion.standing import ALIASES, Standing, after, standing
from pipeline.tables import COMPARISONS, DEPLOYMENTS

type State = Literal["sound", "broken", "unchecked"]
_SHOWN: Final = 200
"""Characters of evidence that a finding shows."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: `chain`, `rules`, `evidence`, `registry`, `aliases` or `files`.
        model_name: the model it is about; empty: all of them.
        state: whether what it looked at is sound, or could not be looked at.
        told: what was found, in words.
    """

    check: str
    model_name: str
    state: State
    told: str


def audit(lake: Lake, registry: Registry | None, *, models: Iterable[str], why_not: str = "") -> list[Finding]:
    """Look at everything that can be looked at; nothing is changed.

    Args:
        lake: where the ledger and the comparisons rest.
        registry: what is compared with them; None: that is left out.
        models: models to look at, beside those that the ledger tells of.
        why_not: why there is no registry, in words.
    """
    ledger = lake.scan(DEPLOYMENTS).sort("sequence").collect()
    try:
        verify(ledger)
    except RegistryError as error:
        rest = "the ledger is broken, so nothing that rests on it can be"
        others = [Finding(check, "", "unchecked", rest) for check in ("rules", "evidence", "registry")]
        return [Finding("chain", "", "broken", str(error)), *others]
    whole = Finding("chain", "", "sound", f"{ledger.height} rows, each bound to the one before")
    found = [whole, _rules(ledger), _evidence(ledger, lake.scan(COMPARISONS).collect())]
    if registry is None:
        left_out = f"aliases, model files and whether rows were cut off the ledger's end: {why_not}"
        return [*found, Finding("registry", "", "unchecked", left_out)]
    for model_name in sorted({*models, *ledger["model_name"]}):
        found += _beside(registry, ledger, model_name)
    return found


def _rules(ledger: pl.DataFrame) -> Finding:
    """Replay the rows under the rules that none may break; whether approval was asked for, the rows do not tell."""
    stands: dict[str, Standing] = {}
    wrong: list[str] = []
    for row in ledger.iter_rows(named=True):
        before = stands.get(row["model_name"], Standing())
        names = ("action", "version", "model_sha256", "actor", "evidence")
        try:
            now = after(before, row)
            refused = why_refused(before, **{name: row[name] for name in names})
        except RegistryError as error:
            wrong.append(str(error))
            continue
        stands[row["model_name"]] = now
        if refused:
            wrong.append(f"row {row['sequence']}, {row['action']} version {row['version']}: {refused}")
    return _finding("rules", "", wrong, "no row breaks a rule")


def _evidence(ledger: pl.DataFrame, comparisons: pl.DataFrame) -> Finding:
    """Whether every comparison that a row names is on record, once, with the figures that the row tells."""
    known = {row["comparison_id"]: row for row in comparisons.iter_rows(named=True)}
    counted = Counter(comparisons["comparison_id"])
    wrong = [f"{n} rows of `comparisons` call themselves {name!r}" for name, n in counted.items() if n > 1]
    named_by = [(row, named) for row in ledger.iter_rows(named=True) for named in named_comparisons(row["evidence"])]
    for row, named in named_by:
        wrong += [f"row {row['sequence']}: {text}" for text in _contradictions(named, known)]
    tried = [
        (row, named) for row, named in named_by if row["action"] == "promote" and named.get("procedure") == "trial"
    ]
    by_hours = [(row, named) for row, named in tried if BY_HOURS in named]
    wrong += [
        f"row {row['sequence']} promotes on a trial that by hours proves nothing: {str(named[BY_HOURS])[:_SHOWN]}"
        for row, named in by_hours
        if not _is_proven(named)
    ]
    told = f"{len(named_by)} comparisons named, all on record with the figures told"
    if tried:  # rows of older versions tell it by pools alone
        told += f"; the proof by hours is told of {len(by_hours)} of {len(tried)} promotions by trial"
    return _finding("evidence", "", wrong, told)


def _is_proven(named: dict[str, Any]) -> bool:
    """Whether the wealth by hours that a row tells reached the bound that was asked for by pools."""
    told = named[BY_HOURS]
    wealth, bound = (told.get(name) if isinstance(told, dict) else None for name in ("wealth", "wealth_needed"))
    if not (isinstance(wealth, int | float) and isinstance(bound, int | float)):
        return False
    return wealth >= bound and _is_same(bound, named.get("wealth_needed"))


def _contradictions(named: dict[str, Any], known: dict[str, dict[str, Any]]) -> Iterator[str]:
    on_record = known.get(named["comparison_id"])
    if on_record is None:
        yield f"comparison {named['comparison_id']!r} is not in `comparisons`"
        return
    for name in FIGURES:
        if name in named and not _is_same(named[name], on_record[name]):
            yield f"{name} of {named['comparison_id']!r} is {named[name]!r} here, {on_record[name]!r} in `comparisons`"


def _is_same(told: Any, on_record: Any) -> bool:
    """Whether two figures are one; a mean that was taken again in another order may differ in its last bits."""
    if isinstance(told, float) and isinstance(on_record, float):
        return math.isclose(told, on_record, rel_tol=1e-9)
    return bool(told == on_record)


def _beside(registry: Registry, ledger: pl.DataFrame, model_name: str) -> list[Finding]:
    """The registry beside the ledger, of one model."""
    try:
        found = differences(registry, ledger, model_name)
        pointers = registry.pointers(model_name)
    except PoolcastError as error:
        state: State = "broken" if isinstance(error, RegistryError) else "unchecked"
        return [Finding("registry", model_name, state, str(error))]
    is_told_of = bool((ledger["model_name"] == model_name).any())
    head = "the registry remembers the ledger's last row of it"
    if not is_told_of:
        head = "the ledger has no row of it, and the registry remembers none"
    ahead = ["the ledger is ahead of the registry: a move was cut short"] if found.head else []
    if pointers.ledger_head is None and (found.head or pointers.aliases.keys() & set(ALIASES)):
        # Its first move was cut short, or somebody took the memory away: from here the two look alike.
        ahead = ["the registry remembers no row, so a cut end cannot be seen"]
    return [
        _finding("registry", model_name, ahead, head),
        _finding("aliases", model_name, list(_otherwise(found)), "aliases and tags say what the ledger says"),
        _files(registry, standing(ledger, model_name), model_name),
    ]


def _otherwise(found: Differences) -> Iterator[str]:
    for alias, who in found.to_set.items():
        yield f"{alias} must be version {who.version}"
    for alias in found.to_clear:
        yield f"{alias} must be nobody"
    for version, name in found.tags:
        yield f"the tag {name!r} of version {version} is another"


def _files(registry: Registry, stands: Standing, model_name: str) -> Finding:
    """Whether every model file that the ledger tells of is what it says; who stands nowhere may be gone."""
    standing_now = {who.version for who in stands.placed.values()}
    there = {entry.version for entry in registry.versions(model_name)}
    wrong = []
    for version, sha256 in sorted(stands.files.items()):
        if version not in there and version not in standing_now:
            continue
        try:
            registry.load(model_name, version, expected_sha256=sha256)
        except PoolcastError as error:
            wrong.append(str(error))
    gone = len(stands.files.keys() - there)
    return _finding("files", model_name, wrong, f"{len(stands.files) - gone} model files hash right, {gone} are gone")


def _finding(check: str, model_name: str, wrong: list[str], sound: str) -> Finding:
    return Finding(check, model_name, "broken" if wrong else "sound", "; ".join(wrong) or sound)
