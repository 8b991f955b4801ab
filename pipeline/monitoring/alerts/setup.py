"""Everything about alerts that an installation decides: the folder, the rule file, the addresses.

Stays out: reading the environment (`resources.settings`).
"""

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.monitoring.alerts.receivers import Receiver, receivers_of, salt_of
from pipeline.monitoring.alerts.rule_file import read_rules
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.spec import ALERTING, AlertsSpec


@dataclass(frozen=True)
class AlertSetup:
    """Where alerts keep their locks and their salt, what the rules are, and who is told.

    `to` is what `POOLCAST_ALERTS_TO` says; it is a secret.
    """

    folder: Path
    rule_file: Path | None = None
    to: str | None = field(default=None, repr=False)
    spec: AlertsSpec = ALERTING

    def rules(self) -> Rules:
        """The rules, read anew at each call.

        Raises:
            InputError: the rule file cannot be read, or holds what it may not.
        """
        return read_rules(self.rule_file)

    def receivers(self) -> tuple[Receiver, ...]:
        """Who is told; nobody where nobody is named.

        Raises:
            UsageError: a part of what is named is no address.
        """
        return receivers_of(self.to, salt_of(self.folder)) if (self.to or "").strip() else ()
