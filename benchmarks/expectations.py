"""How fast a table is judged: by the rules, with Great Expectations where they doubt, and by it alone over pandas.

    .venv/bin/python benchmarks/expectations.py [ROWS]

Prints seconds and rows a second for the two widest tables people check; importing Great Expectations is told apart, for
every process pays it once.
"""

import sys
from pathlib import Path
from time import perf_counter

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.expectations.keys import is_key_unique
from pipeline.expectations.meaning import frame_rules, rules_of
from pipeline.expectations.rule import holds
from pipeline.expectations.suites import load_great_expectations, suite_for
from pipeline.expectations.triage import triage
from pipeline.expectations.verdict import _asked_of, _batch, _results, validate
from pipeline.tables import FEATURES, SNAPSHOTS, Table
from tests.builders import valid_frame


def plain(table: Table, frame: pl.DataFrame) -> int:
    """The same suite, asked of every row by Great Expectations over pandas; how much is broken."""
    asked = _asked_of(suite_for(table), "rows")
    rules = (*rules_of(table), *frame_rules(table))
    whole = frame.with_columns(is_key_unique(table, frame), *(holds(rule).alias(rule.words) for rule in rules))
    return len(list(_results(asked, _batch(whole, asked))))


def main(n_rows: int) -> None:
    """Time both ways, and the triage before a write."""
    started = perf_counter()
    load_great_expectations()
    print(f"importing Great Expectations: {perf_counter() - started:.1f} s")
    for table in (SNAPSHOTS, FEATURES):
        frame = valid_frame(table, n_rows)
        for name, judge in (
            ("ours", lambda f, t=table: validate(t, f).is_passed),
            ("plain", lambda f, t=table: plain(t, f) == 0),
            ("triage", lambda f, t=table: triage(t, f).is_clean),
        ):
            started = perf_counter()
            is_sound = judge(frame)
            seconds = perf_counter() - started
            print(
                f"{table.name} {name:6}: {seconds:7.2f} s, {n_rows / seconds:12,.0f} rows/s, sound: {is_sound}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
