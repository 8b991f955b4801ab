"""`poolcast alerts`: what happened, who was told, and a person's word that they know.

Belongs here: arguments, how alerts are shown, exit statuses. Stays out: who is told of what
(`pipeline.monitoring.alerts`).
"""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table as RichTable

from pipeline.cli.moments import moment
from pipeline.cli.rows import print_wide
from pipeline.cli.screen import (
    AsJson,
    DataDir,
    as_written,
    err,
    lake_of,
    out,
    print_json,
    settings_of,
    settings_there,
    user_name,
)
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from pipeline.monitoring.alerts.deliver import Told
    from pipeline.monitoring.alerts.receivers import Receiver
    from pipeline.monitoring.alerts.rules import Rules
    from pipeline.monitoring.alerts.setup import AlertSetup
    from resources.settings import Settings

alerts = typer.Typer(no_args_is_help=True, help="Alerts: what happened, who was told, and a person's word on it.")

STYLES: Final = {"critical": "bold red", "warning": "yellow", "info": ""}


@alerts.command("list")
def list_command(
    since: Annotated[str | None, typer.Option(help="Only since then: 36h, 7d, or a moment such as 2026-03-04.")] = None,
    unacknowledged: Annotated[bool, typer.Option(help="Only what nobody acknowledged.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what happened in the last 30 days, newest first: how much it matters, who was told, who knows of it."""
    import polars as pl

    from pipeline.calendars import SystemClock
    from pipeline.monitoring.alerts.journal import listed

    now = SystemClock().now()
    rows = listed(lake_of(settings_there(data_dir)), now)
    if since is not None:
        rows = rows.filter(pl.col("known_at") >= since_when(since, now))
    if unacknowledged:
        rows = rows.filter(pl.col("acknowledged_at").is_null() & (pl.col("state") != "recovered"))
    if as_json:
        print_json(rows.to_dicts())
    elif rows.is_empty():
        out.print("Nothing happened that somebody should know.")
    else:
        print_wide(alerts_table(rows))


@alerts.command("ack")
def ack_command(
    alert_id: Annotated[str, typer.Argument(help="The alert's id, or its first letters.")],
    reason: Annotated[str | None, typer.Option(help="What you know of it, or do about it.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Say that you know of an alert: nobody is told of it again, and it does not escalate."""
    from pipeline.calendars import SystemClock
    from pipeline.monitoring.alerts.journal import acknowledge

    whole = acknowledge(lake_of(settings_there(data_dir)), alert_id, user_name(), reason, SystemClock().now())
    out.print(f"{whole} is acknowledged.", markup=False)


@alerts.command("test")
def try_command(
    severity: Annotated[str, typer.Option(help="How much the test matters: info, warning or critical.")] = "info",
    data_dir: DataDir = None,
) -> None:
    """Tell everybody POOLCAST_ALERTS_TO names of a test, and say for each whether it arrived.

    Exit status: 0 it arrived everywhere; 1 somewhere it did not.
    """
    from pipeline.calendars import SystemClock
    from pipeline.monitoring.alerts.deliver import try_out
    from pipeline.monitoring.alerts.events import SEVERITIES

    chosen = next((each for each in SEVERITIES if each == severity), None)
    if chosen is None:
        raise UsageError(f"there is no severity {severity!r}; there are {list(SEVERITIES)!r}")
    settings = settings_of(data_dir)
    setup = setup_of(settings)
    receivers = setup.receivers()
    if not receivers:
        raise UsageError("POOLCAST_ALERTS_TO names no receiver; see docs/alerts.md for what it may hold")
    told = try_out(lake_of(settings), setup.folder, receivers, SystemClock(), severity=chosen, spec=setup.spec)
    _show_told(told)
    sys.exit(1 if any(each.n_failed for each in told) else 0)


@alerts.command("deliver")
def deliver_command(data_dir: DataDir = None) -> None:
    """Tell everybody what is due now. The sensor `alerts_told` does the same every minute.

    Exit status: 0 whatever was due arrived; 1 something did not, and is tried again by the next delivery.
    """
    from pipeline.calendars import SystemClock
    from pipeline.monitoring.alerts.deliver import deliver

    settings = settings_there(data_dir)
    setup = setup_of(settings)
    receivers = setup.receivers()
    if not receivers:
        out.print("Nobody is told: POOLCAST_ALERTS_TO names no receiver.")
        return
    told = deliver(lake_of(settings), setup.folder, receivers, SystemClock(), rules=setup.rules(), spec=setup.spec)
    _show_told(told)
    sys.exit(1 if any(each.n_failed for each in told) else 0)


@alerts.command("rules")
def rules_command(data_dir: DataDir = None) -> None:
    """Check the rule file that POOLCAST_ALERT_RULES names, and say what becomes of each kind of alert, and who hears.

    Exit status: 0 somebody hears of whatever is critical, or nobody was named; 1 nobody does.
    """
    from pipeline.monitoring.alerts.reach import gaps

    settings = settings_of(data_dir)
    if settings.alerts_to:  # receivers are called by a salt that lies in the installation
        settings = settings_there(data_dir)
    setup = setup_of(settings)
    rules, receivers = setup.rules(), setup.receivers()
    print_wide(_rules_table(rules, receivers))
    out.print(f"Rules: {rules.source}", markup=False)
    _show_receivers(rules, receivers)
    found = gaps(rules, receivers)
    for gap in found:
        severity = "critical" if gap.is_critical else "warning"
        err.print(f"{severity}: {gap.words}", markup=False, soft_wrap=True)  # a log gets each line whole
    if found:
        what_to_do = (
            "Put the tag before an address in POOLCAST_ALERTS_TO (TAG=..., TAG+TAG=...), or name one that is there."
        )
        err.print(what_to_do, soft_wrap=True)
    sys.exit(1 if any(gap.is_critical for gap in found) else 0)


def setup_of(settings: "Settings") -> "AlertSetup":
    """What an installation decides about alerts."""
    from pipeline.monitoring.alerts.setup import AlertSetup

    return AlertSetup(settings.alerts, settings.alert_rules, settings.alerts_to)


def alerts_table(rows: "pl.DataFrame") -> RichTable:
    """Alerts on the screen."""
    shown = RichTable("id", "when, UTC", "severity", "what", "told", "known to", box=None, pad_edge=False)
    for row in rows.iter_rows(named=True):
        severity = as_written(row["severity"])
        severity.stylize(STYLES.get(row["severity"], ""))
        known = row["acknowledged_by"] or ("" if row["state"] == "recovered" else "nobody")
        cells = (row["alert_id"], f"{row['event_time']:%Y-%m-%d %H:%M}")
        shown.add_row(*map(as_written, cells), severity, *map(as_written, (row["title"], row["n_receivers"], known)))
    return shown


def since_when(text: str, now: datetime) -> datetime:
    """A moment, or so long before now.

    >>> since_when("36h", datetime.fromisoformat("2026-03-04T12:00:00Z")).isoformat()
    '2026-03-03T00:00:00+00:00'

    Raises:
        UsageError: it is neither.
    """
    import re
    from datetime import timedelta

    ago = re.fullmatch(r"([0-9]{1,5})([mhd])", text.strip())
    if ago:
        return now - int(ago[1]) * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[ago[2]]
    try:
        return moment(text, "--since")
    except UsageError as error:
        raise UsageError(f"{error}; or how long ago, such as 36h or 7d") from error


def _rules_table(rules: "Rules", receivers: "Sequence[Receiver]") -> RichTable:
    from pipeline.monitoring.alerts.events import KINDS
    from pipeline.monitoring.alerts.reach import hearing

    shown = RichTable("kind", "severity", "told to", "once in", "what it is", box=None, pad_edge=False)
    for name, kind in KINDS.items():
        treatment = rules.treatment(name)
        to = as_written("nobody" if treatment.mute else ", ".join(treatment.to))
        if receivers and not treatment.mute and not hearing(treatment.to, receivers):
            to = as_written(f"{to}: nobody")
            to.stylize(STYLES["critical"])
        severity = rules.severity(name, kind.severity)
        shown.add_row(*map(as_written, (name, severity)), to, *map(as_written, (treatment.dedup, kind.meaning)))
    return shown


def _show_told(told: "list[Told]") -> None:
    for each in told:
        failed = f", {each.n_failed} not: {each.reason}" if each.n_failed else ""
        out.print(f"{each.receiver}: {each.n_sent} arrived{failed}", markup=False)
    if not told:
        out.print("Nothing is due.")


def _show_receivers(rules: "Rules", receivers: "Sequence[Receiver]") -> None:
    from pipeline.monitoring.alerts.reach import hearing

    if not receivers:
        out.print("Nobody is told: POOLCAST_ALERTS_TO names no receiver.")
        return
    for receiver in receivers:
        out.print(f"Receiver {receiver.name}: {', '.join(sorted(receiver.tags)) or 'no tag'}", markup=False)
    escalation = rules.escalation
    last = hearing(escalation.to, receivers) if escalation.repeat else []
    out.print(f"Told when nobody acknowledges what is critical: {', '.join(last) or 'nobody'}", markup=False)
