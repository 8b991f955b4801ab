"""How a column of a table may change between two versions of the code, and what its table looked like before.

Belongs here: undoing the four changes, each plain data in the spec of its table (`Table.changes`, oldest first), so
that rows written by any earlier version can be read and rewritten. Stays out: rewriting (`pipeline.lake.migrate`).
What has no word here is refused on purpose: another key, other partition columns, another meaning under the same name.
For those there is a new table beside the old one.
"""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.errors import UsageError
from pipeline.tables.columns import Added, Change, Column, Dropped, Renamed, Retyped, Table

_HASHED = "row_hash"
"""The column of a table whose rows are bound by hashes over their columns: a change of those breaks the chain."""


def earlier(table: Table) -> tuple[Table, ...]:
    """The table as each earlier version of the code had it, newest first.

    Raises:
        UsageError: a change does not fit the spec it led to, or is none that rows can follow.

    >>> from pipeline.tables.columns import count_column, text_column
    >>> columns = (text_column("pool", "the pool"), count_column("n_trades", "how many", nullable=True))
    >>> told = Table("t", "s", "pool", columns, ("pool",), None, changes=(Renamed("p", "pool"), Added("n_trades")))
    >>> [list(past.schema) for past in earlier(table=told)], earlier(told)[1].key
    ([['pool'], ['p']], ('p',))
    """
    past = tuple(_undoing(table))
    seen = [frozenset(each.schema.items()) for each in (table, *past)]
    if len(set(seen)) < len(seen):
        raise UsageError(
            f"the changes of {table.name!r} lead back to columns it had before: rows could not tell which version "
            "wrote them; leave out the changes that cancel each other"
        )
    return past


def in_words(change: Change) -> str:
    """A change, to be read.

    >>> in_words(Added("n_trades")), in_words(Renamed("n", "n_trades"))
    ("add 'n_trades'", "rename 'n' to 'n_trades'")
    """
    match change:
        case Added(name, filled):
            return f"add {name!r}" + ("" if filled is None else f", filled with {filled}")
        case Renamed(before, after):
            return f"rename {before!r} to {after!r}"
        case Retyped(name, before):
            return f"retype {name!r}, which was {before}"
        case Dropped(name):
            return f"drop {name!r}"


def _undoing(table: Table) -> Iterator[Table]:
    if table.changes and _HASHED in table.schema:
        raise UsageError(
            f"the rows of {table.name!r} are bound by hashes over their columns, so none may change; "
            "write what is new to a table beside it"
        )
    while table.changes:
        *before, change = table.changes
        table = replace(_undone(table, change), changes=tuple(before))
        yield table


def _undone(table: Table, change: Change) -> Table:
    """The table before one change; what it says of columns that are gone by now is only what reading them needs."""
    match change:
        case Added(name, filled):
            _require(table, change, name, is_loose=True)
            if filled is None and not table.column(name).nullable:
                raise _misfit(table, change, "may not be null, so say what its older rows are filled with")
            return replace(table, columns=tuple(c for c in table.columns if c.name != name))
        case Renamed(before, after):
            _require(table, change, after)
            if before in table.schema:
                raise _misfit(table, change, f"and {before!r} is there as well")
            return _renamed(table, after, before)
        case Retyped(name, before):
            _require(table, change, name, is_loose=True)
            if table.schema[name] == before:
                raise _misfit(table, change, "is of that type now")
            columns = (replace(c, dtype=before) if c.name == name else c for c in table.columns)
            return replace(table, columns=tuple(columns))
        case Dropped(name, dtype):
            if name in table.schema:
                raise _misfit(table, change, "is there")
            return replace(table, columns=(*table.columns, Column(name, dtype, "dropped since", nullable=True)))


def _renamed(table: Table, name: str, to: str) -> Table:
    return replace(
        table,
        columns=tuple(replace(c, name=to) if c.name == name else c for c in table.columns),
        key=tuple(to if each == name else each for each in table.key),
        time=to if table.time == name else table.time,
        as_of=to if table.as_of == name else table.as_of,
    )


def _require(table: Table, change: Change, name: str, *, is_loose: bool = False) -> None:
    """Refuse what the spec does not have, and what rows are filed or told apart by; `is_loose`: and dated by."""
    if name not in table.schema:
        raise _misfit(table, change, "is not there")
    bound = [*table.partition_by, *((*table.key, table.time, table.as_of) if is_loose else ())]
    if name in bound:
        raise _misfit(table, change, "files its rows, tells them apart or dates them: make a new table")


def _misfit(table: Table, change: Change, why: str) -> UsageError:
    return UsageError(f"the spec of {table.name!r} declares {in_words(change)!r}, but the column {why}")


__all__ = ["Added", "Change", "Dropped", "Renamed", "Retyped", "earlier", "in_words"]
