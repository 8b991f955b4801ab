"""`poolcast quality quarantine`: what was put aside, and letting a record in.

Belongs here: arguments, and how records are shown. What they quote comes from a chain: shown, never interpreted.
"""

from typing import Annotated

import typer

from pipeline.cli.moments import moment
from pipeline.cli.rows import print_rows_as_json, show_rows
from pipeline.cli.screen import AsJson, DataDir, err, lake_of, out, settings_there, user_name

quarantine = typer.Typer(no_args_is_help=True, help="Quarantine: what was put aside, and why.")

_SHOWN = ("record_id", "table_name", "event_time", "reason", "detail", "release")


@quarantine.command("list")
def list_command(
    table: Annotated[str | None, typer.Option(help="Only what was meant for this table.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that hold this text.")] = None,
    since: Annotated[str | None, typer.Option(help="Only records of this moment or later, ISO 8601, UTC.")] = None,
    limit: Annotated[int, typer.Option(help="Print at most so many, the newest first.", min=1)] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the records that were put aside, each with its reason and whether it may be released."""
    from pipeline.expectations.releases import listed

    when = None if since is None else moment(since, "--since")
    found = listed(lake_of(settings_there(data_dir)), table=table, reason=reason, since=when)
    shown = found.head(limit)
    if as_json:
        print_rows_as_json(shown)
        return
    show_rows(shown.select(_SHOWN))
    if found.height > limit:
        err.print(f"{found.height - limit:,} more: raise --limit, or narrow with --table, --reason, --since")


@quarantine.command("release")
def release_command(
    record_ids: Annotated[list[str], typer.Argument(metavar="RECORD_ID...", help="As `list --json` tells them.")],
    reason: Annotated[str, typer.Option(help="Why these are sound, in words; it is kept.")],
    actor: Annotated[str | None, typer.Option(help="Who says so; unless given, who is logged in.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let records in: each passes the next time its hour is computed, and its hour is made due for that.

    Only doubts can be released, such as a bound that was too strict; what is missing, no number, or there twice, never.
    """
    from pipeline.calendars import SystemClock
    from pipeline.expectations.releases import release

    lake, now = lake_of(settings_there(data_dir)), SystemClock().now()
    done = release(lake, record_ids, reason=reason, actor=actor or user_name(), now=now)
    if as_json:
        print_rows_as_json(done)
        return
    hours = done.select("table_name", done["event_time"].dt.truncate("1h")).unique().sort("event_time")
    for name, hour in hours.rows():
        out.print(f"{name}: materialise {hour:%Y-%m-%d-%H:%M}, or wait for the next run over that hour", markup=False)
    if done.is_empty():
        out.print("nothing to release: these lie in their tables already, or are made no more", markup=False)
