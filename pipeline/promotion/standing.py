"""Who stands where by the ledger: a fold over its rows.

Belongs here: what each action does to a model's standing. Pure. Stays out: which action is allowed when (`rules`), and
the rows themselves (`ledger`).

One row is one move, and what follows from a move needs no row of its own:

| action | by itself | what follows |
|---|---|---|
| `promote` | champion <- version | the old champion becomes `former`; the trial ends |
| `rollback` | champion <- version | the one thrown out is barred; there is no `former` now; the trial ends |
| `challenge` | challenger <- version | one who waited yields |
| `shadow` | shadow <- version | it waits no longer |
| `reject` | shadow <- nobody | |
| `approve` | a person's word | the version is neither vetoed nor barred any more |
| `veto` | a person's word | the version loses whatever place it had |
| `pin`, `unpin` | a person's word | nothing moves by itself until it is unpinned |

A trial is against one champion, so it ends with whoever changes the champion: its wealth says nothing of another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, get_args

import polars as pl

from pipeline.errors import RegistryError
from pipeline.promotion.chain import verify

type Alias = Literal["champion", "former", "shadow", "challenger"]
ALIASES: Final[tuple[Alias, ...]] = get_args(Alias.__value__)

type Action = Literal["promote", "rollback", "challenge", "shadow", "reject", "approve", "veto", "pin", "unpin"]
ALIAS_OF: Final[Mapping[Action, Literal["champion", "shadow", "challenger", "none"]]] = {
    "promote": "champion", "rollback": "champion", "challenge": "challenger", "shadow": "shadow", "reject": "shadow",
    "approve": "none", "veto": "none", "pin": "none", "unpin": "none",
}  # fmt: skip
"""The alias that an action moves by itself; `none`: a person's word."""

NOBODY: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True)
class Deployed:
    """A version that the ledger names, and the row that put it where it stands."""

    model_name: str
    version: int
    model_sha256: str
    sequence: int
    known_at: datetime
    row_hash: str


@dataclass(frozen=True)
class Standing:
    """Who stands where, of one model.

    Attributes:
        champion: who is in charge; None only before the first.
        former: the champion before, kept in shadow as the one to go back to.
        shadow: a challenger on trial beside the champion.
        challenger: passed the offline comparison, and waits for its trial.
        pinned: nothing moves by itself.
        approved: versions a person approved.
        vetoed: versions a person vetoed.
        barred: versions that were thrown out, and that no person approved since.
        cooling_since: when a champion was last thrown out.
        files: version -> SHA-256 of its model file, of every version the ledger ever named.
        reigned: versions that are or were in charge.
    """

    champion: Deployed | None = None
    former: Deployed | None = None
    shadow: Deployed | None = None
    challenger: Deployed | None = None
    pinned: bool = False
    approved: frozenset[int] = NOBODY
    vetoed: frozenset[int] = NOBODY
    barred: frozenset[int] = NOBODY
    cooling_since: datetime | None = None
    files: Mapping[int, str] = field(default_factory=dict, repr=False)
    reigned: frozenset[int] = NOBODY

    def at(self, alias: Alias) -> Deployed | None:
        """Who stands at `alias`."""
        found: Deployed | None = getattr(self, alias)
        return found

    @property
    def placed(self) -> dict[Alias, Deployed]:
        """Every alias that somebody stands at."""
        return {alias: found for alias in ALIASES if (found := self.at(alias)) is not None}

    @property
    def reigned_before(self) -> tuple[int, ...]:
        """The versions that were in charge before the one that is now: whom one may go back to."""
        return tuple(sorted(self.reigned - ({self.champion.version} if self.champion else NOBODY)))

    def way_back(self) -> str:
        """Whom a rollback can go back to, in words; where there is nobody, what helps instead."""
        if self.champion is None:
            return "nobody is in charge, so there is nothing to go back from"
        if self.reigned_before:
            return f"in charge before were {', '.join(map(str, self.reigned_before))}"
        return (
            f"nobody was in charge before version {self.champion.version}: train (`poolcast models train`); what "
            "beats it takes its place"
        )

    def of(self, version: int) -> str:
        """What one version is, in a few words: where it stands since when, and what was said of it."""
        stood = [(alias, who.known_at) for alias, who in self.placed.items() if who.version == version]
        places = [f"{alias} since {since:%Y-%m-%d %H:%M} UTC" for alias, since in stood]
        said = {"approved": self.approved, "vetoed": self.vetoed, "barred": self.barred}
        words = [word for word, versions in said.items() if version in versions]
        return ", ".join([*places, *words]) or "stands nowhere"


