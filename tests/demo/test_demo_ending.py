"""How the demo ends: rows that add up to its total, of what they are, and what the high signal came to."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.cli.demo import show_report
from pipeline.demo import signal_of
from pipeline.models.training_records import paid_in_words
from pipeline.tables import FIGURES

FIGURE = {
    "model_sha256": "a" * 64, "predictor": "model", "decision_age": "all", "outcome": "all", "low": None, "high": None,
    "n_rows": 447, "n_pools": 115,
}  # fmt: skip
ON_BLOCK = {
    "signal_threshold": 0.3967, "signal_false_positive_rate": 0.02, "signal_coverage": 22 / 447,
    "signal_paid_share": 0.5, "signal_paid_pools": 6.0, "signal_unknown_share": 0.0, "signal_lot_p_value": 0.01,
    "signal_paid_recall": 0.164, "signal_base_rate": 0.12,
}  # fmt: skip
ENDS = {"signal_paid_share": (0.2, 0.8)}


def figures(values: dict[str, float], block: str = "last_block") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                **FIGURE,
                "block": block,
                "metric": m,
                "value": v,
                **dict(zip(("low", "high"), ENDS.get(m, ()), strict=False)),
            }
            for m, v in values.items()
        ],
        FIGURES.schema,
    )


def stage(rows: int, of: str, seconds: float) -> dict[str, Any]:
    return {"rows": rows, "rows_of": of, "seconds": seconds}


def a_report(signal: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "recording": {"source": "simulation:7"},
        "stages": {"bins": stage(14_117, "bars", 2.6), "models": stage(1_788, "evaluations", 160.0)},
        "checks_seconds": 149.9,
        "wall_seconds": 320.0,
        "peak_rss_bytes": 2**30,
        "labels": {},
        "model": {"metrics": {}, "metrics_at_one_hour_of_age": {}, "signal": signal},
        "baselines": {},
        "champion": {"version": 1, "challenger_version": 1, "verdict": "beats all"},
        "returns": {"skipped": "too few pools"},
        "warnings": [],
        "quarantined": {},
    }


def shown(signal: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]) -> str:
    show_report(a_report(signal), Path("report.json"))
    return capsys.readouterr().out


def test_the_signal_is_counted_on_the_last_block_alone() -> None:
    both = pl.concat([figures({"signal_coverage": 0.5}, "last_block_later_half"), figures(ON_BLOCK)])
    told = signal_of(both)
    assert told is not None
    assert (told["n_signals"], told["n_decisions"], told["threshold"]) == (22, 447, 0.3967)
    assert (told["false_positive_rate"], told["max_false_positive_rate"], told["horizon_hours"]) == (0.02, 0.03, 24)


def test_the_decisions_are_those_of_the_block_and_not_those_that_were_called() -> None:
    told = figures(ON_BLOCK).with_columns(
        n_rows=pl.when(pl.col("metric") == "signal_threshold").then("n_rows").otherwise(pl.lit(22, pl.Int64))
    )
    assert signal_of(told.sort("metric"))["n_decisions"] == 447  # type: ignore[index]


def test_a_model_that_abstains_has_no_signal() -> None:
    assert signal_of(figures({"log_loss": 1.3})) is None


def test_the_demo_ends_with_a_line_on_the_signal(capsys: pytest.CaptureFixture[str]) -> None:
    told = " ".join(shown(signal_of(figures(ON_BLOCK)), capsys).split())
    assert (
        "High signal: 22 of the last block's 447 decisions, scores above 0.397; 50.0% [20.0%, 80.0%] of the signals"
        " paid, in 6 pools, of all decisions 12.0%: better than calling by lot (p 0.010); false-positive rate"
        " over pools 2.0%, its bound 3.0%"
    ) in told


def test_a_signal_that_a_lot_might_equal_is_not_called_better() -> None:
    doubtful = figures(ON_BLOCK | {"signal_lot_p_value": 0.026, "signal_paid_pools": 1.0, "signal_unknown_share": 0.25})
    assert paid_in_words(doubtful) == (
        "50.0% [20.0%, 80.0%] of the signals paid, in 1 pool, of all decisions 12.0%: not shown to be better than"
        " calling by lot (p 0.026); of 25% of the signals nobody knows what they came to"
    )
    told = signal_of(doubtful)
    assert told is not None
    assert told["is_better_than_lot"] is False
    # A model of before has no such figure: it counted what rose.
    assert paid_in_words(figures({k: v for k, v in ON_BLOCK.items() if k != "signal_lot_p_value"})) is None


def test_a_signal_that_calls_nothing_has_no_share_that_paid(capsys: pytest.CaptureFixture[str]) -> None:
    none = {k: v for k, v in ON_BLOCK.items() if k in tuple(ON_BLOCK)[:3]} | {"signal_coverage": 0.0}
    assert "0 of the last block's 447 decisions, scores above 0.397; false" in " ".join(
        shown(signal_of(figures(none)), capsys).split()
    )


def test_a_model_that_abstains_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "High signal: the model abstains" in shown(None, capsys)


def test_the_rows_of_the_table_add_up_to_the_total_and_say_what_they_count(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(None, capsys)
    lines = [line for line in out.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines]
    seconds = {row[0]: float(row[-1]) for row in cells}
    assert seconds.pop("all") == 320.0
    assert sum(seconds.values()) == pytest.approx(320.0)
    assert seconds["checks"] == 149.9
    assert ["models", "1,788", "evaluations", "160.0"] in cells
    assert "this process held at most 1.00 GiB of memory" in out
