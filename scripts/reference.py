"""Writes the pages of reference that are made from the code: every table, every command.

    .venv/bin/python scripts/reference.py [--check]

`--check` writes nothing and fails where a page is not what the code says.
"""

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
    lines = ["# Tables", "", MADE, "", "Each is a Delta Lake table; `poolcast lake sql` reads them all.", ""]
    for stage in known:
        tables = [table for table in TABLES.values() if table.stage == stage]
        if tables:
            lines += [f"## {stage}", "", *(line for table in tables for line in _table(table))]
    return "\n".join(lines)


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
    if column.minimum is not None or column.maximum is not None:
        low = "" if column.minimum is None else f"{column.minimum:g}"
        high = "" if column.maximum is None else f"{column.maximum:g}"
        told.append(f"{low} to {high}" if low and high else f"from {low}" if low else f"to {high}")
    told += ["null"] if column.nullable else []
    return "; ".join(told)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def commands_page() -> str:
    """Every command: what it does, its arguments and options."""
    lines = [
        "# Commands",
        "",
        MADE,
        "",
        "`poolcast` is `.venv/bin/poolcast`. Exit statuses: 0 done, 1 something failed,",
    ]
    lines += ["2 wrong use; `bins check` also 3 (warnings) and 4 (errors found).", ""]
    root = typer.main.get_command(app)
    return "\n".join([*lines, *_group(root, "poolcast")])


def _group(command: Any, path: str) -> Iterator[str]:
    for name, inner in sorted(command.commands.items()):
        if inner.hidden:
            continue
        if hasattr(inner, "commands"):
            yield from _group(inner, f"{path} {name}")
        else:
            yield from _command(inner, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(_argument(p) for p in arguments)
    yield from (f"## {path} {usage}".rstrip(), "", *(command.help or "").strip().splitlines(), "")
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
