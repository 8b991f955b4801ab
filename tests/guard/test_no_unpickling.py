"""Nothing that can be written from outside is unpickled: no line of ours could, and no command of ours does."""

import ast
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tables import TABLES
from resources.settings import QUIET

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("pipeline", "assets", "resources", "sensors") for path in (ROOT / folder).rglob("*.py")]
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "skops", "pickle5",
}  # fmt: skip
CALLS = {
    "read_pickle", "to_pickle", "deserialize", "unsafe_load", "full_load", "load_all", "load_object", "load_learner",
    "fs_io_manager", "FilesystemIOManager", "PickledObjectFilesystemIOManager", "eval", "exec", "__import__",
}  # fmt: skip
"""Polars' `deserialize` unpickles functions in a plan; the rest says it by its name."""
OWNERS = {("yaml", "load"), ("torch", "load"), ("mlflow", "load_model"), ("sklearn", "load_model")}
NO_DANGER = {("transformer.py", "eval")}
"""PyTorch's `net.eval()`: no dropout while it forecasts."""


def dangers(tree: ast.AST, name: str) -> list[str]:
    """What of a module could run code from a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] if (node.module or "").partition(".")[0] in MODULES else []
            found += [each.name for each in node.names if each.name in CALLS]
        elif isinstance(node, ast.Call):
            of = node.func
            called = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
            owner = of.value.id if isinstance(of, ast.Attribute) and isinstance(of.value, ast.Name) else ""
            if (called in CALLS or (owner, called) in OWNERS) and (name, called) not in NO_DANGER:
                found.append(f"{owner}.{called}")
            found += [word.arg for word in node.keywords if word.arg == "allow_pickle" and _may_be_true(word.value)]
    return found


def _may_be_true(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from cloudpickle import loads", "import joblib.numpy_pickle", "pl.LazyFrame.deserialize(f)",
        "numpy.load(f, allow_pickle=True)", "numpy.load(f, allow_pickle=asked)", "pd.read_pickle(f)",
        "yaml.load(f, Loader)",
        "torch.load(f)", "eval(text)", "from dagster import fs_io_manager", "recorder.load_object('x')",
    ],
)  # fmt: skip
def test_a_dangerous_line_is_seen(line: str) -> None:
    assert dangers(ast.parse(line), "x.py")


def test_no_module_of_ours_could_run_code_from_a_file() -> None:
    assert len(SOURCES) > 200
    told = {str(path.relative_to(ROOT)): dangers(ast.parse(path.read_text()), path.name) for path in SOURCES}
    assert not {path: found for path, found in told.items() if found}
    assert QUIET["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


class Planted:
    """Whoever unpickles it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def plant(folder: Path, content: bytes) -> None:
    """The pickle as everything that others may write below a data folder."""
    places = [
        "recordings/planted/reserves.parquet", "recordings/planted/pools.parquet", "recordings/planted/recording.json",
        "qlib/planted/calendars/60min.txt", "qlib/planted/instruments/all.txt",
        "qlib/planted/features/a/close.60min.bin",
        "qlib/planted/manifest.tsv", "model_cache/pool-outcome", "model_cache/pool-return/1",
        "return_datasets/planted/rows.parquet", "mlflow/1/artifacts/model/python_model.pkl", "mlflow/1/MLmodel",
        "collector/memory.sqlite", "collector/budget.sqlite", "alerts/salt", "alerts.toml",
        *(f"dagster/storage/{name}" for name in TABLES), *(f"lake/{name}/planted.pkl" for name in TABLES),
    ]  # fmt: skip
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)


@pytest.mark.slow
def test_no_command_unpickles_what_lies_where_others_write(tmp_path: Path) -> None:
    marker, planted, folder = tmp_path / "marker", tmp_path / "planted.parquet", tmp_path / "data"
    content = pickle.dumps(Planted(marker))
    planted.write_bytes(content)
    plant(folder, content)
    program = Path(__file__).with_name("unpickling_watch.py")
    done = subprocess.run(
        [sys.executable, str(program), str(planted), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "POOLCAST_ALERT_RULES": str(folder / "alerts.toml")},
        cwd=tmp_path,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    told = json.loads(done.stdout[done.stdout.index(b'{"status"') :])
    assert len(told) > 15
    assert {command: found for command, (_, *found) in told.items() if found} == {}
    assert {told[command][0] for command in ("quality report", "drift compare", "bins check")} <= {1, 2, 4}
    assert not marker.exists()
    pickle.loads(content)  # noqa: S301 - it would have been noticed
    assert marker.exists()
