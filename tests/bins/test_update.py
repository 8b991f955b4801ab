"""However bars come, the directory is the one that a single full export of them gives."""

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bins import plan
from pipeline.errors import InputError, UsageError
from tests.bins.bins_history import BEGIN, HISTORIES, Model, Step, run, tree

MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own there


def fresh_folder() -> Path:
    """In memory where there is some: thousands of small exports would wear a disk."""
    return Path(tempfile.mkdtemp(prefix="poolcast-test-", dir=MEMORY if MEMORY.is_dir() else None))


def state(directory: Path) -> tuple[dict[str, bytes], dict[str, int]]:
    """Every file, and the inodes of the feature files."""
    if not directory.exists():
        return {}, {}
    return tree(directory), {str(p.relative_to(directory)): p.stat().st_ino for p in directory.rglob("*.bin")}


def first_bar(files: dict[str, bytes], freq: str) -> bytes:
    return files.get(f"calendars/{freq}.txt", b"").partition(b"\n")[0]


def check_step(step: Step, model: Model, directory: Path) -> Model:
    """One call: refused without a trace if it makes no sense, else only files that change are new."""
    expected = Model(model.calendar_start, dict(model.told))
    expected.apply(step)
    files, inodes = state(directory)
    says_nothing = not step.rows and (step.mode != "within" or step.freq not in model.told)
    if says_nothing or not expected.told[step.freq]:
        with pytest.raises((InputError, UsageError)):
            run(step, directory, model.calendar_start)
        assert state(directory) == (files, inodes)
        return model
    export = run(step, directory, model.calendar_start)
    files_now, inodes_now = state(directory)
    assert export.is_written == (files_now != files)
    new = {path for path in inodes_now if inodes.get(path) != inodes_now[path]}
    assert export.n_files_written == len(new)
    if first_bar(files, step.freq) == first_bar(files_now, step.freq):
        assert new == {path for path in inodes_now if files.get(path) != files_now[path]}
    return expected


def check_history(history: list[Step], calendar_start: datetime | None, folder: Path) -> None:
    model, directory = Model(calendar_start), folder / "grown"
    for step in history:
        model = check_step(model.mended(step) if step.mode == "fix" else step, model, directory)
    if model.told:
        model.export(folder / "at_once")
        assert tree(directory) == tree(folder / "at_once")
        assert directory.resolve().name == (folder / "at_once").resolve().name


@settings(max_examples=500)
@given(HISTORIES, st.sampled_from([None, None, BEGIN, BEGIN - timedelta(days=3)]), st.sampled_from([1, 90, 2**25]))
def test_any_history_ends_in_the_directory_that_one_full_export_gives(
    history: list[Step], calendar_start: datetime | None, floats_at_once: int
) -> None:
    folder = fresh_folder()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "CHUNK_FLOATS", floats_at_once)
            check_history(history, calendar_start, folder)
    finally:
        shutil.rmtree(folder)
