"""`poolcast migrate`, `backup` and `restore`: from an older version of poolcast to this one, and back.

Belongs here: arguments, and how a plan reads. Stays out: everything that is done (`resources.migrations`, `backups`).
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.rows import size
from pipeline.cli.screen import AsJson, DataDir, err, lake_of, out, print_json, settings_there

if TYPE_CHECKING:
    from resources.migrations import Plan


def migrate(
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    is_backed_up: Annotated[
        bool, typer.Option("--backup/--no-backup", help="Copy all tables and both databases first.")
    ] = True,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the databases and the tables of an older version of poolcast to this one.

    Stop `poolcast up` and everything else first; only --dry-run works beside them. Killed at any moment, the same
    command carries on.
    """
    from pipeline.calendars import SystemClock
    from resources import migrations
    from resources.alone import alone, looking

    settings = settings_there(data_dir, is_lake_enough=False)
    with looking(settings) if is_dry else alone(settings) as databases:
        todo = migrations.plan(lake_of(settings), databases)
        if not as_json:
            _show(todo)
        kept = None
        if not is_dry:
            now = SystemClock().now()
            kept = migrations.run(settings, databases, now=now, is_backed_up=is_backed_up, said=_say)
    if as_json:
        print_json({"is_done": not is_dry, "backup": kept and kept.stamp, **asdict(todo)})
    elif kept is not None:
        out.print(f"Done. The backup is {kept.stamp}; back to it: poolcast restore {kept.stamp}", markup=False)
    elif not todo.is_empty and not is_dry:
        out.print("Done.")


def backup(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Copy all tables and both databases, as they are now, to DATA_DIR/backups; nothing may work meanwhile.

    The copies share the disk and the server with what they are copies of: they guard against mistakes, not against
    the loss of either.
    """
    from pipeline.calendars import SystemClock
    from resources import backups
    from resources.alone import alone

    settings = settings_there(data_dir, is_lake_enough=False)
    root = backups.folder_of(settings)
    with alone(settings) as databases:
        kept = backups.make(
            root, lake_of(settings), databases, now=SystemClock().now(), target="a backup by hand", said=_say
        )
        backups.finish(root, kept)
    told: dict[str, Any] = {"backup": kept.stamp}
    print_json(told) if as_json else out.print(f"Backup {kept.stamp} in {root / kept.stamp}", markup=False)


def restore(
    stamp: Annotated[str, typer.Argument(help="The backup's name, like 20260904T120000Z.")],
    is_backed_up: Annotated[bool, typer.Option("--backup/--no-backup", help="Copy what is there now first.")] = True,
    data_dir: DataDir = None,
) -> None:
    """Put all tables and both databases back as a backup has them; what they are now becomes a backup first.

    Use the version of poolcast that wrote what the backup holds, or run `poolcast migrate` afterwards.
    """
    from pipeline.calendars import SystemClock
    from resources import backups
    from resources.alone import alone

    settings = settings_there(data_dir, is_lake_enough=False)
    root, lake, before = backups.folder_of(settings), lake_of(settings), None
    wanted = backups.read(root, stamp)
    with alone(settings) as databases:
        if is_backed_up:
            before = backups.keep_present(root, wanted, lake, databases, now=SystemClock().now(), said=_say)
        backups.restore(root, wanted, lake, databases, _say)
    out.print(f"Restored {stamp}. The backup is still there.", markup=False)
    if before is not None:
        out.print(f"It replaced {before.stamp}; back to it: poolcast restore {before.stamp}", markup=False)


def _say(words: str) -> None:
    err.print(words, markup=False)


def _show(todo: "Plan") -> None:
    """The plan, step by step."""
    if todo.is_empty:
        out.print("Nothing to do: everything is as this version of poolcast has it.")
    for database in todo.databases:
        out.print(f"{database.owner}'s database, at revision {database.at}", markup=False)
        for revision in database.ahead:
            out.print(f"  to {revision}", markup=False)
        for name in database.fills:
            out.print(f"  then fill in {name}", markup=False)
    for table in todo.tables:
        of = "file" if table.n_files == 1 else "files"
        out.print(f"table {table.table}, version {table.version}: {table.n_files:,} {of}, {size(table.n_bytes)}")
        for change in table.changes:
            out.print(f"  {change}", markup=False)
