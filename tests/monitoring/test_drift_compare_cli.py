"""`poolcast drift compare` on plain files."""

import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from drift_pools import draw
from typer.testing import CliRunner

from pipeline.cli import app, plain_drift
from pipeline.errors import InputError, UsageError
from pipeline.monitoring.drift.comparison import compare
from pipeline.monitoring.drift.spec import DriftSpec


def pools(seed=0, n=60, shift=(), **arguments):
    return draw(n, np.random.default_rng(seed), shift, features=3, snapshots=4, **arguments)


def run(tmp_path, reference, current, *arguments):
    for name, frame in (("reference", reference), ("current", current)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    paths = [str(tmp_path / f"{name}.parquet") for name in ("reference", "current")]
    return CliRunner().invoke(app, ["drift", "compare", *paths, *map(str, arguments)])


def test_the_answer_is_the_comparison_of_the_library(tmp_path):
    done = run(tmp_path, pools(1), pools(2, shift=(4.0,)), "--group", "pool", "--seed", 7, "--json")
    told = json.loads(done.stdout)
    found = compare(pools(1), pools(2, shift=(4.0,)), group=["pool"], spec=DriftSpec(seed=7))
    assert told["alarm"] is found.alarm is True
    assert (told["n_reference_pools"], told["n_current_pools"]) == (60, 60)
    assert [one["column"] for one in told["columns"]] == ["f00", "f01", "f02"]
    for one, row in zip(told["columns"], found.columns.to_dicts(), strict=True):
        assert {name: row[name] for name in one} == one
        assert {"js", "psi", "p_value", "q_value", "is_drifted"} <= set(one)


def test_options_reach_the_rule(tmp_path):
    sides = pools(1), pools(2, shift=(4.0,))
    strict = json.loads(run(tmp_path, *sides, "--min-js", 0.9, "--json").stdout)
    assert not strict["alarm"]
    loose = json.loads(run(tmp_path, *sides, "--alpha", 0.5, "--columns", "f00, f02", "--json").stdout)
    assert [one["column"] for one in loose["columns"]] == ["f00", "f02"]


@pytest.mark.parametrize("named", [["b", "a"], [2, 1], [date(2024, 2, 1), date(2024, 1, 1)], [False, True]])
def test_each_experiment_gets_an_answer_of_its_own_in_order(tmp_path, named, monkeypatch):
    monkeypatch.setattr(plain_drift, "ROWS_AT_ONCE", 300)
    parts = [(pools(1), pools(2)), (pools(3), pools(4, 50, (9.0,)))]
    sides = [
        pl.concat([part[side].with_columns(experiment=pl.lit(name)) for part, name in zip(parts, named, strict=True)])
        for side in (0, 1)
    ]
    mixed = [side.sample(fraction=1, shuffle=True, seed=1) for side in sides]
    told = json.loads(run(tmp_path, *mixed, "--json").stdout)["experiments"]
    assert [str(answer["experiment"]) for answer in told] == [str(name) for name in sorted(named)]
    by_name = dict(zip(named, parts, strict=True))
    for answer, name in zip(told, sorted(named), strict=True):
        alone = json.loads(run(tmp_path, *by_name[name], "--json").stdout)
        assert answer["alarm"] == alone["alarm"] == (name == named[1])
        figures = [
            [one[key] for one in found["columns"] for key in ("js", "psi", "p_value")] for found in (answer, alone)
        ]
        np.testing.assert_allclose(*figures, rtol=1e-9)


def test_pools_and_experiments_may_be_categories_or_whole_numbers_of_any_width(tmp_path):
    ids = [frame.with_columns(pool=pl.col("pool").rank("dense").cast(pl.Int64)) for frame in (pools(1), pools(2))]
    plain = [frame.with_columns(pl.col("pool").cast(pl.String), experiment=pl.lit("e")) for frame in ids]
    categories = plain[0].with_columns(pl.col("pool", "experiment").cast(pl.Categorical)), plain[1]
    narrow = [frame.with_columns(experiment=pl.lit(7, pl.Int64)) for frame in ids]
    narrow[1] = narrow[1].with_columns(pl.col("pool").cast(pl.UInt16), pl.col("experiment").cast(pl.Int8))
    told = [json.loads(run(tmp_path, *sides, "--json").stdout)["experiments"] for sides in (plain, categories, narrow)]
    assert told[0] == told[1]
    assert [(one["experiment"], one["n_shared_pools"]) for (one,) in told] == [("e", 60), ("e", 60), (7, 60)]


@pytest.mark.parametrize("name", ["*", "^f.*$", "__pool__", ""])
def test_a_column_may_be_called_anything(tmp_path, name):
    for was, asked in (("f00", ()), ("f00", ("--columns", name)), ("pool", ("--group", name))):
        sides = [frame.rename({was: name}) for frame in (pools(1), pools(2))]
        if asked[:1] == ("--columns",) and not name:
            continue
        told = json.loads(run(tmp_path, *sides, *asked, "--json").stdout)
        assert [one["column"] for one in told["columns"]][:1] == ["f00" if was == "pool" else name]
    assert run(tmp_path, pools(1), pools(2), "--group", "pool,pool", "--json").exit_code == 0


def test_the_table_names_what_drifted_and_what_was_left_out(tmp_path):
    sides = [frame.with_columns(day=pl.lit(date(2024, 1, 1))) for frame in (pools(1), pools(2, shift=(4.0,)))]
    done = run(tmp_path, *sides)
    assert done.exit_code == 0
    assert "60 pools against 60: drift" in done.stdout
    assert done.stdout.index("f00") < done.stdout.index("f01")
    assert "Left out, as they hold nothing comparable: day" in done.stderr
    many = run(tmp_path, *(frame.with_columns(experiment=pl.lit(1)) for frame in sides))
    assert "f00" in many.stdout


def test_nothing_a_file_is_named_reaches_the_terminal(tmp_path):
    hostile = "[red]\x1b[2J\u202e</script><script>" + "x" * 500
    sides = [frame.rename({"f00": hostile}) for frame in (pools(1), pools(2, shift=(4.0,)))]
    done = run(tmp_path, *sides)
    assert "\x1b[2J" not in done.stdout
    assert "\u202e" not in done.stdout
    assert json.loads(run(tmp_path, *sides, "--json").stdout)["columns"][0]["column"] == hostile
    absent = run(tmp_path, sides[0], pools(2))
    assert isinstance(absent.exception, InputError)


def test_pools_on_both_sides_are_told(tmp_path):
    done = run(tmp_path, pools(1), pools(1))
    assert "60 pools are on both sides" in " ".join(done.stderr.split())
    assert "no drift" in done.stdout


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: f.rename({"pool": "name"}), (), "no column 'pool' in the current rows"),
        (lambda f: f, ("--group", "network,pool"), "no column 'network' in the reference"),
        (lambda f: f, ("--columns", "absent"), "no column .*'absent'.* on both sides"),
        (lambda f: f.with_columns(experiment=pl.lit(1)), (), "has a column 'experiment'"),
        (lambda f: f.head(0), (), "current rows has no rows"),
        (lambda f: f.with_columns(f00=pl.lit("a")), (), "'f00' holds Float64"),
        (lambda f: f.with_columns(pool=pl.lit(1)), (), "'pool' holds String in the reference and Int32"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, change, arguments, message):
    done = run(tmp_path, pools(1), change(pools(2)), *arguments)
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise done.exception


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (["a", "b"], ["a", "c"], "1 experiments are in the reference only, such as .'b'."),
        (["a", None], ["a", None], "have no 'experiment'"),
        ([1.5, 2.5], [1.5, 2.5], "name experiments by text"),
    ],
)
def test_an_experiment_needs_a_name_and_both_sides(tmp_path, one, other, message):
    sides = [
        pl.concat([pools(1).with_columns(experiment=pl.Series([name] * 240)) for name in names], how="vertical_relaxed")
        for names in (one, other)
    ]
    done = run(tmp_path, *sides)
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise done.exception


def test_a_wrong_rule_a_file_that_is_none_and_a_missing_one_end_without_a_traceback(tmp_path):
    done = run(tmp_path, pools(1), pools(2), "--alpha", 7)
    assert isinstance(done.exception, UsageError)
    (tmp_path / "reference.parquet").write_bytes(b"no parquet")
    paths = [str(tmp_path / f"{name}.parquet") for name in ("reference", "current")]
    with pytest.raises(InputError, match="give a Parquet file"):
        raise CliRunner().invoke(app, ["drift", "compare", *paths]).exception
    with pytest.raises(InputError, match="is no file"):
        raise CliRunner().invoke(app, ["drift", "compare", str(tmp_path), paths[1]]).exception
    done = CliRunner().invoke(app, ["drift", "compare", str(tmp_path / "absent.parquet"), paths[1]])
    assert done.exit_code == 2
    assert "does not exist" in done.stderr
