"""What every command shares: the two consoles, JSON, the options that return, the installation, the instance.

Stays out: any command's own words.
"""

import json
import math
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipeline.errors import ServiceError, UsageError
from pipeline.text import spelled

if TYPE_CHECKING:
    import dagster as dg

    from pipeline.lake import Lake
    from resources.settings import Settings

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder that holds everything poolcast writes.", envvar="POOLCAST_DATA_DIR"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """The value as JSON that any reader takes: no NaN, nothing a terminal interprets, not even half a character.

    What JSON has no word for is told as `plain` has it, all else as text. `indent` None: on one line, for many rows.
    """
    told = json.dumps(plain(value), default=str, ensure_ascii=True, allow_nan=False, indent=indent)
    sys.stdout.write(told + "\n")


def plain(value: Any) -> Any:
    """A value as JSON may hold it: times in ISO 8601, bytes as their length, null for what is no number.

    >>> plain({1: (date(2024, 3, 1), b"abc", float("nan"), 0.5)})
    {'1': ['2024-03-01', '3 bytes', None, 0.5]}
    """
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def as_written(value: object) -> Text:
    r"""A value as text that no terminal interprets, as long as it is: a reason that is cut is none.

    >>> as_written("[red]a\x1b[2Jb\n").plain
    '[red]a\\x1b[2Jb\\n'
    """
    return Text(spelled("" if value is None else str(value)))


def user_name() -> str:
    """Who runs this process, as the operating system knows it; the environment may say anything."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def by_comma(told: str) -> tuple[str, ...]:
    """The names in a text that has commas between them.

    >>> by_comma("open, close,,")
    ('open', 'close')
    """
    return tuple(part.strip() for part in told.split(",") if part.strip())


def settings_of(data_dir: Path | None, dagster_port: int | None = None, mlflow_port: int | None = None) -> "Settings":
    """Where this installation keeps its state: the environment, with the flags on top."""
    from resources.settings import Settings

    return Settings.from_environment(data_dir, dagster_port, mlflow_port)


def settings_there(data_dir: Path | None, *, is_lake_enough: bool = True) -> "Settings":
    """The same of an installation that is there: for whatever looks at one or works on it, and never makes one.

    `is_lake_enough`: nothing but the lake has to be there, and one on an object store needs no folder here.

    Raises:
        UsageError: there is no such folder. Else a mistyped one, or another working directory, would be an installation
            that is new and well, for ever.
    """
    settings = settings_of(data_dir)
    if (settings.lake_url is None or not is_lake_enough) and _is_absent(settings.data_dir):
        raise UsageError(
            f"there is no data folder {str(settings.data_dir)!r}: name the one that poolcast writes to with --data-dir "
            "or POOLCAST_DATA_DIR; `make demo` makes one"
        )
    return settings


def _is_absent(folder: Path) -> bool:
    try:
        return not folder.exists()
    except OSError:  # it cannot be seen, which whoever reads it tells
        return False


def lake_of(settings: "Settings") -> "Lake":
    """The lake of an installation."""
    from resources.lake import lake_of as opened

    return opened(settings)


@contextmanager
def instance_of(
    settings: "Settings", *, alone: bool = True
) -> Iterator[tuple["dg.Definitions", "dg.DagsterInstance", dict[str, str]]]:
    """The graph and the instance it runs on, in this process; runs that a kill orphaned are ended first.

    `alone`: nobody else may replay recordings in the same data folder meanwhile. Collectors may be several.
    """
    from resources.alone import beside
    from resources.dagster_home import dagster_instance
    from resources.locks import FileLock
    from resources.migrations import require_migrated
    from resources.orphans import fail_orphans, process_tags
    from resources.postgres import postgres

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside is ended as by Ctrl-C: in order
    lock = FileLock(settings.data_dir / "replay.lock")
    if alone and not lock.try_acquire("exclusive"):
        raise ServiceError(f"another demo or import is working in {str(settings.data_dir)!r}: wait until it is done")
    with beside(settings), postgres(settings) as databases:
        require_migrated(settings, databases)
        with dagster_instance(settings, databases) as instance:
            fail_orphans(instance, is_embedded=databases.is_embedded, has_launcher=True)
            from pipeline.definitions import build_defs  # reads the environment that `dagster_instance` has just set

            yield build_defs(), instance, process_tags()
