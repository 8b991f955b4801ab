"""What goes wrong on purpose, and when.

Belongs here: the kinds of faults, the plan that a seed makes deterministic, the script of a test. Stays out: what a
fault does to a document (`planting`) and to the transport (`responses`).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from numpy.random import PCG64, Generator, SeedSequence

from pipeline.errors import UsageError

WIRE_FAULTS: Final = (
    "rate_limited", "rate_limited_silently", "error_500", "error_502", "error_503", "drip", "stall", "bomb",
    "redirect", "truncated", "wrong_type",
)  # fmt: skip
"""A 429 with and without Retry-After, server errors, a body that trickles, one that stops half-way, one that unpacks to
far too much, a redirect to another address, half a document, a page instead of a document."""

RECORD_FAULTS: Final = {
    "duplicated": ("new_pools", "pools_multi", "trades", "ohlcv"),
    "reordered": ("new_pools", "pools_multi", "trades", "ohlcv"),
    "swapped_page": ("new_pools",),
    "vanished": ("pools_multi",),
    "retyped": ("new_pools", "pools_multi", "pool", "trades", "ohlcv", "token_info"),
    "bad_numbers": ("new_pools", "pools_multi", "pool", "trades", "ohlcv"),
    "hostile_names": ("new_pools", "pools_multi", "pool", "token_info", "tokens_recently_updated"),
}
"""What is done to the records of an answer, and the endpoints it is done to."""

KINDS: Final = (*WIRE_FAULTS, *RECORD_FAULTS)


@dataclass(frozen=True)
class Scripted:
    """The next `times` calls whose path under the API's prefix matches `path` (`*`: anything) meet `kind`."""

    path: str
    kind: str
    times: int = 1

    def __post_init__(self) -> None:
        _require_kinds([self.kind])
        if self.times < 1:
            raise UsageError(f"a fault is scripted for 1 call or more, found {self.times!r}")


@dataclass(frozen=True)
class FaultPlan:
    """Which calls meet which fault.

    Scripted faults come first, in order. Otherwise a call meets `kind` with `probability[kind]`, drawn from the seed,
    its path and parameters and how often they were asked for: not from the order in which calls arrive. `gone` are
    addresses of pools that nobody knows any more. A drip takes `drip_s`, a stall `stall_s` real seconds; a bomb unpacks
    to `bomb_bytes`.

    Raises:
        UsageError: a kind that there is not, or numbers that are no probabilities or durations.
    """

    seed: int = 0
    probability: Mapping[str, float] = field(default_factory=dict)
    script: tuple[Scripted, ...] = ()
    gone: tuple[str, ...] = ()
    drip_s: float = 1.0
    stall_s: float = 1.0
    bomb_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        _require_kinds(self.probability)
        if any(not p >= 0 for p in self.probability.values()) or not sum(self.probability.values()) <= 1 + 1e-9:
            raise UsageError(f"probabilities must be from 0 and sum to 1 at most, found {dict(self.probability)!r}")
        if self.seed < 0 or not (0 <= self.drip_s <= 3600 and 0 <= self.stall_s <= 3600):
            told = (self.seed, self.drip_s, self.stall_s)
            raise UsageError(f"seed, drip_s and stall_s must be from 0, the latter two up to 3600, found {told!r}")
        if not 0 < self.bomb_bytes <= 1_000_000_000:
            raise UsageError(f"a bomb unpacks to 1 to 1,000,000,000 bytes, found {self.bomb_bytes!r}")

    @classmethod
    def evenly(cls, probability: float, seed: int = 0) -> "FaultPlan":
        """The plan under which a call meets some fault with `probability`, all kinds alike."""
        return cls(seed, dict.fromkeys(KINDS, probability / len(KINDS)))

    def as_json(self) -> dict[str, Any]:
        """The plan for the wire."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "FaultPlan":
        """The plan that `as_json` wrote; what is left out is as if nobody had said anything.

        Raises:
            UsageError: something in it is unknown, or of the wrong type.
        """
        try:
            script = tuple(Scripted(**entry) for entry in told.get("script", ()))
            return cls(**(told | {"script": script, "gone": tuple(told.get("gone", ()))}))
        except (TypeError, AttributeError) as error:
            raise UsageError(f"a fault plan cannot be read from {told!r}: {error}") from error


class Faults:
    """A plan as it is carried out."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._left = [entry.times for entry in plan.script]
        self._asked: Counter[str] = Counter()

    def draw(self, path: str, query: str, endpoint: str | None) -> tuple[str | None, Generator]:
        """The fault that this call meets, if any, and the generator that its details are drawn from.

        A drawn kind that cannot be done to the endpoint's records is not met: the call is answered as it should be. A
        scripted one waits for a call that it can be done to.
        """
        call = f"{path}?{query}"
        self._asked[call] += 1
        digest = hashlib.sha256(f"{call}\n{self._asked[call]}".encode()).digest()
        rng = Generator(PCG64(SeedSequence([self.plan.seed, int.from_bytes(digest[:16])])))
        drawn = self._drawn(float(rng.random()))
        return self._scripted(path, endpoint) or (drawn if _can_meet(endpoint, drawn) else None), rng

    def _scripted(self, path: str, endpoint: str | None) -> str | None:
        for place, entry in enumerate(self.plan.script):
            if self._left[place] and fnmatchcase(path, entry.path) and _can_meet(endpoint, entry.kind):
                self._left[place] -= 1
                return entry.kind
        return None

    def _drawn(self, chance: float) -> str | None:
        for kind, probability in sorted(self.plan.probability.items()):
            chance -= probability
            if chance < 0:
                return kind
        return None


def _can_meet(endpoint: str | None, kind: str | None) -> bool:
    return kind not in RECORD_FAULTS or endpoint in RECORD_FAULTS[kind]


def _require_kinds(kinds: Any) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"there are no faults {unknown!r}; there are {KINDS!r}")
