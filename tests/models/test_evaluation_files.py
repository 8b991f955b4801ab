"""`poolcast evaluate` on files of anybody's, sound and unsound."""

import json
import os
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk
from typer.testing import CliRunner

from pipeline.cli import app, main
from pipeline.errors import InputError
from pipeline.models.files import evaluate_file
from pipeline.models.intervals import FigureRules
from pipeline.tables import OUTCOMES, TIERS

QUICK = FigureRules(n_resamples=40)


def predictions(classes=OUTCOMES, n: int = 240, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(classes), n)
    p = rng.dirichlet(np.ones(len(classes)), n) + 0.5 * np.eye(len(classes))[y]
    p /= p.sum(axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "pool": [f"pool-{k // 3}" for k in range(n)],
            "network": ["eth" if k % 6 < 3 else "solana" for k in range(n)],
            "label": [classes[k] for k in y],
            **{f"p_{name}": p[:, k] for k, name in enumerate(classes)},
            "horizon": np.tile([1, 6, 24], n // 3),
            "reserve_usd": np.where(np.arange(n) % 4 == 3, np.nan, 10.0 ** (np.arange(n) % 4 * 2)),
            "age_hours": np.linspace(0.1, 30, n),
        }
    ).with_columns(pl.col("reserve_usd").fill_nan(None))


def written(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_parquet(folder / "predictions.parquet")
    return folder / "predictions.parquet"


def run(*arguments: str):
    return CliRunner().invoke(app, ["evaluate", *arguments])


@pytest.mark.parametrize("classes", [OUTCOMES, ("0", "1"), ("down", "flat", "up"), ("ё", "a b", "x/y", "$z$")])
def test_any_set_of_classes_gives_what_scikit_learn_gives(tmp_path: Path, classes: tuple[str, ...]):
    frame = predictions(classes)
    found = evaluate_file(written(frame, tmp_path), QUICK)
    y, p = np.array([classes.index(v) for v in frame["label"]]), frame.select(f"p_{c}" for c in classes).to_numpy()
    assert found["log_loss"]["value"] == pytest.approx(sk.log_loss(y, p, labels=list(range(len(classes)))), abs=1e-9)
    for k, name in enumerate(classes):
        assert found[f"roc_auc/{name}"]["value"] == pytest.approx(sk.roc_auc_score(y == k, p[:, k]), abs=1e-9)
        assert found[f"roc_auc/{name}"]["low"] <= found[f"roc_auc/{name}"]["value"] <= found[f"roc_auc/{name}"]["high"]
    assert set(found["accuracy"]) == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (pl.col("label").cast(pl.Int64), ("0", "1")),
        (pl.col("label").cast(pl.Float64), ("0", "1")),
        (pl.col("label").cast(pl.Int64).cast(pl.Boolean), ("0", "1")),
        (pl.col("label").cast(pl.Int64).cast(pl.Boolean), ("False", "True")),
        (pl.col("label").cast(pl.Int64).cast(pl.Boolean), ("false", "true")),
        (pl.col("label").cast(pl.Categorical), ("0", "1")),
        (pl.col("label").cast(pl.UInt8), ("0", "1")),
    ],
)
def test_a_label_of_any_type_counts_as_the_class_it_is_written_as(tmp_path: Path, label: pl.Expr, names):
    frame = predictions(("0", "1"))
    plain = evaluate_file(written(frame, tmp_path), QUICK)
    renamed = frame.with_columns(label).rename({"p_0": f"p_{names[0]}", "p_1": f"p_{names[1]}"})
    found = evaluate_file(written(renamed, tmp_path), QUICK)
    assert found["f1/macro"] == plain["f1/macro"]
    assert found[f"pr_auc/{names[1]}"] == plain["pr_auc/1"]