def standing(ledger: pl.DataFrame, model_name: str) -> Standing:
    """Who stands where of `model_name`, after the ledger (in any order) was verified.

    Raises:
        RegistryError: the ledger is broken, or a row tells of an action that does not exist.
    """
    ledger = ledger.sort("sequence")
    verify(ledger)
    found = Standing()
    for row in ledger.filter(pl.col("model_name") == model_name).iter_rows(named=True):
        found = after(found, row)
    return found


def after(before: Standing, row: Mapping[str, Any]) -> Standing:
    """The standing of a model after one more row of it.

    Raises:
        RegistryError: the row tells of an action that does not exist, or of an alias that is not its own.
    """
    if ALIAS_OF.get(row["action"]) != row["alias"]:
        raise RegistryError(
            f"read row {row['sequence']} of the ledger: it tells of {row['action']!r} on the alias {row['alias']!r},"
            f" which is none of {dict(ALIAS_OF)!r}; was it written by a newer poolcast?"
        )
    named = Deployed(**{name: row[name] for name in Deployed.__dataclass_fields__})
    known = replace(before, files={**before.files, named.version: named.model_sha256})
    return _EFFECTS[row["action"]](known, named)


def _unless(who: Deployed | None, version: int) -> Deployed | None:
    """Who stands there, or nobody where it is that version."""
    return None if who is not None and who.version == version else who


def _moved_to(who: Deployed, moved: Deployed) -> Deployed:
    """The same version, put where it stands now by the row that moved another."""
    return replace(who, sequence=moved.sequence, known_at=moved.known_at, row_hash=moved.row_hash)


def _promoted(before: Standing, new: Deployed) -> Standing:
    old = before.champion
    is_other = old is not None and old.version != new.version
    former = _moved_to(old, new) if old is not None and is_other else _unless(before.former, new.version)
    return _in_charge(before, new, former)


def _rolled_back(before: Standing, new: Deployed) -> Standing:
    thrown = frozenset({before.champion.version}) if before.champion else NOBODY
    ruled = replace(
        before,
        barred=(before.barred | thrown) - {new.version},
        approved=before.approved - thrown,
        cooling_since=new.known_at,
    )
    return _in_charge(ruled, new, None)


def _in_charge(before: Standing, new: Deployed, former: Deployed | None) -> Standing:
    waiting = _unless(before.challenger, new.version)
    reigned = before.reigned | {new.version}
    return replace(before, champion=new, former=former, shadow=None, challenger=waiting, reigned=reigned)


def _challenged(before: Standing, new: Deployed) -> Standing:
    return replace(before, challenger=new)


def _on_trial(before: Standing, new: Deployed) -> Standing:
    return replace(before, shadow=new, challenger=_unless(before.challenger, new.version))


def _rejected(before: Standing, _: Deployed) -> Standing:
    return replace(before, shadow=None)


def _approved(before: Standing, named: Deployed) -> Standing:
    one = {named.version}
    return replace(before, approved=before.approved | one, vetoed=before.vetoed - one, barred=before.barred - one)


def _vetoed(before: Standing, named: Deployed) -> Standing:
    one = {named.version}
    return replace(
        before,
        approved=before.approved - one,
        vetoed=before.vetoed | one,
        former=_unless(before.former, named.version),
        shadow=_unless(before.shadow, named.version),
        challenger=_unless(before.challenger, named.version),
    )


def _pinned(before: Standing, _: Deployed) -> Standing:
    return replace(before, pinned=True)


def _unpinned(before: Standing, _: Deployed) -> Standing:
    return replace(before, pinned=False)


_EFFECTS: Final[Mapping[Action, Callable[[Standing, Deployed], Standing]]] = {
    "promote": _promoted, "rollback": _rolled_back, "challenge": _challenged, "shadow": _on_trial,
    "reject": _rejected, "approve": _approved, "veto": _vetoed, "pin": _pinned, "unpin": _unpinned,
}  # fmt: skip
