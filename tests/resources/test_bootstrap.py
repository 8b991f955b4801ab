import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-test.lock"]


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A checkout without an environment, and a PATH with a shell's tools and without Python or uv."""
    tools, checkout = tmp_path / "bin", tmp_path / "checkout"
    tools.mkdir()
    for tool in ("bash", "cat", "cut", "dirname", "make", "sha256sum", "env", "sh", "grep", "touch", "rm"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, checkout / name)
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    return checkout, {"PATH": str(tools), "HOME": str(tmp_path)}


def make(command: list[str], checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=checkout, env=environment, text=True, capture_output=True, timeout=60, check=False
    )


def shim(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("target", ["demo", "test", "up"])
def test_a_missing_python_gives_one_line_and_a_status(bare: tuple[Path, dict[str, str]], target: str) -> None:
    checkout, environment = bare
    # The name alone is no proof: a version manager's shim carries it and leads nowhere.
    shim(Path(environment["PATH"]), "python3.12", "#!/bin/sh\necho 'python3.12: command not found' >&2\nexit 127\n")
    ran = make(["make", "-s", target], checkout, environment)
    assert ran.returncode != 0
    ours = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith("make")]
    assert len(ours) == 1, ours
    assert re.match(r"poolcast: needs Python 3\.12 and found none .*: install it", ours[0])
    assert not (checkout / ".venv").exists()


def test_an_environment_with_a_valid_stamp_needs_no_python_on_the_path(bare: tuple[Path, dict[str, str]]) -> None:
    checkout, environment = bare
    (checkout / ".venv" / "bin").mkdir(parents=True)
    shim(checkout / ".venv" / "bin", "python", "#!/bin/sh\n")
    shim(checkout / ".venv" / "bin", "poolcast", '#!/bin/sh\nfor each; do echo "[$each]"; done\n')
    key = subprocess.run(
        ["bash", "-c", "{ cat requirements.lock pyproject.toml; pwd; } | sha256sum | cut -c1-64"],
        cwd=checkout,
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    (checkout / ".venv" / ".poolcast-runtime").write_text(key)
    command = ["make", "-s", "demo", "RECORDING=../a folder/$HOME 'x'"]
    ran = make(command, checkout, environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[:2] == ["[demo]", "[--recording]"]
    assert "a folder/" in ran.stdout

    (checkout / "requirements.lock").write_text("changed")
    again = make(command, checkout, environment)
    assert "needs Python 3.12" in again.stderr


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) > 200
    for package in packages:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+( ; .*)? \\\n    --hash=sha256:[0-9a-f]{64}", package), package[:80]
    assert not re.search(r"://|--index|--extra-index|--find-links|@|(^|[ =])/", text, re.MULTILINE)


def test_the_test_lock_holds_the_runtime_lock_and_both_hold_what_installs_them() -> None:
    runtime, test = (set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS)
    assert runtime < test
    assert {each.split("==")[0] for each in runtime} >= {"uv", "setuptools", "dagster", "mlflow", "polars"}


def test_the_build_server_runs_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[-1].startswith("exec make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert len(commands) == 3
