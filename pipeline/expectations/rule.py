"""What a rule is, and the few shapes that most rules have.

Belongs here: the rule and its makers. Stays out: which table has which rule (`meaning` and the `of_*` modules).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Final, Literal

import polars as pl

Severity = Literal["blocking", "warning"]
Kind = Literal["missing", "finite", "bounds", "values", "meaning", "frame"]
"""What a rule speaks of: one column's nulls, numbers that are none, bounds, closed values; several columns of a row;
or all rows of a frame together."""

SLACK: Final = 1e-9
"""Relative; sums of floats over nested windows are made in different orders."""
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""The clock of a chain and ours may differ by a little, never by more."""


@dataclass(frozen=True)
class Rule:
    """One rule: its words, the columns it speaks of, what follows where it is broken, and where it holds.

    `holds` is true where the rule holds, false where it is broken, null where it does not apply.
    """

    words: str
    columns: tuple[str, ...]
    holds: pl.Expr = field(compare=False, repr=False)
    severity: Severity = "blocking"
    kind: Kind = "meaning"

    @property
    def in_words(self) -> str:
        """The rule as it stands alone: with the column it speaks of, where its words do not name it.

        >>> Rule("is at least 0 USD", ("reserve_usd",), pl.col("reserve_usd") >= 0, kind="bounds").in_words
        'reserve_usd is at least 0 USD'
        """
        return f"{self.columns[0]} {self.words}" if self.kind in ("missing", "bounds", "values") else self.words

    @property
    def may_be_released(self) -> bool:
        """Whether a row that breaks it may be let in by a person's word: a doubt about a value, never a broken form.

        What is missing, no number or of no known value has no reading at all; of two rows of one key none is right.
        """
        return self.kind in ("bounds", "meaning")


def holds(rule: Rule) -> pl.Expr:
    """Whether a row holds to the rule; where the rule does not apply, it does."""
    return rule.holds.fill_null(value=True)


def broken_rules(frame: pl.DataFrame, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Those of the rules that some row breaks."""
    asked = frame.lazy().select(holds(rule).all().alias(str(i)) for i, rule in enumerate(rules))
    return tuple(rule for rule, is_so in zip(rules, asked.collect().row(0), strict=True) if not is_so)


def ordered(low: str, high: str, slack: float = 0.0, severity: Severity = "blocking") -> Rule:
    """`low` is not above `high`, up to a relative slack."""
    upper = pl.col(high) * (1 + slack) if slack else pl.col(high)
    return Rule(f"{low} <= {high}", (low, high), pl.col(low) <= upper, severity)


def iff(column: str, words: str, condition: pl.Expr, *of: str) -> Rule:
    """`column` is set exactly where the condition holds."""
    return Rule(f"{column} is set if and only if {words}", (column, *of), pl.col(column).is_not_null() == condition)


def only(column: str, status: str) -> Rule:
    """`column` is set in no other status."""
    words = f"{column} is set only where status is {status}"
    return Rule(words, (column, "status"), pl.col(column).is_null() | (pl.col("status") == status))


def together(column: str, other: str) -> Rule:
    """Both are set, or none is."""
    return iff(column, f"{other} is", pl.col(other).is_not_null(), other)


def nested(
    prefix: str, suffix: str, windows: Iterable[str], slack: float = 0.0, severity: Severity = "blocking"
) -> tuple[Rule, ...]:
    """What was counted in a window was counted in every longer one too; `windows` go from short to long."""
    names = [f"{prefix}_{window}{suffix}" for window in windows]
    return tuple(ordered(a, b, slack, severity) for a, b in pairwise(names))


def on_grid(column: str, every: str, words: str) -> Rule:
    """A moment of a regular grid."""
    return Rule(f"{column} is {words}", (column,), pl.col(column) == pl.col(column).dt.truncate(every))


def means(column: str, readings: Mapping[str, tuple[str, pl.Expr]], *of: str) -> tuple[Rule, ...]:
    """Each value of a closed column says something of other columns; where it is another value, it says nothing."""
    return tuple(
        Rule(f"{value} means {words}", (column, *of), pl.when(pl.col(column) == value).then(holds))
        for value, (words, holds) in readings.items()
    )


def in_order(column: str, along: tuple[str, ...], within: tuple[str, ...], severity: Severity = "blocking") -> Rule:
    """Within a group, a moment does not go back from one row to the next. A rule of the whole frame."""
    before = pl.col(column).shift(1).over(within, order_by=along)
    words = f"{column} does not go back along {', '.join(along)}"
    return Rule(words, (*within, *along, column), pl.col(column) >= before, severity, "frame")
