"""`poolcast predictions query`: the right rows, shown and never interpreted."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.predictions.history import SHOWN, Wanted, history
from pipeline.predictions.outcomes import settle
from pipeline.predictions.scoring import score
from pipeline.tables import PREDICTION_OUTCOMES, PREDICTIONS
from tests.predictions.prediction_rows import (
    AT,
    HOUR,
    NOTHING_SAID,
    SPEC,
    a_label,
    a_role,
    a_row,
    said_now,
    some_labels,
    sure_of,
)
from tests.predictions.test_prediction_outcomes import HELD

HOSTILE = "[red]0x\x1b[2J\u202e[/red]"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four predictions of the champion and of the shadow; one came, one is censored, two are pending."""
    folder = tmp_path_factory.mktemp("data")
    rows = [a_row(pool, AT - HOUR) for pool in ("a", "b")] + [a_row("c"), a_row(HOSTILE)]
    served = a_role("champion", 3, sure_of("STABLE", 0.4)), a_role("shadow", 4, sure_of("RUG"))
    said = score(said_now(*rows), served, NOTHING_SAID, SPEC).predictions
    labels = some_labels(a_label("a", AT - HOUR), a_label("b", AT - HOUR, outcome=None))
    lake = Lake(folder / "lake", sync=lambda path: None)
    lake.append(PREDICTIONS, said)
    lake.append(PREDICTION_OUTCOMES, settle(said, labels, HELD, AT + 30 * HOUR, SPEC))
    return folder


def asked(data_dir: Path, *arguments: str) -> list[dict]:
    done = CliRunner().invoke(app, ["predictions", "query", "--data-dir", str(data_dir), "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_newest_come_first_with_what_became_of_them(data_dir: Path) -> None:
    told = asked(data_dir, "--version", "3")
    assert [(row["pool"], row["end"]) for row in told] == [
        (HOSTILE, "pending"), ("c", "pending"), ("a", "STABLE"), ("b", "stopped_answering"),
    ]  # fmt: skip
    assert tuple(told[0]) == SHOWN
    assert told[2]["says"] == "STABLE"
    assert told[2]["p_says"] == told[2]["p_outcome"] == pytest.approx(0.4)
    assert told[2]["is_evidence"] is True


@pytest.mark.parametrize(
    ("arguments", "n_rows"),
    [
        ((), 8),
        (("--pool", "a"), 2),
        (("--pool", "a", "--version", "4"), 1),
        (("--model", "pool-outcome"), 8),
        (("--model", "another"), 0),
        (("--since", AT.isoformat()), 4),
        (("--since", f"{AT:%Y-%m-%dT%H:%M}"), 4),
        (("--until", AT.isoformat()), 4),
        (("--limit", "3"), 3),
        (("--limit", "99999999999999999999"), 8),
        (("--since", "0001-01-01", "--until", "9999-12-31T23:59"), 8),
    ],
)
def test_only_what_was_asked_for_is_told(data_dir: Path, arguments: tuple[str, ...], n_rows: int) -> None:
    assert len(asked(data_dir, *arguments)) == n_rows


def test_an_address_is_shown_and_neither_the_terminal_nor_markup_takes_it_for_more(data_dir: Path) -> None:
    done = CliRunner().invoke(app, ["predictions", "query", "--data-dir", str(data_dir)])
    assert done.exit_code == 0
    assert "[red]0x\\x1b[2J\\u202e[/red]" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_a_person_reads_four_figures_and_a_program_all_of_them(data_dir: Path) -> None:
    shown = CliRunner().invoke(app, ["predictions", "query", "--data-dir", str(data_dir)]).stdout
    losses = {row["log_loss"] for row in asked(data_dir)} - {None}
    assert any(len(str(loss)) > 8 for loss in losses)
    assert {f"{loss:.4g}" for loss in losses} <= set(shown.split())
    assert not re.search(r"\d\.\d{6}", shown)


def test_a_folder_without_predictions_has_none(tmp_path: Path) -> None:
    assert asked(tmp_path) == []
    assert history(Lake(tmp_path / "lake"), Wanted()).columns == list(SHOWN)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "0001-01-01T00:00+05:00"),
        ("--until", "9999-12-31T23:59-05:00"),
        ("--until", "0001-01-01"),
        ("--since", "9999-12-31"),
        ("--version", "9" * 50),
    ],
)
def test_what_no_calendar_and_no_registry_counts_to_is_wrong_use(data_dir: Path, arguments: tuple[str, str]) -> None:
    done = CliRunner().invoke(app, ["predictions", "query", "--data-dir", str(data_dir), *arguments])
    assert isinstance(done.exception, UsageError)


def test_what_makes_no_sense_is_told_in_words(data_dir: Path) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "predictions", "query", "--data-dir", str(data_dir)]
    done = subprocess.run(
        [*command, "--since", "yesterday"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 2
    assert "found 'yesterday'" in " ".join(done.stderr.split())
    with pytest.raises(UsageError, match="end after"):
        Wanted(since=AT, until=AT - timedelta(hours=1))
    with pytest.raises(UsageError, match="one or more"):
        Wanted(limit=0)


def test_where_nothing_was_said_of_what_was_asked_for_it_says_so(data_dir):
    command = ["predictions", "query", "--data-dir", str(data_dir)]
    done = CliRunner().invoke(app, [*command, "--pool", "0x123"])
    assert done.exit_code == 0
    assert "no prediction is of all that was asked for; `poolcast pools show` says" in done.stderr
    assert "no prediction" not in CliRunner().invoke(app, command).stderr
