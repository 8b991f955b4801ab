"""Whether anybody hears: the tags that rules name against those that receivers carry.

Belongs here: what is told to nobody though no rule mutes it, in words. Stays out: who is told of what (`outbox`), and
an installation that names no receiver at all: it is told so wherever it asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.monitoring.alerts.events import KINDS
from pipeline.monitoring.alerts.receivers import Receiver
from pipeline.monitoring.alerts.rules import EVERYBODY, Rules


@dataclass(frozen=True)
class Gap:
    """A tag that leads to no receiver.

    Attributes:
        tag: as the rules name it.
        kinds: those whose alerts are to go there.
        unheard: those of them that go nowhere else, either.
        is_critical: whether one of these is critical.
    """

    tag: str
    kinds: tuple[str, ...]
    unheard: tuple[str, ...]
    is_critical: bool

    @property
    def words(self) -> str:
        """What is wrong, in one line."""
        why = f"no receiver carries the tag {self.tag!r}"
        if self.tag == EVERYBODY:
            why = "every receiver only waits for escalations"
        if self.unheard:
            return f"{why}: nobody hears of {', '.join(self.unheard)}"
        return f"{why}, which the rules name for {', '.join(self.kinds)}"


def gaps(rules: Rules, receivers: Sequence[Receiver]) -> tuple[Gap, ...]:
    """Every tag that a rule in force names and that leads to no receiver; none where nobody is named at all."""
    if not receivers:
        return ()
    to = {kind: rules.treatment(kind).to for kind in KINDS if not rules.treatment(kind).mute}
    missing = dict.fromkeys(tag for tags in to.values() for tag in tags if not hearing((tag,), receivers))
    return tuple(
        _gap(tag, {kind: tags for kind, tags in to.items() if tag in tags}, rules, receivers) for tag in missing
    )


def hearing(to: tuple[str, ...], receivers: Sequence[Receiver]) -> list[str]:
    """The names of the receivers that these tags lead to."""
    return [receiver.name for receiver in receivers if receiver.is_meant(to)]


def _gap(tag: str, to: dict[str, tuple[str, ...]], rules: Rules, receivers: Sequence[Receiver]) -> Gap:
    unheard = tuple(kind for kind, tags in to.items() if not hearing(tags, receivers))
    is_critical = any(rules.severity(kind, KINDS[kind].severity) == "critical" for kind in unheard)
    return Gap(tag, tuple(to), unheard, is_critical)