def test_a_pool_of_the_same_name_on_another_network_is_another_pool(tmp_path: Path):
    frame = predictions().with_columns(pool=pl.lit("same"))
    assert evaluate_file(written(frame, tmp_path), QUICK)["log_loss"]["low"] is not None
    assert evaluate_file(written(frame.drop("network"), tmp_path), QUICK)["log_loss"]["low"] is None


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: f.drop("pool"), r"lacks the columns \['pool'\]"),
        (lambda f: f.drop("label"), r"lacks the columns \['label'\]"),
        (lambda f: f.select("pool", "label"), "p_CLASS columns, expected one a class"),
        (lambda f: f.select("pool", "label", "p_RUG"), "has 1 p_CLASS columns"),
        (lambda f: f.head(0), "holds no rows"),
        (lambda f: f.with_columns(label=pl.lit("WIN")), r"no p_CLASS column is named for, \['WIN'\]"),
        (lambda f: f.with_columns(label=pl.lit(None, pl.String)), "without label"),
        (lambda f: f.with_columns(pool=pl.lit(None, pl.String)), "without pool"),
        (lambda f: f.with_columns(p_RUG=pl.col("p_RUG") + 0.1), "sum to one; 240 rows are none, the first is row 0"),
        (lambda f: f.with_columns(p_RUG=pl.lit(float("nan"))), "sum to one"),
        (lambda f: f.with_columns(p_RUG=pl.lit(float("inf"))), "sum to one"),
        (lambda f: f.with_columns(p_RUG=-pl.col("p_RUG"), p_DIP=pl.col("p_DIP") + 2 * pl.col("p_RUG")), "sum to one"),
        (lambda f: f.with_columns(p_RUG=pl.lit(None, pl.Float64)), r"\['p_RUG'\] hold nulls"),
        (lambda f: f.with_columns(p_RUG=pl.lit("0.1")), r"\['p_RUG'\] hold no numbers"),
        (lambda f: f.with_columns(label=pl.concat_list("label")), "labels are of type List"),
        (lambda f: f.rename({"p_RUG": "p_macro"}), "names a class 'macro' or 'all'"),
        (lambda f: f.with_columns(label=pl.lit(0.5)), r"\['0.5'\]"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_words(tmp_path: Path, spoil, told: str):
    with pytest.raises(InputError, match=told):
        evaluate_file(written(spoil(predictions()), tmp_path), QUICK)


@pytest.mark.parametrize("content", [None, b"", b"pool,label\n1,2\n", b"PAR1 and no more PAR1"])
def test_a_file_that_is_none_ends_with_status_one_and_no_traceback(
    tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "p.parquet"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr("sys.argv", ["poolcast", "evaluate", str(path), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" not in told
    assert "p.parquet" in told.replace("\n", "")


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path):
    written(predictions(), tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="is no file"):
            evaluate_file(path, QUICK)


def test_a_name_is_a_name_and_no_pattern(tmp_path: Path):
    whole = evaluate_file(written(predictions(), tmp_path), QUICK)
    predictions(seed=2).write_parquet(tmp_path / "f1.parquet")
    (tmp_path / "predictions.parquet").rename(tmp_path / "f[1].parquet")
    assert evaluate_file(tmp_path / "f[1].parquet", QUICK) == whole


def test_the_command_prints_json_under_both_its_names(tmp_path: Path):
    path = written(predictions(), tmp_path)
    said = json.loads(run(str(path), "--json").stdout)
    assert said["roc_auc/RUG"]["low"] <= said["roc_auc/RUG"]["value"] <= said["roc_auc/RUG"]["high"]
    assert json.loads(CliRunner().invoke(app, ["models", "evaluate", str(path), "--json"]).stdout) == said
    assert {"precision/MOON", "recall/macro", "ece/RUG", "brier_resolution", "log_loss", "pr_auc/macro"} <= set(said)


def test_slices_stand_beside_the_figures(tmp_path: Path):
    path = written(predictions(), tmp_path)
    told = json.loads(run(str(path), "--json", "--by", "tier", "--by", "age", "--by", "horizon").stdout)
    assert set(told["by"]) == {"tier", "age", "horizon"}
    assert list(told["by"]["horizon"]) == ["1", "6", "24"]
    tiers = [*reversed(TIERS[:-1]), TIERS[-1]]
    assert list(told["by"]["tier"]) == [t for t in tiers if t in told["by"]["tier"]]
    assert "unknown" in told["by"]["tier"]
    part = told["by"]["horizon"]["6"]
    assert (part["n_rows"], part["n_pools"]) == (80, 80)
    assert part["figures"]["accuracy"]["low"] is not None
    screen = run(str(path), "--by", "network")
    assert screen.exit_code == 0
    assert "solana" in screen.stdout


def test_the_screen_says_what_the_figures_are_of_and_begins_with_those_that_tell_most(tmp_path: Path):
    path = written(predictions(), tmp_path)
    screen = run(str(path)).stdout
    read = pl.read_parquet(path)
    n_pools = read.select("network", "pool").n_unique()
    head = f"{path.name}: {read.height} predictions of {n_pools} pools, 7 classes."
    assert " ".join(screen.split()).startswith(f"{head} What each figure means: docs/evaluation.md")
    shown = [line.split("│")[1].strip() for line in screen.splitlines() if line.startswith("│")]
    assert shown[:2] == ["log_loss", "accuracy"]
    assert len(set(shown)) == len(shown) == len(json.loads(run(str(path), "--json").stdout))


def test_hostile_class_names_reach_no_markup(tmp_path: Path):
    hostile = ("[red]x[/red]", "[/]", "\x1b[31mz")
    done = run(str(written(predictions(hostile), tmp_path)))
    assert done.exit_code == 0, done.exception
    assert "[red]x[/red]" in done.stdout
    assert "\x1b[31mz" not in done.stdout


def test_two_hundred_thousand_rows_take_seconds(tmp_path: Path):
    path = written(predictions(n=200_100), tmp_path)
    start = time.process_time()
    evaluate_file(path, FigureRules(n_resamples=100))
    assert time.process_time() - start < 20


@pytest.mark.parametrize(("by", "needed"), [("tier", ["reserve_usd"]), ("age", ["age_hours", "decision_age_hours"])])
def test_a_band_whose_column_is_missing_is_refused_with_the_column_it_is_made_of(tmp_path, by, needed):
    path = written(predictions().drop("reserve_usd", "age_hours"), tmp_path)
    with pytest.raises(InputError) as raised:
        evaluate_file(path, QUICK, by=[by], tiers=[(1e5, True)])
    words = f"cannot cut figures by {by!r}: that needs a column {' or '.join(map(repr, needed))}, or one called {by!r}"
    assert str(raised.value).startswith(words)
    assert f"write it beside the predictions, or leave --by {by} away" in str(raised.value)
