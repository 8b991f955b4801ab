"""`poolcast gate` on plain files, and the picture of a verdict."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, UsageError
from pipeline.promotion.sequential import harm_verdict, sequential_verdict
from pipeline.promotion.wealth_plot import wealth_plot

OPEN = datetime(2024, 1, 1, tzinfo=UTC)


def pairs(seed=0, n=300, gain=0.2):
    rng = np.random.default_rng(seed)
    loss = rng.gamma(4.0, 0.2, n)
    return pl.DataFrame(
        {
            "pool": [f"0x{i:040x}" for i in range(n)],
            "matured_at": [OPEN + timedelta(minutes=10 * i) for i in range(n)],
            "loss_champion": loss + rng.normal(gain, 0.4, n).clip(-0.1),
            "loss_challenger": loss,
        },
        schema_overrides={"matured_at": pl.Datetime("us", "UTC")},
    )


def run(tmp_path, frame, *arguments, command="sequential"):
    frame.write_parquet(tmp_path / "pairs.parquet")
    return CliRunner().invoke(app, ["gate", command, str(tmp_path / "pairs.parquet"), *map(str, arguments)])


def test_the_answer_is_the_verdict_of_the_library(tmp_path):
    done = run(tmp_path, pairs(), "--alpha", 0.05, "--margin", 0.02, "--json")
    told, verdict = json.loads(done.stdout), sequential_verdict(pairs(), alpha=0.05, margin=0.02)
    assert told["decision"] == verdict.decision == "promote"
    assert told["wealth"] == verdict.wealth
    assert told["n_pools"] == verdict.n_pools
    assert datetime.fromisoformat(told["stopped_at"]) == verdict.stopped_at


def test_while_it_continues_it_has_not_stopped(tmp_path):
    told = json.loads(run(tmp_path, pairs(n=5), "--json").stdout)
    assert (told["decision"], told["stopped_at"], told["n_pools"]) == ("continue", None, 5)


def test_a_spent_budget_rejects(tmp_path):
    assert json.loads(run(tmp_path, pairs(n=9), "--max-pools", 5, "--json").stdout)["decision"] == "reject"


@pytest.mark.parametrize("named", [["b", "a"], [2, 1], [date(2024, 2, 1), date(2024, 1, 1)], [False, True]])
def test_each_experiment_gets_an_answer_of_its_own_in_order(tmp_path, named):
    parts = [pairs(seed, 200, gain=0.1 * seed) for seed in (1, 2)]
    frame = pl.concat([part.with_columns(experiment=pl.lit(name)) for part, name in zip(parts, named, strict=True)])
    told = json.loads(run(tmp_path, frame, "--json").stdout)["experiments"]
    by_name = dict(zip(map(str, named), parts, strict=True))
    assert [str(answer["experiment"]) for answer in told] == [str(name) for name in sorted(named)]
    for answer in told:
        assert answer["wealth"] == sequential_verdict(by_name[str(answer["experiment"])], alpha=0.05).wealth
    told = json.loads(run(tmp_path, frame, "--json", command="offline").stdout)["experiments"]
    for answer, name in zip(told, sorted(named), strict=True):
        alone = json.loads(run(tmp_path, by_name[str(name)], "--json", command="offline").stdout)
        assert {key: value for key, value in answer.items() if key != "experiment"} == alone


def test_times_without_a_zone_and_days_are_read_as_utc_and_a_note_says_so(tmp_path):
    naive = run(tmp_path, pairs().with_columns(pl.col("matured_at").dt.replace_time_zone(None)), "--json")
    assert "read as UTC" in naive.stderr
    assert json.loads(naive.stdout) == json.loads(run(tmp_path, pairs(), "--json").stdout)
    days = run(tmp_path, pairs().with_columns(pl.col("matured_at").dt.date()), "--json")
    assert "days" in days.stderr
    assert json.loads(days.stdout)["stopped_at"].endswith("T00:00:00+00:00")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.drop("pool"),
        lambda p: p.clear(),
        lambda p: p.with_columns(matured_at=pl.int_range(pl.len())),
        lambda p: p.with_columns(pl.col("matured_at").cast(pl.String)),
        lambda p: p.with_columns(loss_champion=pl.lit("much")),
        lambda p: p.with_columns(loss_champion=pl.lit(float("nan"))),
        lambda p: p.with_columns(experiment=pl.lit(None, pl.Int64)),
    ],
)
def test_files_that_hold_no_pairs_are_refused(tmp_path, spoil):
    assert isinstance(run(tmp_path, spoil(pairs())).exception, InputError)


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("pool,matured_at")
    done = CliRunner().invoke(app, ["gate", "offline", str(tmp_path / "x.parquet")])
    assert isinstance(done.exception, InputError)


def test_an_alpha_that_is_none_is_wrong_use(tmp_path):
    assert isinstance(run(tmp_path, pairs(), "--alpha", 0).exception, UsageError)


def test_errors_come_without_a_traceback_and_with_a_status(tmp_path):
    pairs().drop("pool").write_parquet(tmp_path / "pairs.parquet")
    command = [sys.executable, "-m", "pipeline.cli", "gate", "sequential", str(tmp_path / "pairs.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no columns ['pool'], found [" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_offline_gate_leaves_mcnemar_out_unless_told_who_was_right(tmp_path):
    told = json.loads(run(tmp_path, pairs(), "--min-gain", 0.05, "--json", command="offline").stdout)
    assert told["is_passed"]
    assert told["gain"] == pytest.approx(1 - pairs()["loss_challenger"].mean() / pairs()["loss_champion"].mean())
    assert "mcnemar_p" not in told
    known = pairs(n=4).with_columns(
        correct_champion=pl.Series([True, False, False, False]), correct_challenger=pl.Series([True, True, True, True])
    )
    told = json.loads(run(tmp_path, known, "--json", command="offline").stdout)
    assert (told["n_champion_only"], told["n_challenger_only"]) == (0, 3)
    assert told["mcnemar_p"] == pytest.approx(0.25)
    assert not told["is_passed"]  # four pools prove nothing


def test_the_offline_gate_takes_errors_of_zero_and_one(tmp_path):
    rng = np.random.default_rng(3)
    wrong = pairs(n=400).with_columns(
        loss_champion=pl.Series(rng.random(400) < 0.5), loss_challenger=pl.Series(rng.random(400) < 0.3)
    )
    told = json.loads(run(tmp_path, wrong, "--json", command="offline").stdout)
    assert told["is_passed"]
    assert told["gain"] == pytest.approx(1 - wrong["loss_challenger"].mean() / wrong["loss_champion"].mean())
    faultless = wrong.with_columns(loss_champion=pl.lit(0.0))
    assert isinstance(run(tmp_path, faultless, "--json", command="offline").exception, InputError)


@pytest.mark.parametrize("command", ["sequential", "offline"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.with_columns(experiment=pl.when(pl.int_range(pl.len()) > 5).then(1.0).otherwise(float("nan"))),
        lambda p: p.with_columns(experiment=pl.lit(float("inf"))),
        lambda p: p.with_columns(experiment=pl.concat_list("pool")),
        lambda p: p.with_columns(experiment=pl.struct("pool")),
        lambda p: p.with_columns(experiment=pl.lit(b"a")),
        lambda p: p.with_columns(experiment=pl.lit(2**60).cast(pl.Datetime("ms"))),
        lambda p: p.with_columns(experiment=pl.lit(1)).clear(),
        lambda p: p.clear(),
        lambda p: p.with_columns(pool=pl.when(pl.int_range(pl.len()) > 5).then(1.0).otherwise(float("nan"))),
        lambda p: p.with_columns(pool=pl.concat_list("pool")),
        lambda p: p.with_columns(pool=pl.lit("one"), loss_champion=pl.lit(1.7e308), loss_challenger=pl.lit(1.7e308)),
    ],
)
def test_what_is_no_name_and_no_loss_is_refused_by_both_gates(tmp_path, command, spoil):
    done = run(tmp_path, spoil(pairs(n=12)), "--json", command=command)
    assert isinstance(done.exception, InputError), done.output
    assert done.stdout == ""


FAR = [
    pl.lit(2**62).cast(pl.Datetime("us", "UTC")),
    pl.lit(2**62).cast(pl.Datetime("ms", "UTC")),
    pl.lit(2**31 - 1, pl.Int32).cast(pl.Date),
    pl.lit(-(2**31) + 1, pl.Int32).cast(pl.Date),
]


@pytest.mark.parametrize("far", FAR)
def test_times_that_no_calendar_holds_are_refused_where_times_count(tmp_path, far):
    frame = pairs(n=40).with_columns(matured_at=far)
    done = run(tmp_path, frame, "--json")
    assert isinstance(done.exception, InputError)
    assert "40 values of 'matured_at' lie outside the years 1 to 9999" in str(done.exception)
    alone = run(tmp_path, pairs(n=40).drop("matured_at"), "--json", command="offline")
    assert run(tmp_path, frame, "--json", command="offline").stdout == alone.stdout


@pytest.mark.parametrize("day", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)])
def test_the_first_and_the_last_hour_of_the_calendar_are_moments(tmp_path, day):
    frame = pairs(n=40).with_columns(matured_at=pl.lit(day, pl.Datetime("us", "UTC")))
    assert json.loads(run(tmp_path, frame, "--json").stdout)["n_pools"] == 40


def test_the_offline_gate_never_prints_infinity(tmp_path):
    large = pairs(n=40).with_columns(loss_champion=pl.lit(1.7e308))
    done = run(tmp_path, large, "--json", command="offline")
    assert isinstance(done.exception, InputError)
    assert "Infinity" not in done.output


def test_a_bad_loss_is_told_by_its_column_and_how_many_there_are(tmp_path):
    spoilt = pairs(n=4_000).with_columns(loss_champion=pl.when(pl.int_range(pl.len()) < 3).then(-1.0).otherwise(1.0))
    told = str(run(tmp_path, spoilt, command="offline").exception)
    assert "3 of 4,000 values of 'loss_champion'" in told
    assert "array" not in told


def test_times_as_experiments_are_told_in_iso(tmp_path):
    named = pairs(n=12).with_columns(experiment=pl.lit(OPEN))
    for command in ("sequential", "offline"):
        (told,) = json.loads(run(tmp_path, named, "--json", command=command).stdout)["experiments"]
        assert told["experiment"] == "2024-01-01T00:00:00+00:00"


@pytest.mark.parametrize("command", ["sequential", "offline"])
def test_text_of_a_file_is_shown_and_no_terminal_takes_it_for_more(tmp_path, command):
    named = pairs(n=12).with_columns(experiment=pl.lit("[red]\x1b[31m\u202eb\nc[/red]"))
    shown = run(tmp_path, named, command=command).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]\\x1b[31m" in shown


@pytest.mark.parametrize(
    ("option", "value"),
    [("--min-gain", 1), ("--min-gain", "nan"), ("--min-gain", -0.1), ("--min-pools", 1), ("--min-pools", -5)],
)
def test_a_rule_out_of_range_is_told_in_short_words(tmp_path, option, value):
    error = run(tmp_path, pairs(n=4), option, value, command="offline").exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(option)
    assert len(str(error)) < 80


def test_a_budget_beyond_any_integer_is_no_end(tmp_path):
    endless = json.loads(run(tmp_path, pairs(), "--json").stdout)
    assert json.loads(run(tmp_path, pairs(), "--max-pools", 10**30, "--json").stdout) == endless


def test_an_alpha_whose_bound_no_float_holds_is_wrong_use(tmp_path):
    assert isinstance(run(tmp_path, pairs(n=5), "--alpha", 1e-310).exception, UsageError)
    assert json.loads(run(tmp_path, pairs(n=900, gain=0.9), "--alpha", 1e-300, "--json").stdout)["bound"] == 1 / 1e-300


@pytest.mark.parametrize("command", ["sequential", "offline"])
def test_folders_and_pipes_are_no_files_of_pairs(tmp_path, command):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert isinstance(CliRunner().invoke(app, ["gate", command, str(path)]).exception, InputError)


@pytest.mark.parametrize("command", ["sequential", "offline"])
def test_without_json_there_is_a_table(tmp_path, command):
    assert "reason" in run(tmp_path, pairs(), command=command).stdout


def test_thousands_of_experiments_take_seconds(tmp_path):
    n_experiments, n = 2_000, 200
    rng = np.random.default_rng(0)
    told = pairs(n=n).select("pool", "matured_at")
    frame = pl.concat([told] * n_experiments).with_columns(
        experiment=pl.Series(np.repeat(np.arange(n_experiments), n)),
        loss_champion=pl.Series(rng.random(n * n_experiments) < 0.4),
        loss_challenger=pl.Series(rng.random(n * n_experiments) < 0.4),
    )
    started = time.process_time()
    answers = json.loads(run(tmp_path, frame, "--json").stdout)["experiments"]
    assert time.process_time() - started < 20
    assert np.mean([answer["decision"] == "promote" for answer in answers]) <= 0.05


def test_the_picture_is_a_png_and_the_same_each_time(tmp_path):
    done = run(tmp_path, pairs(), "--plot", tmp_path / "wealth.png", "--json")
    assert done.exit_code == 0
    drawn = (tmp_path / "wealth.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    run(tmp_path, pairs(), "--plot", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == drawn


def test_names_from_a_chain_are_drawn_and_not_read_as_formulas():
    verdict = harm_verdict(pairs())
    for over in ("pools", "time"):
        assert wealth_plot(verdict, r"$\frac{1}{$ \undefined", over=over).startswith(b"\x89PNG")


def test_a_picture_of_many_experiments_is_wrong_use(tmp_path):
    done = run(tmp_path, pairs().with_columns(experiment=pl.lit(1)), "--plot", tmp_path / "x.png")
    assert isinstance(done.exception, UsageError)


def test_the_moment_of_a_verdict_is_shown_whole_on_a_narrow_screen(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.cli.screen.out.width", 80)
    told = json.loads(run(tmp_path, pairs(), "--json").stdout)
    shown = run(tmp_path, pairs()).stdout
    assert told["decision"] == "promote"
    assert told["stopped_at"][:16] in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_no_budget_is_called_so_where_a_rule_is_refused(tmp_path):
    done = run(tmp_path, pairs(n=5), "--alpha", 5)
    assert isinstance(done.exception, UsageError)
    assert "cannot judge at alpha 5.0, margin 0.0, no budget: it needs alpha in (0, 1)" in str(done.exception)
