"""Writes the pages of reference that are made from the code: every table, every command, each with its contents first.

    .venv/bin/python scripts/reference.py [--check]

`--check` writes nothing and fails where a page is not what the code says.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.cli import app  # noqa: E402
from pipeline.tables import TABLES, Column, Table  # noqa: E402

STAGES = ("pools", "snapshots", "features", "labels", "bins", "models", "promotion", "predictions", "monitoring")
MADE = "*Made by `make reference`; change the code, not this page.*"


def tables_page() -> str:
    """Every table by stage: its grain, key and dates, and its columns."""
    known = [*STAGES, *sorted({table.stage for table in TABLES.values()} - set(STAGES))]
    head = ["# Tables", "", MADE, "", "Each is a Delta Lake table; `poolcast lake sql` reads them all.", ""]
    contents, lines = ["| stage | tables |", "|---|---|"], []
    for stage in known:
        tables = [table for table in TABLES.values() if table.stage == stage]
        if tables:
            links = ", ".join(f"[`{table.name}`]({_anchor(table.name)})" for table in tables)
            heading = f"Stage {stage}"  # not the stage alone: a table of that name is a heading, too
            contents.append(f"| [{stage}]({_anchor(heading)}) | {links} |")
            lines += [f"## {heading}", "", *(line for table in tables for line in _table(table))]
    return "\n".join([*head, *contents, "", *lines])


def _anchor(heading: str) -> str:
    """Where a link to a heading of the same page leads."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _table(table: Table) -> Iterator[str]:
    yield from (f"### {table.name}", "", f"One row is {table.grain}.", "")
    told = [f"key `{', '.join(table.key)}`", f"known since `{table.as_of}`"]
    told += [f"follows `{table.time}`"] if table.time else []
    told += [f"folders `{', '.join(table.partition_by)}`"] if table.partition_by else []
    yield from (f"{'; '.join(told)}.", "", "| column | type | unit | may hold | meaning |", "|---|---|---|---|---|")
    for column in table.columns:
        cells = (f"`{column.name}`", _dtype(column), column.unit, _may_hold(column), column.meaning)
        yield "| " + " | ".join(_cell(text) for text in cells) + " |"
    yield ""


def _dtype(column: Column) -> str:
    told = str(column.dtype() if isinstance(column.dtype, type) else column.dtype)
    return "Datetime, UTC" if told.startswith("Datetime") else told


def _may_hold(column: Column) -> str:
    told = []
    if column.values is not None:
        told.append(", ".join(f"`{value}`" for value in column.values))
    told += [column.bounds] if column.bounds else []
    told += ["null"] if column.nullable else []
    return "; ".join(told)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def commands_page() -> str:
    """Every command: what it does, its arguments and options."""
    head = [
        "# Commands",
        "",
        MADE,
        "",
        "`poolcast` is `.venv/bin/poolcast`. Exit statuses: 0 done, 1 something failed, 2 wrong use; `bins check` also",
        "3 (warnings) and 4 (errors found). A time without a zone is UTC.",
        "",
    ]
    commands = list(_commands(typer.main.get_command(app), "poolcast"))
    contents = ["| command | |", "|---|---|"]
    for path, command in commands:
        contents.append(f"| [`{path}`]({_anchor(_heading(path, command))}) | {_cell(_first_sentence(command))} |")
    return "\n".join([*head, *contents, "", *(line for path, each in commands for line in _command(each, path))])


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, under its whole name, in the order of the alphabet."""
    for name, inner in sorted(command.commands.items()):
        if hasattr(inner, "commands"):
            yield from _commands(inner, f"{path} {name}")
        elif not inner.hidden:
            yield f"{path} {name}", inner


def _first_sentence(command: Any) -> str:
    """What a command does, without why and how."""
    return re.split(r"(?<=[.:;]) ", _cell(command.help or ""), maxsplit=1)[0].rstrip(".:;")


def _heading(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    return " ".join([path, *map(_argument, arguments)])


def _command(command: Any, path: str) -> Iterator[str]:
    yield from (f"## {_heading(path, command)}", "", *(command.help or "").strip().splitlines(), "")
    told = [p for p in command.params if p.name != "help" and (p.help or p.param_type_name == "option")]
    if told:
        yield from ("| | | default |", "|---|---|---|")
        for p in told:
            names = ", ".join([*p.opts, *p.secondary_opts]) if p.param_type_name == "option" else p.name
            default = "" if callable(p.default) or p.default in (None, [], (), False) else str(p.default)
            yield f"| `{names}` | {_cell(p.help or '')} | {_cell(default)} |"
        yield ""


def _argument(parameter: Any) -> str:
    name = str(parameter.name).upper()
    return (name if parameter.required else f"[{name}]") + ("..." if parameter.nargs == -1 else "")


PAGES = {"tables.md": tables_page, "commands.md": commands_page}


def main() -> None:
    """Write what is stale, or say so."""
    stale = []
    for name, made in PAGES.items():
        path, text = ROOT / "docs" / "reference" / name, made().rstrip() + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if stale and "--check" in sys.argv:
        sys.exit(f"docs/reference: {', '.join(stale)} is not what the code says; run make reference")
    sys.stdout.write(f"docs/reference: {', '.join(stale) or 'nothing'} written\n")


if __name__ == "__main__":
    main()
